//! Reading a log again: what its records recall, in the order in which they were written.
//!
//! `Log` makes one and turns it, all at once at the start, or in slices while the server runs.

use std::io;

use super::disk::Disk;
use super::record::{self, Line, RECORD_BYTES_MAX, STAMP_BYTES};
use crate::node::recall::Recalled;
use crate::node::table::PREFETCH_MAX;

/// So much of a log is read at once.
const SLICE_BYTES: usize = 256 * 1024;

/// What records recall is handed on so many at a time: as many as the node can look up ahead.
const BATCH_RECORDS: usize = PREFETCH_MAX;

/// No record of a location is shorter.
const RECORD_BYTES_MIN: u64 = 64;

/// How far the reading of one file has come.
#[derive(Debug)]
pub struct Replay {
    /// How long the file was when the reading began.
    len: u64,
    /// Bytes read.
    at: u64,
    /// What is read, after what has no end yet of what was read before.
    bytes: Vec<u8>,
    /// Bytes that have no end yet.
    kept: usize,
    /// Whether we are inside a line that is too long to be a record.
    overlong: bool,
    checkpoint: Seen,
    /// Lines that are no records, where some were lost.
    holes: u64,
    /// The time of the last record that has passed.
    last_stamp: Option<[u8; STAMP_BYTES]>,
}

/// What has been seen of the checkpoint with which the file begins.
#[derive(Debug, Default)]
struct Seen {
    /// Numbered records of it that have passed.
    held: u64,
    /// Where it ended.
    bytes: u64,
    /// A record has passed: it can begin no longer.
    is_late: bool,
    /// One that it does not have has passed.
    others: bool,
}

impl Replay {
    /// The reading of a file of `len` bytes.
    pub fn new(len: u64) -> Replay {
        Replay {
            len,
            at: 0,
            bytes: Vec::new(),
            kept: 0,
            overlong: false,
            checkpoint: Seen::default(),
            holes: 0,
            last_stamp: None,
        }
    }

    /// Bytes read so far.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// How long the checkpoint is with which the file begins, as far as it has been read.
    pub fn checkpoint_bytes(&self) -> u64 {
        self.checkpoint.bytes
    }

    /// How many lines are no records, as far as it has been read.
    pub fn holes(&self) -> u64 {
        self.holes
    }

    /// The time of the last record, as far as it has been read.
    pub fn last_stamp(&self) -> Option<&[u8]> {
        self.last_stamp.as_ref().map(<[u8; _]>::as_slice)
    }

