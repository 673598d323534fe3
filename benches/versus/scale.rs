//! Where a value lies between two ends, in pixels, and which values are marked there.

/// An axis.
pub struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
    /// Where `low` and `high` lie.
    ends: [i32; 2],
}

impl Scale {
    /// From nothing, or from below the least, to above the greatest of these values.
    pub fn over(values: impl Iterator<Item = f64> + Clone, is_log: bool, ends: [i32; 2]) -> Scale {
        let least = values.clone().fold(f64::INFINITY, f64::min).max(1e-9);
        let greatest = values.fold(least, f64::max);
        let (low, high) = match is_log {
            true => (least / 1.3, greatest * 1.3),
            false => (0.0, greatest * 1.08),
        };
        Scale {
            low,
            high,
            is_log,
            ends,
        }
    }

    pub fn at(&self, value: f64) -> i32 {
        let part = match self.is_log {
            true => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
            false => value / self.high,
        };
        self.ends[0] + ((self.ends[1] - self.ends[0]) as f64 * part).round() as i32
    }

    /// Values to mark.
    pub fn ticks(&self) -> Vec<f64> {
        if self.is_log {
            return self.log_ticks();
        }
        let rough = self.high / 5.0;
        let decade = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * decade);
        let step = step.into_iter().find(|&step| step >= rough);
        let step = step.unwrap_or(rough);
        let count = (self.high / step) as usize;
        (0..=count).map(|n| n as f64 * step).collect()
    }

    fn log_ticks(&self) -> Vec<f64> {
        let digits: &[f64] = match (self.high / self.low).log10() {
            ..3.0 => &[1.0, 2.0, 5.0],
            ..5.0 => &[1.0, 3.0],
            _ => &[1.0],
        };
        let exponents = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let ticks = exponents.flat_map(|exponent| {
            let decade = 10f64.powi(exponent);
            digits.iter().map(move |digit| digit * decade)
        });
        ticks
            .filter(|tick| (self.low..=self.high).contains(tick))
            .collect()
    }
}

/// A number with three digits that count: `0.594`, `17.2`, `936k`, `2.88M`.
pub fn short(value: f64) -> String {
    let (value, unit) = match value {
        1e6.. => (value / 1e6, "M"),
        1e4.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let decimals = match value {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{unit}")
}
