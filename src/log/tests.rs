//! The log over real files.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use super::cursor::PASSED_MAX;
use super::disk::Status;
use super::files::Files;
use super::names::{FOREIGN, NEW, OLD, beside};
use super::rotation::RETRY_FIRST;
use super::sync::SYNC_EVERY;
use super::*;
use crate::node::Seeds;
use crate::node::protocol::Incarnation;
use crate::time::Timestamp;
use crate::topology::Topology;

/// What a clock shows that is set.
const TIME: u64 = 1_353_118_103;

/// A log with the node it recalls things to.
struct Bench<D: Disk = Files> {
    log: Log<D>,
    node: Node,
    now: Now,
    synced: Receiver<(Ticket, io::Result<()>)>,
}

fn node(incarnation: u64, now: Now) -> Node {
    let topology = Topology::parse(b"Blake h:1 h:2 Bryant\nBryant h:3 h:4\n");
    let topology = topology.expect("a topology");
    let seeds = Seeds {
        incarnation: Incarnation(incarnation),
        hash_keys: (1, 2),
        jitter: 3,
    };
    Node::new(&topology.members()[0], &topology, seeds, now)
}

fn options(path: &Path) -> Options {
    Options {
        path: path.to_owned(),
        max_bytes: 1 << 30,
        keep: 2,
        fsync: Fsync::Never,
    }
}

impl Bench {
    fn new(options: Options) -> Bench {
        Bench::over(|files| files, options)
    }

    fn opened(options: Options) -> Bench {
        let mut bench = Bench::new(options);
        let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
        opened.expect("the log can be opened");
        bench
    }

    /// One whose beginning is written, and synced if it is to be.
    fn begun(path: &Path, fsync: Fsync) -> Bench {
        let mut bench = Bench::opened(Options {
            fsync,
            ..options(path)
        });
        bench.commit();
        if fsync == Fsync::Second {
            bench.await_sync(); // of the names
            bench.await_sync();
        }
        bench
    }

    /// One whose clock is set, and that forgets `after` so long, if ever.
    fn forgetting(options: Options, after: Option<Duration>) -> Bench {
        let mut bench = Bench::new(options);
        bench.set_clock(0);
        if let Some(after) = after {
            bench.node.forget_after(after, bench.now);
        }
        let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
        opened.expect("the log can be opened");
        bench
    }
}

impl<D: Disk> Bench<D> {
    /// One over a disk that is made of the real one.
    fn over(disk: impl FnOnce(Files) -> D, options: Options) -> Bench<D> {
        let (post, synced) = mpsc::channel();
        let post = move |ticket, outcome| drop(post.send((ticket, outcome)));
        let files = Files::new(post).expect("a thread");
        let now = Now::read();
        Bench {
            log: Log::new(disk(files), options),
            node: node(1, now),
            now,
            synced,
        }
    }

    fn set_clock(&mut self, seconds: u64) {
        self.now.wall = Timestamp::new((TIME + seconds) as i64, 0);
        self.log.set_time(self.now);
    }

    fn note(&mut self, text: &str) {
        self.log
            .record(Direction::Note, Label::None, text.as_bytes());
    }

    /// A client reports, and is answered.
    fn report(&mut self, client: &str, time: u64) {
        let line = format!("AT Blake +0.000000000 {client} +00+000 {time}");
        let mut held = format!("2012-11-17T02:08:23.672266766Z = - {line}").into_bytes();
        let held = record::read(&mut held)
            .recalled()
            .expect("it is vouched for");
        self.node.recall_late(&[held]);
        let label = Label::Client(1);
        self.log.record(Direction::Out, label, line.as_bytes());
    }

    fn commit(&mut self) -> Vec<Notice> {
        self.log.commit(&self.node, self.now);
        std::iter::from_fn(|| self.log.poll_notice()).collect()
    }

    /// Turns until nothing is left to be done.
    fn settle(&mut self) -> Vec<Notice> {
        let mut notices = self.commit();
        loop {
            while self.log.is_busy(self.now) {
                self.log.work(&mut self.node, self.now);
                notices.extend(self.commit());
            }
            if !self.log.rotation.is_under_way() {
                return notices;
            }
            self.await_sync();
        }
    }

    fn await_sync(&mut self) {
        let (ticket, outcome) = self.synced.recv().expect("the thread lives");
        self.log.handle_synced(ticket, outcome, self.now);
    }

    fn later(&mut self, wait: Duration) {
        self.now.mono += wait;
    }

    /// What is known, in the order of the feed.
    fn known(&self) -> Vec<(u64, String)> {
        let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        let changes = self.node.table().changes_after(0);
        changes.map(|c| (c.number, text(c.line))).collect()
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("it is there")
}

/// A log's marks are not to be relied on where the note is gone that says how many records its
/// checkpoint has: a neighbour would never be sent what is missing.
#[test]
fn a_checkpoint_without_its_end_is_not_whole() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let (one, two, three) = (Incarnation(11), Incarnation(12), Incarnation(13));
    let (begins, life) = (note::begins(0), note::life(one, 4));
    for (notes, lives) in [
        (vec![&begins, &life, &note::checkpoint(two, 4, 0)], 3),
        (vec![&begins, &life, &note::checkpoint(two, 3, 0)], 2),
        (vec![&begins, &life], 1),
        (vec![&begins, &life, &note::started(three, 0, 0, None)], 2),
        (vec![&life, &note::checkpoint(two, 4, 0)], 3), // it has all its records
    ] {
        let record = |note: &&String| format!("2012-11-17T02:08:23.672266766Z * - {note}\n");
        fs::write(&path, notes.iter().map(record).collect::<String>()).expect("it can be written");
        let bench = Bench::opened(options(&path));
        assert_eq!(bench.node.lives().count(), lives, "{notes:?}");
    }
}

/// Nor behind the end of another log, as cat puts them together: who wrote it did not know what stands
/// before.
#[test]
fn logs_that_were_put_together_are_not_whole() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let life = |life| Incarnation(life);
    let note = |text: String| format!("* - {text}");
    let started = |incarnation, end| note(note::started(life(incarnation), end, 0, None));
    let begins = |records| note(note::begins(records));
    let checkpoint = |incarnation, end| note(note::checkpoint(life(incarnation), end, 1));
    let forgets = || note(note::forgets(Duration::from_secs(60)));
    let at = |client, time| format!("AT Blake +0.000000000 {client} +00+000 {time}");
    let came = |client, time| format!("> c1 {}", at(client, time));
    let held = |number, client, time| format!("= #{number} {}", at(client, time));
    let logs = [
        // A checkpoint behind others.
        vec![
            started(1, 0),
            came("kiwi", 1),
            begins(1),
            held(3, "emu", 1),
            checkpoint(2, 3),
        ],
        // The same where the first log's end is torn, and takes the beginning of the second with it.
        vec![
            started(1, 0),
            came("kiwi", 1),
            format!("> c1 AT Blake +0.0{}", begins(1)),
            held(3, "emu", 1),
            checkpoint(2, 3),
        ],
        // Behind another checkpoint, with a life after it that began at the right number.
        vec![
            begins(1),
            held(1, "kiwi", 1),
            checkpoint(1, 1),
            begins(1),
            held(5, "emu", 1),
            checkpoint(2, 5),
            started(3, 5),
        ],
        // No checkpoint, and as many that were no news as the number of the next life is behind.
        vec![
            started(1, 0),
            came("emu", 9),
            started(2, 0),
            came("emu", 5),
            came("kiwi", 5),
            started(3, 2),
        ],
        // An older copy of the same log before it.
        vec![
            started(1, 0),
            came("emu", 1),
            started(2, 1),
            came("kiwi", 1),
            begins(1),
            held(6, "kiwi", 3),
            note(note::life(life(1), 1)),
            checkpoint(2, 6),
        ],
        // The older one forgot what the younger one holds.
        vec![
            started(1, 0),
            forgets(),
            came("emu", TIME),
            begins(1),
            held(7, "kiwi", 5),
            checkpoint(2, 7),
        ],
        // And its torn end has taken the beginning of the checkpoint with it.
        vec![
            started(1, 0),
            forgets(),
            came("emu", TIME),
            format!("> c1 AT Blake +0.0{}", begins(1)),
            held(7, "kiwi", 5),
            checkpoint(2, 7),
        ],
    ];
    for records in logs {
        let line = |record: &String| format!("2012-11-17T02:08:23.672266766Z {record}\n");
        let log: String = records.iter().map(line).collect();
        fs::write(&path, &log).expect("it can be written");
        for lives in [1, 2] {
            let mut bench = Bench::opened(options(&path));
            assert_eq!(bench.node.lives().count(), lives, "{log}");
            assert_eq!(bench.node.table().len(), 2, "{log}");
            let replaced = [Notice::NotWhole, Notice::Complete(2)];
            let want = if lives == 1 { &replaced[..] } else { &[] };
            assert_eq!(bench.settle(), want, "{log}");
        }
    }
}

