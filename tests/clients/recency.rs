//! Of several reports of a client, which is the most recent.

use std::fmt::Write as _;

use crate::{At, blake, clock, time_text};

#[test]
fn an_older_report_is_answered_as_usual_and_changes_nothing() {
    let herd = blake();
    let mut client = herd.client("Blake");
    let mut report = |location: &str, time: &str| {
        client.say(&format!("IAMAT k {location} {time}"));
        let at = At::read(&client.line());
        assert_eq!((&*at.location, &*at.time), (location, time));
        at.line
    };
    let at = report("+10+010", "1000000000.5");
    report("+20+020", "1000000000.499999999");
    report("+90+180", "0");
    assert_eq!(herd.at("Blake", "k"), Some(at));
    let newer = report("-90-180", "1000000000.500000001");
    assert_eq!(herd.at("Blake", "k"), Some(newer));
}

#[test]
fn a_clock_set_in_the_future_does_not_freeze_a_client() {
    let herd = blake();
    let future = herd.ask("Blake", "IAMAT k +10+010 4102444800");
    let farther = herd.ask("Blake", "IAMAT k +20+020 999999999999999999");
    assert!(At::read(&future).difference.starts_with('-'), "{future}");
    assert_eq!(
        herd.at("Blake", "k").as_deref(),
        Some(&*farther),
        "both count when they were received, so the second wins"
    );
    let now = format!("IAMAT k -30-030 {}", time_text(clock()));
    let now = herd.ask("Blake", &now);
    assert_eq!(herd.at("Blake", "k"), Some(now), "the clock was put right");
    herd.ask("Blake", "IAMAT k +10+010 1353118103");
    let again = herd.ask("Blake", "IAMAT k +10+010 4102444800.1");
    assert_eq!(herd.at("Blake", "k"), Some(again));
}

#[test]
fn of_reports_with_one_time_the_later_received_wins_then_the_greater_location_then_digits() {
    let herd = blake();
    // Received apart: the later one wins, though its location and its digits are smaller.
    herd.ask("Blake", "IAMAT apart +20+020 100.00");
    let later = herd.ask("Blake", "IAMAT apart +10+010 100");
    assert_eq!(herd.at("Blake", "apart"), Some(later));
    // Received in one piece they have, as a rule, one time of receipt. The rule is the same.
    let locations = ["+10+010", "+20+020", "-20-020", "+10+010/", "+10.0+010"];
    let far = time_text(clock() + 3_600_000_000_000);
    let times = [
        "100",
        "100.0",
        "100.00",
        "99.999999999",
        &far,
        "100.000000000",
    ];
    let mut client = herd.client("Blake");
    for round in 0..40 {
        let mut batch = String::new();
        let times = if round % 4 == 0 {
            &times[..]
        } else {
            &times[..3]
        };
        for step in 0..8 {
            let location = locations[(round * 7 + step * 3 + round / 5) % locations.len()];
            let time = times[(round + step * 5 + round / 6) % times.len()];
            let _ = writeln!(batch, "IAMAT k{round} {location} {time}");
        }
        let _ = writeln!(batch, "WHATSAT k{round} 1 0");
        client.send(batch.as_bytes());
        let reports: Vec<_> = (0..8).map(|_| At::read(&client.line())).collect();
        let got = client.line();
        client.line();
        let mut best = &reports[0];
        for report in &reports {
            if report.recency() > best.recency() {
                best = report;
            }
        }
        assert_eq!(got, best.line, "of {reports:#?}");
    }
}
