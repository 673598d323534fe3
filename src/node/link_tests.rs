//! When a link is dialled, whose hello is taken, what its marks say.

use super::*;
use crate::time::Timestamp;

fn name(text: &str) -> ServerName {
    ServerName::parse(text.as_bytes()).expect("a valid name")
}

fn later(now: Now, wait: Duration) -> Now {
    Now {
        mono: now.mono + wait,
        wall: now.wall,
    }
}

fn start() -> Now {
    Now {
        mono: Instant::now(),
        wall: Timestamp::new(0, 0),
    }
}

fn hello(incarnation: u64, serial: u64) -> Hello {
    Hello {
        from: name("B"),
        to: name("A"),
        incarnation: Incarnation(incarnation),
        serial,
        known: None,
    }
}

const CONNECTION: ConnectionId = ConnectionId { serial: 1, slot: 0 };

#[test]
fn waits_double_up_to_the_limit_and_vary() {
    let mut jitter = SplitMix64(1);
    for attempts in 0..40 {
        for _ in 0..50 {
            let step = RETRY_FIRST
                .saturating_mul(1 << attempts.min(16))
                .min(RETRY_MAX);
            let wait = retry_after(attempts, RETRY_MAX, &mut jitter);
            assert!(wait >= step / 2 && wait <= step, "{attempts}: {wait:?}");
        }
    }
    let waits: Vec<_> = (0..20)
        .map(|_| retry_after(9, RETRY_MAX, &mut jitter))
        .collect();
    assert!(waits.iter().any(|wait| *wait != waits[0]));
}

#[test]
fn the_smaller_name_dials_first() {
    let now = start();
    let mut first = Link::new(&name("A"), name("B"), now);
    let mut second = Link::new(&name("B"), name("A"), now);
    assert!(first.begin_dial(now) && !second.begin_dial(now));
    assert!(second.begin_dial(later(now, YIELD)));
    assert!(!second.begin_dial(later(now, YIELD)), "it has begun");
}

#[test]
fn crossing_dials_leave_the_one_of_the_smaller_name() {
    let now = start();
    for (own, other, kept) in [("A", "B", true), ("B", "A", false)] {
        let mut link = Link::new(&name(own), name(other), now);
        link.dial_connected(CONNECTION, now);
        assert_eq!(link.judge(&hello(1, 1), now).is_err(), kept);
        let hanging = later(now, CROSSING);
        assert_eq!(link.judge(&hello(1, 1), hanging), Ok(()));
    }
}

#[test]
fn only_a_later_hello_replaces_a_session() {
    let now = start();
    let mut link = Link::new(&name("A"), name("B"), now);
    link.begin_session(CONNECTION, &hello(1, 5), 0, 0, now);
    for (incarnation, serial, taken) in [(1, 4, false), (1, 5, false), (1, 6, true), (2, 1, true)] {
        let judged = link.judge(&hello(incarnation, serial), now);
        assert_eq!(judged.is_ok(), taken, "{incarnation} {serial}");
    }
}

/// Dials until the link would not, and gives the wait before the next.
fn wait_after_dial(link: &mut Link, answered: bool, now: Now) -> Duration {
    link.dial_connected(CONNECTION, now);
    if answered {
        link.dial_answered();
    }
    link.dial_failed(now, &mut SplitMix64(1));
    let State::Idle { retry_at: Some(at) } = link.state else {
        panic!("it is not dialled again: {link:?}");
    };
    at - now.mono
}

#[test]
fn who_refuses_is_dialled_less_and_less_until_something_changes() {
    let now = start();
    let mut link = Link::new(&name("A"), name("B"), now);
    let mut waits = |answered: bool, times: usize| {
        let waits = (0..times).map(|_| wait_after_dial(&mut link, answered, now));
        waits.last().expect("some")
    };
    assert!(waits(false, 20) <= RETRY_MAX, "it is away");
    assert!(waits(true, 1) <= RETRY_MAX, "once is nothing");
    let waited = waits(true, 20);
    assert!(waited > RETRY_MAX && waited <= REFUSED_RETRY_MAX);
    assert!(waits(false, 1) <= RETRY_MAX, "who refused has gone");
    assert!(waits(true, 1) <= RETRY_MAX);
    assert!(waits(true, 20) > RETRY_MAX);
    link.begin_session(CONNECTION, &hello(1, 1), 0, 0, now);
    link.session_lost(now, &mut SplitMix64(1));
    assert!(wait_after_dial(&mut link, true, now) <= RETRY_FIRST);
}

#[test]
fn sessions_that_do_not_last_are_begun_less_and_less_often_until_one_does() {
    let now = start();
    for own in ["A", "C"] {
        let mut link = Link::new(&name(own), name("B"), now);
        let longest = |times: u32| match own {
            "A" => RETRY_FIRST * times,
            _ => RETRY_FIRST * times + YIELD,
        };
        let mut wait_after_session = |lasts: Duration| {
            let end = later(now, lasts);
            link.begin_session(CONNECTION, &hello(1, 1), 0, 0, now);
            link.session_lost(end, &mut SplitMix64(1));
            let State::Idle { retry_at: Some(at) } = link.state else {
                panic!("it is not dialled again: {link:?}");
            };
            at - end.mono
        };
        for _ in 0..3 {
            let short = SHORT_SESSION - Duration::from_nanos(1);
            assert!(wait_after_session(short) <= longest(1), "once is nothing");
            let waits = (0..20).map(|_| wait_after_session(Duration::ZERO));
            let last = waits.last().expect("some");
            assert!(last >= RETRY_MAX / 2 && last <= longest(20), "{last:?}");
            assert!(wait_after_session(SHORT_SESSION) <= longest(1));
        }
    }
}

