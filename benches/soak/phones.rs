//! The clients: phones that move, report to whichever server, and remember what was acknowledged.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use herd::random::SplitMix64;

use crate::support::{Client, Result};

/// How many phones there are; each is of one reporter.
pub const PHONES: usize = 480;

/// Added to the number of a phone's report to make its time: long ago, so that this is the time by
/// which reports are ordered, whatever the clocks do.
const FIRST_TIME: u64 = 1_353_118_103;

/// How long a reporter waits for an answer before it turns to another server.
const REPORTER_PATIENCE: Duration = Duration::from_secs(3);

/// How long a herd that has healed may take until its servers agree.
const HEALING: Duration = Duration::from_secs(30);

/// What all phones have reported, and the figures of the reporters.
pub struct Phones {
    /// The number of each one's last report, and of the last that was acknowledged.
    sent: Vec<AtomicU64>,
    acknowledged: Vec<AtomicU64>,
    /// Reporters hold it for reading while they speak; a check holds it for writing.
    gate: RwLock<()>,
    /// Tells the reporters to end.
    pub stop: AtomicBool,
    /// Reports that were acknowledged.
    pub updates: AtomicU64,
    /// Reports and questions that were not answered: the server was stopped or went away.
    pub unanswered: AtomicU64,
    /// Questions that were answered, checks not counted.
    pub questions: AtomicU64,
    /// Of these, the ones with an error instead of tweets.
    pub without_tweets: AtomicU64,
    /// What a check has asked.
    pub checked: AtomicU64,
    /// The server, by its place, whose journal was harmed since the last check: it may know less than it
    /// has acknowledged until its neighbours have told it.
    excused: AtomicUsize,
}

/// No server.
const NOBODY: usize = usize::MAX;

/// A server's name, and where its clients connect.
pub type Place = (String, SocketAddr);

/// What may become of a line that was said.
enum Outcome {
    Done,
    /// The connection is of no more use.
    NoAnswer,
}

impl Phones {
    pub fn new() -> Phones {
        let zeros = || (0..PHONES).map(|_| AtomicU64::new(0)).collect();
        Phones {
            sent: zeros(),
            acknowledged: zeros(),
            gate: RwLock::new(()),
            stop: AtomicBool::new(false),
            updates: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            questions: AtomicU64::new(0),
            without_tweets: AtomicU64::new(0),
            checked: AtomicU64::new(0),
            excused: AtomicUsize::new(NOBODY),
        }
    }

    /// Lets the server at this place answer with less than it has acknowledged until the next check.
    pub fn excuse(&self, server: usize) {
        self.excused.store(server, Ordering::SeqCst);
    }

