//! What makes room where the table's memory has a limit: beside a plain list, and at worst.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::effects::LinkId;
use super::location::Update;
use super::protocol::{parse_at, parse_erased};
use super::table::{Change, Source, Table};
use crate::time::Timestamp;

/// What a short record is reckoned at.
const SHORT_BYTES: usize = 160;

/// A report of `client` in second `time`, heard at once.
fn report(client: &str, time: i64) -> String {
    format!("AT Blake +0.000000000 {client} +00+000 {time}")
}

fn accept(table: &mut Table, line: &str, source: Source) -> bool {
    let location = parse_at(line.as_bytes()).expect(line);
    let key = table.key(location.client);
    table.accept(key, &location, source).is_some()
}

fn text(change: Change<'_>) -> String {
    String::from_utf8_lossy(change.line).into_owned()
}

/// What is held, in the order of the feed.
fn held(table: &Table) -> Vec<String> {
    table.changes_after(0).map(text).collect()
}

fn limited(records: usize) -> Table {
    let mut table = Table::new((1, 2));
    table.set_limit(records * SHORT_BYTES);
    table
}

fn neighbour() -> Source {
    Source::Link(LinkId::nth(0))
}

#[test]
fn what_has_not_changed_for_longest_makes_room() {
    let mut table = limited(3);
    for (client, time) in [("kiwi", 1), ("emu", 2), ("moa", 3), ("kiwi", 4)] {
        assert!(accept(&mut table, &report(client, time), Source::Own));
    }
    assert_eq!(table.evicted().count, 0);
    assert_eq!(table.bytes(), table.limit());
    assert!(accept(&mut table, &report("rhea", 5), Source::Own));
    let lines = [("moa", 3), ("kiwi", 4), ("rhea", 5)].map(|(client, time)| report(client, time));
    assert_eq!(held(&table), lines);
    assert_eq!(table.location(b"emu"), None);
    assert_eq!((table.evicted().count, table.end()), (1, 5));
    table.check_invariants();
}

#[test]
fn a_long_name_makes_many_give_way_and_is_given_back_whole() {
    let mut table = limited(1_000);
    for client in 0..1_000 {
        accept(
            &mut table,
            &report(&format!("c{client}"), client),
            Source::Own,
        );
    }
    let long = "x".repeat(64_000);
    assert!(accept(&mut table, &report(&long, 1_000), Source::Own));
    assert!(table.bytes() <= table.limit());
    // It takes 64,052 bytes of the half that is for what is not records, and others 32 each.
    assert_eq!(table.len(), (1_000 * SHORT_BYTES / 2 - 64_052) / 32);
    assert!(table.location(long.as_bytes()).is_some());
    table.check_invariants();
    // The same client with a longer line, then one that is too long for the table: it is all there is.
    let longer = format!(
        "AT Blake +0.000000000 {long} +00.{}+000 1001",
        "0".repeat(900)
    );
    assert!(accept(&mut table, &longer, Source::Own));
    assert!(table.bytes() <= table.limit());
    table.set_limit(1_000);
    assert!(accept(&mut table, &report(&long, 1_002), Source::Own));
    assert_eq!(held(&table), [report(&long, 1_002)]);
    table.set_limit(1_000 * SHORT_BYTES);
    for client in 0..1_000 {
        accept(
            &mut table,
            &report(&format!("d{client}"), 1_003),
            Source::Own,
        );
    }
    // The allocator keeps what the long lines took: records have the rest.
    assert!((600..800).contains(&table.len()), "{}", table.len());
    assert!(table.bytes() <= table.limit());
    table.check_invariants();
}

/// Tells a table a line of either kind. Says whether it was news.
fn tell(table: &mut Table, line: &str, source: Source) -> bool {
    match parse_erased(line.as_bytes()) {
        None => accept(table, line, source),
        Some(erasure) => {
            let key = table.key(erasure.client);
            table.erase(key, &erasure, source).is_some()
        }
    }
}

fn erased(client: &str, time: i64) -> String {
    format!("ERASED Blake {client} {time}.000000000")
}

fn erase(table: &mut Table, client: &str, time: i64) -> bool {
    tell(table, &erased(client, time), neighbour())
}

#[test]
fn the_erasure_of_a_client_that_made_room_is_taken_in_once() {
    let mut table = limited(2);
    for (client, time) in [("kiwi", 10), ("emu", 20), ("moa", 30), ("rhea", 40)] {
        assert!(accept(&mut table, &report(client, time), neighbour()));
    }
    assert!(erase(&mut table, "kiwi", 15), "others may know it");
    assert!(!erase(&mut table, "kiwi", 15), "it is there");
    assert!(erase(&mut table, "emu", 19), "no tombstone has gone");
    assert!(accept(&mut table, &report("tui", 50), neighbour()));
    assert!(!erase(&mut table, "kiwi", 15), "it was evicted");
    assert!(!erase(&mut table, "weka", 14), "it may have been");
    // One that was superseded by what was evicted then does not begin it all anew.
    assert!(accept(&mut table, &report("emu", 20), neighbour()));
    for (client, time) in [("kaka", 60), ("ruru", 70)] {
        assert!(accept(&mut table, &report(client, time), neighbour()));
    }
    assert!(!erase(&mut table, "emu", 19));
    assert!(erase(&mut table, "emu", 21), "but a later one counts");
    table.check_invariants();
}

