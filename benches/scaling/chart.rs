//! Two charts of what was found: how fast an update is everywhere, and how many there may be.
//!
//! Both axes are logarithmic, so a straight line is a power of the number of servers.

use std::path::Path;

use plotters::prelude::*;

use crate::cases::Figure;
use crate::shapes::SHAPES;
use crate::support::Result;

/// Pixels; the text has 8 points where the chart is as wide as a column of 3.3 inches.
const SIZE: (u32, u32) = (500, 340);
const TEXT: u32 = 17;

/// Told apart by the colour-blind, too (Okabe, Ito), in the order of [`SHAPES`].
const COLOURS: [RGBColor; SHAPES.len()] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(213, 94, 0),
];

/// A chart of one quantity.
pub struct Chart {
    /// The name of its file.
    pub file: &'static str,
    pub title: &'static str,
    /// How the quantity's title begins.
    pub quantity: &'static str,
}

pub const CHARTS: [Chart; 2] = [
    Chart {
        file: "scaling-time.svg",
        title: "ms until the last server knows (0.1 ms a wire)",
        quantity: "until the last server knows (0.1 ms",
    },
    Chart {
        file: "scaling-rate.svg",
        title: "updates a second until a core is full",
        quantity: "updates until its core is full",
    },
];

/// What was found of one herd: which shape, how many servers, the figures.
pub type Found = (usize, usize, Vec<Figure>);

impl Chart {
    /// Draws it into a folder.
    pub fn draw(&self, folder: &Path, found: &[Found]) -> Result<()> {
        let value = |figures: &[Figure]| {
            let mut named = figures
                .iter()
                .filter(|f| f.title().starts_with(self.quantity));
            named.next().map(|figure| figure.value)
        };
        let points = |shape: usize| {
            let of_shape = found.iter().filter(move |(at, ..)| *at == shape);
            let points = of_shape
                .filter_map(|(_, servers, figures)| Some((*servers as f64, value(figures)?)));
            points.collect::<Vec<_>>()
        };
        let all: Vec<_> = (0..SHAPES.len()).flat_map(points).collect();
        let least = all.iter().map(|point| point.1).fold(f64::MAX, f64::min);
        let most = all.iter().map(|point| point.1).fold(0.0, f64::max);
        let path = folder.join(self.file);
        let area = SVGBackend::new(&path, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let font = ("sans-serif", TEXT).into_font();
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, font.clone())
            .margin(8)
            .margin_right(64)
            .x_label_area_size(42)
            .y_label_area_size(76)
            .build_cartesian_2d(
                (2.0..1_000.0).log_scale(),
                (least / 1.5..most * 1.5).log_scale(),
            )?;
        chart
            .configure_mesh()
            .x_desc("servers")
            .label_style(font.clone())
            .axis_desc_style(font.clone())
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(228, 231, 235))
            .x_label_formatter(&|value| format!("{value:.0}"))
            .y_label_formatter(&|value| match *value {
                1e6.. => format!("{:.0} M", value / 1e6),
                1e3.. => format!("{:.0} k", value / 1e3),
                _ => format!("{value}"),
            })
            .draw()?;
        for (shape, colour) in COLOURS.iter().enumerate() {
            let points = points(shape);
            let Some(&last) = points.last() else { continue };
            chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
            let label = Text::new(SHAPES[shape].name, (6, -8), font.clone().color(colour));
            chart.draw_series([EmptyElement::at(last) + label])?;
        }
        Ok(area.present()?)
    }
}
