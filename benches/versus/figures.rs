//! What was measured: each figure of each round, and the tables made of them.

use std::io::Write;

use crate::support::{Result, Spread, grouped};

/// What is measured of a system, in which unit, and with how many decimals it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    pub name: &'static str,
    pub unit: &'static str,
    pub decimals: usize,
}

impl Quantity {
    pub const fn new(name: &'static str, unit: &'static str, decimals: usize) -> Quantity {
        Quantity {
            name,
            unit,
            decimals,
        }
    }

    fn show(&self, value: f64) -> String {
        match self.decimals {
            0 => grouped(value),
            decimals => format!("{value:.decimals$}"),
        }
    }
}

/// One quantity of one system in one setting, over all rounds.
struct Figure {
    system: String,
    setting: String,
    quantity: Quantity,
    values: Vec<f64>,
}

/// All figures of a section, in the order in which they came.
#[derive(Default)]
pub struct Figures(Vec<Figure>);

/// What a column of a table shows.
#[derive(Clone, Copy)]
pub enum Column {
    /// Median, minimum and maximum.
    Spread(Quantity),
    /// The median, by that of another system in the same setting.
    Ratio(Quantity, &'static str),
    /// What else there is to say of a system in a setting.
    Text(&'static str, fn(&Figures, &str, &str) -> String),
}

impl Figures {
    pub fn add(&mut self, system: &str, setting: &str, quantity: Quantity, value: f64) {
        let at = self.place(system, setting, quantity).unwrap_or_else(|| {
            self.0.push(Figure {
                system: system.to_owned(),
                setting: setting.to_owned(),
                quantity,
                values: Vec::new(),
            });
            self.0.len() - 1
        });
        self.0[at].values.push(value);
    }

    pub fn spread(&self, system: &str, setting: &str, quantity: Quantity) -> Option<Spread> {
        let at = self.place(system, setting, quantity)?;
        Some(Spread::of(self.0[at].values.clone()))
    }

    pub fn median(&self, system: &str, setting: &str, quantity: Quantity) -> Option<f64> {
        Some(self.spread(system, setting, quantity)?.median)
    }

    /// What was added last.
    pub fn last(&self, system: &str, setting: &str, quantity: Quantity) -> Option<f64> {
        let at = self.place(system, setting, quantity)?;
        self.0[at].values.last().copied()
    }

    fn place(&self, system: &str, setting: &str, quantity: Quantity) -> Option<usize> {
        self.0.iter().position(|figure| {
            figure.system == system && figure.setting == setting && figure.quantity == quantity
        })
    }

    pub fn settings(&self) -> Vec<&str> {
        distinct(self.0.iter().map(|figure| figure.setting.as_str()))
    }

    pub fn systems(&self) -> Vec<&str> {
        distinct(self.0.iter().map(|figure| figure.system.as_str()))
    }

    /// A Markdown table, a row for each system in each setting of which the first column knows.
    pub fn table(&self, setting_is: &str, columns: &[Column]) -> String {
        let mut text = format!("| system | {setting_is} |");
        for column in columns {
            let heading = match column {
                Column::Spread(quantity) => {
                    format!("{}, {} (min..max)", quantity.name, quantity.unit)
                }
                Column::Ratio(quantity, other) => format!("{} ÷ {other}'s", quantity.name),
                Column::Text(heading, _) => heading.to_string(),
            };
            text += &format!(" {heading} |");
        }
        text += &format!("\n|---|---|{}\n", "--:|".repeat(columns.len()));
        for setting in self.settings() {
            for system in self.systems() {
                let cells = columns
                    .iter()
                    .map(|column| self.cell(system, setting, *column));
                let cells: Vec<String> = cells.collect();
                if !cells[0].is_empty() {
                    text += &format!("| {system} | {setting} | {} |\n", cells.join(" | "));
                }
            }
        }
        text
    }

    fn cell(&self, system: &str, setting: &str, column: Column) -> String {
        let cell = match column {
            Column::Spread(quantity) => self.spread(system, setting, quantity).map(|spread| {
                let [median, min, max] =
                    [spread.median, spread.min, spread.max].map(|value| quantity.show(value));
                format!("{median} ({min}..{max})")
            }),
            Column::Ratio(quantity, other) => {
                let own = self.median(system, setting, quantity);
                let others = self.median(other, setting, quantity);
                own.zip(others)
                    .map(|(own, other)| format!("{:.2}", own / other))
            }
            Column::Text(_, tell) => Some(tell(self, system, setting)),
        };
        cell.unwrap_or_default()
    }

    /// `section,system,setting,quantity,unit,median,min,max,rounds`, a line each.
    pub fn write_csv(&self, section: &str, out: &mut impl Write) -> Result<()> {
        for figure in &self.0 {
            let Quantity { name, unit, .. } = figure.quantity;
            let Spread { median, min, max } = Spread::of(figure.values.clone());
            let (system, setting) = (quoted(&figure.system), quoted(&figure.setting));
            let rounds = figure.values.len();
            writeln!(
                out,
                "{section},{system},{setting},{},{},{median},{min},{max},{rounds}",
                quoted(name),
                quoted(unit)
            )?;
        }
        Ok(())
    }
}

/// A field of a CSV line (RFC 4180).
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

fn distinct<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}
