//! What the operator is told, on standard error: one line each, with the time and the server's name.
//!
//! `start` tells what stands in its way, `Driver` what happens. A thread writes it: whoever reads
//! standard error may be stuck, and the loop must not be stuck with him. (To make it non-blocking is no
//! way, as it is shared with others, such as the shell.)

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};

use crate::node::effects::LinkId;
use crate::topology::ServerName;

/// So much may have been said that is not written yet; what is beyond that is lost, and counted.
const UNWRITTEN_BYTES_MAX: usize = 128 * 1024;

/// An end waits for so long until all that was said is written, ...
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// ... and looks so often whether it is.
const LAST_WORDS_LOOK: Duration = Duration::from_millis(2);

/// What may happen often is said again after this long.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// What may happen often, and is told now and then.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Matter {
    /// No room for connections: no descriptor is left.
    Descriptors,
    /// No room for clients, by the limit on them.
    Clients,
    /// No room for what is still to be sent.
    Output,
    /// No room for what has come and cannot be handled yet.
    Input,
    /// No more clients may wait for Twitter.
    Askers,
    /// No room for clients' locations.
    Table,
    /// Who came to the server port was no neighbour.
    Refused,
    /// A neighbour's clock is off.
    ClockOff(LinkId),
    /// A neighbour's clock is right again.
    ClockRight(LinkId),
}

impl Matter {
    /// Those that nobody else counts, with the names that metrics give them.
    const ALL: [(Matter, &'static str); 5] = [
        (Matter::Descriptors, "descriptors"),
        (Matter::Clients, "connections"),
        (Matter::Output, "output"),
        (Matter::Input, "input"),
        (Matter::Refused, "neighbours"),
    ];
}

/// How many bytes have been said and not been written: to be waited for before an end.
#[derive(Clone, Default)]
pub struct Unwritten(Arc<AtomicUsize>);

impl Unwritten {
    /// Waits until all is written, or nobody seems to read it.
    pub fn wait(&self) {
        let until = Instant::now() + LAST_WORDS_MAX;
        while self.0.load(Ordering::Acquire) > 0 && Instant::now() < until {
            thread::sleep(LAST_WORDS_LOOK);
        }
    }
}

/// A line to write.
struct Said {
    /// How many were lost before it.
    lost: u64,
    /// The line, with its LF.
    line: String,
}

/// `text` as a line of its own that moves nobody's cursor: it may hold what a peer or a file said.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        match char.is_control() {
            true => line.extend(char.escape_default()),
            false => line.push(char),
        }
    }
    line
}

/// Whether lines begin with the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamps {
    /// `2012-11-17T02:08:23.672Z`.
    Utc,
    /// Whoever takes the lines notes the time.
    None,
}

impl Stamps {
    /// What standard error wants: systemd's journal has a time of its own. `JOURNAL_STREAM` names the device and the
    /// inode of the journal's socket (systemd.exec(5)); a process further down may have another standard error.
    pub fn of_stderr() -> Stamps {
        let journal = std::env::var("JOURNAL_STREAM").unwrap_or_default();
        let own = io::stderr().as_fd().try_clone_to_owned().map(File::from);
        let own = own.and_then(|own| own.metadata());
        match own.is_ok_and(|own| journal == format!("{}:{}", own.dev(), own.ino())) {
            true => Stamps::None,
            false => Stamps::Utc,
        }
    }

    fn now(self) -> String {
        match self {
            Stamps::Utc => {
                let now = DateTime::<Utc>::from(SystemTime::now());
                now.to_rfc3339_opts(SecondsFormat::Millis, true) + " "
            }
            Stamps::None => String::new(),
        }
    }
}

/// Who watches over a server. The end of it waits until all is written, within limits.
pub struct Operator {
    name: ServerName,
    stamps: Stamps,
    said: Sender<Said>,
    unwritten: Unwritten,
    /// Lines that were lost after the last that was not.
    lost: Cell<u64>,
    /// When it was last told, and how often it has happened.
    told: BTreeMap<Matter, (Instant, u64)>,
}

impl Operator {
    /// The one of the server `name`, who reads `stderr`.
    ///
    /// # Errors
    /// The system's, if it gives no thread.
    pub fn new(
        name: ServerName,
        stamps: Stamps,
        stderr: impl Write + Send + 'static,
    ) -> io::Result<Operator> {
        let (said, to_write) = channel();
        let unwritten = Unwritten::default();
        let (left, whose) = (unwritten.clone(), name.clone());
        thread::Builder::new()
            .name("stderr".to_owned())
            .spawn(move || write_all(&to_write, &left, &whose, stderr))?;
        Ok(Operator {
            name,
            stamps,
            said,
            unwritten,
            lost: Cell::new(0),
            told: BTreeMap::new(),
        })
    }

