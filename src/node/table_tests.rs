//! What the table holds, shows, forgets and gives back.

use super::*;
use crate::node::effects::LinkId;
use crate::node::protocol::parse_at;
use crate::node::record::{Text, client_at};
use proptest::prelude::*;

fn accept(table: &mut Table, line: &str, source: Source) -> bool {
    let location = parse_at(line.as_bytes()).expect(line);
    table
        .accept(table.key(location.client), &location, source)
        .is_some()
}

fn table_with(lines: &[String]) -> Table {
    let mut table = Table::new((1, 2));
    for line in lines {
        accept(&mut table, line, Source::Own);
    }
    table
}

/// The table as text, in an order that does not depend on how it came about.
fn contents(table: &Table) -> Vec<String> {
    let text = |change: Change<'_>| String::from_utf8_lossy(change.line).into_owned();
    let mut lines: Vec<_> = table.changes_after(0).map(text).collect();
    lines.sort();
    lines
}

#[test]
fn the_latest_stays_and_moves_to_the_end_of_the_feed() {
    let mut table = Table::new((1, 2));
    let old = "AT A +0.000000000 kiwi +00+000 10";
    let new = "AT A +0.000000000 kiwi +01+000 11";
    let other = "AT A +0.000000000 emu +00+000 10";
    assert!(accept(&mut table, old, Source::Own));
    assert!(accept(&mut table, other, Source::Link(LinkId::nth(3))));
    assert!(!accept(&mut table, old, Source::Own), "no change: the same");
    assert!(accept(&mut table, new, Source::Link(LinkId::nth(1))));
    assert!(!accept(&mut table, old, Source::Own), "no change: older");
    assert_eq!((table.len(), table.end()), (2, 3));
    let feed: Vec<_> = table.changes_after(0).collect();
    let change = |number, line: &'static str, source| Change {
        number,
        line: line.as_bytes(),
        source,
    };
    assert_eq!(
        feed,
        [
            change(2, other, Source::Link(LinkId::nth(3))),
            change(3, new, Source::Link(LinkId::nth(1)))
        ]
    );
    assert_eq!(table.changes_after(2).count(), 1);
    assert_eq!(table.changes_after(3).count(), 0);
    let held = table.location(b"kiwi").expect("it was accepted");
    assert_eq!(held.line, new.as_bytes());
    assert_eq!(table.location(b"kiw"), None);
}

#[test]
fn lines_of_any_length_are_kept_whole() {
    let mut table = Table::new((1, 2));
    for bytes in [
        1, 10, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 1_000, 65_000,
    ] {
        let client = "x".repeat(bytes);
        let line = format!("AT Blake +0.000000000 {client} +00+000 10");
        assert!(accept(&mut table, &line, Source::Own));
        let held = table.location(client.as_bytes()).expect("it was accepted");
        assert_eq!(held.line, line.as_bytes());
    }
}

/// A report of `client` in second `time`, heard at once.
fn report(client: &str, time: i64) -> String {
    format!("AT Blake +0.000000000 {client} +00+000 {time}")
}

/// A report as a snapshot keeps it.
fn stored(line: &str, number: u64) -> Stored<'_> {
    let location = parse_at(line.as_bytes()).expect("it is one");
    Stored {
        number,
        effective: location.effective(),
        client_at: client_at(&location) as u8,
        client_bytes: location.client.len() as u16,
        line: location.line,
    }
}

/// Sweeps the whole table.
fn sweep_all(table: &mut Table) -> usize {
    let (mut cursor, mut slices) = (0, 0);
    while let Some(reached) = table.sweep(cursor) {
        assert!(reached > cursor, "a sweep goes on");
        (cursor, slices) = (reached, slices + 1);
    }
    slices
}

