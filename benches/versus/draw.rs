//! How charts look: SVG on a light ground, every mark with its name or its value beside it.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use crate::canvas::{Canvas, GRID, GROUND, INK, PALE_INK, colour};
use crate::chart::{Chart, Marks, Panel, Row};
use crate::scale::{Scale, short};
use crate::support::{Result, Spread};

const WIDTH: i32 = 900;
/// Left of the values, for names, and right of them, for names at the ends of lines.
const LEFT: i32 = 130;
const RIGHT: i32 = 120;
/// Above them, for the title; and for the names of dots, or of an axis.
const TOP: i32 = 56;
const LEGEND: i32 = 22;
const BOTTOM: i32 = 62;
const ROW: i32 = 40;
const LINES_HEIGHT: i32 = 300;
/// Values over dots that are nearer to each other stand above and below them.
const VALUE_WIDTH: u32 = 40;
/// Names at the ends of lines keep so far apart.
const NAME_HEIGHT: i32 = 16;

/// Of settings, from the first to the last.
const SHADES: [f64; 3] = [0.35, 0.65, 1.0];

/// Writes `<name>.svg`.
pub fn draw(chart: &Chart, directory: &Path) -> Result<()> {
    let path = directory.join(format!("{}.svg", chart.name));
    let height: i32 = chart.panels.iter().map(height_of).sum();
    let root = SVGBackend::new(&path, (WIDTH as u32, height as u32)).into_drawing_area();
    root.fill(&GROUND)?;
    let mut top = 0;
    for panel in &chart.panels {
        let canvas = Canvas {
            area: &root,
            top: top + top_of(panel),
            bottom: top + height_of(panel) - BOTTOM,
        };
        canvas.text(&panel.title, 24, top + 28, HPos::Left, 19.0, &INK)?;
        match &panel.marks {
            Marks::Dots(rows) => canvas.dots(panel, rows)?,
            Marks::Bars(bars) => canvas.bars(panel, bars)?,
            Marks::Lines {
                ticks,
                below,
                lines,
            } => canvas.lines(panel, ticks, below, lines)?,
        }
        top += height_of(panel);
    }
    root.present()?;
    Ok(())
}

fn height_of(panel: &Panel) -> i32 {
    let plot = match &panel.marks {
        Marks::Dots(rows) => rows.len() as i32 * ROW,
        Marks::Bars(bars) => bars.len() as i32 * ROW,
        Marks::Lines { .. } => LINES_HEIGHT,
    };
    top_of(panel) + plot + BOTTOM
}

fn top_of(panel: &Panel) -> i32 {
    TOP + match panel.marks {
        Marks::Bars(_) => 0,
        _ => LEGEND,
    }
}

impl Canvas<'_, '_> {
    /// Dots on a row for each system, their values beside them, joined from the first to the last.
    fn dots(&self, panel: &Panel, rows: &[Row]) -> Result<()> {
        let values = || rows.iter().flat_map(|row| &row.values);
        let scale = self.across(panel, values().map(|value| &value.1))?;
        let most = rows.iter().max_by_key(|row| row.values.len());
        self.legend(most.map_or(&[], |row| &row.values))?;
        for (place, row) in rows.iter().enumerate() {
            let y = self.row(place);
            let colour = colour(&row.system);
            self.name(&row.system, y)?;
            let at = |value: &(String, Spread)| scale.at(value.1.median);
            if let (Some(first), Some(last)) = (row.values.first(), row.values.last()) {
                self.line([(at(first), y), (at(last), y)], &colour.mix(0.3), 2)?;
            }
            let mut labelled = None; // where the last label above the row is
            for (value, shade) in row.values.iter().zip(SHADES) {
                let x = at(value);
                self.whisker(&scale, &value.1, y, &colour)?;
                self.dot(x, y, &colour, shade)?;
                let has_room = labelled.is_none_or(|other: i32| other.abs_diff(x) > VALUE_WIDTH);
                let above = if has_room { -14 } else { 14 };
                self.text(
                    &short(value.1.median),
                    x,
                    y + above,
                    HPos::Center,
                    12.0,
                    &INK,
                )?;
                if has_room {
                    labelled = Some(x);
                }
            }
        }
        Ok(())
    }

    fn legend(&self, settings: &[(String, Spread)]) -> Result<()> {
        let mut x = LEFT;
        for ((setting, _), shade) in settings.iter().zip(SHADES) {
            self.dot(x + 6, self.top - 16, &INK, shade)?;
            self.text(setting, x + 18, self.top - 16, HPos::Left, 13.0, &INK)?;
            x += 120;
        }
        Ok(())
    }

