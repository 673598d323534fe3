//! What charts are drawn with: colours, dots, lines, words.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::scale::Scale;
use crate::support::{Result, Spread};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub const GROUND: RGBColor = RGBColor(255, 255, 255);
pub const INK: RGBColor = RGBColor(38, 43, 51);
pub const PALE_INK: RGBColor = RGBColor(105, 112, 122);
pub const GRID: RGBAColor = RGBAColor(228, 231, 235, 1.0);

/// A colour for each system, the same in all charts, told apart by the colour-blind too (Okabe, Ito).
pub fn colour(system: &str) -> RGBColor {
    match system {
        "herd" => RGBColor(213, 94, 0),
        "herd with keys" => RGBColor(240, 170, 110),
        "redis GEOADD" => RGBColor(0, 114, 178),
        "redis SET" => RGBColor(86, 180, 233),
        "NATS" => RGBColor(0, 114, 178),
        "Java" => RGBColor(204, 121, 167),
        "Node" => RGBColor(0, 158, 115),
        "Twisted" => RGBColor(190, 150, 0),
        "bare echo" => RGBColor(90, 96, 105),
        _ => RGBColor(150, 156, 165),
    }
}

/// Where one panel's values are drawn.
pub struct Canvas<'a, 'b> {
    pub area: &'a Area<'b>,
    pub top: i32,
    pub bottom: i32,
}

impl Canvas<'_, '_> {
    pub fn dot(&self, x: i32, y: i32, colour: &RGBColor, shade: f64) -> Result<()> {
        for fill in [GROUND.mix(1.0), colour.mix(shade)] {
            self.area.draw(&Circle::new((x, y), 6, fill.filled()))?;
        }
        Ok(())
    }

    /// From the least to the greatest of all rounds.
    pub fn whisker(
        &self,
        scale: &Scale,
        spread: &Spread,
        y: i32,
        colour: &impl Color,
    ) -> Result<()> {
        let span = [(scale.at(spread.min), y), (scale.at(spread.max), y)];
        self.line(span, &colour.mix(0.8), 3)
    }

    pub fn line(&self, ends: [(i32, i32); 2], colour: &RGBAColor, width: u32) -> Result<()> {
        let style = ShapeStyle::from(colour).stroke_width(width);
        Ok(self.area.draw(&PathElement::new(ends, style))?)
    }

    pub fn text(
        &self,
        text: &str,
        x: i32,
        y: i32,
        side: HPos,
        size: f64,
        colour: &RGBColor,
    ) -> Result<()> {
        let weight = match text.starts_with("herd") && *colour != INK {
            true => FontStyle::Bold, // ours, wherever it is
            false => FontStyle::Normal,
        };
        let style = TextStyle::from(("sans-serif", size, weight)).color(colour);
        let style = style.pos(Pos::new(side, VPos::Center));
        Ok(self.area.draw(&Text::new(text, (x, y), style))?)
    }
}