#[test]
fn what_has_expired_is_unknown_at_once_and_not_taken_in_again() {
    let mut table = Table::new((1, 2));
    assert!(accept(&mut table, &report("kiwi", 10), Source::Own));
    assert!(accept(
        &mut table,
        &report("emu", 20),
        Source::Link(LinkId::nth(0))
    ));
    table.expire_before(Timestamp::new(10, 1));
    assert_eq!(table.location(b"kiwi"), None);
    assert_eq!(contents(&table), [report("emu", 20)]);
    assert!(!accept(&mut table, &report("kiwi", 10), Source::Own));
    assert!(!accept(&mut table, &report("moa", 9), Source::Own));
    assert_eq!(table.end(), 2, "nothing of it is a change");
    // A clock set in the future ages from the time of receipt: second 15 here.
    let future = "AT Blake -84.000000000 moa +00+000 99";
    assert!(accept(&mut table, future, Source::Own));
    table.expire_before(Timestamp::new(15, 1));
    assert_eq!(table.location(b"moa"), None);
    assert!(accept(&mut table, &report("kiwi", 30), Source::Own));
    assert_eq!(contents(&table), [report("emu", 20), report("kiwi", 30)]);
    assert_eq!(table.len(), 3);
    sweep_all(&mut table);
    assert_eq!(table.len(), 2);
}

#[test]
fn what_was_looked_up_ahead_may_be_gone_or_come_meanwhile() {
    let mut table = Table::new((1, 2));
    accept(&mut table, &report("kiwi", 10), Source::Own);
    let [mut kiwi, mut emu] = [&b"kiwi"[..], b"emu"].map(|client| table.key(client));
    table.prefetch([&mut kiwi, &mut emu]);
    table.expire_before(Timestamp::new(20, 0));
    sweep_all(&mut table);
    assert!(accept(&mut table, &report("emu", 20), Source::Own)); // where kiwi was
    assert_eq!(table.location_at(kiwi, b"kiwi"), None);
    for (client, key) in [("kiwi", kiwi), ("emu", emu)] {
        let line = report(client, 30);
        let location = parse_at(line.as_bytes()).expect("it is one");
        assert!(table.accept(key, &location, Source::Own).is_some());
        let held = table.location_at(key, client.as_bytes());
        assert_eq!(held, Some(location));
    }
    assert_eq!(contents(&table), [report("emu", 30), report("kiwi", 30)]);
    table.check_invariants();
}

#[test]
fn memory_is_given_back_in_small_pieces_and_used_again() {
    const CLIENTS: i64 = 50_000;
    let mut table = Table::new((1, 2));
    for round in 0..4 {
        for client in 0..CLIENTS {
            let time = round * CLIENTS + client;
            let long = "x".repeat(if client % 100 == 0 { 500 } else { 10 });
            let line = report(&format!("client{time}{long}"), time);
            assert!(accept(&mut table, &line, Source::Own));
        }
        // Every tenth of them stays; a slice never frees more than it looks at.
        table.expire_before(Timestamp::new((round + 1) * CLIENTS - CLIENTS / 10, 0));
        let (mut cursor, mut before) = (0, table.len());
        while let Some(reached) = table.sweep(cursor) {
            assert!(
                before - table.len() <= SLICE_ENTRIES_MAX,
                "a slice is small"
            );
            (cursor, before) = (reached, table.len());
        }
        assert_eq!(table.len() as i64, CLIENTS / 10);
        assert_eq!(contents(&table).len() as i64, CLIENTS / 10);
        assert!(table.sweep_slices() < 20, "{}", table.sweep_slices());
    }
    let most = CLIENTS + CLIENTS / 10;
    assert!(
        table.slots.iter().count() as i64 <= most,
        "slots are used again"
    );
    let long = table.slots.iter();
    let long = long.filter(|record| matches!(record.line, Text::Long(_)));
    assert_eq!(long.count() as i64, CLIENTS / 10 / 100);
}

