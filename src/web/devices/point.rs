//! One point, as the `IAMAT` line that the device would have sent.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::http::percent;
use crate::node::fields::is_space;
use crate::time::Timestamp;
use crate::web::decimal::{DECIMAL, Decimal};
use crate::web::members::{self, Members};
use crate::web::moment;
use crate::web::report::{self, Place};

/// Text of a request is quoted in a reason up to so many characters.
const QUOTED_MAX: usize = 40;

/// Why a point is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub reason: String,
    /// Whether the point names no client, or a name that none can have: then the app must be set up.
    pub is_anonymous: bool,
}

impl Fault {
    /// The point names no client.
    pub fn anonymous(reason: impl Into<String>) -> Fault {
        let reason = reason.into();
        let is_anonymous = true;
        Fault {
            reason,
            is_anonymous,
        }
    }

    /// The point is no location of a client at a time.
    pub fn point(reason: impl Into<String>) -> Fault {
        let reason = reason.into();
        let is_anonymous = false;
        Fault {
            reason,
            is_anonymous,
        }
    }
}

/// A number or a time as it stands in a request.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// In JSON.
    Json(&'a RawValue),
    /// In a form, decoded.
    Form(Cow<'a, str>),
}

impl Value<'_> {
    fn number(&self) -> Option<Decimal<'_>> {
        match self {
            Value::Json(value) => report::number(value),
            Value::Form(text) => Decimal::parse(text),
        }
    }

    fn time(&self) -> Option<Decimal<'_>> {
        match self {
            Value::Json(value) => report::time(value),
            Value::Form(text) => moment::of_text(text),
        }
    }

    fn quoted(&self) -> String {
        match self {
            Value::Json(value) => quoted(value.get()),
            Value::Form(text) => quoted(text),
        }
    }
}

/// A point's values, each with the name that it has in the request.
#[derive(Clone, Debug)]
pub struct Point<'a> {
    /// Whose it is.
    pub client: &'a [u8],
    /// The latitude in degrees.
    pub latitude: (&'a str, Option<Value<'a>>),
    /// The longitude in degrees.
    pub longitude: (&'a str, Option<Value<'a>>),
    /// When. Without it, when it was received.
    pub time: (&'a str, Option<Value<'a>>),
}

impl Point<'_> {
    /// Its `IAMAT` line, without LF.
    ///
    /// # Errors
    /// What is wrong with which value.
    pub fn line(&self, receipt: Timestamp) -> Result<Vec<u8>, Fault> {
        if self.client.is_empty() || self.client.iter().any(|&byte| is_space(byte)) {
            let name = quoted(&String::from_utf8_lossy(self.client));
            let reason =
                format!("{name} is no name of a client: it is empty or has white space in it");
            return Err(Fault::anonymous(reason));
        }
        let place = Place::Degrees(degrees(&self.latitude)?, degrees(&self.longitude)?);
        let (name, time) = &self.time;
        let time = match time {
            None => moment::of(receipt),
            Some(value) => value.time(),
        };
        let time = time.ok_or_else(|| {
            let value = self.time.1.as_ref().map(Value::quoted).unwrap_or_default();
            Fault::point(format!("{name}: {value} is no time since 1970"))
        })?;
        let line = report::compose(self.client, &place, &time).map_err(Fault::point)?;
        report::parse(&line).map_err(Fault::point)?;
        Ok(line)
    }
}

fn degrees<'a>((name, value): &'a (&str, Option<Value<'_>>)) -> Result<Decimal<'a>, Fault> {
    let value = value.as_ref();
    let value = value.ok_or_else(|| Fault::point(format!("{name} is missing")))?;
    let wrong = || Fault::point(format!("{name}: {} is no {DECIMAL}", value.quoted()));
    value.number().ok_or_else(wrong)
}

/// The beginning of a request's text. The log and JSON escape what needs to be.
pub fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(QUOTED_MAX).collect();
    let more = if shown.len() < text.len() { "..." } else { "" };
    format!("'{shown}{more}'")
}

/// A member that is a number or a time.
pub fn value<'a>(members: &Members<'a>, name: &str) -> Option<Value<'a>> {
    members.get(name).map(Value::Json)
}

/// A member that is an object.
pub fn object<'a>(members: &Members<'a>, name: &str) -> Option<Members<'a>> {
    let value = members.get(name)?;
    serde_json::from_str(value.get()).ok()
}

/// A member that is a string.
pub fn string<'a>(members: &Members<'a>, name: &str) -> Option<Cow<'a, str>> {
    members.get(name).and_then(members::string)
}

/// A member that is a name: a string that is not empty, or a whole number as it is written.
pub fn name<'a>(members: &Members<'a>, name: &str) -> Option<Cow<'a, str>> {
    let value = members.get(name)?;
    let is_number = value.get().bytes().all(|byte| byte.is_ascii_digit());
    let text = match is_number {
        true => Some(Cow::Borrowed(value.get())),
        false => members::string(value),
    };
    text.filter(|text| !text.is_empty())
}

/// The elements of an array. `None` if it is none.
pub fn elements(array: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(array.get()).ok()
}

/// The parameters of a form, decoded once for all that are looked for.
pub struct Form<'a>(Vec<percent::Parameter<'a>>);

impl<'a> Form<'a> {
    /// Those of `text`.
    pub fn read(text: &'a str) -> Form<'a> {
        Form(percent::parameters(text).collect())
    }

    /// The value of the first of this name that is not empty.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let mut values = self
            .0
            .iter()
            .filter(|(other, _)| **other == *name.as_bytes());
        let (_, value) = values.find(|(_, value)| !value.is_empty())?;
        Some(value)
    }
}

/// The value of the first parameter of this name that is not empty, of a query or a form.
pub fn parameter(form: &str, name: &str) -> Option<Vec<u8>> {
    Form::read(form).get(name).map(<[u8]>::to_vec)
}
