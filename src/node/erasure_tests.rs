//! Erasures: their order among reports, and how tombstones come and go.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::command::{Command, IAmAt};
use super::effects::LinkId;
use super::location::Update;
use super::protocol::parse_update;
use super::table::{Source, Table};
use super::{Node, Seeds};
use crate::time::{Now, Timestamp};
use crate::topology::Topology;

const LINK: Source = Source::Link(LinkId(std::num::NonZeroU32::MIN));

/// Has a neighbour tell this. Says whether it was news.
fn tell(table: &mut Table, line: &str) -> bool {
    let update = parse_update(line.as_bytes()).expect(line);
    let key = table.key(update.client());
    let number = match update {
        Update::Report(location) => table.accept(key, &location, LINK),
        Update::Erasure(erasure) => table.erase(key, &erasure, LINK),
    };
    table.check_invariants();
    number.is_some()
}

fn report(client: &str, time: i64) -> String {
    format!("AT Blake +0.000000000 {client} +00+000 {time}")
}

fn erased(client: &str, time: i64) -> String {
    format!("ERASED Blake {client} {time}.000000000")
}

fn contents(table: &Table) -> Vec<String> {
    let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
    let lines = table.changes_after(0).map(|change| text(change.line));
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines
}

#[test]
fn the_later_counts_and_of_two_with_the_same_time_the_erasure() {
    let mut table = Table::new((1, 2));
    for (line, is_news, is_known) in [
        (report("kiwi", 10), true, true),
        (erased("kiwi", 9), false, true),
        (erased("kiwi", 10), true, false),
        (erased("kiwi", 10), false, false),
        (report("kiwi", 10), false, false),
        ("AT Z +9.000000000 kiwi +90+000 10".to_owned(), false, false),
        ("ERASED Z kiwi 10.000000000".to_owned(), true, false),
        (erased("kiwi", 10), false, false),
        (report("kiwi", 9), false, false),
        (report("kiwi", 11), true, true),
        (erased("kiwi", 12), true, false),
        (erased("kiwi", 11), false, false),
        (erased("moa", 1), true, false), // of whom nobody has heard here
        (report("moa", 1), false, false),
        (report("kiwi", 13), true, true),
    ] {
        let end = table.end();
        assert_eq!(tell(&mut table, &line), is_news, "{line}");
        assert_eq!(table.end(), end + u64::from(is_news), "{line}");
        let client = parse_update(line.as_bytes()).expect("it is one").client();
        assert_eq!(table.location(client).is_some(), is_known, "{line}");
    }
    assert_eq!(contents(&table), [report("kiwi", 13), erased("moa", 1)]);
    assert_eq!(
        (table.len(), table.locations(), table.tombstones()),
        (2, 1, 1)
    );
}

#[test]
fn tombstones_expire_where_reports_do_not() {
    let mut table = Table::new((1, 2));
    tell(&mut table, &report("kiwi", 10));
    tell(&mut table, &erased("moa", 20));
    table.expire_tombstones_before(Timestamp::new(30, 0));
    assert!(!tell(&mut table, &erased("kiwi", 29)), "it has expired");
    let mut told = Vec::new();
    let reached = table.take_after(0, |change| {
        told.push(change.line.to_vec());
        true
    });
    assert_eq!((told, reached), (vec![report("kiwi", 10).into_bytes()], 2));
    assert_eq!((table.locations(), table.tombstones()), (1, 0));
    assert!(tell(&mut table, &erased("kiwi", 30)));
    table.expire_tombstones_before(Timestamp::new(31, 0));
    table.sweep_all();
    table.check_invariants();
    assert!(table.is_empty());
}

#[test]
fn what_is_too_far_ahead_is_refused_and_gives_way() {
    let mut table = Table::new((1, 2));
    tell(&mut table, &report("kiwi", 10));
    tell(&mut table, &erased("moa", 100));
    table.doubt_after(Timestamp::new(50, 0));
    assert!(!tell(&mut table, &erased("kiwi", 51)));
    assert_eq!(table.take_refused(), Some(Timestamp::new(51, 0)));
    assert!(table.location(b"kiwi").is_some());
    assert!(tell(&mut table, &report("moa", 20)));
    assert_eq!(table.take_gave_way(), Some(Timestamp::new(100, 0)));
    assert!(table.location(b"moa").is_some());
}

#[test]
fn a_journal_may_have_a_tombstone_that_has_expired_after_what_it_erased() {
    let node = |now| {
        let topology = Topology::parse(b"Blake h:1 h:2").expect("it is one");
        Node::new(&topology.members()[0], &topology, Seeds::new(|| 1), now)
    };
    const DAY: i64 = 24 * 60 * 60;
    let now = Now {
        mono: Instant::now(),
        wall: Timestamp::new(100 * DAY, 0),
    };
    let (old, erased) = (report("kiwi", 10 * DAY), erased("kiwi", 20 * DAY));
    let lines = [old.as_bytes(), erased.as_bytes()];
    for forgets in [false, true] {
        for salvage in [false, true] {
            let mut node = node(now);
            if forgets {
                node.forget_after(Duration::from_secs(DAY as u64), now);
            }
            let mut recovery = node.recovery(now);
            match salvage {
                true => recovery.salvage(&[lines[1], lines[0]]),
                false => assert!(recovery.replay(&lines)),
            }
            recovery.begin();
            assert_eq!(node.location(b"kiwi", now), None, "{forgets} {salvage}");
            node.handle_timeout(now, &mut ());
            node.check_invariants();
            assert!(node.table().is_empty(), "{forgets} {salvage}");
        }
    }
}