#[test]
fn a_reader_comes_to_the_end_of_a_feed_whose_end_has_expired() {
    let mut table = Table::new((1, 2));
    for client in 0..ENTRIES_MAX + 1000 {
        accept(&mut table, &report(&format!("c{client}"), 1), Source::Own);
    }
    table.expire_before(Timestamp::new(2, 0));
    let (mut cursor, mut left) = (0, Vec::new());
    while cursor < table.end() {
        cursor = table.take_after(cursor, |_| panic!("it has expired"));
        left.push(table.len());
        assert!(left.len() < 10, "it comes to no end");
    }
    assert_eq!(left, [1000, 0], "a bounded piece a call");
    table.expire_before(Timestamp::MIN);
    assert_eq!(contents(&table), [""; 0], "what was passed over is gone");
}

#[test]
fn what_is_too_far_ahead_links_are_told_and_clients_are_not() {
    let mut table = Table::new((1, 2));
    accept(&mut table, &report("emu", 10), Source::Own);
    accept(&mut table, &report("kiwi", 90), Source::Own);
    table.doubt_after(Timestamp::new(50, 0));
    let (mut told, mut shown) = (Vec::new(), Vec::new());
    let reached = table.take_after(0, |change| {
        told.push(change.number);
        true
    });
    assert_eq!((told, reached), (vec![1, 2], 2));
    let reached = table.take_shown_after(0, |change| {
        shown.push(change.number);
        true
    });
    assert_eq!((shown, reached), (vec![1], 2));
    assert!(table.location(b"kiwi").is_none());
}

#[test]
fn neighbours_are_asked_again_only_for_what_has_come_to_be_too_far_ahead() {
    let mut table = Table::new((1, 2));
    accept(&mut table, &report("kiwi", 1_000), Source::Own);
    for (newest, is_asked) in [
        (&[50][..], true),
        (&[49], false), // it was too far ahead before
        (&[1_000], false),
        (&[999], true), // it has come to be so again
        (&[998], false),
        (&[1_000, 997], true), // reports may have lost against it meanwhile
    ] {
        for seconds in newest {
            table.doubt_after(Timestamp::new(*seconds, 0));
        }
        assert_eq!(table.take_doubted(), is_asked, "{newest:?}");
    }
}

#[test]
fn a_reader_gets_ahead_of_what_expires_however_much_comes_in_a_turn() {
    let mut table = Table::new((1, 2));
    let (mut cursor, mut told) = (0, 0);
    for turn in 1..=20 {
        for client in 0..20_000 {
            let line = report(&format!("c{turn}x{client}"), turn);
            accept(&mut table, &line, Source::Own);
        }
        // Of what has come before nothing is alive, and the neighbour takes little.
        table.expire_before(Timestamp::new(turn, 0));
        let mut room = 100;
        cursor = table.take_after(cursor, |_| {
            let takes = room > 0;
            room -= usize::from(takes);
            told += usize::from(takes);
            takes
        });
    }
    assert_eq!(told, 20 * 100, "each turn it is told what is alive");
}

#[test]
fn a_reader_passes_over_what_has_changed_again_since_in_bounded_pieces() {
    const CLIENTS: usize = ENTRIES_MAX + 1000;
    let mut table = Table::new((1, 2));
    for time in 1..=2 {
        for client in 0..CLIENTS {
            let line = report(&format!("c{client}"), time);
            accept(&mut table, &line, Source::Own);
        }
    }
    // Each is in the feed twice, which is not enough for a sweep: first all that is stale.
    let (mut cursor, mut taken) = (0, Vec::new());
    while cursor < table.end() {
        let mut count = 0;
        cursor = table.take_after(cursor, |_| {
            count += 1;
            true
        });
        taken.push(count);
    }
    assert_eq!(taken, [0, ENTRIES_MAX - 1000, 2000]);
}

#[test]
fn of_few_clients_that_are_loaded_again_and_again_little_remains() {
    const LINES: usize = 20_000;
    const CLIENTS: usize = 10;
    let mut table = Table::new((1, 2));
    table.expect(LINES);
    for line in 0..LINES {
        let text = report(&format!("c{}", line % CLIENTS), line as i64);
        assert!(table.load(&stored(&text, 1 + line as u64)));
    }
    table.build_index();
    table.check_invariants();
    let latest = (LINES - CLIENTS..LINES).map(|line| line as i64);
    let latest = latest.map(|time| report(&format!("c{}", time % CLIENTS as i64), time));
    assert_eq!(contents(&table), latest.collect::<Vec<_>>());
    assert_eq!(table.len(), CLIENTS);
}

