//! How soon does a server know what a client has told another?
//!
//! A client of whom nobody has heard reports at the first server; from then on the other is asked
//! where it is, again and again, until it no longer answers `? `. That takes no more than the ports for
//! clients, and is too long by less than one question and its answer, whose time is told beside it. Each
//! client found costs one question to Twitter, and stays in the herd's tables: some hundred a second.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::support::{Client, PATIENCE, Result, grouped, wall_time};

/// Between one client found and the next one's report.
const PAUSE: Duration = Duration::from_millis(5);

/// From one server to another.
pub struct Flood {
    to: SocketAddr,
    /// In nanoseconds.
    found: Histogram<u64>,
    questions: Histogram<u64>,
}

impl Flood {
    /// Reports clients at one server and looks for them at the other, until it is to stop.
    pub fn measure(from: SocketAddr, to: SocketAddr, stop: &AtomicBool) -> Result<Flood> {
        let (mut reporter, mut asker) = (Client::connect(from)?, Client::connect(to)?);
        let (mut found, mut questions) = (Histogram::new(3)?, Histogram::new(3)?);
        while !stop.load(Ordering::Relaxed) || found.is_empty() {
            let client = format!("load-{}-{}", to.port(), wall_time());
            let report = format!("{client} +34.07-118.44 {}", wall_time());
            let said_at = Instant::now();
            reporter.send(&format!("IAMAT {report}"))?;
            loop {
                let asked_at = Instant::now();
                let line = asker.ask(&format!("WHATSAT {client} 1 0"))?;
                if line.starts_with("AT ") {
                    found.record(said_at.elapsed().as_nanos() as u64)?;
                    asker.receive()?; // the tweets
                    match line.trim_end().ends_with(&report) {
                        true => break,
                        false => return Err(format!("not what was said: {line}").into()),
                    }
                }
                questions.record(asked_at.elapsed().as_nanos() as u64)?;
                if said_at.elapsed() > PATIENCE {
                    return Err(format!("{to} does not hear of what {from} is told").into());
                }
            }
            reporter.receive()?;
            thread::sleep(PAUSE);
        }
        Ok(Flood {
            to,
            found,
            questions,
        })
    }
}

impl fmt::Display for Flood {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros =
            |times: &Histogram<u64>, part| grouped(times.value_at_quantile(part) as f64 / 1e3);
        write!(
            out,
            "{} knows after, µs: p50 {}, p90 {}, p99 {}, max {} ({} clients; one question takes {})",
            self.to,
            micros(&self.found, 0.5),
            micros(&self.found, 0.9),
            micros(&self.found, 0.99),
            micros(&self.found, 1.0),
            self.found.len(),
            micros(&self.questions, 0.5)
        )
    }
}
