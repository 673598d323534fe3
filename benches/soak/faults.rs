//! What is done to the herd, at random, and undone some time later.

use std::time::{Duration, Instant};

use herd::random::SplitMix64;

use crate::servers::Herd;
use crate::support::Result;

/// How often each fault has been.
#[derive(Default)]
pub struct Faults {
    pub kills: u64,
    pub kills_of_all: u64,
    pub terminations: u64,
    pub stops: u64,
    pub cuts: u64,
    pub stalls: u64,
    pub delays: u64,
    pub log_deeds: u64,
    pub journals_short_of_a_file: u64,
    pub journals_set_back: u64,
    pub twitter_kills: u64,
    /// When each server is to be brought back, each cable mended, and the stand-in.
    servers: [Option<Instant>; 5],
    cables: [Option<Instant>; 5],
    twitter: Option<Instant>,
}

/// Whose life is to be long.
const SPARED: &str = "Howard";

impl Faults {
    /// Does something. Once `sparing`, all are not killed at once any more, nor is [`SPARED`].
    pub fn strike(&mut self, herd: &mut Herd, dice: &mut SplitMix64, sparing: bool) -> Result<()> {
        let it = dice.below(herd.members.len() as u64) as usize;
        let is_spared = sparing && herd.members[it].name == SPARED;
        match dice.below(24) {
            0..4 if !is_spared && herd.is_running(it) => {
                self.kills += 1;
                herd.kill(it)?;
                self.servers[it] = soon(dice, 3_000);
            }
            4 if !sparing => self.kill_all(herd, dice)?,
            5..7 if !is_spared && herd.is_running(it) => {
                self.terminations += 1;
                herd.terminate(it)?;
                self.servers[it] = soon(dice, 3_000);
            }
            7..10 if herd.is_running(it) => {
                self.stops += 1;
                herd.stop(it)?;
                // Often longer than the 8 s after which its neighbours give it up.
                self.servers[it] = soon(dice, 16_000);
            }
            10..20 => self.strike_cable(herd, dice),
            20..23 => {
                self.log_deeds += 1;
                herd.harm_log(it, dice)?;
            }
            23 if self.twitter.is_none() => {
                self.twitter_kills += 1;
                herd.kill_twitter();
                self.twitter = soon(dice, 5_000);
            }
            _ => {}
        }
        Ok(())
    }

    /// Kills a server whose neighbours have all that it has, and harms its journal; now and then. Gives
    /// which.
    pub fn harm_a_journal(
        &mut self,
        herd: &mut Herd,
        dice: &mut SplitMix64,
    ) -> Result<Option<usize>> {
        let it = dice.below(herd.members.len() as u64) as usize;
        if herd.members[it].name == SPARED {
            return Ok(None);
        }
        match dice.below(4) {
            0 => herd.copy_journal(it)?,
            1 => {
                self.journals_short_of_a_file += 1;
                herd.kill(it)?;
                herd.lose_a_file(it, dice)?;
            }
            _ if herd.members[it].has_a_copy => {
                self.journals_set_back += 1;
                herd.kill(it)?;
                herd.set_journal_back(it)?;
            }
            _ => herd.copy_journal(it)?,
        }
        if herd.is_running(it) {
            return Ok(None);
        }
        self.kills += 1;
        self.servers[it] = soon(dice, 1_000);
        Ok(Some(it))
    }

    fn kill_all(&mut self, herd: &mut Herd, dice: &mut SplitMix64) -> Result<()> {
        herd.start_missing()?; // so that all are killed, and at once
        self.kills_of_all += 1;
        for it in 0..herd.members.len() {
            self.kills += 1;
            herd.kill(it)?;
            self.servers[it] = soon(dice, 1_000);
        }
        Ok(())
    }

    fn strike_cable(&mut self, herd: &Herd, dice: &mut SplitMix64) {
        let which = dice.below(herd.cables.len() as u64) as usize;
        let cable = &herd.cables[which];
        cable.mend();
        match dice.below(4) {
            0 | 1 => {
                self.cuts += 1;
                cable.cut();
            }
            2 => {
                self.stalls += 1;
                let first = dice.below(2) == 0;
                cable.stall(first, !first || dice.below(2) == 0);
            }
            _ => {
                self.delays += 1;
                cable.delay(Duration::from_millis(20 + dice.below(200)));
            }
        }
        self.cables[which] = soon(dice, 16_000);
    }

    /// Undoes what is due by `now`.
    pub fn heal(&mut self, herd: &mut Herd, now: Instant) -> Result<()> {
        let is_due = |at: &mut Option<Instant>| at.take_if(|at| *at <= now).is_some();
        for it in 0..self.servers.len() {
            if is_due(&mut self.servers[it]) {
                herd.bring_back(it)?;
            }
        }
        for (at, cable) in self.cables.iter_mut().zip(&herd.cables) {
            if is_due(at) {
                cable.mend();
            }
        }
        if is_due(&mut self.twitter) {
            herd.start_missing()?;
        }
        Ok(())
    }

    /// Undoes everything.
    pub fn heal_all(&mut self, herd: &mut Herd) -> Result<()> {
        (self.servers, self.cables, self.twitter) = Default::default();
        herd.cables.iter().for_each(|cable| cable.mend());
        herd.start_missing()
    }
}

fn soon(dice: &mut SplitMix64, within_ms: u64) -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(dice.below(within_ms)))
}
