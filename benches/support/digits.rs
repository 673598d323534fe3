//! Numbers in text that change in place, so that the next message costs no formatting.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// POSIX time that never steps back, so that every message is later than the one before.
pub struct Clock {
    wall: Duration,
    mono: Instant,
}

impl Clock {
    pub fn new() -> Clock {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Clock {
            wall,
            mono: Instant::now(),
        }
    }

    /// Since this clock was made.
    pub fn elapsed_ns(&self) -> u64 {
        self.mono.elapsed().as_nanos() as u64
    }

    /// Writes the time of `elapsed_ns` over `0000000000.000000000`.
    pub fn write(&self, elapsed_ns: u64, text: &mut [u8]) {
        let now = self.wall + Duration::from_nanos(elapsed_ns);
        write_number(&mut text[..10], now.as_secs());
        write_number(&mut text[11..20], now.subsec_nanos().into());
    }
}

/// Writes a number over digits, with zeros in front.
pub fn write_number(digits: &mut [u8], mut value: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Reads a number that is all digits.
pub fn read_number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value: u64, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

/// Adds one to a number in text, also to the last place of a fraction.
pub fn count_up(text: &mut [u8]) {
    for byte in text.iter_mut().rev() {
        match *byte {
            b'.' => {}
            b'9' => *byte = b'0',
            _ => {
                *byte += 1;
                break;
            }
        }
    }
}