/// Nor where somebody has taken records out, or put some in.
#[test]
fn a_log_that_was_cut_is_not_whole() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let (one, two) = (Incarnation(11), Incarnation(12));
    let kiwi = "AT Blake +0.000000000 kiwi +00+000 1";
    let held = format!("= #2 {kiwi}");
    let came = format!("> c1 {kiwi}");
    let started = |life, end| format!("* - {}", note::started(life, end, 1, None));
    let begins = format!("* - {}", note::begins(1));
    let checkpoint = |records| format!("* - {}", note::checkpoint(one, 2, records));
    for (records, lives) in [
        (vec![&begins, &held, &checkpoint(1), &started(two, 2)], 3),
        (vec![&begins, &held, &checkpoint(2), &started(two, 2)], 1), // a record of it is gone
        (vec![&held, &checkpoint(1), &started(two, 2)], 3),          // only the note is gone
        (vec![&started(one, 0), &came, &started(two, 1)], 3),
        (vec![&started(one, 0), &came, &started(two, 2)], 1), // something between is gone
        (vec![&started(one, 0), &came, &started(two, 0)], 1), // or was put there
    ] {
        let line = |record: &&String| format!("2012-11-17T02:08:23.672266766Z {record}\n");
        let log: String = records.iter().map(line).collect();
        fs::write(&path, &log).expect("it can be written");
        let bench = Bench::opened(options(&path));
        assert_eq!(bench.known().len(), 1, "{log}");
        assert_eq!(bench.node.lives().count(), lives, "{log}");
    }
}

/// A server that was killed within its first write has lost nothing that is worth a word.
#[test]
fn of_a_log_that_holds_nothing_nothing_is_said_to_be_missing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    for torn in ["2", "2012-11-17T02:08:23.672266766Z * - started, inc"] {
        fs::write(&path, torn).expect("it can be written");
        assert_eq!(
            Bench::opened(options(&path)).settle(),
            [Notice::Complete(0)]
        );
    }
}

/// What stands twice makes up for what is lost: numbers are as many as before, but others.
#[test]
fn behind_a_hole_no_life_is_believed_until_the_log_has_been_replaced() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let (one, two) = (Incarnation(11), Incarnation(12));
    let stamp = "2012-11-17T02:08:23.672266766Z";
    let at = |client| format!("AT Blake +0.000000000 {client} +00+000 1");
    let records = [
        format!("* - {}", note::started(one, 0, 0, None)),
        format!("> c1 {}", at("kiwi")),
        format!("> c1 {}", at("emu")),
        format!("> s1:Bryant {}", at("kiwi")),
        format!("* - {}", note::started(two, 2, 2, None)),
    ];
    let lines = records.map(|record| format!("{stamp} {record}\n"));
    fs::write(&path, lines.concat()).expect("it can be written");
    let bench = Bench::opened(options(&path));
    assert_eq!(bench.node.lives().count(), 3);
    drop(bench);

    let hole = "\0".repeat(lines[1].len() - 1) + "\n";
    let lines = [&lines[0], &hole, &lines[2], &lines[3], &lines[4]];
    fs::write(&path, lines.map(String::as_str).concat()).expect("it can be written");
    let mut bench = Bench::opened(options(&path));
    assert_eq!(bench.node.table().end(), 2, "as the second life says");
    assert_eq!(bench.node.lives().count(), 1, "but not with these numbers");
    let notices = bench.settle();
    assert!(notices.contains(&Notice::Holes(1)), "{notices:?}");
    assert!(notices.contains(&Notice::Complete(2)), "{notices:?}");
    drop(bench);
    let bench = Bench::opened(options(&path));
    assert_eq!(bench.node.lives().count(), 2, "the life before, and this");
}

/// Who wrote what follows may have been told to forget nothing.
#[test]
fn behind_a_gap_or_a_hole_nothing_expires_until_the_log_says_so() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let stamp = "2012-11-17T02:08:23.672266766Z";
    let started = format!(
        "{stamp} * - {}\n",
        note::started(Incarnation(11), 0, 0, None)
    );
    let forgets = format!("{stamp} * - {}\n", note::forgets(Duration::from_secs(60)));
    let gap = format!("{stamp} * - {GAP}1 record\n");
    let hole = format!("{}\n", "\0".repeat(100));
    let old = format!("{stamp} > c1 AT Blake +0.000000000 kiwi +00+000 1\n");
    for (behind, known) in [
        (String::new(), 0),
        (gap.clone(), 1),
        (hole.clone(), 1),
        (gap + &forgets, 0),
        (hole + &forgets, 0),
    ] {
        fs::write(&path, [&*started, &forgets, &behind, &old].concat()).expect("it can be written");
        let bench = Bench::opened(options(&path));
        assert_eq!(bench.known().len(), known, "{behind}");
    }
}

/// Wherever the hole is: before the beginning, or at the end, where it is no line yet.
#[test]
fn a_start_says_that_the_log_has_a_hole_and_the_next_that_it_has_none() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let stamp = "2012-11-17T02:08:23.672266766Z";
    let started = format!(
        "{stamp} * - {}\n",
        note::started(Incarnation(11), 0, 0, None)
    );
    let report = format!("{stamp} > c1 AT Blake +0.000000000 kiwi +00+000 1\n");
    let torn = format!("{stamp} > c1 AT Blake +0.000");
    let zeros = "\0".repeat(4096);
    let long = "x".repeat(record::RECORD_BYTES_MAX + 1);
    for (log, holes) in [
        (format!("{started}{report}"), 0),
        (format!("{started}{report}{torn}"), 0),
        (format!("\n{started}{report}"), 1),
        (format!("{started}{report}{zeros}"), 1),
        (format!("{started}{report}{torn}{zeros}"), 1),
        (format!("{started}{report}{long}"), 1),
        (format!("{started}{zeros}\n{report}{zeros}"), 2),
    ] {
        fs::write(&path, &log).expect("it can be written");
        let mut bench = Bench::opened(options(&path));
        assert_eq!(bench.known().len(), 1);
        let lives = if holes == 0 { 2 } else { 1 };
        assert_eq!(bench.node.lives().count(), lives);
        let notices = bench.settle();
        let want = [Notice::Holes(holes), Notice::Complete(1)];
        assert_eq!(notices, if holes == 0 { &[][..] } else { &want });
        drop(bench);
        let mut bench = Bench::opened(options(&path));
        assert_eq!(bench.known().len(), 1);
        assert_eq!(bench.node.lives().count(), lives + 1);
        assert_eq!(bench.settle(), []);
    }
}

/// A neighbour may have marked what that life passed over as expired, and which is known again to one that
/// remembers for longer.
#[test]
fn no_mark_of_a_forgetful_life_is_believed_later_wherever_the_log_is_torn() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let mut bench = Bench::forgetting(options(&path), None);
    bench.report("kiwi", 5);
    bench.commit();
    drop(bench);
    let before = text(&path).len();
    let mut bench = Bench::new(options(&path));
    bench.node = node(2, bench.now);
    bench.set_clock(0);
    let after = Duration::from_secs(100);
    bench.node.forget_after(after, bench.now);
    let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
    opened.expect("the log can be opened");
    bench.commit();
    drop(bench);
    let log = text(&path);
    for end in before..=log.len() {
        fs::write(&path, &log[..end]).expect("it can be written");
        let mut bench = Bench::new(options(&path));
        bench.node = node(3, bench.now);
        let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
        opened.expect("the log can be opened");
        assert_eq!(bench.known().len(), 1);
        let mut lives = bench.node.lives();
        assert!(lives.all(|(life, _)| life != Incarnation(2)), "{end}");
    }
}

/// What had expired and was swept, and so is in the checkpoint only, must not come back from there:
/// reports that were news to the server would not be to a replay.
#[test]
fn a_checkpoint_is_begun_anew_when_the_clock_is_set_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let short = Options {
        max_bytes: 1,
        ..options(&path)
    };
    let mut bench = Bench::forgetting(short, Some(Duration::from_secs(100)));
    bench.report("kiwi", TIME + 50);
    (0..60).for_each(|n| bench.report(&format!("client{n}"), TIME));
    bench.commit();
    while !bench.log.rotation.is_under_way() || bench.log.is_busy(bench.now) {
        bench.log.work(&mut bench.node, bench.now);
    }
    bench.set_clock(200);
    while !bench.node.table().is_empty() {
        bench.later(Duration::from_secs(1));
        bench.node.handle_timeout(bench.now, &mut ());
    }
    bench.set_clock(10);
    bench.log.note_gap(&bench.node, "the clock was set back");
    bench.node.handle_timeout(bench.now, &mut ());
    bench.report("kiwi", TIME + 5);
    bench.report("kiwi", TIME + 6);
    let notices = bench.settle();
    assert!(notices.contains(&Notice::Rotated(1)), "{notices:?}");
    bench.report("emu", TIME + 7);
    bench.commit();
    let known = bench.known();
    assert_eq!(known.len(), 2, "{known:?}");
    drop(bench);
    let again = Bench::opened(options(&path));
    assert_eq!(again.known(), known, "{}", text(&path));
}

