//! Charts as SVG text.
//!
//! What is drawn in black takes the page's text colour, so that charts follow the light or dark scheme.

use super::grouped;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Colours of series, legible on white and on near-black.
const COLORS: [RGBColor; 6] = [
    RGBColor(0x3b, 0x82, 0xd6),
    RGBColor(0xd9, 0x77, 0x06),
    RGBColor(0x2f, 0x9e, 0x62),
    RGBColor(0xc0, 0x4f, 0x8f),
    RGBColor(0x8b, 0x6f, 0xd0),
    RGBColor(0x8a, 0x8f, 0x98),
];

const WIDTH: u32 = 720;

/// Colour of a series as CSS writes it.
pub(super) fn color(series: usize) -> String {
    let RGBColor(r, g, b) = COLORS[series % COLORS.len()];
    format!("#{r:02x}{g:02x}{b:02x}")
}

type Failure = Box<dyn std::error::Error>;

/// Horizontal bars, one below the other.
pub(super) fn bars(bars: &[(String, f64)]) -> Result<String, Failure> {
    const ROW: i32 = 26;
    const LABELS: i32 = 250;
    const VALUES: i32 = 120;
    let finite = |v: f64| if v.is_finite() { v.max(0.0) } else { 0.0 };
    let largest = bars.iter().fold(0.0f64, |m, (_, v)| m.max(finite(*v)));
    let room = f64::from(WIDTH as i32 - LABELS - VALUES);
    draw(bars.len().max(1) as u32 * ROW as u32, |area| {
        let style = |h| {
            ("sans-serif", 18)
                .into_font()
                .color(&BLACK)
                .pos(Pos::new(h, VPos::Center))
        };
        for (i, (label, value)) in bars.iter().enumerate() {
            let top = i as i32 * ROW;
            let middle = top + ROW / 2;
            let length = if largest > 0.0 {
                (room * finite(*value) / largest) as i32
            } else {
                0
            };
            let corners = [(LABELS, top + 4), (LABELS + length.max(1), top + ROW - 4)];
            area.draw(&Rectangle::new(corners, COLORS[0].filled()))?;
            area.draw(&Text::new(
                shorten(label, 28),
                (LABELS - 8, middle),
                style(HPos::Right),
            ))?;
            area.draw(&Text::new(
                number(*value),
                (LABELS + length + 8, middle),
                style(HPos::Left),
            ))?;
        }
        Ok(())
    })
}

/// Lines over a common pair of axes.
pub(super) fn lines(series: &[(String, Vec<(f64, f64)>)]) -> Result<String, Failure> {
    let points = || {
        series
            .iter()
            .flat_map(|(_, p)| p)
            .filter(|(x, y)| x.is_finite() && y.is_finite())
    };
    let range = |pick: fn(&(f64, f64)) -> f64| {
        let (low, high) = points()
            .map(pick)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| {
                (a.min(v), b.max(v))
            });
        match high - low {
            span if span > 0.0 => low..high,
            _ if low.is_finite() => low - 0.5..low + 0.5,
            _ => 0.0..1.0,
        }
    };
    draw(320, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .margin_right(30)
            .x_label_area_size(34)
            .y_label_area_size(90)
            .build_cartesian_2d(range(|p| p.0), range(|p| p.1))?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.15))
            .label_style(("sans-serif", 18).into_font().color(&BLACK))
            .x_label_formatter(&|v| number(*v))
            .y_label_formatter(&|v| number(*v))
            .draw()?;
        for (i, (_, values)) in series.iter().enumerate() {
            let values = values
                .iter()
                .copied()
                .filter(|(x, y)| x.is_finite() && y.is_finite());
            chart.draw_series(LineSeries::new(
                values,
                COLORS[i % COLORS.len()].stroke_width(2),
            ))?;
        }
        Ok(())
    })
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(
    height: u32,
    paint: impl FnOnce(&Area<'_>) -> Result<(), Failure>,
) -> Result<String, Failure> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        paint(&area)?;
        area.present()?;
    }
    // The page sets the size; the viewBox keeps the proportions.
    let fixed = format!("width=\"{WIDTH}\" height=\"{height}\" viewBox");
    Ok(svg
        .replacen(&fixed, "viewBox", 1)
        .replace("\"#000000\"", "\"currentColor\""))
}

fn shorten(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit - 1).chain(['…']).collect()
}

/// A number as short as it can be said to four digits; whole numbers in groups of three.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "-".into();
    }
    if value.abs() < 1e15 && (value.abs() >= 1000.0 || value.fract() == 0.0) {
        let whole = value.round() as i64;
        let sign = if whole < 0 { "-" } else { "" };
        return format!("{sign}{}", grouped(whole.unsigned_abs()));
    }
    if value.abs() < 1e-3 || value.abs() >= 1e15 {
        return format!("{value:.3e}");
    }
    let decimals = (3 - value.abs().log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{value:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.0, "0"),
            (1_234_567.0, "1,234,567"),
            (-1234.4, "-1,234"),
            (0.5, "0.5"),
            (12.345678, "12.35"),
            (0.0123456, "0.01235"),
            (1e-9, "1.000e-9"),
            (f64::NAN, "-"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_bar_is_as_long_as_its_share_of_the_longest() {
        let svg = bars(&[
            ("a".into(), 400.0),
            ("b".into(), 100.0),
            ("c".into(), f64::NAN),
        ])
        .expect("drawn");
        let widths: Vec<f64> = svg
            .lines()
            .filter(|l| l.starts_with("<rect"))
            .filter_map(|l| l.split(" width=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(widths.len(), 3);
        assert!((widths[0] / widths[1] - 4.0).abs() < 0.05, "{widths:?}");
        assert!(widths[2] <= 2.0);
    }

    #[test]
    fn charts_have_no_fixed_size_and_no_black() {
        let line = (
            "s".to_owned(),
            vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)],
        );
        for svg in [
            bars(&[("a".into(), 1.0)]),
            lines(&[line]),
            lines(&[]),
            bars(&[]),
        ] {
            let svg = svg.expect("drawn");
            assert!(
                svg.starts_with("<svg viewBox=") && svg.trim_end().ends_with("</svg>"),
                "{svg}"
            );
            assert!(!svg.contains("#000000"));
        }
    }

    #[test]
    fn labels_are_escaped() {
        let svg = bars(&[("<b>&".into(), 1.0)]).expect("drawn");
        assert!(svg.contains("&lt;b&gt;&amp;") && !svg.contains("<b>"));
    }
}