#[test]
fn what_no_table_can_have_stored_is_not_loaded() {
    let line = report("kiwi", 10);
    let good = stored(&line, 5);
    let mut table = Table::new((1, 2));
    for (change, want) in [
        (Stored { number: 0, ..good }, false),
        (good, true),
        (good, false), // numbers rise
        (
            Stored {
                number: 6,
                client_bytes: 60,
                ..good
            },
            false,
        ),
        (
            Stored {
                number: 6,
                client_at: 200,
                ..good
            },
            false,
        ),
        (
            Stored {
                number: 6,
                client_bytes: 0,
                ..good
            },
            false,
        ),
        (
            Stored {
                number: u64::MAX,
                ..good
            },
            false,
        ),
        (
            Stored {
                number: 7,
                client_at: 0,
                line: b"kiwi",
                ..good
            },
            true,
        ),
    ] {
        assert_eq!(table.load(&change), want, "{change:?}");
    }
    table.build_index();
    table.check_invariants();
    assert_eq!((table.len(), table.end()), (1, 7));
    // What is no AT line is unknown, and gives way to the first that is one.
    assert_eq!(table.location(b"kiwi"), None);
    assert!(accept(&mut table, &report("kiwi", 10), Source::Own));
    assert!(table.location(b"kiwi").is_some());
}

fn updates() -> impl Strategy<Value = Vec<String>> {
    // Few values for each field, so that ties of every depth occur.
    let update = (0..5, 0..3, -2..3_i32, 0..2, 0..4, 0..2).prop_map(
        |(client, server, difference, position, time, digits)| {
            let zeros = ["", ".0"][digits as usize];
            format!(
                "AT S{server} {difference:+}.000000000 c{client} +0{position}+000 {time}{zeros}"
            )
        },
    );
    proptest::collection::vec(update, 1..60)
}

/// What may happen to a table whose records expire.
#[derive(Clone, Debug)]
enum Step {
    /// A report whose effective time is this many seconds before now.
    Report { client: u8, age: i64 },
    /// Time passes.
    Pass(i64),
    /// A slice of the sweep.
    Sweep,
    /// A neighbour takes so many changes.
    Take(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..20_u8, 0..14_i64).prop_map(|(client, age)| Step::Report { client, age }),
        2 => (1..4_i64).prop_map(Step::Pass),
        2 => Just(Step::Sweep),
        2 => (0..9_usize).prop_map(Step::Take),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    #[test]
    fn records_expire_as_in_a_simple_model(steps in steps()) {
        const SPAN: i64 = 10;
        let mut model = std::collections::BTreeMap::<String, i64>::new();
        // The second never sweeps: it is the same server, replaying its log.
        let (mut table, mut replay) = (Table::new((1, 2)), Table::new((3, 4)));
        let mut neighbour = Table::new((5, 6));
        let (mut now, mut cursor, mut sweep_at) = (1_000, 0, 0);
        let (first, last) = (Step::Pass(0), Step::Take(usize::MAX));
        for step in [first].into_iter().chain(steps).chain([last]) {
            match step {
                Step::Report { client, age } => {
                    let (client, time) = (format!("c{client}"), now - age);
                    let line = report(&client, time);
                    let newer = model.get(&client).is_none_or(|&held| held < time);
                    let news = newer && age <= SPAN;
                    prop_assert_eq!(accept(&mut table, &line, Source::Own), news);
                    prop_assert_eq!(accept(&mut replay, &line, Source::Own), news);
                    if news {
                        model.insert(client, time);
                    }
                }
                Step::Pass(seconds) => {
                    now += seconds;
                    for table in [&mut table, &mut replay, &mut neighbour] {
                        table.expire_before(Timestamp::new(now - SPAN, 0));
                    }
                }
                Step::Sweep => sweep_at = table.sweep(sweep_at).unwrap_or(0),
                Step::Take(mut room) => {
                    cursor = table.take_after(cursor, |change| {
                        let wanted = room > 0;
                        if wanted {
                            room -= 1;
                            let location = parse_at(change.line).expect("it was held");
                            neighbour.accept(neighbour.key(location.client), &location, Source::Link(LinkId::nth(0)));
                        }
                        wanted
                    });
                }
            }
            model.retain(|_, time| *time >= now - SPAN);
            let want: Vec<_> = model.iter().map(|(client, time)| report(client, *time)).collect();
            prop_assert_eq!(contents(&table), want);
            for client in 0..20 {
                let client = format!("c{client}");
                let held = table.location(client.as_bytes()).map(|location| location.time.seconds());
                prop_assert_eq!(held, model.get(&client).copied());
            }
            prop_assert_eq!(table.end(), replay.end());
            prop_assert!(table.changes_after(0).eq(replay.changes_after(0)), "the same numbers");
            prop_assert_eq!(table.index.len(), table.len());
        }
        prop_assert_eq!(cursor, table.end());
        prop_assert_eq!(contents(&neighbour), contents(&table));
        sweep_all(&mut table);
        prop_assert_eq!(table.len(), model.len());
    }

