//! What all sections are given: the systems, the cores, the number of rounds.

use crate::support::process::{pin, raise_descriptors};
use crate::support::{Result, progress, size};
use crate::systems::Systems;

pub struct Setup {
    pub systems: Systems,
    /// Where the servers run; the generator has another. `None`: they share what there is.
    pub core: Option<&'static str>,
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
        let core = pin();
        let rounds =
            std::env::var("HERD_BENCH_ROUNDS").map_or(Ok(size(5, 1)), |text| text.parse())?;
        Ok(Setup {
            systems,
            core,
            rounds,
        })
    }
}
