//! Numbers in decimal, many digits at a time: as times and differences of every message need them.
//!
//! `timestamp`, `difference` and `span` read and write with it, and whoever else writes numbers on the path of a
//! message. It knows nothing of time but how many nanoseconds a second has.

/// So many nanoseconds a second has.
pub(super) const NANOS_PER_SECOND: u32 = 1_000_000_000;

/// The most digits the seconds of a client's time may have.
pub const SECONDS_DIGITS_MAX: usize = 18;

/// The most digits the fraction of a client's time may have: nanoseconds.
pub const FRACTION_DIGITS_MAX: usize = 9;

/// `u64::MAX` has so many digits.
pub(super) const DECIMAL_DIGITS_MAX: usize = 20;

/// Appends `value` in decimal.
pub fn write_decimal(out: &mut Vec<u8>, value: u64) {
    let mut text = [0; DECIMAL_DIGITS_MAX];
    let start = decimal_before(&mut text, value);
    out.extend_from_slice(&text[start..]);
}

/// Writes `value` in decimal to the end of `text`; says where it begins there.
#[inline(always)]
pub fn decimal_before(text: &mut [u8], mut value: u64) -> usize {
    let mut start = text.len();
    if value >= 100_000_000 {
        // Eight digits at once: the age of a client's clock has nine or ten.
        start -= 8;
        let low = (value % 100_000_000) as u32;
        text[start..start + 8].copy_from_slice(&eight_digits_of(low));
        value /= 100_000_000;
    }
    while value >= 100 {
        start -= 2;
        text[start..start + 2].copy_from_slice(&two_digits((value % 100) as u32));
        value /= 100;
    }
    if value >= 10 {
        start -= 2;
        text[start..start + 2].copy_from_slice(&two_digits(value as u32));
    } else {
        start -= 1;
        text[start] = b'0' + value as u8;
    }
    start
}

/// Appends `nanos`, below 1,000,000,000, as exactly nine digits.
pub fn write_nanos(out: &mut Vec<u8>, nanos: u32) {
    out.extend_from_slice(&nine_digits(nanos));
}

/// `nanos`, below 1,000,000,000, as exactly nine digits.
pub fn nine_digits(nanos: u32) -> [u8; FRACTION_DIGITS_MAX] {
    debug_assert!(nanos < NANOS_PER_SECOND);
    let mut text = [0; FRACTION_DIGITS_MAX];
    text[0] = b'0' + (nanos / 100_000_000) as u8;
    text[1..].copy_from_slice(&eight_digits_of(nanos % 100_000_000));
    text
}

/// `value`, below 100,000,000, as exactly eight digits: [`eight_digits`] the other way round, the whole
/// parted to fours, fours to pairs, pairs to digits, each with one multiplication for all.
fn eight_digits_of(value: u32) -> [u8; 8] {
    debug_assert!(value < 100_000_000);
    let (high, low) = (u64::from(value / 10_000), u64::from(value % 10_000));
    let fours = high | low << 32;
    // Below 10,000 a division by 100 is a multiplication by 5,243 and a shift by 19 bits; below 100 one
    // by 10 is a multiplication by 103 and a shift by 10 bits.
    let hundreds = ((fours * 5_243) >> 19) & 0x0000_007f_0000_007f;
    let pairs = hundreds | (fours - hundreds * 100) << 16;
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    let digits = tens | (pairs - tens * 10) << 8;
    (digits | (u64::MAX / 255 * u64::from(b'0'))).to_le_bytes()
}

/// The digits of a number below 100: two at a time halves the divisions, and these functions
/// write most numbers of every message.
fn two_digits(value: u32) -> [u8; 2] {
    [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]
}

/// Reads 1 to 18 decimal digits; `None` for anything else.
pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    debug_assert!(text.len() <= SECONDS_DIGITS_MAX, "the caller bounds it");
    let (mut value, mut strange) = (0_u64, text.is_empty());
    let (eights, rest) = text.as_chunks::<8>();
    for eight in eights {
        let (digits, is_strange) = eight_digits(*eight);
        value = value.wrapping_mul(100_000_000).wrapping_add(digits);
        strange |= is_strange;
    }
    for &byte in rest {
        let digit = byte.wrapping_sub(b'0');
        strange |= digit > 9; // asked once at the end: almost all texts are digits
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
    }
    (!strange).then_some(value)
}

/// Reads eight digits at once, neighbours joined to pairs, pairs to fours, fours to the whole, each
/// in one multiplication (after Lemire, "Quickly parsing eight digits", 2018). Says whether any of
/// them is none.
pub(super) fn eight_digits(text: [u8; 8]) -> (u64, bool) {
    const EACH: u64 = u64::MAX / 255;
    // The first digit is in the lowest byte.
    let values = u64::from_le_bytes(text) ^ (EACH * u64::from(b'0'));
    // A byte above 9 has its highest bit set, by itself or by the addition; a carry into the next
    // byte comes only from one that has.
    let strange = (values | values.wrapping_add(EACH * (0x7f - 9))) & (EACH * 0x80) != 0;
    let pairs = (values.wrapping_mul(1 + (10 << 8)) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(1 + (100 << 16)) >> 16) & 0x0000_ffff_0000_ffff;
    let whole = fours.wrapping_mul(1 + (10_000 << 32)) >> 32;
    (whole, strange)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn eight_digits_at_once_are_those_one_by_one(value in 0..100_000_000_u32) {
            let text = format!("{value:08}");
            prop_assert_eq!(&eight_digits_of(value), text.as_bytes());
            prop_assert_eq!(digits(text.as_bytes()), Some(u64::from(value)));
        }

        #[test]
        fn numbers_are_written_as_std_writes_them(value: u64, digits in 0..20_u32, nanos in 0..NANOS_PER_SECOND) {
            let value = value / 10_u64.pow(digits.min(19)); // of every length
            let mut out = Vec::new();
            write_decimal(&mut out, value);
            out.push(b' ');
            write_nanos(&mut out, nanos);
            prop_assert_eq!(out, format!("{value} {nanos:09}").into_bytes());
        }
    }
}
