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

use crate::{programs::CROWDS, sample::Middle};

/// What one case costs.
pub(crate) struct Bar {
    /// The case.
    pub(crate) name: String,
    /// With the fewest endpoints,
    pub(crate) few: Middle,
    /// and with the most.
    pub(crate) most: Middle,
}

const FEW: RGBColor = RGBColor(0x2a, 0x78, 0xb8);
const MOST: RGBColor = RGBColor(0xe0, 0x8a, 0x1e);
const ROW: u32 = 34;
const WIDTH: u32 = 960;
/// Room for the names.
const NAMES: u32 = 330;

/// Two bars for each case, with whiskers from the first to the third quartile.
pub(crate) fn plot(bars: &[Bar]) -> Result<String> {
    let mut svg = String::new();
    draw(bars, &mut svg).map_err(|error| anyhow!("can't draw: {error}"))?;
    Ok(svg)
}

fn draw(bars: &[Bar], svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let rows = bars.len() as f64;
    let longest = bars.iter().flat_map(|bar| [bar.few.high, bar.most.high]).fold(1.0, f64::max);
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
        .x_label_formatter(&|nanos| format!("{nanos:.0}"))
        .x_max_light_lines(1)
        .x_desc("nanoseconds a frame, less those of an empty program")
        .label_style(font(14))
        .draw()?;
    for (bar, row) in bars.iter().zip(0u32..) {
        let row = f64::from(row);
        for (middle, color, top) in [(&bar.few, FEW, row + 0.1), (&bar.most, MOST, row + 0.5)] {
            chart.draw_series([Rectangle::new(
                [(0.0, top), (middle.median.max(0.0), top + 0.35)],
                color.filled(),
            )])?;
            let at = top + 0.175;
            chart
                .draw_series([PathElement::new([(middle.low, at), (middle.high, at)], RGBColor(0, 0, 0))])?;
        }
        let right = font(14).pos(Pos::new(HPos::Right, VPos::Center));
        let (x, y) = chart.backend_coord(&(0.0, row + 0.5));
        area.draw(&Text::new(bar.name.clone(), (x - 8, y), right))?;
    }
    for (crowd, color, part) in [(CROWDS[0], FEW, 0.02), (CROWDS[CROWDS.len() - 1], MOST, 0.3)] {
        let left = longest * part;
        chart
            .draw_series([Rectangle::new([(left, -0.75), (left + longest * 0.02, -0.4)], color.filled())])?;
        let (x, y) = chart.backend_coord(&(left + longest * 0.03, -0.575));
        let style = font(14).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(format!("{crowd} endpoints"), (x, y), style))?;
    }
    area.present()?;
    Ok(())
}