/// A node of no neighbours, and what its clocks show so many seconds after its epoch.
fn lone_node() -> (Node, impl Fn(i64) -> Now) {
    let topology = Topology::parse(b"Blake h:1 h:2").expect("it is one");
    let start = Instant::now();
    let at = move |seconds| Now {
        mono: start,
        wall: Timestamp::new(seconds, 0),
    };
    let member = &topology.members()[0];
    let node = Node::new(member, &topology, Seeds::new(|| 1), at(1_000));
    (node, at)
}

#[test]
fn an_erasure_is_as_late_as_what_it_erases() {
    let (mut node, at) = lone_node();
    let text = |line: Option<Vec<u8>>| line.map(|line| String::from_utf8(line).expect("text"));
    // By a clock that is ahead of the report, a little behind it, and as far behind as a right one may be.
    for (reported, wall, time) in [
        (1_000, 1_010, "1009.999999999"),
        (2_000, 1_999, "2000.000000000"),
        (3_000, 2_400, "3000.000000000"),
    ] {
        let line = format!("IAMAT kiwi +00+000 {reported}");
        assert!(is_accepted(&mut node, &line, at(reported)));
        node.handle_clock(at(wall), &mut ());
        let want = format!("ERASED Blake kiwi {time}");
        assert_eq!(
            text(node.handle_erase(b"kiwi", at(wall), &mut ())),
            Some(want)
        );
        assert_eq!(node.handle_erase(b"kiwi", at(wall), &mut ()), None);
        let held = node.table().changes_after(0).count();
        assert!(held <= 1);
        let taken = node.handle_foreign_report(&iamat(&line), at(reported), &mut ());
        assert!(taken.standing.is_none(), "it loses");
    }
}

fn is_accepted(node: &mut Node, line: &str, now: Now) -> bool {
    let taken = node.handle_foreign_report(&iamat(line), now, &mut ());
    taken.is_accepted()
}

fn iamat(line: &str) -> IAmAt<'_> {
    match Command::parse(line.as_bytes()) {
        Some(Command::IAmAt(report)) => report,
        _ => panic!("{line}"),
    }
}

#[test]
fn what_a_client_reports_right_after_its_erasure_counts_though_the_clock_stands_still() {
    let (mut node, at) = lone_node();
    assert!(is_accepted(&mut node, "IAMAT kiwi +00+000 1000", at(1_000)));
    for seconds in [1_001, 1_002] {
        assert!(node.handle_erase(b"kiwi", at(seconds), &mut ()).is_some());
        let line = format!("IAMAT kiwi +00+000 {seconds}");
        assert!(is_accepted(&mut node, &line, at(seconds)), "{line}");
    }
    // But not where what is erased is of this very time: the tombstone could not be told from the report.
    assert!(node.handle_erase(b"kiwi", at(1_002), &mut ()).is_some());
    assert!(!is_accepted(
        &mut node,
        "IAMAT kiwi +00+000 1002",
        at(1_002)
    ));
    assert!(is_accepted(&mut node, "IAMAT kiwi +00+000 1003", at(1_003)));
}

#[test]
fn an_erasure_of_what_is_too_far_ahead_is_itself_not_too_far_ahead() {
    let (mut node, at) = lone_node();
    const YEARS: i64 = 300_000_000;
    let ahead = at(1_000 + YEARS);
    node.handle_clock(ahead, &mut ());
    let line = format!("IAMAT kiwi +00+000 {}", 1_000 + 2 * YEARS);
    assert!(is_accepted(&mut node, &line, ahead));
    // Somebody sets the clock right, and the operator says that it is.
    node.allow_clock_skew(Duration::from_secs(600), true);
    node.handle_clock(at(1_010), &mut ());
    assert_eq!(node.location(b"kiwi", at(1_010)), None, "it is not shown");
    let erased = node.handle_erase(b"kiwi", at(1_010), &mut ());
    let want = b"ERASED Blake kiwi 1009.999999999";
    assert_eq!(erased.as_deref(), Some(&want[..]));
    assert!(!is_accepted(
        &mut node,
        "IAMAT kiwi +00+000 1009",
        at(1_010)
    ));
    assert!(is_accepted(&mut node, "IAMAT kiwi +00+000 1010", at(1_010)));
}

fn updates() -> impl Strategy<Value = Vec<String>> {
    let update = (0..4, 0..3, -2..3_i32, 0..2, 0..4, any::<bool>()).prop_map(
        |(client, server, difference, position, time, is_erasure)| match is_erasure {
            true => format!("ERASED S{server} c{client} {time}.000000000"),
            false => {
                format!("AT S{server} {difference:+}.000000000 c{client} +0{position}+000 {time}")
            }
        },
    );
    proptest::collection::vec(update, 1..60)
}

proptest! {
    #[test]
    fn any_order_and_any_repetition_give_the_same_table(
        (lines, shuffled) in updates().prop_flat_map(|lines| {
            let shuffled = Just(lines.clone()).prop_shuffle();
            (Just(lines), shuffled)
        }),
        repeated in proptest::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let (mut one, mut other) = (Table::new((1, 2)), Table::new((3, 4)));
        lines.iter().for_each(|line| _ = tell(&mut one, line));
        let repeated = repeated.iter().map(|index| index.get(&lines));
        shuffled.iter().chain(repeated).for_each(|line| _ = tell(&mut other, line));
        prop_assert_eq!(contents(&one), contents(&other));
        prop_assert_eq!(one.tombstones(), other.tombstones());
        let known = contents(&one).iter().filter(|line| line.starts_with("AT ")).count();
        prop_assert_eq!(one.locations(), known);
    }
}
