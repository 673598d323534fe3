//! The figures of a run, as Markdown.

use std::iter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Soak;
use crate::cable::Cable;
use crate::faults::Faults;
use crate::phones::PHONES;
use crate::servers::{Herd, Member};
use crate::support::{grouped, table};

/// Prints all of it. That nothing was lost is known: otherwise the run would have ended.
pub fn tell(soak: &Soak, herd: &Herd, faults: &Faults) {
    let minutes = soak.began_at.elapsed().as_secs_f64() / 60.0;
    println!("\n{PHONES} phones, {minutes:.1} minutes:");
    let mut rows = of_phones(soak);
    rows.extend(of_links(soak, herd));
    rows.extend(of_faults(faults));
    let cores = herd.cpu().as_secs_f64() / 60.0 / minutes;
    rows.push(("CPU of the servers, cores", format!("{cores:.3}")));
    let rows = rows
        .into_iter()
        .map(|(what, figure)| vec![what.to_owned(), figure]);
    table("what | figure", &rows.collect::<Vec<_>>());
    tell_usage(herd);
    tell_resident(soak, herd);
}

type Row = (&'static str, String);

fn of(count: &AtomicU64) -> f64 {
    count.load(Ordering::Relaxed) as f64
}

fn of_phones(soak: &Soak) -> Vec<Row> {
    let phones = soak.phones;
    let mut healings = soak.healings.clone();
    healings.sort();
    let seconds = |time: Option<&Duration>| {
        let time = time.copied().unwrap_or_default();
        format!("{:.2}", time.as_secs_f64())
    };
    vec![
        ("updates acknowledged", grouped(of(&phones.updates))),
        ("of these lost", "0".to_owned()),
        ("questions answered", grouped(of(&phones.questions))),
        (
            "with an error for tweets",
            grouped(of(&phones.without_tweets)),
        ),
        ("lines not answered", grouped(of(&phones.unanswered))),
        ("healings checked", grouped(healings.len() as f64)),
        ("questions asked for that", grouped(of(&phones.checked))),
        (
            "until all was known and checked, median, s",
            seconds(healings.get(healings.len() / 2)),
        ),
        ("the longest, s", seconds(healings.last())),
    ]
}

fn of_links(soak: &Soak, herd: &Herd) -> Vec<Row> {
    let sum = |count: fn(&Cable) -> &AtomicU64| -> f64 {
        herd.cables.iter().map(|cable| of(count(cable))).sum()
    };
    let locations = sum(|cable| &cable.locations);
    let each = locations / of(&soak.phones.updates).max(1.0);
    vec![
        (
            "`HELLO` lines on links",
            grouped(sum(|cable| &cable.hellos)),
        ),
        ("`AT` lines on links", grouped(locations)),
        ("for each update", format!("{each:.3}")),
    ]
}

fn of_faults(faults: &Faults) -> Vec<Row> {
    let rows = [
        ("servers killed (SIGKILL)", faults.kills),
        ("all five at once", faults.kills_of_all),
        ("ended (SIGTERM)", faults.terminations),
        ("stopped for a while (SIGSTOP)", faults.stops),
        ("cables cut", faults.cuts),
        ("stalled, one way or both", faults.stalls),
        ("slowed", faults.delays),
        ("logs deleted, cut or moved", faults.log_deeds),
        ("journals that lost a file", faults.journals_short_of_a_file),
        ("replaced by an older copy", faults.journals_set_back),
        ("the stand-in killed", faults.twitter_kills),
    ];
    rows.map(|(what, count)| (what, grouped(count as f64)))
        .into()
}

fn tell_usage(herd: &Herd) {
    println!("\nWhat each used at most; and in its longest life after a minute, at most, at last:");
    let row = |Member { name, tally, .. }: &Member| {
        let life = &tally.longest;
        let three = [life.begin, life.max, life.end];
        let resident = three.map(|usage| mebibytes(usage.resident_bytes));
        let descriptors = three.map(|usage| usage.descriptors.to_string());
        vec![
            (*name).to_owned(),
            tally.starts.to_string(),
            mebibytes(tally.max.resident_bytes),
            tally.max.descriptors.to_string(),
            mebibytes(tally.max.log_bytes as f64),
            mebibytes(tally.max.journal_bytes as f64),
            format!("{:.1}", life.lasted.as_secs_f64() / 60.0),
            resident.join(", "),
            descriptors.join(", "),
        ]
    };
    table(
        "server | starts | RSS, MiB | descriptors | log, MiB | journal, MiB | longest life, min | RSS, MiB \
         | descriptors",
        &herd.members.iter().map(row).collect::<Vec<_>>(),
    );
}

fn tell_resident(soak: &Soak, herd: &Herd) {
    println!("\nRSS in MiB each tenth of the time, `-` while it was down:");
    let row = |(tenth, resident): (usize, &Vec<f64>)| {
        let figure = |bytes: &f64| match *bytes {
            0.0 => "-".to_owned(),
            bytes => mebibytes(bytes),
        };
        iter::once(format!("{tenth}/10"))
            .chain(resident.iter().map(figure))
            .collect()
    };
    let names: Vec<&str> = herd.members.iter().map(|member| member.name).collect();
    let rows: Vec<Vec<String>> = soak.resident.iter().enumerate().map(row).collect();
    table(&format!("time | {}", names.join(" | ")), &rows);
}

/// In MiB, to two decimals.
pub fn mebibytes(bytes: f64) -> String {
    format!("{:.2}", bytes / (1 << 20) as f64)
}