    /// The server whose operator this is.
    pub fn server(&self) -> &ServerName {
        &self.name
    }

    /// Tells something, and waits for nobody.
    pub fn say(&self, text: &str) {
        let line = format!("{}{}: {}\n", self.stamps.now(), self.name, one_line(text));
        let Unwritten(unwritten) = &self.unwritten;
        let bytes = line.len();
        if unwritten.load(Ordering::Acquire) + bytes > UNWRITTEN_BYTES_MAX {
            return self.lost.set(self.lost.get() + 1);
        }
        unwritten.fetch_add(bytes, Ordering::AcqRel);
        let lost = self.lost.take();
        let sent = self.said.send(Said { lost, line });
        debug_assert!(
            sent.is_ok(),
            "the thread lives as long as there is a sender"
        );
    }

    /// What has not been written yet, for those who end the process themselves.
    pub fn unwritten(&self) -> Unwritten {
        self.unwritten.clone()
    }

    /// Whether to tell, at `now`, of this: now and then, not each time.
    pub fn is_due(&mut self, what: Matter, now: Instant) -> bool {
        let Some((told, count)) = self.told.get_mut(&what) else {
            self.told.insert(what, (now, 1));
            return true;
        };
        *count += 1;
        let due = *told + SAID_EVERY <= now;
        if due {
            *told = now;
        }
        due
    }

    /// How often each of these has happened.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Matter::ALL.into_iter().map(|(what, name)| {
            let count = self.told.get(&what).map_or(0, |(_, count)| *count);
            (name, count)
        })
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.unwritten.wait();
    }
}

/// Writes what is said, in order, until nobody is left to say anything. A standard error that has
/// been closed is no reason to stop.
fn write_all(
    to_write: &Receiver<Said>,
    Unwritten(unwritten): &Unwritten,
    name: &ServerName,
    mut stderr: impl Write,
) {
    for Said { lost, line } in to_write {
        if lost > 0 {
            let why = "standard error was not read";
            let text = format!("{name}: {lost} lines before this were lost, as {why}\n");
            let _ = stderr.write_all(text.as_bytes());
        }
        let _ = stderr.write_all(line.as_bytes());
        unwritten.fetch_sub(line.len(), Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_writes_over_the_operators_line() {
        for (text, want) in [
            ("a name, äöü: 'x' \\", "a name, äöü: 'x' \\"),
            ("a\x1b[31m\x07b", "a\\u{1b}[31m\\u{7}b"),
            ("a\r\nBob: b", "a\\r\\nBob: b"),
        ] {
            assert_eq!(one_line(text), want);
        }
    }

    /// A standard error whose reader takes so many writes as it is let.
    struct Slow {
        let_go: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.let_go.recv(); // once the other end has gone nothing holds it up
            let _ = self.written.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_does_not_fit_is_lost_and_counted_and_the_rest_comes_in_order() {
        let name = ServerName::parse(b"Ann").expect("a valid name");
        let (go, let_go) = channel();
        let (written, read) = channel();
        let operator =
            Operator::new(name, Stamps::None, Slow { let_go, written }).expect("a thread");
        let long = "x".repeat(100_000);
        let fit = UNWRITTEN_BYTES_MAX / (long.len() + 10);
        for number in 0..fit + 5 {
            operator.say(&format!("{number:03} {long}"));
        }
        for number in 0..fit {
            go.send(()).expect("it waits");
            let line = read.recv().expect("it writes");
            assert_eq!(line, format!("Ann: {number:03} {long}\n").as_bytes());
        }
        operator.unwritten().wait();
        operator.say("after");
        drop(go);
        drop(operator);
        let rest: Vec<_> = read.iter().flatten().collect();
        let lost = "Ann: 5 lines before this were lost, as standard error was not read";
        assert_eq!(
            String::from_utf8_lossy(&rest),
            format!("{lost}\nAnn: after\n")
        );
    }

    #[test]
    fn an_end_waits_for_what_is_written_and_not_for_ever() {
        let name = ServerName::parse(b"Ann").expect("a valid name");
        let (go, let_go) = channel();
        let (written, read) = channel();
        let operator =
            Operator::new(name, Stamps::None, Slow { let_go, written }).expect("a thread");
        operator.say("stopped");
        drop(operator); // its thread is stuck: the test ends nevertheless
        assert!(read.try_recv().is_err());
        drop(go);
        assert_eq!(read.recv().expect("it writes"), b"Ann: stopped\n");
    }
}