/// Were it known again after the clock was set back, a report could lose against it that is in no
/// log: a restart would know neither.
#[test]
fn what_the_log_passes_over_as_expired_is_forgotten() {
    for lacking in [false, true] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("Blake.log");
        let mut bench = Bench::forgetting(options(&path), Some(Duration::from_secs(100)));
        bench.commit();
        bench.node.handle_timeout(bench.now, &mut ()); // the next sweep is due some seconds later
        let fail = |bench: &mut Bench| bench.log.fail(&io::Error::other("planted"), bench.now);
        if lacking {
            fail(&mut bench);
        }
        bench.report("kiwi", TIME);
        bench.commit();
        bench.set_clock(200);
        bench.node.handle_timeout(bench.now, &mut ());
        match lacking {
            true => bench.later(RETRY),
            false => bench.log.rotation.want_now(Cause::Doubt),
        }
        bench.settle();
        bench.set_clock(10);
        bench.log.note_gap(&bench.node, "the clock was set back");
        bench.commit();
        bench.node.handle_timeout(bench.now, &mut ());
        fail(&mut bench);
        bench.report("kiwi", TIME - 5);
        bench.later(RETRY);
        bench.settle();
        let known = bench.known();
        assert_eq!(known.len(), 1, "lacking: {lacking}");
        drop(bench);
        let again = Bench::opened(options(&path)).known();
        assert_eq!(again.len(), 1, "lacking: {lacking}, {}", text(&path));
        assert_eq!(again[0].1, known[0].1, "lacking: {lacking}");
    }
}

#[test]
fn a_life_whose_beginning_could_not_be_written_says_after_the_gap_how_long_it_remembers() {
    let span = Some(Duration::from_secs(3));
    for (before, after) in [(None, span), (span, None)] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("Blake.log");
        Bench::forgetting(options(&path), before).commit();
        let mut bench = Bench::forgetting(options(&path), after);
        bench.log.fail(&io::Error::other("planted"), bench.now);
        bench.commit();
        bench.later(RETRY);
        bench.settle();
        bench.node.handle_timeout(bench.now, &mut ());
        bench.report("kiwi", TIME - 50);
        bench.commit();
        let known = bench.known();
        assert_eq!(known.is_empty(), after.is_some(), "it comes too late");
        drop(bench);
        let again = Bench::opened(options(&path)).known();
        assert_eq!(again, known, "{}", text(&path));
    }
}

#[test]
fn what_was_committed_is_replayed_and_a_torn_end_is_not() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("new/Blake.log");
    let mut bench = Bench::opened(options(&path));
    bench.report("kiwi", 1);
    assert_eq!(bench.commit(), []);
    let known = bench.known();
    drop(bench);
    let whole = fs::read(&path).expect("it was written");
    assert_eq!(Bench::opened(options(&path)).known(), known);
    for cut in 0..whole.len() {
        // The machine stopped within the write: nothing of the record may be believed, not even
        // after a later start has written on.
        fs::write(&path, &whole[..cut]).expect("it can be written");
        let mut bench = Bench::opened(options(&path));
        assert_eq!(bench.known(), [], "cut at {cut}");
        bench.report("kiwi", 1);
        bench.commit();
        drop(bench);
        assert_eq!(Bench::opened(options(&path)).known(), known, "cut at {cut}");
    }
}

#[test]
fn a_log_in_use_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let _first = Bench::opened(options(&path));
    let mut second = Bench::new(options(&path));
    let opened = second.log.open(&mut second.node, second.now, |_, _| {});
    assert!(matches!(opened, Err(OpenError::InUse)));
}

#[test]
fn a_log_that_cannot_be_had_is_said_once_and_tried_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let blocked = directory.path().join("logs");
    fs::write(&blocked, "a file where a directory should be").expect("it can be written");
    let path = blocked.join("Blake.log");
    let mut bench = Bench::new(options(&path));
    let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
    assert!(matches!(opened, Err(OpenError::Io(_))));
    bench.report("kiwi", 1);
    assert_eq!(bench.commit(), [], "whoever opened it has been told");
    bench.later(RETRY);
    assert_eq!(bench.commit(), [], "it fails again, and says nothing");
    fs::remove_file(&blocked).expect("it is there");
    bench.note("three");
    assert_eq!(bench.commit(), [], "not yet");
    bench.note("four");
    bench.later(RETRY);
    assert_eq!(
        bench.settle(),
        [Notice::Recovered(3), Notice::Complete(1)],
        "two of them by the start"
    );
    assert_eq!(bench.log.poll_timeout(), None);
    let known = bench.known();
    drop(bench);
    let past = text(&beside(&path, "1"));
    assert!(past.contains("gap: 3 records could not"), "{past}");
    assert!(past.contains("* - four\n") && !past.contains("three"));
    assert_eq!(Bench::opened(options(&path)).known(), known);
}

/// A log of 5,000 clients that cannot be had at the start, is back when one more has reported, and
/// is written again but has not been read.
fn come_back(path: &Path) -> Bench {
    come_back_with(path, b"")
}

/// The same, with something at its end.
fn come_back_with(path: &Path, end: &[u8]) -> Bench {
    let aside = path.with_extension("aside");
    let mut bench = Bench::opened(options(path));
    (0..5_000).for_each(|n| bench.report(&format!("old{n}"), 1));
    bench.commit();
    drop(bench);
    let log = [&fs::read(path).expect("it is there"), end].concat();
    fs::write(path, log).expect("it can be written");
    fs::rename(path, &aside).expect("it is there");
    fs::create_dir(path).expect("nothing is there");
    let mut bench = Bench::new(options(path));
    let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
    assert!(matches!(opened, Err(OpenError::Io(_))));
    bench.report("kiwi", 1);
    bench.commit();
    fs::remove_dir(path).expect("it is there");
    fs::rename(&aside, path).expect("it is there");
    bench.later(RETRY);
    assert_eq!(bench.commit(), [Notice::Recovered(2)]);
    bench
}

#[test]
fn an_old_log_that_comes_back_while_the_server_runs_is_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let mut bench = come_back(&path);
    assert_eq!(bench.settle(), [Notice::Complete(5_001)]);
    drop(bench);
    assert_eq!(Bench::opened(options(&path)).known().len(), 5_001);
}

#[test]
fn an_old_log_that_comes_back_with_a_hole_is_replaced_at_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let mut bench = come_back_with(&path, b"\0\0\0\n");
    let notices = bench.settle();
    assert!(notices.contains(&Notice::Holes(1)), "{notices:?}");
    drop(bench);
    let mut bench = Bench::opened(options(&path));
    assert_eq!(bench.known().len(), 5_001);
    assert_eq!(bench.commit(), []);
}

#[test]
fn an_old_log_that_comes_back_is_read_before_another_replaces_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let mut bench = come_back(&path);
    bench.log.fail(&io::Error::other("planted"), bench.now);
    bench.log.rotation.want_now(Cause::Doubt);
    assert!(matches!(
        bench.settle()[..],
        [
            Notice::Failing(_),
            Notice::Recovered(0),
            Notice::Complete(5_001)
        ]
    ));
    drop(bench);
    assert_eq!(Bench::opened(options(&path)).known().len(), 5_001);
}

/// What had expired at the time of the last turn may be known again if the clock was set back since,
/// whatever the last record of that turn looks like.
#[test]
fn a_last_record_that_ends_as_torn_tells_what_the_clock_showed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let span = Some(Duration::from_secs(100));
    for (last, knows_again) in [
        ("2012-11-17T02:00:00.000000000Z < c1 hello", false),
        ("2012-11-17T03:00:00.000000000Z < c1 hello", true),
        ("2012-11-17T03:00:00.000000000Z < c1 \\... torn", true),
    ] {
        let stamp = "2012-11-17T01:00:00.000000000Z";
        let forgets = Some(Duration::from_secs(100));
        let started = note::started(Incarnation(11), 0, 0, forgets);
        let log = format!("{stamp} * - {started}\n{last}\n");
        fs::write(&path, log).expect("it can be written");
        let bench = Bench::forgetting(options(&path), span);
        assert_eq!(bench.node.knows_again(), knows_again, "{last}");
    }
}

