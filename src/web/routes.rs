//! Which request is for what. One table: what is not in it is not found.

use std::borrow::Cow;

use super::answer::Answer;
use super::page::{self, File};
use crate::http::{Method, Request, percent};
use crate::web::devices::Family;

/// What a request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// Whether the loop turns.
    Live,
    /// Whether clients should come here.
    Ready,
    /// A file of the live page.
    Page(File),
    /// How the server is.
    Status,
    /// The same, for Prometheus.
    Metrics,
    /// How all servers are.
    Herd,
    /// The latest location of a client.
    Location(Cow<'a, [u8]>),
    /// To report a location of a client.
    Report(Cow<'a, [u8]>),
    /// To erase a client.
    Erase(Cow<'a, [u8]>),
    /// What is tweeted round a client.
    Tweets(Cow<'a, [u8]>),
    /// To be sent each change as it comes.
    Events,
    /// To report what a phone's app has.
    Device(Family),
}

impl Route<'_> {
    /// Whether it is answered whoever asks, and to the end.
    pub fn is_health(&self) -> bool {
        matches!(self, Route::Live | Route::Ready)
    }

    /// Whether all rooms of the server are asked for it, and all connections looked at.
    pub fn is_costly(&self) -> bool {
        matches!(self, Route::Status | Route::Metrics | Route::Herd)
    }
}

/// What is to be found at a path.
enum Place<'a> {
    /// What is asked for.
    One(Route<'a>),
    /// A client.
    Client(Cow<'a, [u8]>),
    /// Where phones report.
    Devices(Family),
}

impl<'a> Place<'a> {
    /// What is at `path`.
    fn at(path: &'a str) -> Option<Place<'a>> {
        if let Some(client) = path.strip_prefix("/v1/clients/") {
            return Place::of_client(client);
        }
        if let Some(family) = Family::at(path) {
            return Some(Place::Devices(family));
        }
        Some(Place::One(match path {
            "/livez" => Route::Live,
            "/readyz" | "/healthz" => Route::Ready,
            "/v1/events" => Route::Events,
            "/metrics" => Route::Metrics,
            "/v1/status" => Route::Status,
            "/v1/herd" => Route::Herd,
            _ => Route::Page(page::file(path)?),
        }))
    }

    fn of_client(path: &'a str) -> Option<Place<'a>> {
        let (client, what) = match memchr::memchr(b'/', path.as_bytes()) {
            None => (path, None),
            Some(at) => (&path[..at], Some(&path[at + 1..])),
        };
        let client = percent::decode(client.as_bytes()).filter(|client| !client.is_empty())?;
        match what {
            None => Some(Place::Client(client)),
            Some("tweets") => Some(Place::One(Route::Tweets(client))),
            Some(_) => None,
        }
    }

    /// The methods that are answered there, but for HEAD.
    fn methods(&self) -> &'static [Method] {
        match self {
            Place::One(_) => &[Method::Get],
            Place::Client(_) => &[Method::Get, Method::Post, Method::Delete],
            Place::Devices(family) => family.methods(),
        }
    }

    /// Whether HEAD is answered as GET is. RFC 9110 section 9.2.1: HEAD is safe, and GET at a phone's path is a
    /// report.
    fn has_head(&self) -> bool {
        !matches!(self, Place::Devices(_))
    }

    /// What a request of one of its methods wants.
    fn route(self, method: Method) -> Route<'a> {
        match self {
            Place::One(route) => route,
            Place::Client(client) => match method {
                Method::Post => Route::Report(client),
                Method::Delete => Route::Erase(client),
                _ => Route::Location(client),
            },
            Place::Devices(family) => Route::Device(family),
        }
    }
}

/// What a request wants.
///
/// # Errors
/// What it is answered instead: 404 or 405.
pub fn route<'a>(request: &Request<'a>) -> Result<Route<'a>, Answer> {
    let Some(place) = Place::at(request.path) else {
        return Err(Answer::error(404, "There is nothing at this path."));
    };
    let method = match request.method {
        Method::Head if place.has_head() => Method::Get,
        method => method,
    };
    if place.methods().contains(&method) {
        return Ok(place.route(method));
    }
    let mut allowed: Vec<_> = place.methods().iter().map(|method| method.name()).collect();
    if place.has_head() {
        allowed.push("HEAD");
    }
    let allowed = allowed.join(", ");
    let error = Answer::error(405, &format!("Only {allowed} are answered here."));
    Err(error.with("Allow", allowed)) // RFC 9110 section 15.5.6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Manner;

    fn routed(method: Method, path: &str) -> Result<Route<'_>, u16> {
        let request = Request {
            method,
            path,
            query: "",
            host: None,
            fields: Vec::new(),
            body: (&[]).into(),
            manner: Manner::LAST,
        };
        route(&request).map_err(|answer| answer.status)
    }

    #[test]
    fn paths() {
        for (method, path, want) in [
            (Method::Get, "/livez", Ok(Route::Live)),
            (Method::Head, "/healthz", Ok(Route::Ready)),
            (Method::Get, "/readyz", Ok(Route::Ready)),
            (Method::Post, "/readyz", Err(405)),
            (Method::Get, "/metrics", Ok(Route::Metrics)),
            (Method::Get, "/v1/status", Ok(Route::Status)),
            (Method::Get, "/v1/herd", Ok(Route::Herd)),
            (Method::Delete, "/v1/status", Err(405)),
            (Method::Get, "/nowhere", Err(404)),
            (Method::Post, "/nowhere", Err(404)),
            (Method::Get, "/livez/", Err(404)),
            (Method::Get, "/v1/clients/", Err(404)),
            (Method::Get, "/v1/clients/a/", Err(404)),
            (Method::Get, "/v1/clients/a/b", Err(404)),
            (Method::Get, "/v1/clients/%zz", Err(404)),
            (
                Method::Get,
                "/v1/clients/a%2Fb+",
                Ok(Route::Location(b"a/b+"[..].into())),
            ),
            (
                Method::Post,
                "/v1/clients/%FF",
                Ok(Route::Report(b"\xff"[..].into())),
            ),
            (
                Method::Delete,
                "/v1/clients/a%20b",
                Ok(Route::Erase(b"a b"[..].into())),
            ),
            (Method::Put, "/v1/clients/a", Err(405)),
            (Method::Get, "/osmand", Ok(Route::Device(Family::OsmAnd))),
            (Method::Head, "/osmand", Err(405)),
            (Method::Post, "/osmand", Ok(Route::Device(Family::OsmAnd))),
            (Method::Put, "/osmand", Err(405)),
            (
                Method::Post,
                "/overland",
                Ok(Route::Device(Family::Overland)),
            ),
            (Method::Get, "/overland", Err(405)),
            (
                Method::Post,
                "/owntracks",
                Ok(Route::Device(Family::OwnTracks)),
            ),
            (Method::Get, "/owntracks", Err(405)),
            (Method::Post, "/owntracks/", Err(404)),
            (Method::Other, "/v1/clients/a", Err(405)),
        ] {
            assert_eq!(routed(method, path), want, "{method:?} {path}");
        }
    }
}
