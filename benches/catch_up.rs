//! How fast does a fresh neighbour catch up, who suffers meanwhile, and how fast is a flood?
//!
//! Catching up: A has many records; B starts with none. A's feed is in the order in which it
//! accepted them, so B has started to hear when it knows the first, and has all when it knows the
//! last: it is asked with WHATSAT until it no longer answers `? `. Meanwhile a client of A's moves
//! every millisecond; its replies are timed from when each message was due, so a stall counts for
//! all that it delayed.
//!
//! Flood: A, B, C in a line and nothing else to do. A neighbour of C's that we play ourselves sees
//! when what was said to A arrives behind C: three links away.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use support::dialect;
use support::generator::{Generator, Pace, Until};
use support::process::Server;
use support::topology::{Program, Topology};
use support::{Client, PATIENCE, Result, grouped, heading, progress, size, table};

const CONNECTIONS: u32 = 50;
const PIPELINE: usize = 128;
const STEP: Duration = Duration::from_millis(1);
/// Sleeping may take that much too long: the rest of the wait is spent awake.
const SLEEP_SLACK: Duration = Duration::from_micros(150);
/// The link protocol's heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(2);

fn main() -> Result<()> {
    heading("How fast does a fresh neighbour catch up, and who suffers?");
    catch_up(size(1_000_000, 10_000))?;
    heading("How fast is a flood?");
    flood(size(5_000, 100))
}

fn catch_up(records: u32) -> Result<()> {
    let topology = Topology::new(&[("A", "B"), ("B", "")])?;
    let a = topology.start(&Program::herd(), "A", None)?;
    let mut load = Generator::connect(
        a.address,
        &dialect::HERD_A,
        CONNECTIONS,
        PIPELINE,
        0..records,
    )?;
    load.run(
        Pace::Closed,
        Until::Messages((records / CONNECTIONS).into()),
    )?;
    drop(load);
    let mut client = Client::connect(a.address)?;
    client.move_to("last", "+34.07-118.44")?;
    progress(format!("A has {} records", grouped(records.into())));

    let stop = AtomicBool::new(false);
    let quiet = thread::scope(|scope| {
        let mover = scope.spawn(|| move_steadily(&mut client, &stop));
        thread::sleep(Duration::from_millis(size(2_000, 200)));
        stop.store(true, Ordering::Relaxed);
        mover.join().map_err(|_| "the client panicked")?
    })?;
    stop.store(false, Ordering::Relaxed);
    let cpu_before = a.cpu()?;
    let (busy, caught_up) = thread::scope(|scope| {
        let mover = scope.spawn(|| move_steadily(&mut client, &stop));
        let caught_up = start_and_wait(&topology, records);
        stop.store(true, Ordering::Relaxed);
        let busy = mover.join().map_err(|_| "the client panicked")??;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((busy, caught_up?))
    })?;

    let CaughtUp {
        to_first,
        to_last,
        b_cpu,
    } = caught_up;
    let rate = f64::from(records) / (to_last - to_first).as_secs_f64();
    let a_cpu = a.cpu()? - cpu_before;
    let seconds = |time: Duration| format!("{:.3}", time.as_secs_f64());
    table(
        "records | B's start to first, s | first to last, s | records/s | CPU s, A | B",
        &[vec![
            grouped(records.into()),
            seconds(to_first),
            seconds(to_last - to_first),
            grouped(rate),
            seconds(a_cpu),
            seconds(b_cpu),
        ]],
    );
    println!("\nReplies to a client of A's that moves every millisecond:");
    latencies(&[("A idle", quiet), ("B catching up", busy)]);
    Ok(())
}

struct CaughtUp {
    to_first: Duration,
    to_last: Duration,
    b_cpu: Duration,
}

