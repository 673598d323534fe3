//! Host names looked up, one at a time, by a thread that lives as long as the lookup.
//!
//! `Neighbours` is the only caller, and says how often a name is looked up. A lookup may hang for half a
//! minute: then the other names wait for it, and dials go on with the addresses that are known.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use crate::node::effects::LinkId;
use crate::topology::Address;

/// What a lookup has found.
pub type Found = io::Result<Vec<SocketAddr>>;

type Lookup = dyn Fn(&Address) -> Found + Send + Sync;
type Post = dyn Fn(LinkId, Found) + Send + Sync;

/// The names that wait, and the lookup under way.
pub struct Resolver {
    lookup: Arc<Lookup>,
    post: Arc<Post>,
    waiting: VecDeque<(LinkId, Address)>,
    is_busy: bool,
}

impl Resolver {
    /// `post` takes home what `lookup` has found; [`Resolver::handle_done`] must be called then.
    pub fn new(
        lookup: impl Fn(&Address) -> Found + Send + Sync + 'static,
        post: impl Fn(LinkId, Found) + Send + Sync + 'static,
    ) -> Resolver {
        Resolver {
            lookup: Arc::new(lookup),
            post: Arc::new(post),
            waiting: VecDeque::new(),
            is_busy: false,
        }
    }

    /// Looks `address` up for a link that does not wait for a lookup already.
    pub fn look_up(&mut self, link: LinkId, address: Address) {
        self.waiting.push_back((link, address));
        self.begin();
    }

    /// Notes that a lookup has ended.
    pub fn handle_done(&mut self) {
        self.is_busy = false;
        self.begin();
    }

    /// Whether a lookup is under way.
    #[cfg(test)]
    pub fn is_busy(&self) -> bool {
        self.is_busy
    }

    fn begin(&mut self) {
        if self.is_busy {
            return;
        }
        let Some((link, address)) = self.waiting.pop_front() else {
            return;
        };
        self.is_busy = true;
        let (lookup, post) = (Arc::clone(&self.lookup), Arc::clone(&self.post));
        let thread = thread::Builder::new().name("resolver".to_owned());
        if let Err(error) = thread.spawn(move || post(link, lookup(&address))) {
            (self.post)(link, Err(error));
        }
    }
}
