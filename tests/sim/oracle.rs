//! What the contract says of reports, told once more from its words: an independent judge.
//!
//! It reads lines and orders them as `records` does. It must never use `Location`, `Table` or `Timestamp`: what both
//! get wrong in the same way would go unseen.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::records::{Rank, Times, client, rank};

/// Nothing has an effective time before this: where nothing is forgotten, nothing has expired.
pub const NEVER: i128 = i128::MIN;

/// By which reports are judged at some moment.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// What has an effective time before this has expired.
    pub oldest: i128,
    /// What has an effective time after this is too far ahead to be true, if the clock is trusted.
    pub newest: i128,
    /// A neighbour's report of an unknown client with this effective time, or an earlier one, may be turned
    /// away: it may have had to make room already.
    pub evicted: i128,
}

impl Window {
    /// Nothing has expired, and nothing is too far ahead.
    pub const ALL: Window = Window {
        oldest: NEVER,
        newest: i128::MAX,
        evicted: NEVER,
    };

    fn shows(&self, effective: i128) -> bool {
        (self.oldest..=self.newest).contains(&effective)
    }
}

/// What became of a report.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    pub effective: i128,
    /// What was held would have stayed, were it not too far ahead.
    pub gave_way: bool,
}

/// What one server has heard, from its clients and over its links, and so what it may hold.
///
/// Of each client it keeps the reports that were taken in, each with its number in the changefeed: when
/// the journal loses its end, what is to be held goes back too.
///
/// > `--forget-after`: a record whose effective time is older than this is forgotten by everyone
/// > alike, and not taken in again from a neighbour or the journal.
///
/// > Only a server that trusts its clock refuses from a neighbour a report whose effective time is further
/// > ahead of it than `--clock-skew`, and lets one that it holds already lose to any report that is not so
/// > far ahead.
///
/// So where a clock is never set back there is always exactly one thing to be held. A report that
/// has expired is not shown, and may be gone for good, or not yet; if the clock is set back, it
/// shows which, and so does what comes meanwhile and is taken in or not.
#[derive(Debug, Default)]
pub struct Heard {
    about: BTreeMap<Vec<u8>, About>,
}

/// What was heard about one client.
#[derive(Debug, Default)]
struct About {
    reports: Vec<Report>,
    /// The most recent that was heard, unless it must be told again.
    heard: Option<Said>,
    /// The bound by which they have last expired.
    oldest: Option<i128>,
    /// Which of them may be held now, by place in `reports`; `None`: nothing may be held.
    may_hold: Vec<Option<usize>>,
}

/// A line that was said, read once.
#[derive(Clone, Debug)]
struct Said {
    times: Times,
    line: Rc<[u8]>,
}

impl Said {
    fn rank(&self) -> Rank<'_> {
        Rank {
            times: self.times,
            line: &self.line,
        }
    }

    fn effective(&self) -> i128 {
        self.times.effective
    }
}

#[derive(Debug)]
struct Report {
    /// Its number in the changefeed.
    number: u64,
    said: Said,
    /// It has expired since, in some turn.
    expired: bool,
}

impl About {
    /// Whether a report about the client has been heard that is as recent as this.
    fn has_heard(&self, rank: &Rank<'_>) -> bool {
        self.heard
            .as_ref()
            .is_some_and(|heard| heard.rank() >= *rank)
    }

    /// This has been heard, at whatever place.
    fn note(&mut self, said: &Said) {
        if !self.has_heard(&said.rank()) {
            self.heard = Some(said.clone());
        }
    }

    /// What has an effective time before `oldest` may be gone.
    fn expire(&mut self, oldest: i128) {
        if oldest == NEVER || self.oldest.replace(oldest) == Some(oldest) {
            return; // and what has come since had not expired
        }
        for report in &mut self.reports {
            report.expired |= report.said.effective() < oldest;
        }
        let mut held = self.may_hold.iter().flatten();
        let may_be_gone = held.any(|&at| self.reports[at].said.effective() < oldest);
        if may_be_gone && !self.may_hold.contains(&None) {
            self.may_hold.push(None);
        }
    }

