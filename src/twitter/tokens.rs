//! The token that a question is asked with: as given, or obtained for a key and its secret.
//!
//! The workers are the callers. All share one token, and obtain it once.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::asker::{Asker, Failure, Reply, body};
use super::credentials::{Credentials, Secret};
use crate::http::percent;

/// The longest answer about a token taken in.
const BODY_BYTES_MAX: u64 = 64 * 1024;

/// What there is to ask with.
pub(super) enum Token {
    /// None is needed.
    None,
    /// It was given, or has just been obtained.
    Held(Secret),
    /// It was obtained for an earlier question: Twitter may have invalidated it since.
    Kept(Secret),
    /// Twitter gave none, and says why.
    Refused(Reply),
}

/// What was obtained to ask with.
#[derive(Default)]
pub(super) struct Tokens {
    /// For the application's key and secret.
    obtained: Mutex<Option<Secret>>,
}

impl Tokens {
    /// The token to ask with. Where it has to be obtained one worker does so and the others wait
    /// for it: more than one such request at a time is what Twitter refuses.
    pub(super) fn token(&self, asker: &Asker, deadline: Instant) -> Result<Token, Failure> {
        let (key, secret) = match &asker.options.credentials {
            None => return Ok(Token::None),
            Some(Credentials::Token(token)) => return Ok(Token::Held(token.clone())),
            Some(Credentials::Application { key, secret }) => (key, secret),
        };
        let mut obtained = self.obtained.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = &*obtained {
            return Ok(Token::Kept(token.clone()));
        }
        if deadline <= Instant::now() {
            return Err(Failure::TimedOut); // while another worker asked
        }
        let token = obtain(asker, key, secret, deadline)?;
        if let Token::Held(token) = &token {
            *obtained = Some(token.clone());
        }
        Ok(token)
    }

    /// A token that Twitter refuses has been invalidated: the next question obtains another.
    pub(super) fn forget(&self, refused: &Secret) {
        let mut obtained = self.obtained.lock().unwrap_or_else(PoisonError::into_inner);
        if obtained.as_ref() == Some(refused) {
            *obtained = None;
        }
    }
}

/// "POST oauth2/token": the token that Twitter gives for a key and its secret.
fn obtain(
    asker: &Asker,
    key: &Secret,
    secret: &Secret,
    deadline: Instant,
) -> Result<Token, Failure> {
    // So Twitter wants them, before a colon joins them.
    let pair = [key, secret].map(|part| percent::encode(part.expose().as_bytes()));
    let basic = format!("Basic {}", BASE64_STANDARD.encode(pair.join(":")));
    let form = "grant_type=client_credentials";
    let mut response = asker.post("/oauth2/token", basic, form, deadline)?;
    if !response.status().is_success() {
        return asker.reply(&mut response, 0).map(Token::Refused);
    }
    let body = body(&mut response, BODY_BYTES_MAX)?;
    // Of this answer nothing is passed on, whatever it is: it may hold a token.
    let json: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let member = |name: &str| json.as_ref()?.get(name)?.as_str();
    match (
        member("token_type"),
        member("access_token").and_then(Secret::parse),
    ) {
        (Some("bearer"), Some(token)) => Ok(Token::Held(token)),
        _ => {
            let why = "it gave no bearer token for the key";
            Err(Failure::Nonsense(why.to_owned()))
        }
    }
}