    fn bars(&self, panel: &Panel, bars: &[(String, Spread)]) -> Result<()> {
        let scale = self.across(panel, bars.iter().map(|bar| &bar.1))?;
        for (place, (system, spread)) in bars.iter().enumerate() {
            let (y, x) = (self.row(place), scale.at(spread.median));
            let colour = colour(system);
            self.name(system, y)?;
            let bar = [(LEFT, y - 11), (x, y + 11)];
            self.area
                .draw(&Rectangle::new(bar, colour.mix(0.85).filled()))?;
            self.whisker(&scale, spread, y, &INK.mix(0.6))?;
            let end = scale.at(spread.max).max(x) + 8;
            self.text(&short(spread.median), end, y, HPos::Left, 13.0, &INK)?;
        }
        Ok(())
    }

    /// The names stand at the ends of the lines, moved apart where these meet.
    fn lines(&self, panel: &Panel, ticks: &[String], below: &str, lines: &[Row]) -> Result<()> {
        let values = lines.iter().flat_map(|row| &row.values);
        let values = values.flat_map(|(_, spread)| [spread.min, spread.median, spread.max]);
        let scale = Scale::over(values, panel.is_log, [self.bottom, self.top]);
        for value in scale.ticks() {
            let y = scale.at(value);
            self.line([(LEFT, y), (WIDTH - RIGHT, y)], &GRID, 1)?;
            self.text(&short(value), LEFT - 10, y, HPos::Right, 12.0, &PALE_INK)?;
        }
        self.text(
            &panel.axis,
            LEFT,
            self.top - 14,
            HPos::Center,
            12.0,
            &PALE_INK,
        )?;
        let step = (WIDTH - RIGHT - LEFT - 60) / (ticks.len() as i32 - 1).max(1);
        let x = |place: usize| LEFT + 30 + place as i32 * step;
        for (place, tick) in ticks.iter().enumerate() {
            self.text(tick, x(place), self.bottom + 16, HPos::Center, 13.0, &INK)?;
        }
        let middle = (LEFT + WIDTH - RIGHT) / 2;
        self.text(
            below,
            middle,
            self.bottom + 36,
            HPos::Center,
            12.0,
            &PALE_INK,
        )?;
        let mut names = Vec::new();
        let (ours, others): (Vec<&Row>, _) = lines.iter().partition(|row| row.system == "herd");
        for row in others.into_iter().chain(ours) {
            let colour = colour(&row.system);
            let points: Vec<(i32, i32)> = row
                .values
                .iter()
                .enumerate()
                .map(|(place, (_, spread))| (x(place), scale.at(spread.median)))
                .collect();
            for ((_, spread), &(x, y)) in row.values.iter().zip(&points) {
                let span = [(x, scale.at(spread.min)), (x, scale.at(spread.max))];
                self.line(span, &colour.mix(0.45), 2)?;
                self.area.draw(&Circle::new((x, y), 4, colour.filled()))?;
            }
            let width = if row.system == "herd" { 3 } else { 2 };
            let path = PathElement::new(points.clone(), colour.stroke_width(width));
            self.area.draw(&path)?;
            if let (Some(&(x, y)), Some((_, last))) = (points.last(), row.values.last()) {
                names.push((
                    y,
                    x,
                    format!("{} {}", row.system, short(last.median)),
                    colour,
                ));
            }
        }
        names.sort_by_key(|name| name.0);
        let mut lowest = i32::MIN;
        for (y, x, name, colour) in names {
            lowest = y.max(lowest.saturating_add(NAME_HEIGHT));
            self.text(&name, x + 12, lowest, HPos::Left, 13.0, &colour)?;
        }
        Ok(())
    }

    /// The grid of values from left to right.
    fn across<'s>(
        &self,
        panel: &Panel,
        spreads: impl Iterator<Item = &'s Spread>,
    ) -> Result<Scale> {
        let values: Vec<f64> = spreads.flat_map(|it| [it.min, it.median, it.max]).collect();
        let ends = [LEFT, WIDTH - RIGHT / 2];
        let scale = Scale::over(values.iter().copied(), panel.is_log, ends);
        for value in scale.ticks() {
            let x = scale.at(value);
            self.line([(x, self.top), (x, self.bottom)], &GRID, 1)?;
            self.text(
                &short(value),
                x,
                self.bottom + 14,
                HPos::Center,
                12.0,
                &PALE_INK,
            )?;
        }
        let middle = (ends[0] + ends[1]) / 2;
        self.text(
            &panel.axis,
            middle,
            self.bottom + 36,
            HPos::Center,
            13.0,
            &PALE_INK,
        )?;
        Ok(scale)
    }

    /// What stands at the left of a row.
    fn name(&self, system: &str, y: i32) -> Result<()> {
        self.text(system, LEFT - 14, y, HPos::Right, 15.0, &colour(system))
    }

    fn row(&self, place: usize) -> i32 {
        self.top + place as i32 * ROW + ROW / 2 + 4
    }
}