/// Starts B, and waits until it knows what A knows.
fn start_and_wait(topology: &Topology, records: u32) -> Result<CaughtUp> {
    let started = Instant::now();
    let b = topology.start(&Program::herd(), "B", None)?;
    let mut client = Client::connect(b.address)?;
    let mut until_known = |name: &str| -> Result<Duration> {
        while !is_known(&mut client, name)? {
            if started.elapsed() > 10 * PATIENCE {
                return Err(format!("B still does not know {name}").into());
            }
            thread::sleep(STEP);
        }
        Ok(started.elapsed())
    };
    let to_first = until_known("client-00000000")?;
    let to_last = until_known("last")?;
    let b_cpu = b.cpu()?;
    progress(format!("B has caught up after {to_last:.1?}"));
    for record in (0..records).step_by(records as usize / 100) {
        if !is_known(&mut client, &format!("client-{record:08}"))? {
            return Err(format!("B knows the last record, but not client-{record:08}").into());
        }
    }
    Ok(CaughtUp {
        to_first,
        to_last,
        b_cpu,
    })
}

fn is_known(client: &mut Client, name: &str) -> Result<bool> {
    let reply = client.ask(&format!("WHATSAT {name} 1 0"))?;
    let known = reply.starts_with("AT ");
    if known {
        client.receive()?; // Twitter's answer: that there is none
    }
    Ok(known)
}

/// Moves a client every millisecond; returns the times from when it was due until the reply.
fn move_steadily(client: &mut Client, stop: &AtomicBool) -> Result<Histogram<u64>> {
    let mut times = Histogram::new(3)?;
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let wait = due.saturating_duration_since(Instant::now());
        thread::sleep(wait.saturating_sub(SLEEP_SLACK));
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        client.move_to("restless", "+34.07-118.44")?;
        times.record(due.elapsed().as_nanos() as u64)?;
        due += STEP;
    }
    Ok(times)
}

/// Times updates, one after the other, from A's client to behind C.
fn flood(updates: u32) -> Result<()> {
    let topology = Topology::new(&[("A", "B"), ("B", "C"), ("C", "Z"), ("Z", "")])?;
    let start = |name| topology.start(&Program::herd(), name, None);
    let servers: Vec<Server> = ["A", "B", "C"]
        .into_iter()
        .map(start)
        .collect::<Result<_>>()?;
    let mut client = Client::connect(servers[0].address)?;
    let mut watcher = Client::connect(topology.link_address("C")?)?;
    watcher.send("HELLO herd/1 Z C 00000000000000f1 1 - 0")?;
    let mut beaten_at = Instant::now();
    let (mut flooded, mut answered) = (Histogram::new(3)?, Histogram::new(3)?);
    for update in 0..=updates {
        if beaten_at.elapsed() >= HEARTBEAT {
            watcher.send("MARK 0")?;
            beaten_at = Instant::now();
        }
        let message = format!("mover +34.07-118.44 {}", support::wall_time());
        let sent_at = Instant::now();
        client.send(&format!("IAMAT {message}"))?;
        wait_for(&mut watcher, &message)?;
        let arrived = sent_at.elapsed();
        client.receive()?;
        // The first has waited for the links to come up.
        if update > 0 {
            flooded.record(arrived.as_nanos() as u64)?;
        }
        let sent_at = Instant::now();
        client.ask("?")?;
        answered.record(sent_at.elapsed().as_nanos() as u64)?;
    }
    progress(format!("{} updates flooded", grouped(updates.into())));
    let floods = "an update, through A, B and C";
    latencies(&[
        ("for comparison: a senseless line and A's reply", answered),
        (floods, flooded),
    ]);
    Ok(())
}

/// Reads what C floods until it is that record.
fn wait_for(watcher: &mut Client, message: &str) -> Result<()> {
    loop {
        let line = watcher.receive()?;
        if line.starts_with("AT ") && line.trim_end().ends_with(message) {
            return Ok(());
        }
        if line.starts_with("BYE") {
            return Err(format!("C does not want to be watched: {line}").into());
        }
    }
}

fn latencies(rows: &[(&str, Histogram<u64>)]) {
    let row = |(what, times): &(&str, Histogram<u64>)| {
        let us = |value: u64| grouped(value as f64 / 1e3);
        let quantiles = [0.5, 0.99].map(|quantile| us(times.value_at_quantile(quantile)));
        let [p50, p99] = quantiles;
        vec![
            what.to_string(),
            grouped(times.len() as f64),
            p50,
            p99,
            us(times.max()),
        ]
    };
    let rows: Vec<Vec<String>> = rows.iter().map(row).collect();
    table(" | count | p50, µs | p99, µs | max, µs", &rows);
}
