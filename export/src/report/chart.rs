//! Charts as SVG text.
//!
//! What is drawn in black takes the page's text colour, so that charts follow the light or dark scheme.

use super::grouped;
use super::html::escape;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use std::ops::Range;

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

/// Horizontal bars, one below the other, which fit the page's width.
pub(super) fn bars(bars: &[(String, f64)]) -> String {
    let finite = |v: f64| if v.is_finite() { v.max(0.0) } else { 0.0 };
    let largest = bars.iter().fold(0.0f64, |m, (_, v)| m.max(finite(*v)));
    let bar = |(label, value): &(String, f64)| {
        let share = if largest > 0.0 {
            finite(*value) / largest
        } else {
            0.0
        };
        let label = escape(label);
        format!(
            "<span title=\"{label}\">{label}</span>{}<b>{}</b>\n",
            track(share),
            number(*value)
        )
    };
    let bars: String = bars.iter().map(bar).collect();
    format!("<div class=\"bars\">\n{bars}</div>")
}

/// One bar of a length between 0 and 1.
pub(super) fn track(share: f64) -> String {
    let percent = 100.0 * share.clamp(0.0, 1.0);
    format!("<span class=\"track\"><i style=\"width:{percent:.1}%\"></i></span>")
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
        let (low, high) = extent(points().map(pick));
        match high - low {
            span if span > 0.0 => low..high,
            _ if low.is_finite() => low - 0.5..low + 0.5,
            _ => 0.0..1.0,
        }
    };
    draw(320, |area| {
        let mut chart = axes(area, range(|p| p.0), range(|p| p.1), 11)?;
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

/// Points in the plane of two figures, the first better when small, the second when large.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Scatter {
    /// Those that nothing beats.
    pub front: Vec<(f64, f64)>,
    /// Others that meet the limits.
    pub feasible: Vec<(f64, f64)>,
    /// Those that miss a limit.
    pub other: Vec<(f64, f64)>,
    /// The most that x may be.
    pub x_limit: Option<f64>,
    /// The least that y may be.
    pub y_limit: Option<f64>,
}

/// What the marks of a [`Scatter`] mean, with their colours.
pub(super) const SCATTER_KEY: [(usize, &str); 4] = [
    (0, "on the front"),
    (2, "within the limits"),
    (5, "outside of a limit"),
    (1, "limit"),
];

/// Points with their limits as lines. Limits far from every point are not drawn, so that the points keep the room.
pub(super) fn scatter(of: &Scatter) -> Result<String, Failure> {
    let all = || of.front.iter().chain(&of.feasible).chain(&of.other);
    let range = |pick: fn(&(f64, f64)) -> f64, limit: Option<f64>| {
        let (low, high) = extent(all().map(pick));
        if low > high {
            return 0.0..1.0;
        }
        let span = (high - low).max(1e-9 + low.abs() * 1e-3);
        let near = limit.filter(|&l| l > low - span && l < high + span);
        let (low, high) = near.map_or((low, high), |l| (low.min(l), high.max(l)));
        let margin = 0.06 * (high - low).max(span);
        low - margin..high + margin
    };
    let (x, y) = (range(|p| p.0, of.x_limit), range(|p| p.1, of.y_limit));
    draw(320, |area| {
        let mut chart = axes(area, x.clone(), y.clone(), 6)?;
        let [front, feasible, other, limit] = SCATTER_KEY.map(|(color, _)| COLORS[color]);
        if let Some(l) = of.x_limit.filter(|l| x.contains(l)) {
            let line = [(l, y.start), (l, y.end)];
            chart.draw_series(LineSeries::new(line, limit.stroke_width(2)))?;
        }
        if let Some(l) = of.y_limit.filter(|l| y.contains(l)) {
            let line = [(x.start, l), (x.end, l)];
            chart.draw_series(LineSeries::new(line, limit.stroke_width(2)))?;
        }
        let mut dots = |points: &[(f64, f64)], color: RGBColor, size: i32| {
            let dot = |&at: &(f64, f64)| Circle::new(at, size, color.filled());
            chart.draw_series(points.iter().map(dot)).map(drop)
        };
        dots(&of.other, other, 3)?;
        dots(&of.feasible, feasible, 3)?;
        dots(&of.front, front, 5)?;
        Ok(())
    })
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Plane = Cartesian2d<RangedCoordf64, RangedCoordf64>;

/// A pair of axes with at most so many labels of x.
fn axes<'a>(
    area: &Area<'a>,
    x: Range<f64>,
    y: Range<f64>,
    x_labels: usize,
) -> Result<ChartContext<'a, SVGBackend<'a>, Plane>, Failure> {
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .margin_right(30)
        .x_label_area_size(34)
        .y_label_area_size(90)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.15))
        .label_style(("sans-serif", 18).into_font().color(&BLACK))
        .x_labels(x_labels)
        .x_label_formatter(&|v| number(*v))
        .y_label_formatter(&|v| number(*v))
        .draw()?;
    Ok(chart)
}

/// The least and the greatest value; the other way round where there is none.
fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| {
        (a.min(v), b.max(v))
    })
}

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
        .replacen(&fixed, "class=\"chart\" viewBox", 1)
        .replace("\"#000000\"", "\"currentColor\""))
}

/// A number as short as it can be said to four digits; whole numbers in groups of three.
pub(super) fn number(value: f64) -> String {
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
        let html = bars(&[
            ("a".into(), 400.0),
            ("b".into(), 100.0),
            ("c".into(), f64::NAN),
        ]);
        let widths: Vec<&str> = html
            .split("width:")
            .skip(1)
            .filter_map(|l| l.split('%').next())
            .collect();
        assert_eq!(widths, ["100.0", "25.0", "0.0"]);
    }

    #[test]
    fn charts_have_no_fixed_size_and_no_black() {
        let line = (
            "s".to_owned(),
            vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)],
        );
        for svg in [lines(&[line]), lines(&[])] {
            let svg = svg.expect("drawn");
            assert!(
                svg.starts_with("<svg class=\"chart\" viewBox=")
                    && svg.trim_end().ends_with("</svg>"),
                "{svg}"
            );
            assert!(!svg.contains("#000000"));
        }
    }

    #[test]
    fn a_scatter_has_a_mark_a_point_and_its_limits() {
        let circles = |of: &Scatter| scatter(of).expect("drawn").matches("<circle").count();
        let mut of = Scatter {
            front: vec![(1.0, 90.0)],
            feasible: vec![(2.0, 80.0), (3.0, 85.0)],
            other: vec![(9.0, 95.0)],
            ..Scatter::default()
        };
        assert_eq!(circles(&of), 4);
        assert_eq!(circles(&Scatter::default()), 0);
        let limit = color(SCATTER_KEY[3].0).to_uppercase();
        let lines = |of: &Scatter| scatter(of).expect("drawn").matches(limit.as_str()).count();
        assert_eq!(lines(&of), 0);
        of.x_limit = Some(5.0);
        of.y_limit = Some(82.0);
        assert_eq!(lines(&of), 2);
        // A board with far more than anything needs.
        of.x_limit = Some(1e9);
        assert_eq!(lines(&of), 1);
    }

    #[test]
    fn labels_are_escaped() {
        let html = bars(&[("<b>&".into(), 1.0)]);
        assert!(html.contains("&lt;b&gt;&amp;") && !html.contains("<b>&"));
    }
}