/// A disk on which one file cannot be read from a place on, or may not be written.
#[derive(Debug)]
struct Ailing {
    files: Files,
    /// The file's number.
    inode: u64,
    readable: u64,
    is_writable: bool,
    /// Nothing can be appended.
    is_full: Rc<Cell<bool>>,
    /// Files can have second names.
    knows_links: bool,
    /// How many times it was waited for the disk.
    waits: Rc<Cell<u32>>,
}

impl Ailing {
    fn new(files: Files) -> Ailing {
        Ailing {
            files,
            inode: 0,
            readable: 0,
            is_writable: true,
            is_full: Rc::default(),
            knows_links: true,
            waits: Rc::default(),
        }
    }

    fn without_links(files: Files) -> Ailing {
        Ailing {
            knows_links: false,
            ..Ailing::new(files)
        }
    }

    /// The file at `path` is spoilt from its middle on.
    fn spoilt(path: &Path) -> impl FnOnce(Files) -> Ailing {
        let about = fs::metadata(path).expect("it is there");
        move |files| Ailing {
            inode: about.ino(),
            readable: about.len() / 2,
            ..Ailing::new(files)
        }
    }

    /// The file at `path` may only be read, as the super-user's.
    fn unwritable(path: &Path) -> impl FnOnce(Files) -> Ailing {
        let about = fs::metadata(path).expect("it is there");
        move |files| Ailing {
            inode: about.ino(),
            readable: about.len(),
            is_writable: false,
            ..Ailing::new(files)
        }
    }
}

impl Disk for Ailing {
    type File = <Files as Disk>::File;

    fn read_at(&self, file: &Self::File, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        if file.metadata()?.ino() != self.inode {
            return self.files.read_at(file, at, bytes);
        }
        let most = bytes.len().min(self.readable.saturating_sub(at) as usize);
        match most {
            0 => Err(io::Error::other("a bad sector")),
            _ => self.files.read_at(file, at, &mut bytes[..most]),
        }
    }

    fn open(&mut self, path: &Path) -> Result<Self::File, OpenError> {
        let is_this = fs::metadata(path).is_ok_and(|about| about.ino() == self.inode);
        match is_this && !self.is_writable {
            true => Err(OpenError::Io(io::ErrorKind::PermissionDenied.into())),
            false => self.files.open(path),
        }
    }
    fn open_to_read(&mut self, path: &Path) -> Result<Self::File, OpenError> {
        self.files.open_to_read(path)
    }
    fn create(&mut self, path: &Path) -> Result<Self::File, OpenError> {
        self.files.create(path)
    }
    fn append(&mut self, file: &mut Self::File, bytes: &[u8]) -> io::Result<usize> {
        match self.is_full.get() {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => self.files.append(file, bytes),
        }
    }
    fn status(&self, file: &Self::File) -> io::Result<Status> {
        self.files.status(file)
    }
    fn sync(&mut self, file: &Self::File) -> io::Result<()> {
        self.waits.set(self.waits.get() + 1);
        self.files.sync(file)
    }
    fn sync_later(&mut self, file: &Self::File, ticket: Ticket) {
        self.files.sync_later(file, ticket);
    }
    fn sync_directory(&mut self, path: &Path) -> io::Result<()> {
        self.waits.set(self.waits.get() + 1);
        self.files.sync_directory(path)
    }
    fn sync_directory_later(&mut self, path: &Path, ticket: Ticket) {
        self.files.sync_directory_later(path, ticket);
    }
    fn is_at(&self, file: &Self::File, path: &Path) -> bool {
        self.files.is_at(file, path)
    }
    fn len_at(&self, path: &Path) -> Option<u64> {
        self.files.len_at(path)
    }
    fn is_special_at(&self, path: &Path) -> bool {
        self.files.is_special_at(path)
    }
    fn name_again(&mut self, file: &Self::File, path: &Path) -> io::Result<()> {
        match self.knows_links {
            true => self.files.name_again(file, path),
            false => Err(io::ErrorKind::Unsupported.into()),
        }
    }
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)
    }
    fn remove_later(&mut self, path: &Path) {
        self.files.remove_later(path);
    }
    fn close_later(&mut self, file: Self::File) {
        self.files.close_later(file);
    }
    fn moved_away_last(&self, path: &Path) -> Option<PathBuf> {
        self.files.moved_away_last(path)
    }
}

/// A log of 100 clients.
fn write_a_hundred(path: &Path) {
    let mut bench = Bench::opened(options(path));
    (0..100).for_each(|n| bench.report(&format!("client{n}"), 1));
    bench.commit();
}

#[test]
fn a_log_that_cannot_all_be_read_is_replaced_at_once_and_kept() {
    for keep in [0, 2] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("Blake.log");
        write_a_hundred(&path);
        let spoilt = text(&path);
        let options = Options {
            keep,
            ..options(&path)
        };
        let mut bench = Bench::over(Ailing::spoilt(&path), options.clone());
        let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
        opened.expect("it can be written");
        let clients = bench.known().len();
        assert!((40..60).contains(&clients), "{clients}");
        bench.report("kiwi", 1);
        let notices = bench.settle();
        let complete = Notice::Complete(clients + 1);
        assert!(
            matches!(&notices[..], [Notice::Unread(_), last] if *last == complete),
            "{notices:?}"
        );
        let known = bench.known();
        drop(bench);
        // What is kept may be read one day, or by somebody else.
        assert!(text(&beside(&path, "1")).starts_with(&spoilt), "{keep}");
        let mut again = Bench::over(Ailing::spoilt(&beside(&path, "1")), options);
        let opened = again.log.open(&mut again.node, again.now, |_, _| {});
        opened.expect("it can be written");
        assert_eq!(again.known(), known, "keep: {keep}");
    }
}

#[test]
fn a_log_that_comes_back_and_cannot_all_be_read_is_replaced_at_once_and_kept() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let aside = path.with_extension("aside");
    write_a_hundred(&path);
    fs::rename(&path, &aside).expect("it is there");
    fs::create_dir(&path).expect("nothing is there");
    let mut bench = Bench::over(Ailing::spoilt(&aside), options(&path));
    let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
    assert!(matches!(opened, Err(OpenError::Io(_))));
    bench.report("kiwi", 1);
    bench.commit();
    fs::remove_dir(&path).expect("it is there");
    fs::rename(&aside, &path).expect("it is there");
    bench.later(RETRY);
    let notices = bench.settle();
    let known = bench.known();
    assert!((40..60).contains(&known.len()), "{known:?}");
    let complete = Notice::Complete(known.len());
    assert!(
        matches!(&notices[..], [Notice::Recovered(2), Notice::Unread(_), last] if *last == complete),
        "{notices:?}"
    );
    drop(bench);
    assert!(beside(&path, "1").exists());
    assert_eq!(Bench::opened(options(&path)).known(), known);
}

/// While it is there no log can be replaced, as if the disk were full.
struct InTheWay([PathBuf; 2]);

impl InTheWay {
    fn of(path: &Path) -> InTheWay {
        let paths = [NEW, OLD].map(|name| beside(path, name));
        for directory in &paths {
            // With something in it a directory can be neither removed nor written over.
            fs::create_dir_all(directory.join("x")).expect("nothing is there");
        }
        InTheWay(paths)
    }

    fn remove(self) {
        for directory in self.0 {
            fs::remove_dir_all(directory).expect("it is there");
        }
    }
}

/// As below.
#[test]
fn replacing_a_log_that_was_deleted_is_tried_again_soon_however_often_it_fails() {
    for has_hole in [false, true] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("Blake.log");
        write_a_hundred(&path);
        if has_hole {
            let log = fs::read(&path).expect("it is there");
            fs::write(&path, [b"\n", &log[..]].concat()).expect("it can be written");
        }
        let mut bench = Bench::new(options(&path));
        let in_the_way = InTheWay::of(&path);
        let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
        opened.expect("it can be written");
        for _ in 0..10 {
            bench.settle();
            bench.later(RETRY_FIRST); // so that one with a hole is put off for long
        }
        fs::remove_file(&path).expect("it is there");
        bench.later(SYNC_EVERY);
        bench.report("kiwi", 1);
        assert!(
            matches!(bench.settle()[..], [Notice::Spoilt, Notice::NotRotated(_)]),
            "has a hole: {has_hole}"
        );
        for _ in 0..10 {
            bench.later(RETRY_FIRST);
            assert!(bench.log.is_busy(bench.now), "it is tried again");
            assert_eq!(bench.settle(), []);
        }
        in_the_way.remove();
        bench.later(RETRY_FIRST);
        let known = bench.known();
        assert_eq!(bench.settle(), [Notice::Complete(known.len())]);
        drop(bench);
        assert_eq!(Bench::opened(options(&path)).known(), known);
    }
}

