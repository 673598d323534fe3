//! The files in the journal's folder: which of them the next snapshot replaces. Pure.
//!
//! `Journal` is the caller, and hands the steps to the disk.

use super::disk::Step;
use super::format::FileName;
use super::recovery::Found;
use super::snapshot::NEW;

/// The ending of a file that could not be read to its end, and was kept.
const QUARANTINED: &str = ".quarantined";

/// How many of these are kept: those of the highest sequence numbers.
const QUARANTINED_MAX: usize = 4;

/// The files that are there.
#[derive(Debug, Default)]
pub struct Folder {
    /// Those that a snapshot replaces.
    old: Vec<FileName>,
    /// Of these, those that could not be read to their ends.
    damaged: Vec<String>,
    /// Those that were kept before.
    quarantined: Vec<String>,
}

impl Folder {
    /// Notes what a start has found, and what of it could not be read to its end.
    pub fn new(files: &[Found], damaged: Vec<String>) -> Folder {
        let with = |ending| files.iter().filter(move |file| file.ending == ending);
        Folder {
            old: with("").map(|file| file.name).collect(),
            damaged,
            quarantined: with(QUARANTINED).map(Found::text).collect(),
        }
    }

    /// Notes that a file was begun.
    pub fn add(&mut self, name: FileName) {
        self.old.push(name);
    }

    /// Notes that this snapshot is complete. Gives what is to be done about the files that it replaces,
    /// and the names that those get which are kept.
    pub fn replace_before<F>(&mut self, sequence: u64) -> (Vec<Step<F>>, Vec<String>) {
        let mut steps = Vec::new();
        let mut kept = Vec::new();
        for from in self.damaged.drain(..) {
            let to = format!("{from}{QUARANTINED}");
            steps.push(Step::Rename(from, to.clone()));
            kept.push(to);
        }
        self.quarantined.extend(kept.iter().cloned());
        let surplus = self.quarantined.len().saturating_sub(QUARANTINED_MAX);
        let mut removed: Vec<_> = self.quarantined.drain(..surplus).collect();
        let old = self.old.extract_if(.., |name| name.sequence < sequence);
        removed.extend(old.flat_map(|name| [name.to_string(), format!("{name}{NEW}")]));
        steps.extend(removed.into_iter().map(Step::Remove));
        (steps, kept)
    }
}