    /// What is shown where this is held.
    fn shown(&self, held: Option<usize>, window: Window) -> Option<&[u8]> {
        let report = &self.reports[held?];
        window
            .shows(report.said.effective())
            .then_some(&report.said.line)
    }

    /// What is shown. `Err` says what it must be, or may be, if that is something else.
    fn see(&mut self, line: Option<&[u8]>, window: Window) -> Result<(), String> {
        self.expire(window.oldest);
        let mut may_hold = std::mem::take(&mut self.may_hold);
        let shows = |held: &Option<usize>| self.shown(*held, window) == line;
        if may_hold.iter().any(shows) {
            may_hold.retain(shows);
            if let (Some(_), Some(seen)) = (line, may_hold[0]) {
                let seen = self.reports[seen].said.clone();
                self.note(&seen); // though it was doubted, it is there
            }
            self.may_hold = may_hold;
            return Ok(());
        }
        let shown = may_hold.iter().map(|held| match self.shown(*held, window) {
            Some(line) => line.escape_ascii().to_string(),
            None => "nothing".to_owned(),
        });
        Err(Vec::from_iter(shown.collect::<BTreeSet<_>>()).join(" or "))
    }

    /// Nobody has heard of the client. `Err` says what must be known of it.
    fn see_unknown(&mut self, is_unknown: impl Fn(&Said) -> bool) -> Result<(), String> {
        let reports = &self.reports;
        let is_so = |held: &Option<usize>| held.is_none_or(|at| is_unknown(&reports[at].said));
        if self.may_hold.iter().any(is_so) {
            self.may_hold.retain(is_so);
            return Ok(());
        }
        let held = self.may_hold.iter().flatten();
        let held = held.map(|&at| self.reports[at].said.line.escape_ascii().to_string());
        Err(Vec::from_iter(held).join(" or "))
    }

    /// What must be held, whatever has expired.
    fn must_hold(&self) -> Option<&[u8]> {
        match self.may_hold[..] {
            [Some(at)] => Some(&self.reports[at].said.line),
            _ => None,
        }
    }

    fn may_be_held(&self) -> bool {
        self.may_hold.iter().any(Option::is_some)
    }

    /// After a restart the last that has been taken in is held, or if that has ever expired perhaps the one
    /// before it. It is the most recent, unless a more recent one had to give way or to make room.
    fn recover(&mut self) {
        let said = |report: &Report| report.said.clone();
        let most_recent = self
            .reports
            .iter()
            .max_by(|a, b| a.said.rank().cmp(&b.said.rank()));
        self.heard = most_recent.map(said);
        self.may_hold.clear();
        let may_be_gone = self.reports.iter().any(|report| report.expired);
        for (at, report) in self.reports.iter().enumerate().rev() {
            self.may_hold.push(Some(at));
            if !(may_be_gone && report.expired) {
                return;
            }
        }
        self.may_hold.push(None);
    }
}