/// Though it is to be replaced, since no life begins in it.
#[test]
fn a_log_that_was_made_late_is_given_what_it_lacks_as_long_as_it_cannot_be_replaced() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let logs = directory.path().join("logs");
    let path = logs.join("Blake.log");
    fs::write(&logs, "").expect("it can be written");
    let mut bench = Bench::new(options(&path));
    let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
    assert!(matches!(opened, Err(OpenError::Io(_))));
    bench.report("kiwi", 1);
    bench.commit();
    fs::remove_file(&logs).expect("it is there");
    let in_the_way = InTheWay::of(&path);
    bench.later(RETRY);
    bench.report("emu", 1);
    assert!(matches!(
        bench.settle()[..],
        [
            Notice::Recovered(2),
            Notice::NotRotated(_),
            Notice::Complete(2)
        ]
    ));
    let copy = directory.path().join("copy.log");
    fs::copy(&path, &copy).expect("it is there");
    assert_eq!(Bench::opened(options(&copy)).known().len(), 2);
    in_the_way.remove();
    bench.later(RETRY_FIRST);
    assert_eq!(bench.settle(), [Notice::Complete(2)]);
}

/// Everything hangs on it: it does not wait for an hour, as one that was only too long may.
#[test]
fn replacing_a_log_that_cannot_all_be_read_is_tried_again_soon_however_often_it_fails() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    write_a_hundred(&path);
    let in_the_way = InTheWay::of(&path);
    let mut bench = Bench::over(Ailing::spoilt(&path), options(&path));
    let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
    opened.expect("it can be written");
    assert!(matches!(
        bench.settle()[..],
        [Notice::Unread(_), Notice::NotRotated(_)]
    ));
    for _ in 0..10 {
        bench.later(RETRY_FIRST);
        assert!(bench.log.is_busy(bench.now), "it is tried again");
        assert_eq!(bench.settle(), []);
    }
    in_the_way.remove();
    bench.later(RETRY_FIRST);
    assert!(matches!(bench.settle()[..], [Notice::Complete(_)]));
}

/// Its last byte cannot either, which tells whether the last record is torn.
#[test]
fn a_log_of_which_nothing_can_be_read_is_replaced_too() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    write_a_hundred(&path);
    let spoilt = Ailing::spoilt(&path);
    let spoilt = |files| Ailing {
        readable: 0,
        ..spoilt(files)
    };
    let mut bench = Bench::over(spoilt, options(&path));
    let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
    opened.expect("it can be written");
    bench.report("kiwi", 1);
    assert!(matches!(
        bench.settle()[..],
        [Notice::Unread(_), Notice::Complete(1)]
    ));
    let known = bench.known();
    drop(bench);
    assert_eq!(Bench::opened(options(&path)).known(), known);
}

#[test]
fn a_full_device_is_survived() {
    let path = Path::new("/dev/full");
    if !path.exists() {
        return println!("skipped: this system has no /dev/full");
    }
    let mut bench = Bench::opened(options(path));
    assert!(matches!(
        bench.commit()[..],
        [Notice::NoFile, Notice::Failing(_)]
    ));
    bench.note("two");
    assert_eq!(bench.commit(), []);
    bench.later(RETRY);
    assert_eq!(bench.settle(), []);
}

#[test]
fn a_turn_too_long_for_the_buffer_is_written_in_parts_or_given_up_whole() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let line = vec![b'x'; 60_000];
    let mut bench = Bench::opened(options(&path));
    (0..40).for_each(|_| bench.log.record(Direction::In, Label::Client(1), &line));
    assert!(bench.log.turn.len() < BUFFER_BYTES_MAX);
    assert_eq!(bench.commit(), []);
    assert_eq!(text(&path).lines().count(), 41);
    if !Path::new("/dev/full").exists() {
        return println!("skipped in part: this system has no /dev/full");
    }
    let mut bench = Bench::opened(options(Path::new("/dev/full")));
    (0..40).for_each(|_| bench.log.record(Direction::In, Label::Client(1), &line));
    assert!(matches!(
        bench.commit()[..],
        [Notice::NoFile, Notice::Failing(_)]
    ));
    assert_eq!(bench.log.state.missing(), 41);
}

#[test]
fn a_long_log_is_replaced_by_one_that_knows_everything_under_the_same_numbers() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let small = Options {
        max_bytes: 100_000,
        ..options(&path)
    };
    let mut bench = Bench::opened(small.clone());
    let mut rotations = 0;
    for time in 1..=100 {
        (0..100).for_each(|n| bench.report(&format!("client{n}"), time + n));
        let notices = bench.settle();
        rotations += notices.len();
        let rotated = Notice::Rotated(100);
        assert!(notices.iter().all(|n| *n == rotated), "{notices:?}");
        let length = fs::metadata(&path).expect("it is there").len();
        assert!(length < 110_000, "{length}");
    }
    assert!((7..=12).contains(&rotations), "{rotations}");
    for (ending, there) in [("1", true), ("2", true), ("3", false), ("new", false)] {
        assert_eq!(beside(&path, ending).exists(), there, "{ending}");
    }
    let known = bench.known();
    let lives: Vec<_> = bench.node.lives().collect();
    drop(bench);
    let again = Bench::opened(small);
    assert_eq!(again.known(), known);
    assert_eq!(again.node.lives().next(), Some((lives[0].0, Some(10_000))));
    // Each of those that are kept is whole too.
    let kept = Bench::opened(options(&beside(&path, "2")));
    assert_eq!(kept.known().len(), 100);
}

/// They are counted on the loop, and each look costs a system call.
#[test]
fn as_many_may_be_kept_as_there_are_numbers() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let mut bench = Bench::opened(Options {
        keep: u32::MAX,
        ..options(&path)
    });
    let kept = |number: u32| beside(&path, &number.to_string());
    for rotation in 1..=5 {
        bench.report(&format!("client{rotation}"), 1);
        bench.log.rotation.want_now(Cause::Doubt);
        assert_eq!(bench.settle(), [Notice::Complete(rotation)]);
    }
    for number in 1..=6 {
        assert_eq!(kept(number).exists(), number <= 5, "{number}");
    }
    // The oldest of them has the first client only.
    let clients = |number| text(&kept(number)).matches(" AT Blake ").count();
    assert_eq!((clients(5), clients(1)), (1, 5));
    // A number that is free takes the one before it, and those behind stay.
    fs::remove_file(kept(3)).expect("it is there");
    bench.log.rotation.want_now(Cause::Doubt);
    bench.settle();
    let there: Vec<_> = (1..=6).filter(|number| kept(*number).exists()).collect();
    assert_eq!(there, [1, 2, 3, 4, 5]);
    assert_eq!((clients(4), clients(5)), (2, 1));
    // And those that are too many go, each by itself: were they all moved to one name, each move but
    // the first would wait until the one before is deleted.
    fs::create_dir_all(beside(&path, OLD).join("x")).expect("nothing is there");
    bench.log.options.keep = 2;
    bench.log.rotation.want_now(Cause::Doubt);
    bench.settle();
    wait_until_gone(&[3, 4, 5].map(kept));
    assert!(kept(2).exists() && kept(1).exists());
}

fn wait_until_gone(paths: &[PathBuf]) {
    let until = Instant::now() + Duration::from_secs(10);
    while let Some(path) = paths.iter().find(|path| path.exists()) {
        assert!(Instant::now() < until, "{} is there", path.display());
        thread::yield_now();
    }
}

/// A rotation that failed after that is tried again: the log is not kept twice.
#[test]
fn a_log_that_has_the_name_under_which_it_is_kept_is_not_kept_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let mut bench = Bench::opened(Options {
        max_bytes: 1,
        ..options(&path)
    });
    (0..100).for_each(|n| bench.report(&format!("client{n}"), 1));
    bench.commit();
    let old = text(&path);
    fs::hard_link(&path, beside(&path, "1")).expect("this file system can");
    assert_eq!(bench.settle(), [Notice::Rotated(100)]);
    assert_eq!(text(&beside(&path, "1")), old);
    assert!(!beside(&path, "2").exists());
}

/// Backups are often made so: the log is kept all the same.
#[test]
fn a_log_with_a_second_name_elsewhere_is_kept() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let mut bench = Bench::opened(Options {
        max_bytes: 1,
        ..options(&path)
    });
    (0..100).for_each(|n| bench.report(&format!("client{n}"), 1));
    bench.commit();
    let old = text(&path);
    let backup = directory.path().join("backup");
    fs::hard_link(&path, &backup).expect("this file system can");
    assert_eq!(bench.settle(), [Notice::Rotated(100)]);
    assert_eq!(text(&beside(&path, "1")), old);
    assert_eq!(text(&backup), old);
}

