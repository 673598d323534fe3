//! The one way by which other threads reach the loop: post, then wake.
//!
//! The threads of journal and log, Twitter's workers, the resolver, the herd view's and the one that waits for
//! signals hold a [`Mailbox`]; the reactor holds the other end, and its owner empties it once a turn (Twisted's
//! `callFromThread`).

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use mio::{Registry, Token, Waker};

/// Where other threads leave mail for the loop.
#[derive(Debug)]
pub struct Mailbox<M> {
    sender: Sender<M>,
    waker: Arc<Waker>,
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Mailbox<M> {
        Mailbox {
            sender: self.sender.clone(),
            waker: Arc::clone(&self.waker),
        }
    }
}

impl<M> Mailbox<M> {
    /// A mailbox and the loop's end of it; posting wakes `registry`'s poll with `token`.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<(Mailbox<M>, Receiver<M>)> {
        let (sender, receiver) = channel();
        let waker = Arc::new(Waker::new(registry, token)?);
        Ok((Mailbox { sender, waker }, receiver))
    }

    /// Leaves `mail` and wakes the loop. A loop that has gone home is no error.
    pub fn post(&self, mail: M) {
        if self.sender.send(mail).is_ok() {
            // Waking fails only if the poll has gone, and then nobody is there to be woken.
            let _ = self.waker.wake();
        }
    }
}