#[test]
fn what_made_room_is_not_taken_from_a_neighbour_again() {
    let mut table = limited(2);
    for (client, time) in [("kiwi", 10), ("emu", 20), ("moa", 30)] {
        assert!(accept(&mut table, &report(client, time), neighbour()));
    }
    assert!(
        !accept(&mut table, &report("kiwi", 10), neighbour()),
        "it was evicted"
    );
    assert!(
        !accept(&mut table, &report("rhea", 9), neighbour()),
        "it would have been"
    );
    assert!(
        accept(&mut table, &report("emu", 21), neighbour()),
        "it is known"
    );
    assert!(
        accept(&mut table, &report("kiwi", 11), neighbour()),
        "it is news"
    );
    assert!(
        accept(&mut table, &report("rhea", 1), Source::Own),
        "its client says it"
    );
    assert_eq!(held(&table), [report("kiwi", 11), report("rhea", 1)]);
    assert_eq!(table.turned_away().evicted, 2);
}

/// Reports go round a ring of servers that have no room for all of them until nobody takes one in.
#[test]
fn no_ring_of_servers_sends_records_round_for_ever() {
    let mut ring: Vec<Table> = (0..3).map(|_| limited(10)).collect();
    let mut under_way: Vec<String> = (0..30)
        .map(|client| report(&format!("c{client}"), client))
        .collect();
    for line in &under_way {
        assert!(accept(&mut ring[0], line, Source::Own));
    }
    for at in 1..20 {
        // What came over a link goes on over the other, though it has made room here meanwhile.
        under_way.retain(|line| accept(&mut ring[at % 3], line, neighbour()));
        if under_way.is_empty() {
            return;
        }
    }
    panic!("{} reports still go round", under_way.len());
}

#[test]
fn a_report_from_the_far_future_that_made_room_keeps_nobody_out() {
    let mut table = limited(1);
    assert!(
        accept(&mut table, &report("kiwi", 4_000_000_000), neighbour()),
        "our clock is not trusted"
    );
    assert!(accept(&mut table, &report("emu", 1_000), neighbour()));
    assert!(!accept(&mut table, &report("moa", 2_000), neighbour()));
    table.doubt_after(Timestamp::new(3_000, 0)); // now it is
    assert!(accept(&mut table, &report("moa", 2_000), neighbour()));
}

#[test]
fn no_change_passes_many_stale_entries_and_memory_comes_back_within_its_limit() {
    const CLIENTS: i64 = 50_000;
    let mut table = limited(CLIENTS as usize);
    let name = |client: i64| format!("c{client}");
    (0..CLIENTS)
        .for_each(|client| assert!(accept(&mut table, &report(&name(client), 1), Source::Own)));
    // The first to have reported is the last to report again: now half of the feed is stale, at once.
    let again = (0..CLIENTS).rev();
    again.for_each(|client| assert!(accept(&mut table, &report(&name(client), 2), Source::Own)));
    assert_eq!(table.evicted().count, 0);
    let mut changes = 0;
    let mut most = 0;
    while table.evicted().count == 0 {
        assert!(accept(
            &mut table,
            &report(&name(CLIENTS + changes), 3),
            Source::Own
        ));
        changes += 1;
        most = most.max(table.bytes() - table.limit());
    }
    assert!(changes > 100, "each passes few: {changes}");
    assert!(most <= 8 * CLIENTS as usize, "{most} bytes above the limit");
    for client in 0..changes {
        accept(
            &mut table,
            &report(&name(2 * CLIENTS + client), 4),
            Source::Own,
        );
    }
    assert!(table.bytes() <= table.limit());
    table.check_invariants();
}

