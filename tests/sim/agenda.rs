//! What will happen when, in virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

use herd::connection_id::ConnectionId;
use herd::node::effects::LinkId;
use herd::node::questions::QuestionId;

use crate::clients::Said;

/// Something that happens to one incarnation of one server, or to a wire.
#[derive(Clone, Debug)]
pub enum Event {
    /// The first parcel of a direction of a wire arrives.
    Arrival(u64, usize),
    /// The server's node wants to be woken.
    Wake(Moment),
    /// There may be room on a wire again.
    Room(Moment),
    /// A dial comes to an end; the number tells it from later ones.
    Dialled(Moment, LinkId, u64),
    /// A connection that was closed here has gone.
    Gone(Moment, ConnectionId),
    /// Twitter answers.
    Tweets(Moment, QuestionId, Vec<u8>),
    /// A client says or does something.
    Client(Moment, ConnectionId, Said),
    /// A client that had to wait has more to be read.
    Resume(Moment, ConnectionId),
    /// The disk's thread goes on.
    Disk(Moment),
}

impl Event {
    /// To which server it happens.
    ///
    /// # Panics
    /// If it happens to a wire.
    pub fn host(&self) -> usize {
        match self {
            Event::Wake(moment)
            | Event::Room(moment)
            | Event::Dialled(moment, ..)
            | Event::Gone(moment, _)
            | Event::Tweets(moment, ..)
            | Event::Client(moment, ..)
            | Event::Resume(moment, _)
            | Event::Disk(moment) => moment.host,
            Event::Arrival(..) => panic!("it happens to a wire"),
        }
    }
}

/// To which incarnation of which server something happens: in another one it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Which server.
    pub host: usize,
    /// Which of its incarnations.
    pub incarnation: u64,
}

/// All that will happen, the earliest first; at the same time what was planned first.
#[derive(Debug, Default)]
pub struct Agenda {
    events: BTreeMap<(Duration, u64), Event>,
    planned: u64,
}

impl Agenda {
    /// Plans an event.
    pub fn plan(&mut self, at: Duration, event: Event) {
        self.planned += 1;
        self.events.insert((at, self.planned), event);
    }

    /// The next event, if it happens not later than `until`.
    pub fn next(&mut self, until: Duration) -> Option<(Duration, Event)> {
        let first = self.events.first_entry()?;
        let at = first.key().0;
        (at <= until).then(|| (at, first.remove()))
    }
}
