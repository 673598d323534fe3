//! What a server offers over HTTP: which request is for what, who may ask, what is answered.
//!
//! `server/requests.rs` asks these rooms what a request wants and gives the connection what they answer. No
//! socket and no clock; only `events` follows a node's changefeed.
//!
//! | File | What |
//! |---|---|
//! | `routes` | which request is for what |
//! | `access` | who may ask: loopback without tokens, or who has a token |
//! | `answer` | what is answered, to be written as a response |
//! | `location` | a location as JSON |
//! | `status`, `metrics`, `histogram` | how a server is: JSON, and text for Prometheus |
//! | `devices/` | what phones' apps report, each in its own format |
//! | `report` | a report in JSON, as the `IAMAT` line that it becomes |
//! | `erased` | what is answered to who had a client erased |
//! | `members` | an object of JSON, taken apart |
//! | `decimal`, `moment` | numbers and times as devices write them, exactly, as text |
//! | `tweets` | a question for tweets as the `WHATSAT` line that it becomes |
//! | `events` | the changefeed as Server-Sent Events: followers, their cursors and their pace |
//! | `page/` | the live page: what a browser loads |

pub mod access;
pub mod answer;
pub mod decimal;
pub mod devices;
pub mod erased;
pub mod events;
pub mod histogram;
pub mod location;
pub mod members;
pub mod metrics;
pub mod moment;
pub mod page;
pub mod report;
pub mod routes;
pub mod status;
pub mod tweets;