#[test]
fn a_new_incarnation_of_the_neighbour_is_told_again_what_the_old_one_said() {
    let now = start();
    let mut link = Link::new(&name("A"), name("B"), now);
    link.begin_session(CONNECTION, &hello(1, 1), 0, 10, now);
    assert!(link.handle_mark(5));
    assert!(!link.told_us(10) && link.told_us(11));
    let knows = Hello {
        known: Some(Mark {
            incarnation: Incarnation(7),
            number: 1,
        }),
        ..hello(1, 2)
    };
    link.begin_session(CONNECTION, &knows, 0, 20, now);
    assert!(link.told_us(11), "the same incarnation");
    link.begin_session(CONNECTION, &hello(1, 3), 0, 20, now);
    assert!(!link.told_us(20) && link.told_us(21), "it asks for all");
    assert_eq!(link.known().map(|mark| mark.number), Some(5));
    link.begin_session(CONNECTION, &hello(2, 1), 0, 30, now);
    assert!(!link.told_us(30) && link.told_us(31));
    let known = |link: &Link| link.known().map(|mark| (mark.incarnation.0, mark.number));
    assert_eq!(known(&link), Some((1, 5)), "we have it still");
    assert!(link.handle_mark(3));
    assert_eq!(known(&link), Some((2, 3)));
}

#[test]
fn who_has_refused_claims_nothing_and_asks_again_in_time() {
    let now = start();
    let mut link = Link::new(&name("A"), name("B"), now);
    link.begin_session(CONNECTION, &hello(1, 1), 0, 0, now);
    assert!(link.handle_mark(3));
    let at = |seconds| Timestamp::new(seconds, 0);
    assert!(link.refuse(at(50)), "it had a mark");
    assert!(!link.refuse(at(60)) && !link.handle_mark(4));
    assert_eq!(link.known(), None);
    let late = later(now, ASK_AGAIN);
    assert!(!link.asks_again(at(49), late), "it would be refused again");
    assert!(!link.asks_again(at(50), now), "too soon");
    assert!(link.asks_again(at(50), late));
    link.is_clock_off = true;
    assert!(!link.asks_again(at(50), late), "more of the kind comes");
    link.begin_session(CONNECTION, &hello(1, 2), 0, 0, late);
    assert!(!link.handle_mark(4), "our hello was said before");
    assert_eq!(link.claim(), None);
    link.begin_session(CONNECTION, &hello(1, 3), 0, 0, late);
    assert!(link.handle_mark(4), "all is told anew");
}

#[test]
fn a_neighbour_is_caught_up_with_when_its_marks_come_closer_together() {
    let now = start();
    let mut link = Link::new(&name("A"), name("B"), now);
    assert!(link.is_catching_up(), "it is about to be dialled");
    link.begin_session(CONNECTION, &hello(1, 1), 0, 0, now);
    for number in [4_096, 8_192, 100_000] {
        link.handle_mark(number);
        assert!(link.is_catching_up(), "{number}");
    }
    link.handle_mark(100_010);
    assert!(!link.is_catching_up());
    link.session_lost(now, &mut SplitMix64(1));
    assert!(!link.is_catching_up(), "once is enough");

    for is_down in [Link::dial_failed, Link::dial_unanswered] {
        let mut link = Link::new(&name("A"), name("B"), now);
        assert!(link.begin_dial(now));
        is_down(&mut link, now, &mut SplitMix64(1));
        assert!(!link.is_catching_up(), "it is down");
    }
}

#[test]
fn a_neighbour_that_has_lost_its_journal_is_not_caught_up_with_before_it_has_sent_all_anew() {
    let now = start();
    for (marks, is_caught_up) in [
        (&[4_096, 8_192][..], false), // there is more
        (&[4_096, 8_192, 9_000], true),
        (&[7], true),         // that is all
        (&[1_000_007], true), // it has its journal
    ] {
        let mut link = Link::new(&name("A"), name("B"), now);
        link.set_known(Some(Mark {
            incarnation: Incarnation(1),
            number: 1_000_000,
        }));
        assert!(link.claim().is_some());
        link.begin_session(CONNECTION, &hello(2, 1), 0, 0, now);
        marks.iter().for_each(|mark| _ = link.handle_mark(*mark));
        assert_eq!(!link.is_catching_up(), is_caught_up, "{marks:?}");
    }
}

#[test]
fn one_whose_report_was_refused_is_caught_up_with_all_the_same() {
    let now = start();
    let mut link = Link::new(&name("A"), name("B"), now);
    link.begin_session(CONNECTION, &hello(1, 1), 0, 0, now);
    link.refuse(Timestamp::new(50, 0));
    for number in [4_096, 8_192, 9_000] {
        assert!(link.is_catching_up(), "{number}");
        assert!(!link.handle_mark(number));
    }
    assert!(!link.is_catching_up());
}

#[test]
fn marks_never_go_back() {
    let now = start();
    let mut link = Link::new(&name("A"), name("B"), now);
    link.begin_session(CONNECTION, &hello(1, 1), 0, 0, now);
    assert!(link.handle_mark(3));
    assert!(!link.handle_mark(3));
    assert!(!link.handle_mark(2));
    assert_eq!(link.known().map(|mark| mark.number), Some(3));
}