    /// Reads a slice and hands what it recalls to `take`, many records at a time. Says whether there
    /// may be more. A last line without LF is torn, and not believed.
    ///
    /// # Errors
    /// The disk's.
    pub fn step<D: Disk>(
        &mut self,
        disk: &D,
        file: &D::File,
        take: impl FnMut(&[Recalled<'_>]),
    ) -> io::Result<bool> {
        self.step_by(SLICE_BYTES, disk, file, take)
    }

    fn step_by<D: Disk>(
        &mut self,
        slice: usize,
        disk: &D,
        file: &D::File,
        mut take: impl FnMut(&[Recalled<'_>]),
    ) -> io::Result<bool> {
        // What is appended meanwhile we know.
        let slice = (self.len - self.at).min(slice as u64) as usize;
        let most = self.kept + slice;
        if self.bytes.len() < most {
            self.bytes.resize(most, 0);
        }
        let n = match disk.read_at(file, self.at, &mut self.bytes[self.kept..most]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            read => read?,
        };
        self.at += n as u64;
        let end = self.kept + n;
        let mut rest = &mut self.bytes[..end];
        let mut batch: Vec<Recalled<'_>> = Vec::with_capacity(BATCH_RECORDS);
        while let Some(lf) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at_mut(lf + 1);
            rest = after;
            let whole = !std::mem::take(&mut self.overlong) && lf <= RECORD_BYTES_MAX;
            let read = record::read(if whole { &mut line[..lf] } else { &mut [] });
            match read {
                Line::Record { stamp, .. } | Line::Torn { stamp: Some(stamp) } => {
                    self.last_stamp = Some(*stamp);
                }
                Line::Torn { stamp: None } => {}
                Line::Hole => self.holes += 1,
            }
            let Some(recalled) = read.recalled() else {
                continue;
            };
            // A report is answered, then told to each neighbour: the same line again tells nothing new.
            if let Recalled::At { line, .. } = recalled
                && let Some(Recalled::At { line: last, .. }) = batch.last()
                && line == *last
            {
                continue;
            }
            let after = self.at - rest.len() as u64;
            batch.push(self.checkpoint.judge(recalled, after, self.len));
            if batch.len() == BATCH_RECORDS {
                take(&batch);
                batch.clear();
            }
        }
        take(&batch);
        self.overlong |= rest.len() > RECORD_BYTES_MAX;
        self.kept = if self.overlong { 0 } else { rest.len() };
        self.bytes.copy_within(end - self.kept..end, 0);
        if n == 0 && (self.overlong || !record::is_torn(&self.bytes[..self.kept])) {
            // Power failures leave zeros at the end most often.
            self.holes += 1;
            take(&[Recalled::Hole]);
            (self.kept, self.overlong) = (0, false);
        }
        Ok(n > 0)
    }
}

impl Seen {
    /// Takes note of what a record recalls that ends at the byte `after`, in a file of `len` bytes.
    /// Gives what is to be believed of it.
    fn judge<'a>(&mut self, recalled: Recalled<'a>, after: u64, len: u64) -> Recalled<'a> {
        let is_late = std::mem::replace(&mut self.is_late, true);
        match recalled {
            Recalled::Held { .. } => self.held += 1,
            // Somebody has put two logs together: the life that wrote this one knew nothing of the other.
            Recalled::Expect(_) if is_late => {
                self.others = true;
                return Recalled::Hole;
            }
            // Whatever it says, there cannot be more than would fit.
            Recalled::Expect(records) => {
                return Recalled::Expect(records.min(len / RECORD_BYTES_MIN));
            }
            // It is whole only if every record of it is there, and no other: somebody may have cut the log.
            Recalled::Checkpoint { records, .. } => {
                if std::mem::replace(&mut self.others, true) || records != self.held {
                    return Recalled::Hole;
                }
                self.bytes = after;
            }
            Recalled::Life { .. } | Recalled::Hole => {}
            _ => self.others = true,
        }
        recalled
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::files::Files;
    use super::*;

    /// What a log of `bytes` recalls, read by `slice` bytes at once.
    fn read(bytes: &[u8], slice: usize) -> Vec<String> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("Blake.log");
        fs::write(&path, bytes).expect("it can be written");
        let mut files = Files::new(|_, _| {}).expect("a thread");
        let file = files.open(&path).expect("it can be opened");
        let mut replay = Replay::new(bytes.len() as u64);
        let mut recalled = Vec::new();
        let mut take = |batch: &[Recalled<'_>]| {
            recalled.extend(batch.iter().map(|recalled| format!("{recalled:?}")));
        };
        while replay
            .step_by(slice, &files, &file, &mut take)
            .expect("it can be read")
        {}
        recalled.push(format!("a checkpoint of {}", replay.checkpoint_bytes()));
        recalled
    }

    #[test]
    fn what_is_told_again_at_once_is_recalled_once() {
        let record = |second: u32, label: &str, client: &str| {
            let stamp = format!("2012-11-17T02:08:{second:02}.672266766Z");
            format!("{stamp} > {label} AT Blake +0.000000000 {client} +00+000 1\n")
        };
        let log = [
            record(1, "c1", "kiwi"),
            record(2, "s1:Bryant", "kiwi"),
            record(2, "s2:Howard", "kiwi"),
            record(3, "c1", "emu"),
            record(4, "s1:Bryant", "kiwi"),
            "2012-11-17T02:08:05.672266766Z * - gap: 1 record\n".to_owned(),
            record(6, "s2:Howard", "kiwi"),
        ];
        let recalled = read(log.concat().as_bytes(), usize::MAX);
        assert_eq!(recalled.len(), 5 + 1, "{recalled:#?}");
    }

    #[test]
    fn a_log_is_read_alike_however_it_is_sliced() {
        let stamp = "2012-11-17T02:08:23.672266766Z";
        let mut log = Vec::new();
        let mut add = |record: &str| log.extend_from_slice(record.as_bytes());
        add(&format!("{stamp} * - checkpoint of 100 records begins\n"));
        for number in 1..=100 {
            add(&format!(
                "{stamp} = #{number} AT Blake +0.000000000 c\\\\{number}\\xff +00+000 1\n"
            ));
        }
        add(&format!(
            "{stamp} * - checkpoint, incarnation 00000000000000ff at 100, 100 records\n"
        ));
        let checkpoint = log.len();
        let report = |bytes: usize| {
            let rest = format!("{stamp} > c1 AT Blake +0.000000000  +00+000 1").len();
            let client = "x".repeat(bytes - rest);
            format!("{stamp} > c1 AT Blake +0.000000000 {client} +00+000 1\n")
        };
        for bytes in [RECORD_BYTES_MAX, RECORD_BYTES_MAX + 1, 3 * RECORD_BYTES_MAX] {
            log.extend_from_slice(report(bytes).as_bytes());
            log.extend_from_slice(format!("{stamp} < s1:Bryant MARK 7\n").as_bytes());
        }
        log.extend_from_slice(format!("{stamp} < s1:Bryant MARK 8").as_bytes());
        let whole = read(&log, usize::MAX);
        assert_eq!(
            whole.len(),
            1 + 100 + 1 + 1 + 3 + 2 + 1,
            "nothing too long, nothing torn"
        );
        let holes = whole.iter().filter(|recalled| *recalled == "Hole");
        assert_eq!(holes.count(), 2, "what was too long may have been records");
        assert!(
            whole[7].contains("number: 7") && whole[7].contains("99, 92, 55, 255, 32"),
            "{}",
            whole[7]
        );
        assert_eq!(whole.last(), Some(&format!("a checkpoint of {checkpoint}")));
        let short = &log[..checkpoint + 200];
        let of_short = read(short, usize::MAX);
        for slice in 1..300 {
            assert_eq!(read(short, slice), of_short, "sliced by {slice}");
        }
        for slice in [
            4_096,
            RECORD_BYTES_MAX - 1,
            RECORD_BYTES_MAX,
            RECORD_BYTES_MAX + 1,
        ] {
            assert_eq!(read(&log, slice), whole, "sliced by {slice}");
            let behind = [&b"x".repeat(2 * RECORD_BYTES_MAX)[..], b"\n", &log].concat();
            let of_behind = read(&behind, slice);
            let last = of_behind.last().map(String::as_str);
            assert_eq!(last, Some("a checkpoint of 0"), "it does not begin the log");
        }
    }

    #[test]
    fn no_more_records_are_expected_than_would_fit() {
        let expect = |records: u64| {
            let note = format!("checkpoint of {records} records begins");
            format!("2012-11-17T02:08:23.672266766Z * - {note}\n")
        };
        let log = expect(u64::MAX).repeat(20);
        let most = log.len() as u64 / RECORD_BYTES_MIN;
        let recalled = read(log.as_bytes(), usize::MAX);
        assert_eq!(recalled[0], format!("Expect({most})"));
        assert_eq!(recalled[1], "Hole", "a checkpoint begins a file only");
        assert_eq!(read(expect(1).as_bytes(), usize::MAX)[0], "Expect(1)");
    }
}