#[test]
fn a_table_longer_than_the_limit_does_not_rotate_for_ever() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let mut bench = Bench::opened(Options {
        max_bytes: 1,
        ..options(&path)
    });
    (0..1_000).for_each(|n| bench.report(&format!("client{n}"), 1));
    assert_eq!(bench.settle(), [Notice::Rotated(1_000)]);
    (0..900).for_each(|n| bench.report(&format!("client{n}"), 2));
    assert_eq!(bench.settle(), []);
    (0..1_000).for_each(|n| bench.report(&format!("client{n}"), 3));
    assert_eq!(bench.settle(), [Notice::Rotated(1_000)]);
}

#[test]
fn a_log_that_was_moved_away_is_the_log_until_the_new_one_is_complete() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let moved = directory.path().join("Blake.log.1");
    let mut bench = Bench::opened(options(&path));
    bench.report("kiwi", 1);
    bench.log.reopen(&bench.node, bench.now);
    assert_eq!(bench.settle(), [], "it has not been moved");
    fs::rename(&path, &moved).expect("it is there");
    bench.report("emu", 1);
    bench.commit();
    fs::write(&path, "").expect("it can be written"); // as some rotate
    bench.log.reopen(&bench.node, bench.now);
    assert_eq!(text(&path), text(&moved), "a kill just here loses nothing");
    bench.report("moa", 1);
    assert_eq!(bench.settle(), [Notice::Complete(3)]);
    let known = bench.known();
    drop(bench);
    assert!(!beside(&path, "2").exists(), "the old one is kept once");
    assert!(text(&moved).contains("moa"), "it was the log until then");
    assert_eq!(Bench::opened(options(&path)).known(), known);
}

#[test]
fn a_log_that_was_moved_away_before_the_end_is_taken_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    for (moved, there) in [("1", false), ("1", true), ("20121117", false)] {
        let mut bench = Bench::opened(options(&path));
        bench.report("kiwi", 1);
        bench.commit();
        let known = bench.known();
        drop(bench);
        fs::rename(&path, beside(&path, moved)).expect("it is there");
        if there {
            fs::write(&path, "").expect("it can be written");
        }
        let mut bench = Bench::opened(options(&path));
        assert_eq!(bench.known(), known);
        assert_eq!(bench.settle(), [Notice::Complete(1)]);
        drop(bench);
        assert_eq!(Bench::opened(options(&path)).known(), known);
        fs::remove_file(&path).expect("it is there");
        fs::remove_file(beside(&path, moved)).expect("it is there");
    }
    let bench = Bench::opened(options(&path));
    drop(bench);
    fs::rename(&path, beside(&path, "bak")).expect("it is there");
    assert_eq!(
        Bench::opened(options(&path)).known(),
        [],
        "that is a person's"
    );
}

/// Its name is for a file that knows everything: were an empty one made there, and something written
/// to it, a start would look no further.
#[test]
fn a_log_that_was_moved_away_and_may_only_be_read_is_known_and_replaced_at_once() {
    for there in [false, true] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("Blake.log");
        let moved = beside(&path, "1");
        write_a_hundred(&moved);
        if there {
            fs::write(&path, "").expect("it can be written");
        }
        let past = text(&moved);
        let mut bench = Bench::over(Ailing::unwritable(&moved), options(&path));
        let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
        let Err(OpenError::Io(error)) = opened else {
            panic!("it may only be read, but {opened:?}");
        };
        let named = format!("{}: ", moved.display());
        assert!(error.to_string().starts_with(&named), "{error}");
        assert_eq!(bench.known().len(), 100);
        bench.report("kiwi", 1);
        bench.commit();
        assert_eq!(
            path.exists(),
            there,
            "nothing is there before it is complete"
        );
        assert_eq!(
            bench.settle(),
            [Notice::Recovered(2), Notice::Complete(101)]
        );
        let known = bench.known();
        drop(bench);
        assert_eq!(text(&moved), past, "it is left alone");
        assert_eq!(Bench::opened(options(&path)).known(), known);
    }
}

#[test]
fn a_log_that_was_moved_away_is_taken_back_though_an_empty_one_may_not_be_written() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    write_a_hundred(&beside(&path, "1"));
    fs::write(&path, "").expect("it can be written");
    let mut bench = Bench::over(Ailing::unwritable(&path), options(&path));
    let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
    opened.expect("the one that was moved away may be written");
    bench.report("kiwi", 1);
    assert_eq!(bench.settle(), [Notice::Complete(101)]);
    let known = bench.known();
    drop(bench);
    assert_eq!(Bench::opened(options(&path)).known(), known);
}

#[test]
fn a_log_that_was_moved_away_and_comes_back_while_the_server_runs_is_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let logs = directory.path().join("logs");
    let path = logs.join("Blake.log");
    fs::write(&logs, "a file where a directory should be").expect("it can be written");
    let mut bench = Bench::new(options(&path));
    let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
    assert!(matches!(opened, Err(OpenError::Io(_))));
    bench.report("kiwi", 1);
    bench.commit();
    fs::remove_file(&logs).expect("it is there");
    write_a_hundred(&beside(&path, "1"));
    bench.later(RETRY);
    let notices = bench.settle();
    assert_eq!(notices.first(), Some(&Notice::Recovered(2)));
    assert_eq!(notices.last(), Some(&Notice::Complete(101)));
    let known = bench.known();
    drop(bench);
    assert_eq!(Bench::opened(options(&path)).known(), known);
}

#[test]
fn a_file_of_somebody_else_in_the_logs_place_is_left_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let mut bench = Bench::opened(Options {
        max_bytes: 50_000,
        ..options(&path)
    });
    bench.report("kiwi", 1);
    bench.commit();
    fs::rename(&path, directory.path().join("moved")).expect("it is there");
    fs::write(&path, "precious").expect("it can be written");
    bench.log.reopen(&bench.node, bench.now);
    assert_eq!(bench.settle(), [Notice::Foreign(path.clone())]);
    (0..1_000).for_each(|n| bench.report(&format!("client{n}"), 1));
    assert!(matches!(bench.settle()[..], [Notice::NotRotated(_)]));
    assert_eq!(text(&path), "precious");
    fs::remove_file(&path).expect("it is there");
    bench.log.reopen(&bench.node, bench.now);
    assert_eq!(bench.settle(), [Notice::Complete(1_001)]);
}

/// Though it is to be replaced, which takes long where much is known.
#[test]
fn what_is_missing_is_in_the_log_before_another_replaces_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let copy = directory.path().join("copy.log");
    for cause in [Cause::Doubt, Cause::Moved] {
        let mut bench = Bench::over(Ailing::new, options(&path));
        let is_full = Rc::clone(&bench.log.disk.is_full);
        let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
        opened.expect("it can be written");
        bench.report("kiwi", 1);
        bench.settle();
        is_full.set(true);
        bench.log.rotation.want_now(cause);
        bench.report("emu", 1);
        assert!(matches!(
            bench.settle()[..],
            [Notice::Failing(_), Notice::NotRotated(_)]
        ));
        is_full.set(false);
        bench.later(RETRY_FIRST);
        let mut notices = bench.commit();
        while bench.log.is_busy(bench.now) {
            bench.log.work(&mut bench.node, bench.now);
            notices.extend(bench.commit());
        }
        assert!(bench.log.rotation.is_under_way(), "a sync is awaited");
        assert_eq!(notices, [Notice::Recovered(1), Notice::Complete(2)]);
        fs::copy(&path, &copy).expect("it is there");
        assert_eq!(Bench::opened(options(&copy)).known().len(), 2);
        drop(bench);
        fs::remove_file(&path).expect("it is there");
        fs::remove_file(&copy).expect("it is there");
    }
}

#[test]
fn where_files_have_one_name_a_log_that_was_moved_away_is_kept_when_it_is_replaced() {
    for moved in ["1", "20121117"] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("Blake.log");
        write_a_hundred(&path);
        let old = text(&path);
        fs::rename(&path, beside(&path, moved)).expect("it is there");
        let mut bench = Bench::over(Ailing::without_links, options(&path));
        let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
        opened.expect("it is taken back");
        assert_eq!(bench.settle(), [Notice::Complete(100)]);
        assert!(text(&beside(&path, "1")).starts_with(&old), "{moved}");
    }
}