#[test]
fn a_table_that_shrinks_gives_index_and_feed_back_too() {
    const CLIENTS: i64 = 30_000;
    let mut table = limited(CLIENTS as usize);
    for time in 1..=2 {
        for client in 0..CLIENTS {
            accept(
                &mut table,
                &report(&format!("c{client}"), time),
                Source::Own,
            );
        }
    }
    let mut time = 3;
    while table.len() > 1_000 {
        let long = format!("{time}{}", "x".repeat(60_000));
        assert!(accept(&mut table, &report(&long, time), Source::Own));
        table.check_invariants(); // of the feed that it is no longer than twice the records
        time += 1;
    }
    assert!(table.bytes() <= table.limit());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever is said, and wherever: each goes on to all others, though it has made room meanwhile.
    #[test]
    fn no_ring_of_servers_sends_erasures_round_for_ever(
        said in proptest::collection::vec((0..3_usize, 0..8_u32, 0..20_i64, any::<bool>()), 1..40),
        records in proptest::collection::vec(1..5_usize, 3),
    ) {
        let mut ring: Vec<Table> = records.iter().map(|records| limited(*records)).collect();
        let mut under_way = VecDeque::new();
        let mut told = 0;
        for (at, client, time, is_erasure) in said {
            let client = format!("c{client}");
            let line = match is_erasure {
                true => erased(&client, time),
                false => report(&client, time),
            };
            if tell(&mut ring[at], &line, Source::Own) {
                under_way.push_back((at, line));
            }
        }
        while let Some((from, line)) = under_way.pop_front() {
            for to in (0..3).filter(|to| *to != from) {
                if tell(&mut ring[to], &line, neighbour()) {
                    under_way.push_back((to, line.clone()));
                }
            }
            told += 1;
            prop_assert!(told < 2_000, "{} still go round", under_way.len());
        }
    }

    #[test]
    fn what_is_held_is_the_end_of_what_changed(
        steps in proptest::collection::vec((0..60_u32, 0..6_u32, 0..40_i64), 1..400),
        records in 1..40_usize,
        smaller in 0.1..1.0_f64,
    ) {
        let mut table = limited(records);
        let mut model: Vec<(String, String)> = Vec::new(); // client and line, the oldest change first
        let (mut snapshot, mut snapshot_end, mut later) = (Vec::new(), 0, Vec::new());
        let mut oldest = 0;
        for (at, (client, size, late)) in steps.iter().enumerate() {
            let long = "x".repeat([0, 0, 0, 40, 200, 3_000][*size as usize]);
            let name = format!("c{client}{long}");
            let time = at as i64 + 100 - late;
            if at % 50 == 49 {
                oldest = at as i64 + 70;
                table.expire_before(Timestamp::new(oldest, 0));
                let mut cursor = 0;
                while let Some(reached) = table.sweep(cursor) {
                    cursor = reached;
                }
                model.retain(|(_, line)| {
                    let time = line.rsplit(' ').next().and_then(|time| time.parse::<i64>().ok());
                    time.expect("a line ends with its time") >= oldest
                });
            }
            let before = table.evicted().count;
            if accept(&mut table, &report(&name, time), Source::Own) {
                model.retain(|(held, _)| *held != name);
                let line = report(&name, time);
                if at > steps.len() / 2 {
                    later.push(line.clone());
                }
                model.push((name, line));
            }
            table.enforce_limit(); // or what is stale may have to be passed first
            let gone = (table.evicted().count - before) as usize;
            model.drain(..gone);
            let lines: Vec<_> = model.iter().map(|(_, line)| line.clone()).collect();
            prop_assert_eq!(held(&table), lines);
            prop_assert!(table.bytes() <= table.limit() || table.len() == 1);
            for (client, line) in &model {
                let found = table.location(client.as_bytes()).expect("it is held");
                prop_assert_eq!(found.line, line.as_bytes());
            }
            table.check_invariants();
            if at == steps.len() / 2 {
                // A snapshot is written while changes go on, so it may have a client twice.
                let mut loaded = Table::new((3, 4));
                loaded.set_limit(table.limit());
                for (_, stored) in table.stored_after(0) {
                    prop_assert!(stored.is_none_or(|stored| loaded.load(&stored)));
                }
                loaded.build_index();
                prop_assert_eq!(held(&loaded), held(&table));
                snapshot_end = table.end();
                snapshot = table.stored_after(0).filter_map(|(_, stored)| {
                    let stored = stored?;
                    Some((stored.number, stored.effective, stored.client_at, stored.client_bytes, stored.line.to_vec()))
                }).collect();
            }
        }
        // The same with a smaller limit than it was written with, then what came after.
        let mut loaded = Table::new((5, 6));
        loaded.set_limit((table.limit() as f64 * smaller) as usize);
        loaded.expire_before(Timestamp::new(oldest, 0));
        for (number, effective, client_at, client_bytes, line) in &snapshot {
            let (number, effective, client_at, client_bytes) = (*number, *effective, *client_at, *client_bytes);
            let stored = super::table::Stored { number, effective, client_at, client_bytes, line };
            prop_assert!(loaded.load(&stored));
            prop_assert!(loaded.bytes() <= loaded.limit() || loaded.len() == 1);
        }
        loaded.build_index();
        loaded.advance(snapshot_end); // its last changes may have expired
        for line in &later {
            let location = parse_at(line.as_bytes()).expect("it is one");
            loaded.replay(loaded.key(location.client), &Update::Report(location));
            prop_assert!(loaded.bytes() <= loaded.limit() || loaded.len() == 1);
        }
        loaded.check_invariants();
        prop_assert_eq!(loaded.end(), table.end());
        // What has expired since made others make room then, and not now.
        let (one, other) = (held(&table), held(&loaded));
        prop_assert!(one.ends_with(&other) || other.ends_with(&one));
    }
}
