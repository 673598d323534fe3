//! Charts as data. What is drawn of which figures is the sections' business, how is [`draw`]'s.
//!
//! [`draw`]: crate::draw

use crate::figures::{Figures, Quantity};
use crate::support::Spread;

/// A file of one or more panels, one below the other.
pub struct Chart {
    /// Without its ending.
    pub name: &'static str,
    pub panels: Vec<Panel>,
}

pub struct Panel {
    pub title: String,
    /// What the values are, and their unit.
    pub axis: String,
    /// Where the values span decades.
    pub is_log: bool,
    pub marks: Marks,
}

pub enum Marks {
    /// A row for each system, with a dot for each setting and its name.
    Dots(Vec<Row>),
    /// A bar for each system.
    Bars(Vec<(String, Spread)>),
    /// A line for each system over the same ticks.
    Lines {
        ticks: Vec<String>,
        below: String,
        lines: Vec<Row>,
    },
}

/// A system's values by setting. In a line one that is missing ends it.
pub struct Row {
    pub system: String,
    pub values: Vec<(String, Spread)>,
}

impl Panel {
    pub fn new(title: &str, axis: &str, marks: Marks) -> Panel {
        Panel {
            title: title.to_owned(),
            axis: axis.to_owned(),
            is_log: false,
            marks,
        }
    }

    pub fn log(self) -> Panel {
        Panel {
            is_log: true,
            ..self
        }
    }
}

impl Marks {
    /// The greatest first.
    pub fn reversed(mut self) -> Marks {
        if let Marks::Dots(rows) = &mut self {
            rows.reverse();
        }
        self
    }

    /// One quantity in several settings, the systems from the least to the greatest in the last.
    pub fn dots(figures: &Figures, quantity: Quantity, settings: &[&str]) -> Marks {
        let mut rows = rows(figures, settings, |_| quantity);
        let last = |row: &Row| row.values.last().map_or(0.0, |value| value.1.median);
        rows.sort_by(|one, other| last(one).total_cmp(&last(other)));
        Marks::Dots(rows)
    }

    /// One quantity in one setting, the systems from the least to the greatest.
    pub fn bars(figures: &Figures, quantity: Quantity, setting: &str) -> Marks {
        let bar = |system: &&str| {
            let spread = figures.spread(system, setting, quantity)?;
            Some((system.to_string(), spread))
        };
        let mut bars: Vec<_> = figures.systems().iter().filter_map(bar).collect();
        bars.sort_by(|one, other| one.1.median.total_cmp(&other.1.median));
        Marks::Bars(bars)
    }

    /// One quantity over settings.
    pub fn lines(figures: &Figures, quantity: Quantity, settings: &[&str], below: &str) -> Marks {
        Marks::Lines {
            ticks: settings.iter().map(|&setting| setting.to_owned()).collect(),
            below: below.to_owned(),
            lines: rows(figures, settings, |_| quantity),
        }
    }

    /// Several quantities in one setting.
    pub fn profile(figures: &Figures, quantities: &[Quantity], setting: &str) -> Marks {
        let settings = vec![setting; quantities.len()];
        let names = quantities.iter().map(|quantity| quantity.name.to_owned());
        Marks::Lines {
            ticks: names.collect(),
            below: String::new(),
            lines: rows(figures, &settings, |place| quantities[place]),
        }
    }
}

/// Those systems of which there is anything.
fn rows(figures: &Figures, settings: &[&str], quantity: impl Fn(usize) -> Quantity) -> Vec<Row> {
    let row = |system: &&str| {
        let places = settings.iter().enumerate();
        let value = |(place, setting): (usize, &&str)| {
            let spread = figures.spread(system, setting, quantity(place))?;
            Some((setting.to_string(), spread))
        };
        let values: Vec<_> = places.map_while(value).collect();
        (!values.is_empty()).then(|| Row {
            system: system.to_string(),
            values,
        })
    };
    figures.systems().iter().filter_map(row).collect()
}