/// As editors do, and `sed -i`: what came after their copy would be in no file that has a name.
#[test]
fn a_file_for_which_the_log_has_lost_its_only_name_is_put_aside() {
    for (disk, says_so) in [
        (Ailing::new as fn(Files) -> Ailing, false),
        (Ailing::new, true),
        (Ailing::without_links, false),
    ] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("Blake.log");
        let mut bench = Bench::over(disk, options(&path));
        let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
        opened.expect("it can be written");
        let edit = || {
            let copy = directory.path().join("copy");
            fs::copy(&path, &copy).expect("it is there");
            fs::rename(&copy, &path).expect("it is there");
            text(&path)
        };
        bench.report("kiwi", 1);
        bench.commit();
        let edited = edit();
        bench.report("emu", 1);
        match says_so {
            true => bench.log.reopen(&bench.node, bench.now),
            false => bench.later(SYNC_EVERY),
        }
        let notices = bench.settle();
        let aside = beside(&path, FOREIGN);
        let last = [Notice::PutAside(aside.clone()), Notice::Complete(2)];
        assert!(notices.ends_with(&last), "{notices:?}");
        assert_eq!(notices.contains(&Notice::Spoilt), !says_so);
        assert_eq!(text(&aside), edited);
        let copy = directory.path().join("copy.log");
        fs::copy(&path, &copy).expect("it is there");
        assert_eq!(Bench::opened(options(&copy)).known(), bench.known());
        // Nothing that somebody may want is lost for that.
        let edited_again = edit();
        bench.later(SYNC_EVERY);
        bench.report("moa", 1);
        assert!(matches!(
            bench.settle()[..],
            [Notice::Spoilt, Notice::NotRotated(_)]
        ));
        assert_eq!((text(&aside), text(&path)), (edited, edited_again));
        fs::remove_file(&aside).expect("it is there");
        bench.later(RETRY_FIRST);
        assert!(bench.settle().contains(&Notice::Complete(3)));
    }
}

#[test]
fn a_log_that_was_moved_away_without_a_word_is_told_of_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("logs").join("Blake.log");
    let mut bench = Bench::opened(options(&path));
    bench.report("kiwi", 1);
    assert_eq!(bench.settle(), []);
    let moved = directory.path().join("moved");
    fs::rename(directory.path().join("logs"), &moved).expect("it is there");
    for told in [&[Notice::MovedAway][..], &[]] {
        bench.report("emu", 1);
        bench.later(SYNC_EVERY);
        assert_eq!(bench.settle(), told);
    }
    fs::rename(&moved, directory.path().join("logs")).expect("it is there");
    bench.report("moa", 1);
    bench.later(SYNC_EVERY);
    assert_eq!(bench.settle(), []);
    // And again when it is moved again, though somebody has said so the time before.
    for says_so in [true, false] {
        fs::rename(&path, beside(&path, "bak")).expect("it is there");
        bench.report("kea", 1);
        bench.later(SYNC_EVERY);
        assert_eq!(bench.settle(), [Notice::MovedAway]);
        if says_so {
            bench.log.reopen(&bench.node, bench.now);
            assert_eq!(bench.settle(), [Notice::Complete(4)]);
        }
    }
}

#[test]
fn of_a_log_that_was_moved_away_with_a_word_nothing_is_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let mut bench = Bench::over(Ailing::without_links, options(&path));
    let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
    opened.expect("it can be written");
    bench.report("kiwi", 1);
    assert_eq!(bench.settle(), []);
    fs::rename(&path, beside(&path, "bak")).expect("it is there");
    bench.log.reopen(&bench.node, bench.now);
    bench.log.work(&mut bench.node, bench.now); // the checkpoint is under way
    bench.report("emu", 1);
    bench.later(SYNC_EVERY);
    assert_eq!(bench.settle(), [Notice::Complete(2)]);
}

/// A crash within a rotation has left it so, or somebody who moved it away.
#[test]
fn a_log_that_is_found_with_two_names_is_replaced() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let mut bench = Bench::opened(options(&path));
    bench.report("kiwi", 1);
    bench.commit();
    drop(bench);
    let old = text(&path);
    fs::hard_link(&path, beside(&path, "1")).expect("this file system can");
    let mut bench = Bench::opened(options(&path));
    assert_eq!(bench.settle(), [Notice::Complete(1)]);
    assert!(text(&beside(&path, "1")).starts_with(&old));
    let names = fs::metadata(&path).expect("it is there").nlink();
    assert_eq!(names, 1);
}

#[test]
fn a_log_that_was_cut_short_or_deleted_is_written_anew() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    for deleted in [false, true] {
        let mut bench = Bench::opened(options(&path));
        bench.report("kiwi", 1);
        bench.commit();
        match deleted {
            true => fs::remove_file(&path).expect("it is there"),
            false => fs::write(&path, "").expect("it can be written"),
        }
        bench.later(SYNC_EVERY);
        bench.report("emu", 1);
        let known = bench.known();
        assert_eq!(
            bench.settle(),
            [Notice::Spoilt, Notice::Complete(known.len())]
        );
        drop(bench);
        assert_eq!(Bench::opened(options(&path)).known(), known);
        fs::remove_file(&path).expect("it is there");
        let _ = fs::remove_file(beside(&path, "1"));
    }
}

#[test]
fn a_rotation_that_cannot_be_is_said_once_and_the_old_log_goes_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    fs::create_dir(beside(&path, NEW)).expect("nothing is there");
    fs::write(beside(&path, NEW).join("x"), "").expect("it can be written");
    fs::create_dir(beside(&path, OLD)).expect("nothing is there");
    fs::write(beside(&path, OLD).join("x"), "").expect("it can be written");
    let mut bench = Bench::opened(Options {
        max_bytes: 1,
        ..options(&path)
    });
    (0..100).for_each(|n| bench.report(&format!("client{n}"), 1));
    assert!(matches!(bench.settle()[..], [Notice::NotRotated(_)]));
    bench.later(RETRY_FIRST);
    assert_eq!(bench.settle(), []);
    fs::remove_dir_all(beside(&path, NEW)).expect("it is there");
    assert_eq!(bench.settle(), [], "each time later");
    let at = bench.log.poll_timeout().expect("it tries again");
    bench.now.mono = at;
    assert_eq!(bench.settle(), [Notice::Rotated(100)]);
}

/// Lets every client of many report in each turn, more than a slice holds, until `end` is told.
fn turns_until(bench: &mut Bench, end: &Notice) {
    const CLIENTS: u64 = 10_000;
    for time in 1..=20 {
        (0..CLIENTS).for_each(|n| bench.report(&format!("client{n}"), time));
        let notices = bench.commit();
        bench.log.work(&mut bench.node, bench.now);
        if notices.contains(end) {
            return;
        }
        if bench.log.rotation.is_under_way() && !bench.log.is_busy(bench.now) {
            let (ticket, outcome) = bench.synced.recv().expect("the thread lives");
            bench.log.handle_synced(ticket, outcome, bench.now);
        }
    }
    panic!("it never comes to its end");
}

#[test]
fn a_log_is_replaced_however_much_comes_meanwhile() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let mut bench = Bench::opened(Options {
        max_bytes: 1,
        ..options(&path)
    });
    turns_until(&mut bench, &Notice::Rotated(10_000));
    bench.commit();
    let known = bench.known();
    drop(bench);
    assert_eq!(Bench::opened(options(&path)).known(), known);
}

#[test]
fn what_a_log_lacks_is_written_however_much_comes_meanwhile() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let mut bench = Bench::opened(options(&path));
    bench.log.fail(&io::Error::other("planted"), bench.now);
    (0..10_000).for_each(|n| bench.report(&format!("client{n}"), 0));
    bench.commit();
    bench.log.work(&mut bench.node, bench.now);
    bench.later(RETRY);
    turns_until(&mut bench, &Notice::Complete(10_000));
}

#[test]
fn names_that_cannot_be_synced_are_tried_again_each_second() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (logs, aside) = (
        directory.path().join("logs"),
        directory.path().join("aside"),
    );
    let mut bench = Bench::opened(Options {
        fsync: Fsync::Always,
        ..options(&logs.join("Blake.log"))
    });
    assert_eq!(bench.commit(), []);
    fs::rename(&logs, &aside).expect("it is there");
    bench.log.sync_names(bench.now);
    assert!(matches!(bench.commit()[..], [Notice::NamesNotSynced(_)]));
    for _ in 0..3 {
        let at = bench.log.poll_timeout().expect("it is tried again");
        assert_eq!(at, bench.now.mono + RETRY);
        bench.now.mono = at;
        assert_eq!(bench.commit(), [], "it fails again, and says nothing");
    }
    fs::rename(&aside, &logs).expect("it is there");
    bench.later(RETRY / 2);
    assert_eq!(bench.commit(), [], "not yet");
    bench.later(RETRY / 2);
    assert_eq!(bench.commit(), [Notice::NamesSynced]);
    assert_eq!(bench.log.poll_timeout(), None);
    bench.later(RETRY);
    assert_eq!(bench.commit(), [], "once");
}