    #[test]
    fn any_order_and_any_repetition_give_the_same_table(
        (lines, shuffled) in updates().prop_flat_map(|lines| {
            let shuffled = Just(lines.clone()).prop_shuffle();
            (Just(lines), shuffled)
        }),
        repeated in proptest::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let mut again = shuffled.clone();
        again.extend(repeated.iter().map(|index| index.get(&lines).clone()));
        prop_assert_eq!(contents(&table_with(&lines)), contents(&table_with(&shuffled)));
        prop_assert_eq!(contents(&table_with(&lines)), contents(&table_with(&again)));
    }

    /// As a checkpoint is, each with its number, though few clients are in it only once.
    #[test]
    fn what_is_stored_and_loaded_again_is_the_same(
        lines in updates(),
        split in 0..60_usize,
        oldest in 0..4_i64,
    ) {
        // Some changes come as a snapshot, the others as the journal after it.
        let (early, late) = lines.split_at(split.min(lines.len()));
        let mut table = table_with(early);
        let mut loaded = Table::new((3, 4));
        loaded.expire_before(Timestamp::new(oldest, 0));
        loaded.expect(table.len());
        for (_, stored) in table.stored_after(0) {
            prop_assert!(stored.is_none_or(|stored| loaded.load(&stored)));
        }
        loaded.build_index();
        prop_assert!(loaded.advance(table.end()));
        for line in late {
            if accept(&mut table, line, Source::Own) {
                let location = parse_at(line.as_bytes()).expect(line);
                loaded.replay(loaded.key(location.client), &Update::Report(location));
            }
        }
        table.expire_before(Timestamp::new(oldest, 0));
        loaded.check_invariants();
        prop_assert_eq!(loaded.end(), table.end());
        prop_assert!(loaded.changes_after(0).eq(table.changes_after(0)));
        for line in &lines {
            let client = parse_at(line.as_bytes()).expect(line).client;
            prop_assert_eq!(loaded.location(client), table.location(client));
        }
    }

    #[test]
    fn any_path_gives_the_same_table(lines in updates(), split in 0.0..1.0_f64) {
        // Half of the updates are heard by one server, half by the other, then each follows
        // the other's feed from somewhere in the middle on, as over a link.
        let (left, right) = lines.split_at((split * lines.len() as f64) as usize);
        let (mut a, mut b) = (table_with(left), table_with(right));
        for line in contents(&a) {
            accept(&mut b, &line, Source::Link(LinkId::nth(0)));
        }
        for line in contents(&b) {
            accept(&mut a, &line, Source::Link(LinkId::nth(0)));
        }
        prop_assert_eq!(contents(&a), contents(&b));
        prop_assert_eq!(contents(&a), contents(&table_with(&lines)));
    }
}
