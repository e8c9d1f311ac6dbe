//! The costs as a picture.

use anyhow::{Result, anyhow};
use plotters::{
    chart::ChartBuilder,
    drawing::IntoDrawingArea as _,
    element::{PathElement, Rectangle, Text},
    prelude::SVGBackend,
    style::{
        Color as _, IntoFont as _, RGBColor, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::sample::Middle;

/// What one case costs.
pub(crate) struct Bar {
    /// The case.
    pub(crate) name: String,
    /// In each series.
    pub(crate) middles: Vec<Middle>,
}

/// A picture of bars.
pub(crate) struct Plot<'a> {
    /// What is measured, and in what.
    pub(crate) unit: &'static str,
    /// The series, of which there are up to three.
    pub(crate) series: &'a [String],
    pub(crate) bars: &'a [Bar],
}

const COLORS: [RGBColor; 3] =
    [RGBColor(0x2a, 0x78, 0xb8), RGBColor(0xe0, 0x8a, 0x1e), RGBColor(0x6a, 0x9a, 0x3b)];
const ROW: u32 = 34;
const WIDTH: u32 = 960;
/// Room for the names.
const NAMES: u32 = 330;

/// A bar for each case and series, with whiskers from the first to the third quartile.
pub(crate) fn plot(plot: &Plot<'_>) -> Result<String> {
    let mut svg = String::new();
    draw(plot, &mut svg).map_err(|error| anyhow!("can't draw: {error}"))?;
    Ok(svg)
}

fn draw(plot: &Plot<'_>, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let Plot { unit, series, bars } = plot;
    let rows = bars.len() as f64;
    let longest = bars.iter().flat_map(|bar| &bar.middles).map(|it| it.high).fold(1.0, f64::max);
    // Ratios are small.
    let digits = if longest < 5.0 { 1 } else { 0 };
    let area = SVGBackend::with_string(svg, (WIDTH, ROW * (bars.len() as u32 + 3))).into_drawing_area();
    let font = |size: u32| TextStyle::from(("sans-serif", size).into_font());
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(NAMES)
        .build_cartesian_2d(0.0..longest * 1.05, rows..-1.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .y_labels(0)
        .x_label_formatter(&|value| format!("{value:.digits$}"))
        .x_max_light_lines(1)
        .x_desc(*unit)
        .label_style(font(14))
        .draw()?;
    let most = bars.iter().map(|bar| bar.middles.len()).max().unwrap_or(1);
    let height = 0.8 / most.max(1) as f64;
    for (bar, row) in bars.iter().zip(0u32..) {
        let row = f64::from(row);
        for ((middle, color), number) in bar.middles.iter().zip(COLORS).zip(0u32..) {
            let top = row + 0.1 + height * f64::from(number);
            let (start, end) = ((0.0, top), (middle.median.max(0.0), top + height * 0.9));
            chart.draw_series([Rectangle::new([start, end], color.filled())])?;
            let at = top + height * 0.45;
            chart
                .draw_series([PathElement::new([(middle.low, at), (middle.high, at)], RGBColor(0, 0, 0))])?;
        }
        let right = font(14).pos(Pos::new(HPos::Right, VPos::Center));
        let (x, y) = chart.backend_coord(&(0.0, row + 0.5));
        area.draw(&Text::new(bar.name.clone(), (x - 8, y), right))?;
    }
    for ((name, color), number) in series.iter().zip(COLORS).zip(0u32..) {
        let left = longest * (0.02 + 0.3 * f64::from(number));
        chart
            .draw_series([Rectangle::new([(left, -0.75), (left + longest * 0.02, -0.4)], color.filled())])?;
        let (x, y) = chart.backend_coord(&(left + longest * 0.03, -0.575));
        let style = font(14).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(name.clone(), (x, y), style))?;
    }
    area.present()?;
    Ok(())
}
