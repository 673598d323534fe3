//! How the whole herd is, for `/v1/herd`: the statuses of all servers that have `http=`, asked on a thread.
//!
//! `Shell` has one; `requests` asks it. At most one round is under way, and what it found holds for a second: so
//! however many pages are open, each server is asked once a second.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::web::To;
use crate::connection_id::ReplyId;
use crate::survey::{self, Answer, Manner, Target};

/// What a round found holds for so long.
const HOLDS_FOR: Duration = Duration::from_secs(1);

/// So many requests may wait for a round; others are refused.
const WAITING_MAX: usize = 64;

/// Takes home what a round has found.
type Post = Arc<dyn Fn(Vec<Answer>) + Send + Sync>;

/// The servers, and who wants to know of them.
pub struct HerdView {
    post: Post,
    is_under_way: bool,
    /// Counts the requests that had to wait.
    asked: u64,
    found: Option<(Instant, Vec<Answer>)>,
    waiting: Vec<(To, ReplyId)>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Asked {
    /// [`HerdView::found`] still holds.
    Known,
    /// It is answered when the round is over: its place among the connection's responses is to be reserved.
    Waits(ReplyId),
    /// Too many wait.
    Full,
}

impl HerdView {
    /// Nothing is known yet. `post` takes what is found to [`HerdView::handle_found`].
    pub fn new(post: impl Fn(Vec<Answer>) + Send + Sync + 'static) -> HerdView {
        HerdView {
            post: Arc::new(post),
            is_under_way: false,
            asked: 0,
            found: None,
            waiting: Vec::new(),
        }
    }

    /// Sees to the answer of a request about `others`, who are asked in the `manner` in which this server was.
    pub fn ask(
        &mut self,
        to: To,
        others: impl FnOnce() -> (Vec<Target>, Manner),
        now: Instant,
    ) -> Asked {
        let found = self.found.as_ref();
        if found.is_some_and(|(at, _)| now < *at + HOLDS_FOR) {
            return Asked::Known;
        }
        if self.waiting.len() == WAITING_MAX {
            return Asked::Full;
        }
        if !self.is_under_way {
            let ((others, manner), post) = (others(), Arc::clone(&self.post));
            let round = move || post(round(&others, || survey::ask(&others, &manner)));
            let thread = thread::Builder::new().name("herd-view".to_owned());
            if thread.spawn(round).is_err() {
                return Asked::Full;
            }
            self.is_under_way = true;
        }
        self.asked += 1;
        let reply = ReplyId(u64::MAX - self.asked); // the node counts its own from 1
        self.waiting.push((to, reply));
        Asked::Waits(reply)
    }

    /// Takes in what a round has found.
    pub fn handle_found(&mut self, found: Vec<Answer>, now: Instant) {
        self.is_under_way = false;
        self.found = Some((now, found));
    }

    /// Takes those who wait for a round that is over.
    pub fn take_due(&mut self) -> Vec<(To, ReplyId)> {
        match self.is_under_way {
            true => Vec::new(),
            false => std::mem::take(&mut self.waiting),
        }
    }

    /// What the last round has found.
    pub fn found(&self) -> &[Answer] {
        self.found.as_ref().map_or(&[], |(_, found)| found)
    }
}

/// What `ask` finds of the `others`. A bug, ours or a library's, must cost one round: without its end nobody would
/// be answered until a restart.
fn round(others: &[Target], ask: impl FnOnce() -> Vec<Answer>) -> Vec<Answer> {
    let failed = |target: &Target| Answer {
        target: target.clone(),
        status: Err("asking it failed".to_owned()),
    };
    catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(|_| others.iter().map(failed).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_panics_ends() {
        let target = Target {
            place: 1,
            name: "B".to_owned(),
            http: None,
        };
        let found = round(std::slice::from_ref(&target), || panic!("of a test"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].target, target);
        let why = found[0].status.as_ref().map(|_| ()).unwrap_err();
        assert_eq!(why, "asking it failed");
    }
}
