//! Exact time: POSIX timestamps, their differences, their text, and the two clocks of a turn.
//!
//! Everybody uses this room; it knows nobody. Times are whole seconds and nanoseconds, never
//! floating point: an `f64` cannot hold `1353118103.108893381`.
//!
//! | File | What |
//! |---|---|
//! | `timestamp` | a moment: as clients write it, as the log does |
//! | `difference` | how far two are apart, as `AT` lines say it |
//! | `now` | the two clocks of a turn |
//! | `span` | how long something takes, for operators |
//! | `digits` | numbers in decimal, read and written fast |

mod difference;
mod digits;
mod now;
mod span;
mod timestamp;

pub use self::difference::Difference;
pub(crate) use self::digits::digits;
pub use self::digits::{
    FRACTION_DIGITS_MAX, SECONDS_DIGITS_MAX, decimal_before, nine_digits, write_decimal,
    write_nanos,
};
pub use self::now::Now;
pub use self::span::{parse_span, rough_span, span_text};
pub use self::timestamp::Timestamp;