impl Heard {
    /// Notes a report, and the number of the change that it is, if it was taken in as one. What has an
    /// effective time before `oldest` has expired. Gives its effective time; `Err` if it should have been
    /// taken in and was not, or the reverse.
    pub fn hear(
        &mut self,
        line: &[u8],
        number: Option<u64>,
        window: Window,
    ) -> Result<Outcome, &'static str> {
        let rank = rank(line);
        let effective = rank.effective();
        let about = self.about_mut(client(line));
        if about.may_hold.is_empty() {
            about.may_hold.push(None);
        }
        about.expire(window.oldest);
        let (reports, at) = (&about.reports, about.reports.len());
        let is_news = |held: &Option<usize>| {
            let loses = |held: &Said| held.effective() > window.newest || held.rank() < rank;
            window.shows(effective) && held.is_none_or(|held| loses(&reports[held].said))
        };
        let may_be_turned_away =
            |held: &Option<usize>| held.is_none() && effective <= window.evicted;
        about
            .may_hold
            .retain(|held| may_be_turned_away(held) || is_news(held) == number.is_some());
        if about.may_hold.is_empty() {
            return Err(match number {
                Some(_) => "was taken in, and is no news",
                None => "is news, and was not taken in",
            });
        }
        let too_far_ahead = |held: &usize| {
            let held = &about.reports[*held].said;
            held.effective() > window.newest && held.rank() > rank
        };
        let gave_way = number.is_some() && about.may_hold.iter().flatten().any(too_far_ahead);
        let is_ahead = !about.has_heard(&rank);
        if number.is_some() || is_ahead {
            let said = Said {
                times: rank.times,
                line: line.into(),
            };
            if is_ahead {
                about.heard = Some(said.clone());
            }
            if let Some(number) = number {
                about.may_hold = vec![Some(at)];
                about.reports.push(Report {
                    number,
                    said,
                    expired: false,
                });
            }
        }
        Ok(Outcome {
            effective,
            gave_way,
        })
    }

    fn about_mut(&mut self, client: &[u8]) -> &mut About {
        if !self.about.contains_key(client) {
            self.about.insert(client.to_vec(), About::default());
        }
        self.about.get_mut(client).expect("it is there now")
    }

    /// The clock is set back, by which what has an effective time before `oldest` had expired: so
    /// that was refused or given up, and is to be told once more.
    pub fn doubt(&mut self, oldest: i128) {
        for about in self.about.values_mut() {
            about.heard = about.heard.take().filter(|said| said.effective() >= oldest);
        }
    }

    /// What has not changed for longest makes room where the table has a limit: what is left is the end of the
    /// changefeed, from the change with number `first` on. Gives the latest effective time of what is not.
    pub fn evict(&mut self, first: u64) -> i128 {
        let mut latest = NEVER;
        for about in self.about.values_mut() {
            for held in &mut about.may_hold {
                // One without a number may be anywhere in the feed, or gone.
                if let Some(at) = *held
                    && (1..first).contains(&about.reports[at].number)
                {
                    latest = latest.max(about.reports[at].said.effective());
                    *held = None;
                }
            }
            about.may_hold.sort_unstable();
            about.may_hold.dedup();
        }
        latest
    }

    /// What has an effective time before `oldest` is no longer shown, and may be gone.
    pub fn expire(&mut self, oldest: i128) {
        for about in self.about.values_mut() {
            about.expire(oldest);
        }
    }

    /// What had expired before that cannot be there any longer: its memory was given back. Gives
    /// how many may be there.
    pub fn sweep(&mut self, before: i128) -> usize {
        let mut left = 0;
        for about in self.about.values_mut() {
            let (reports, may_hold) = (&about.reports, &mut about.may_hold);
            for held in may_hold.iter_mut() {
                *held = held.filter(|&at| reports[at].said.effective() >= before);
            }
            may_hold.sort_unstable();
            may_hold.dedup();
            left += usize::from(about.may_be_held());
        }
        left
    }

    /// What a client is told of `client`. `Err` says what it must be, or may be, if that is something else.
    pub fn see(
        &mut self,
        client: &[u8],
        line: Option<&[u8]>,
        window: Window,
    ) -> Result<(), String> {
        match (self.about.get_mut(client), line) {
            (Some(about), Some(line)) if !about.may_hold.is_empty() => {
                about.see(Some(line), window)
            }
            (Some(about), None) if !about.may_hold.is_empty() => {
                about.expire(window.oldest);
                about.see_unknown(|said| said.times.is_erasure || !window.shows(said.effective()))
            }
            (_, Some(_)) => Err("nothing".to_owned()),
            (_, None) => Ok(()),
        }
    }

    /// There is nothing to be erased of `client`: `Err` says what must be known of it.
    pub fn see_nothing_to_erase(&mut self, client: &[u8], oldest: i128) -> Result<(), String> {
        match self.about.get_mut(client) {
            Some(about) if !about.may_hold.is_empty() => {
                about.expire(oldest);
                about.see_unknown(|said| said.times.is_erasure || said.effective() < oldest)
            }
            _ => Ok(()),
        }
    }

    /// The effective times that a report of `client` which is held may have.
    pub fn may_be_reported(&self, client: &[u8]) -> Vec<i128> {
        let Some(about) = self.about.get(client) else {
            return Vec::new();
        };
        let held = about.may_hold.iter().flatten();
        held.map(|&at| about.reports[at].said.effective()).collect()
    }

    /// The same for all of whom something may be held, of whom `shown` says what is. Gives of how many
    /// that is something.
    pub fn see_all<'t>(
        &mut self,
        shown: impl Fn(&[u8]) -> Option<&'t [u8]>,
        window: Window,
    ) -> Result<usize, (Option<&'t [u8]>, String)> {
        let mut count = 0;
        for (client, about) in &mut self.about {
            if about.may_be_held() {
                let line = shown(client);
                about.see(line, window).map_err(|may_be| (line, may_be))?;
                count += usize::from(line.is_some());
            }
        }
        Ok(count)
    }

    /// What must be held of `client`, whatever has expired.
    pub fn must_hold(&self, client: &[u8]) -> Option<&[u8]> {
        self.about.get(client)?.must_hold()
    }

    /// All that must be held, whatever has expired, by client.
    pub fn must_be_held(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let all = self.about.iter();
        all.filter_map(|(client, about)| Some((&client[..], about.must_hold()?)))
    }

    /// Whether this has been heard, or something more recent about the same client, be it that it
    /// has been forgotten, or was not taken in, or would not be.
    pub fn has_heard(&self, line: &[u8], oldest: i128) -> bool {
        let about = self.about.get(client(line));
        let heard = about.and_then(|about| about.heard.as_ref());
        if heard.is_some_and(|heard| *heard.line == *line) {
            return true;
        }
        let rank = rank(line);
        rank.effective() < oldest || heard.is_some_and(|heard| heard.rank() >= rank)
    }

    /// Whether this, which is the change with this number, had been taken in before: it had to make room
    /// meanwhile, or to give way, as it was too far ahead.
    pub fn is_back(&self, line: &[u8], number: u64) -> bool {
        let about = self.about.get(client(line));
        let mut reports = about.iter().flat_map(|about| &about.reports);
        reports.any(|report| *report.said.line == *line && report.number != number)
    }

    /// Whether this was taken in as a change after the one with this number.
    pub fn took_after(&self, line: &[u8], number: u64) -> bool {
        let about = self.about.get(client(line));
        let mut reports = about.iter().flat_map(|about| &about.reports);
        reports.any(|report| report.number > number && *report.said.line == *line)
    }

    /// Those of whom something was taken in after the change with this number that may have had to make room: it has an
    /// effective time of `evicted` or before.
    pub fn may_have_gone_after(&self, number: u64, evicted: i128) -> BTreeSet<Vec<u8>> {
        let may_have_gone =
            |report: &Report| report.number > number && report.said.effective() <= evicted;
        let known = self.about.iter();
        let gone = known.filter(|(_, about)| about.reports.iter().any(may_have_gone));
        gone.map(|(client, _)| client.clone()).collect()
    }

    /// Those of whom something may be held.
    pub fn clients(&self) -> impl Iterator<Item = &[u8]> {
        let known = self.about.iter().filter(|(_, about)| about.may_be_held());
        known.map(|(client, _)| &client[..])
    }

    /// A restart: what was taken in after the change with this number was lost.
    pub fn lose_after(&mut self, number: u64) {
        for about in self.about.values_mut() {
            about.reports.retain(|report| report.number <= number);
            about.recover();
        }
    }

    /// Forgets everything but what may be there unseen: reports with an effective time before `oldest`, about
    /// clients of whom nothing is shown. A start that finds the clock set back may show them again.
    pub fn forget_but_expired(&mut self, oldest: i128, is_shown: impl Fn(&[u8]) -> bool) {
        self.about.retain(|client, about| {
            about
                .reports
                .retain(|report| report.said.effective() < oldest && !is_shown(client));
            for report in &mut about.reports {
                (report.number, report.expired) = (0, true);
            }
            about.heard = None;
            about.may_hold = (0..about.reports.len()).map(Some).collect();
            about.may_hold.push(None);
            !about.reports.is_empty()
        });
    }
}
