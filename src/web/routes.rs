//! Which request is for what. One table: what is not in it is not found.

use super::answer::Answer;
use super::page::{self, File};
use super::percent;
use crate::http::{Method, Request};
use crate::web::devices::Family;

/// What a request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
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
    Location(Vec<u8>),
    /// To report a location of a client.
    Report(Vec<u8>),
    /// To erase a client.
    Erase(Vec<u8>),
    /// What is tweeted round a client.
    Tweets(Vec<u8>),
    /// To be sent each change as it comes.
    Events,
    /// To report what a phone's app has.
    Device(Family),
}

impl Route {
    /// Whether it is answered whoever asks, and to the end.
    pub fn is_health(&self) -> bool {
        matches!(self, Route::Live | Route::Ready)
    }
}

/// What is to be found at a path: the methods that are answered there, each with its route.
fn found(path: &str) -> Option<Vec<(Method, Route)>> {
    let one = |route| Some(vec![(Method::Get, route)]);
    match path {
        "/livez" => return one(Route::Live),
        "/readyz" | "/healthz" => return one(Route::Ready),
        "/v1/events" => return one(Route::Events),
        "/metrics" => return one(Route::Metrics),
        "/v1/status" => return one(Route::Status),
        "/v1/herd" => return one(Route::Herd),
        _ => {}
    }
    if let Some(file) = page::file(path) {
        return one(Route::Page(file));
    }
    if let Some(family) = Family::at(path) {
        let methods = family.methods().iter();
        let routes = methods.map(|method| (*method, Route::Device(family)));
        return Some(routes.collect());
    }
    let client = path.strip_prefix("/v1/clients/")?;
    let (client, what) = match client.split_once('/') {
        None => (client, ""),
        Some((client, what)) => (client, what),
    };
    let client = percent::decode(client).filter(|client| !client.is_empty())?;
    match what {
        "" if !path.ends_with('/') => Some(vec![
            (Method::Get, Route::Location(client.clone())),
            (Method::Post, Route::Report(client.clone())),
            (Method::Delete, Route::Erase(client)),
        ]),
        "tweets" => one(Route::Tweets(client)),
        _ => None,
    }
}

/// What a request wants.
///
/// # Errors
/// What it is answered instead: 404 or 405.
pub fn route(request: &Request) -> Result<Route, Answer> {
    let Some(routes) = found(&request.path) else {
        return Err(Answer::error(404, "There is nothing at this path."));
    };
    // RFC 9110 section 9.2.1: HEAD is safe, and GET at a phone's path is a report.
    let is_device = matches!(routes[..], [(_, Route::Device(_)), ..]);
    let method = match request.method {
        Method::Head if !is_device => Method::Get,
        method => method,
    };
    let mut allowed: Vec<_> = routes.iter().map(|(method, _)| method.name()).collect();
    if allowed.contains(&"GET") && !is_device {
        allowed.push("HEAD");
    }
    let mut routes = routes.into_iter();
    let route = routes.find(|(answered, _)| *answered == method);
    route.map(|(_, route)| route).ok_or_else(|| {
        let allowed = allowed.join(", ");
        let error = Answer::error(405, &format!("Only {allowed} are answered here."));
        error.with("Allow", allowed) // RFC 9110 section 15.5.6
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Manner;

    fn routed(method: Method, path: &str) -> Result<Route, u16> {
        let request = Request {
            method,
            path: path.to_owned(),
            query: String::new(),
            host: None,
            fields: Vec::new(),
            body: Vec::new(),
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
                Ok(Route::Location(b"a/b+".to_vec())),
            ),
            (
                Method::Post,
                "/v1/clients/%FF",
                Ok(Route::Report(b"\xff".to_vec())),
            ),
            (
                Method::Delete,
                "/v1/clients/a%20b",
                Ok(Route::Erase(b"a b".to_vec())),
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