#[test]
fn what_has_expired_is_passed_over_a_piece_at_a_time() {
    for lacking in [false, true] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("Blake.log");
        let mut bench = Bench::opened(options(&path));
        bench.node.forget_after(Duration::from_secs(60), bench.now);
        if lacking {
            bench.log.fail(&io::Error::other("planted"), bench.now);
        }
        (0..10 * PASSED_MAX).for_each(|n| bench.report(&format!("client{n}"), 1));
        bench.report("kiwi", bench.now.wall.seconds() as u64);
        bench.commit();
        bench.node.handle_timeout(bench.now, &mut ());
        assert_eq!(bench.known().len(), 1, "the others have expired");
        match lacking {
            true => bench.later(RETRY),
            false => bench.log.rotation.want_now(Cause::Doubt),
        }
        let mut pieces = 0;
        let is_complete = |notice: &Notice| matches!(notice, Notice::Complete(_));
        while !bench.commit().iter().any(is_complete) {
            bench.log.work(&mut bench.node, bench.now);
            pieces += 1;
            if !bench.log.is_busy(bench.now) {
                let (ticket, outcome) = bench.synced.recv().expect("the thread lives");
                bench.log.handle_synced(ticket, outcome, bench.now);
            }
        }
        assert!(pieces >= 10, "{pieces}, lacking: {lacking}");
        let known = bench.known();
        drop(bench);
        let again = Bench::opened(options(&path)).known();
        assert_eq!(again[0].1, known[0].1, "lacking: {lacking}");
        assert_eq!(again.len(), 1, "lacking: {lacking}");
    }
}

#[test]
fn a_log_that_cannot_be_written_is_not_looked_after_all_the_time() {
    if !Path::new("/dev/full").exists() {
        return println!("skipped: this system has no /dev/full");
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let mut bench = Bench::begun(&path, Fsync::Second);
    bench.later(SYNC_EVERY / 2);
    bench.report("kiwi", 1);
    assert_eq!(
        bench.commit(),
        [],
        "written, and to be synced a little later"
    );
    let full = bench.log.disk.open(Path::new("/dev/full")).expect("it is");
    let full = Appender::new(&bench.log.disk, full).expect("it is open");
    bench.log.out = Some(full);
    bench.report("emu", 1);
    assert!(matches!(bench.commit()[..], [Notice::Failing(_)]));
    for _ in 0..3 {
        bench.later(RETRY);
        assert_eq!(bench.commit(), [], "it fails again, and says nothing");
        let next = bench.log.poll_timeout().expect("it is tried again");
        assert!(next > bench.now.mono, "the loop would never sleep");
    }
}

/// Or the loop would begin another each turn, and never sleep.
#[test]
fn names_are_not_synced_again_while_a_sync_of_them_is_under_way() {
    let now = Now::read();
    let mut sync = Sync::default();
    let failed = || Err(io::Error::other("planted"));
    assert!(
        sync.handle_names(failed(), Path::new(""), now.mono)
            .is_some()
    );
    assert!(sync.is_names_retry_due(now));
    sync.begin_names(Ticket(1));
    assert!(!sync.is_names_retry_due(now) && sync.lacks_names());
    assert_eq!(sync.poll_timeout(true), None);
    assert!(sync.handle_names_synced(Ticket(1)));
    assert!(sync.is_names_retry_due(now));
    assert_eq!(sync.poll_timeout(true), Some(now.mono));
}

/// Where replies do not wait for syncs, neither does the loop.
#[test]
fn a_rotation_waits_for_the_disk_only_where_each_reply_does() {
    for (fsync, at_rotation, at_close) in [
        (Fsync::Always, 2, 1),
        (Fsync::Second, 0, 1),
        (Fsync::Never, 0, 0),
    ] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = Options {
            fsync,
            ..options(&directory.path().join("Blake.log"))
        };
        let mut bench = Bench::over(Ailing::new, options);
        let waits = Rc::clone(&bench.log.disk.waits);
        let opened = bench.log.open(&mut bench.node, bench.now, |_, _| {});
        opened.expect("it can be opened");
        bench.report("kiwi", 1);
        bench.commit();
        waits.set(0);
        bench.log.rotation.want_now(Cause::Doubt);
        assert_eq!(bench.settle(), [Notice::Complete(1)]);
        assert_eq!(waits.replace(0), at_rotation, "{fsync:?}");
        if fsync == Fsync::Second {
            // The end of the new log, and its name, are synced within a second all the same.
            bench.now.mono = bench.log.poll_timeout().expect("a sync is due");
            bench.commit();
            while bench.log.sync.is_under_way() {
                bench.await_sync();
            }
            assert_eq!(bench.log.poll_timeout(), None);
        }
        bench.log.close(&bench.node, bench.now);
        assert_eq!(waits.get(), at_close, "{fsync:?}");
    }
}

#[test]
fn what_fills_the_buffer_as_the_last_of_its_turn_is_synced_too() {
    for fsync in [Fsync::Second, Fsync::Always] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("Blake.log");
        let mut bench = Bench::begun(&path, fsync);
        let len = || fs::metadata(&path).expect("it is there").len();
        let before = len();
        while len() == before {
            bench.report("kiwi", 1);
        }
        bench.commit();
        if fsync == Fsync::Always {
            assert!(!bench.log.sync.take_unsynced(), "replies leave next");
            continue;
        }
        bench.now.mono = bench.log.poll_timeout().expect("a sync is due");
        bench.commit();
        let (_, outcome) = bench.synced.recv().expect("the thread lives");
        outcome.expect("it is on the disk");
    }
}

#[test]
fn a_log_that_is_cut_is_noticed_though_nothing_else_happens() {
    for fsync in [Fsync::Never, Fsync::Second, Fsync::Always] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("Blake.log");
        let mut bench = Bench::begun(&path, fsync);
        bench.later(SYNC_EVERY / 5);
        fs::write(&path, "").expect("it can be written");
        bench.report("kiwi", 1);
        assert_eq!(bench.commit(), []);
        let next = bench.log.poll_timeout().expect("it is looked at");
        assert!(next <= bench.now.mono + SYNC_EVERY);
        bench.now.mono = next;
        assert_eq!(bench.settle(), [Notice::Spoilt, Notice::Complete(1)]);
        let known = bench.known();
        drop(bench);
        assert_eq!(Bench::opened(options(&path)).known(), known);
    }
}

#[test]
fn a_log_that_is_cut_is_written_anew_at_once_though_replacing_it_has_failed_before() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let in_the_way = InTheWay::of(&path);
    let mut bench = Bench::opened(Options {
        max_bytes: 1,
        ..options(&path)
    });
    (0..100).for_each(|n| bench.report(&format!("client{n}"), 1));
    assert!(matches!(bench.settle()[..], [Notice::NotRotated(_)]));
    for _ in 0..10 {
        bench.now.mono = bench.log.poll_timeout().expect("it is tried again");
        assert_eq!(bench.settle(), []);
    }
    in_the_way.remove();
    fs::write(&path, "").expect("it can be written");
    bench.later(SYNC_EVERY);
    bench.report("emu", 1);
    assert_eq!(bench.settle(), [Notice::Spoilt, Notice::Complete(101)]);
}

#[test]
fn where_zeros_stand_no_mark_is_believed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("Blake.log");
    let stamp = "2012-11-17T02:08:23.672266766Z";
    let mut log =
        format!("{stamp} * - started, incarnation 00000000000000ff at 0, 0 clients known\n");
    log += &format!("{stamp} < s1:Bryant HELLO herd/1 Bryant Blake 00000000000000aa 1 - 0\n");
    for number in 1..=5 {
        log += &format!("{stamp} < s1:Bryant AT Bryant +0.000000000 c{number} +00+000 1\n");
    }
    log += &format!("{stamp} < c2 a client says \\\\... torn\n");
    log += &format!("{stamp} < s1:Bryant MARK 5\n");
    let at = |text| log.find(text).expect("it is there");
    let (zeros, to_torn) = (at("c2")..at("c4"), at("c2")..at("says"));
    for (lost, known) in [(0..0, Some(5)), (zeros, None), (to_torn, None)] {
        let mut log = log.clone().into_bytes();
        log[lost].fill(0);
        fs::write(&path, log).expect("it can be written");
        let mut bench = Bench::opened(options(&path));
        let told = bench.commit().contains(&Notice::Holes(1));
        assert_eq!(told, known.is_none());
        let claims = bench.node.neighbours_known().next().expect("Bryant");
        assert_eq!(claims.2.map(|mark| mark.number), known);
    }
}
