//! What all sections are given: the systems, the cores, the number of rounds.

use crate::support::process::{Cores, raise_descriptors};
use crate::support::{Result, progress, size};
use crate::systems::Systems;

pub struct Setup {
    pub systems: Systems,
    /// `None`: servers and generator share what there is.
    pub cores: Option<Cores>,
    pub rounds: usize,
}

impl Setup {
    pub fn new() -> Result<Setup> {
        let systems = Systems::look();
        for (name, how) in &systems.absent {
            progress(format!(
                "{name} is not here and is left out; to get it: {how}"
            ));
        }
        raise_descriptors()?;
        let rounds =
            std::env::var("HERD_BENCH_ROUNDS").map_or(Ok(size(5, 1)), |text| text.parse())?;
        Ok(Setup {
            systems,
            cores: Cores::part(),
            rounds,
        })
    }

    /// Where servers run.
    pub fn core(&self) -> Option<&str> {
        self.cores.as_ref().map(|cores| cores.servers.as_str())
    }

    /// Where the generator runs, and what is not to disturb the servers.
    pub fn other_core(&self) -> Option<&str> {
        self.cores.as_ref().map(|cores| cores.generator.as_str())
    }

    /// The number of rounds of a section whose rounds take long, and differ little.
    pub fn few_rounds(&self) -> usize {
        self.rounds.min(2)
    }
}
