//! What a message costs a server, and how many it answers in a second: measured the same way in
//! every section that asks.

use std::time::Duration;

use crate::figures::Quantity;
use crate::support::Result;
use crate::support::generator::{Generator, Outcome, Pace, Until};

pub const CPU: Quantity = Quantity::new("CPU per million", "s", 3);
pub const RATE: Quantity = Quantity::new("messages", "1/s", 0);
pub const SERVER_BUSY: Quantity = Quantity::new("server busy", "%", 0);
pub const GENERATOR_BUSY: Quantity = Quantity::new("generator busy", "%", 0);

/// Of a load in a closed loop.
pub struct Cost {
    /// What its server has used meanwhile.
    server_cpu: Duration,
    pub outcome: Outcome,
}

impl Cost {
    /// Runs the load for so long; `server_cpu` tells what the server has used so far.
    pub fn of(
        load: &mut Generator,
        time: Duration,
        server_cpu: impl Fn() -> Result<Duration>,
    ) -> Result<Cost> {
        let before = server_cpu()?;
        let outcome = load.run(Pace::Closed, Until::Elapsed(time))?;
        Ok(Cost {
            server_cpu: server_cpu()?.saturating_sub(before),
            outcome,
        })
    }

    /// [`CPU`].
    pub fn cpu(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / self.outcome.messages as f64
    }

    /// [`RATE`].
    pub fn rate(&self) -> f64 {
        self.outcome.rate()
    }

    /// [`SERVER_BUSY`].
    pub fn server_busy(&self) -> f64 {
        100.0 * self.server_cpu.as_secs_f64() / self.outcome.elapsed.as_secs_f64()
    }

    /// [`GENERATOR_BUSY`].
    pub fn generator_busy(&self) -> f64 {
        100.0 * self.outcome.own_busy()
    }
}