    /// Waits until every phone's last acknowledged report, or a later one, is held by every server,
    /// the same by all. The reporters are silent meanwhile, and while `then` is done. Gives the time it took.
    pub fn check(&self, servers: &[Place], then: impl FnOnce() -> Result<()>) -> Result<Duration> {
        let _silence = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let since = Instant::now();
        let heard_of = |phone: &usize| self.acknowledged[*phone].load(Ordering::Relaxed) > 0;
        let mut unsettled: Vec<usize> = (0..PHONES).filter(heard_of).collect();
        loop {
            let asked_at = Instant::now();
            let mut columns = Vec::new();
            for (name, address) in servers {
                let lines = self.ask_about(*address, &unsettled);
                columns.push(lines.map_err(|error| format!("{name}, after healing: {error}"))?);
            }
            let mut differing = Vec::new();
            for (row, &phone) in unsettled.iter().enumerate() {
                let lines: Vec<&str> = columns.iter().map(|lines| lines[row].as_str()).collect();
                if !self.is_settled(phone, &lines)? {
                    differing.push((phone, lines.join("")));
                }
            }
            unsettled = differing.iter().map(|(phone, _)| *phone).collect();
            let Some((phone, lines)) = differing.first() else {
                let took = since.elapsed();
                self.excuse(NOBODY);
                then()?;
                return Ok(took);
            };
            // On a busy machine it takes long to ask all; who was asked early may know more by now.
            if asked_at.duration_since(since) > HEALING {
                let acknowledged = self.acknowledged[*phone].load(Ordering::Relaxed);
                return Err(format!(
                    "{} phones are not known alike everywhere after {HEALING:?}; phone{phone}, \
                     acknowledged up to {}, is known as\n{lines}",
                    differing.len(),
                    acknowledged + FIRST_TIME
                )
                .into());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What a server answers about each phone: its `AT` line, or `?`.
    fn ask_about(&self, address: SocketAddr, phones: &[usize]) -> Result<Vec<String>> {
        let mut client = Client::connect(address)?;
        let mut lines = Vec::new();
        for phone in phones {
            let line = client.ask(&format!("WHATSAT phone{phone} 10 1"))?;
            if line.starts_with("AT ") {
                client.receive()?; // the tweets
            }
            self.checked.fetch_add(1, Ordering::Relaxed);
            lines.push(line);
        }
        Ok(lines)
    }

    /// Whether all servers hold the same, and it is late enough.
    fn is_settled(&self, phone: usize, lines: &[&str]) -> Result<bool> {
        if !lines.iter().all(|line| line.starts_with("AT ")) {
            return Ok(false);
        }
        for line in lines {
            if report_number(line)? > self.sent[phone].load(Ordering::Relaxed) {
                return Err(format!("nobody has said this: {line}").into());
            }
        }
        let late_enough =
            report_number(lines[0])? >= self.acknowledged[phone].load(Ordering::Relaxed);
        Ok(late_enough && lines.iter().all(|line| line == &lines[0]))
    }

    /// Reports for these phones, asks now and then, and roams from server to server, until `stop`.
    pub fn report(
        &self,
        mine: Range<usize>,
        servers: &[Place],
        pause: Duration,
        mut dice: SplitMix64,
    ) -> Result<()> {
        let mut reporter = Reporter {
            phones: self,
            heard: vec![vec![0; PHONES]; servers.len()],
            mine,
            servers,
        };
        let mut at: Option<(usize, Client)> = None;
        while !self.stop.load(Ordering::Relaxed) {
            let chance = Duration::from_micros(dice.below(pause.as_micros() as u64));
            thread::sleep(pause / 2 + chance);
            let _through = self.gate.read().unwrap_or_else(PoisonError::into_inner);
            let (server, mut client) = match at.take() {
                Some(here) => here,
                None => {
                    let server = below(&mut dice, servers.len());
                    match Client::connect_within(servers[server].1, REPORTER_PATIENCE) {
                        Ok(client) => (server, client),
                        Err(_) => continue, // it is down
                    }
                }
            };
            let outcome = if dice.below(20) == 0 {
                reporter.ask(server, &mut client, &mut dice)?
            } else {
                reporter.tell(server, &mut client, &mut dice)?
            };
            match outcome {
                Outcome::Done if dice.below(50) == 0 => {} // it roams
                Outcome::Done => at = Some((server, client)),
                Outcome::NoAnswer => _ = self.unanswered.fetch_add(1, Ordering::Relaxed),
            }
        }
        Ok(())
    }
}

/// One thread's phones.
struct Reporter<'a> {
    phones: &'a Phones,
    mine: Range<usize>,
    servers: &'a [Place],
    /// The last report that each server acknowledged to us, for each phone: it must never again
    /// answer with an earlier one.
    heard: Vec<Vec<u64>>,
}

impl Reporter<'_> {
    fn tell(
        &mut self,
        server: usize,
        client: &mut Client,
        dice: &mut SplitMix64,
    ) -> Result<Outcome> {
        let phone = self.mine.start + below(dice, self.mine.len());
        let number = self.phones.sent[phone].fetch_add(1, Ordering::Relaxed) + 1;
        // Few places, so that questions about many phones are few questions to Twitter.
        let place = format!("+{:02}.5-{:03}.25", dice.below(8) * 10, dice.below(4) * 40);
        let tail = format!(" phone{phone} {place} {}", FIRST_TIME + number);
        let Some(reply) = whole(client.ask(&format!("IAMAT{tail}"))) else {
            return Ok(Outcome::NoAnswer);
        };
        let name = &self.servers[server].0;
        if !reply.starts_with(&format!("AT {name} +")) || !reply.trim_end().ends_with(&tail) {
            return Err(format!("{name} answered IAMAT{tail} with {reply}").into());
        }
        self.phones.acknowledged[phone].store(number, Ordering::Relaxed);
        self.heard[server][phone] = number;
        self.phones.updates.fetch_add(1, Ordering::Relaxed);
        Ok(Outcome::Done)
    }

    fn ask(
        &mut self,
        server: usize,
        client: &mut Client,
        dice: &mut SplitMix64,
    ) -> Result<Outcome> {
        // Most often about one of ours, of which we know what must be known.
        let phone = match dice.below(4) == 0 {
            true => below(dice, PHONES),
            false => self.mine.start + below(dice, self.mine.len()),
        };
        let question = format!("WHATSAT phone{phone} 100 {}", dice.below(4));
        let name = &self.servers[server].0;
        let Some(reply) = whole(client.ask(&question)) else {
            return Ok(Outcome::NoAnswer);
        };
        let heard = match self.phones.excused.load(Ordering::SeqCst) == server {
            true => 0,
            false => self.heard[server][phone],
        };
        if heard == 0 && reply == format!("? {question}\n") {
            self.phones.questions.fetch_add(1, Ordering::Relaxed);
            return Ok(Outcome::Done);
        }
        if !reply.starts_with("AT ") || report_number(&reply)? < heard {
            return Err(format!(
                "{name} had acknowledged phone{phone} at {}, and answered {question} with {reply}",
                FIRST_TIME + heard
            )
            .into());
        }
        let Some(tweets) = whole(client.receive()) else {
            return Ok(Outcome::NoAnswer);
        };
        if !tweets.starts_with('{') || !tweets.ends_with("}\n") {
            return Err(format!("{name} answered {question} with {tweets}").into());
        }
        self.phones.questions.fetch_add(1, Ordering::Relaxed);
        let error = u64::from(tweets.starts_with("{\"error\""));
        self.phones
            .without_tweets
            .fetch_add(error, Ordering::Relaxed);
        Ok(Outcome::Done)
    }
}

/// A line that came whole. None came, or half of one, when its server was stopped or killed.
fn whole(line: Result<String>) -> Option<String> {
    line.ok().filter(|line| line.ends_with('\n'))
}

/// Which of its phone's reports an `AT` line holds.
fn report_number(at: &str) -> Result<u64> {
    let time = at.split_whitespace().next_back().unwrap_or_default();
    let number = time
        .parse::<u64>()
        .ok()
        .and_then(|time| time.checked_sub(FIRST_TIME));
    Ok(number.ok_or_else(|| format!("a time that nobody has said: {at}"))?)
}

fn below(dice: &mut SplitMix64, bound: usize) -> usize {
    dice.below(bound as u64) as usize
}
