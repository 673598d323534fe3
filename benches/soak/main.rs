//! Does a herd that is killed, stopped and cut at random, for an hour say, lose anything, or grow?
//!
//! Five servers with small logs, so that these rotate all the time; reporters whose phones move,
//! ask, and turn to another server when theirs is gone. Every half minute all faults are undone and
//! the reporters fall silent until every server holds each phone's last acknowledged report, or a
//! later one, and all hold the same. It ends at once, with logs and journals kept, if that takes too
//! long, or if an answer is wrong: if a server answers with an earlier report than it has acknowledged.
//!
//! Logs are deleted, cut and moved at any time, which harms nothing. A journal loses a file, or is
//! replaced by an older copy, only while all is known everywhere and its server is down: then its
//! neighbours have all that it had, and that is what is promised to come back. Until it has, which the
//! next healing finds, that server alone may answer with less than it has acknowledged.
//!
//! `HERD_SOAK_MINUTES` says how long (2, so that `cargo bench` comes to its end); `HERD_SEED` throws
//! the same dice again, though not at the same moments.

mod cable;
mod faults;
mod figures;
mod phones;
mod report;
mod servers;
#[path = "../support/mod.rs"]
mod support;

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use herd::random::SplitMix64;

use faults::Faults;
use phones::{PHONES, Phones};
use report::mebibytes;
use servers::{Herd, Member};
use support::{Result, grouped, heading, progress, size};

const REPORTERS: usize = 6;
/// What a reporter waits between two lines, on average.
const PAUSE: Duration = Duration::from_millis(20);
const TICK: Duration = Duration::from_millis(50);

fn main() -> Result<()> {
    heading("Does a herd in trouble lose anything, or grow?");
    let minutes: f64 = match env::var("HERD_SOAK_MINUTES") {
        Ok(minutes) => minutes.parse()?,
        Err(_) => size(2.0, 0.1),
    };
    let seed = match env::var("HERD_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64,
    };
    progress(format!("HERD_SEED={seed}, {minutes} minutes"));
    let mut herd = Herd::start()?;
    let mut faults = Faults::default();
    let phones = Phones::new();
    let mut soak = Soak {
        phones: &phones,
        began_at: Instant::now(),
        length: Duration::from_secs_f64(60.0 * minutes),
        healings: Vec::new(),
        resident: Vec::new(),
    };
    let ran = soak.run(&mut herd, &mut faults, seed);
    if let Err(error) = ran.and_then(|()| herd.finish()) {
        let kept = herd.keep();
        let after = soak.began_at.elapsed();
        return Err(format!(
            "HERD_SEED={seed}, after {after:.1?}, see {}: {error}",
            kept.display()
        )
        .into());
    }
    report::tell(&soak, &herd, &faults);
    Ok(())
}

/// A run, and what it has seen.
pub struct Soak<'a> {
    phones: &'a Phones,
    began_at: Instant,
    length: Duration,
    /// How long each healing took until all servers held the same.
    healings: Vec<Duration>,
    /// The resident bytes of each server, each tenth of the time.
    resident: Vec<Vec<f64>>,
}

impl Soak<'_> {
    fn run(&mut self, herd: &mut Herd, faults: &mut Faults, seed: u64) -> Result<()> {
        let mut dice = SplitMix64(seed);
        let places = herd.places();
        let phones = self.phones;
        thread::scope(|scope| {
            let mut reporters = Vec::new();
            for it in 0..REPORTERS {
                let mine = it * PHONES / REPORTERS..(it + 1) * PHONES / REPORTERS;
                let (places, dice) = (&places, SplitMix64(dice.next_u64()));
                reporters.push(scope.spawn(move || phones.report(mine, places, PAUSE, dice)));
            }
            let ended = || reporters.iter().any(|reporter| reporter.is_finished());
            let ran = self.strike_and_heal(herd, faults, &mut dice, ended);
            phones.stop.store(true, Ordering::Relaxed);
            for reporter in reporters {
                reporter.join().map_err(|_| "a reporter panicked")??;
            }
            ran
        })
    }

    fn strike_and_heal(
        &mut self,
        herd: &mut Herd,
        faults: &mut Faults,
        dice: &mut SplitMix64,
        a_reporter_has_ended: impl Fn() -> bool,
    ) -> Result<()> {
        let round = Duration::from_secs(size(30, 2));
        let now = Instant::now();
        let (mut strike_at, mut look_at, mut check_at) = (now, now, now + round);
        let (mut tell_at, mut note_at) = (now, now);
        while self.began_at.elapsed() < self.length && !a_reporter_has_ended() {
            thread::sleep(TICK);
            let now = Instant::now();
            faults.heal(herd, now)?;
            if now >= strike_at {
                let sparing = self.began_at.elapsed() > self.length / 4;
                faults.strike(herd, dice, sparing)?;
                strike_at = now + Duration::from_millis(200 + dice.below(2_400));
            }
            if now >= look_at {
                herd.look()?;
                look_at = now + Duration::from_millis(500);
            }
            if now >= check_at {
                self.heal_and_check(herd, faults, dice)?;
                check_at = Instant::now() + round;
            }
            if now >= note_at {
                let resident = |member: &Member| member.tally.now().resident_bytes;
                self.resident
                    .push(herd.members.iter().map(resident).collect());
                note_at += self.length / 10;
            }
            if now >= tell_at {
                self.tell_progress(herd, faults);
                tell_at += Duration::from_secs(60);
            }
        }
        self.heal_and_check(herd, faults, dice)?;
        faults.heal_all(herd)?; // the journal that was harmed last is made good too
        self.phones.check(&herd.places(), || Ok(()))?;
        herd.look()
    }

    /// Heals everything and waits until all is known everywhere. While it is, and nobody reports anything,
    /// a journal may be harmed.
    fn heal_and_check(
        &mut self,
        herd: &mut Herd,
        faults: &mut Faults,
        dice: &mut SplitMix64,
    ) -> Result<()> {
        faults.heal_all(herd)?;
        let phones = self.phones;
        let places = herd.places();
        let took = phones.check(&places, || {
            let harmed = faults.harm_a_journal(herd, dice)?;
            if let Some(it) = harmed {
                phones.excuse(it);
            }
            Ok(())
        })?;
        self.healings.push(took);
        Ok(())
    }

    fn tell_progress(&self, herd: &Herd, faults: &Faults) {
        let of = |count: &AtomicU64| grouped(count.load(Ordering::Relaxed) as f64);
        let resident = herd
            .members
            .iter()
            .map(|member| member.tally.now().resident_bytes);
        let resident: Vec<String> = resident.map(mebibytes).collect();
        progress(format!(
            "{:.0} s: {} updates, {} questions, {} unanswered; {} healings, the last in {:.1?}; {} \
             kills, {} stops, {} cuts; RSS {} MiB",
            self.began_at.elapsed().as_secs_f64(),
            of(&self.phones.updates),
            of(&self.phones.questions),
            of(&self.phones.unanswered),
            self.healings.len(),
            self.healings.last().copied().unwrap_or_default(),
            faults.kills,
            faults.stops,
            faults.cuts,
            resident.join(" ")
        ));
    }
}
