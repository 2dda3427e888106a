//! Weight distributions, a small drawing a layer: what was measured, and the generalised Gaussian that fits it.

use super::html::{Report, escape};
use std::fmt::Write as _;

/// One distribution.
#[derive(Clone, Debug)]
pub struct Density {
    /// Whose weights.
    pub name: String,
    /// What else is to be said of them.
    pub note: String,
    /// Measured: ascending places at equal distances, and densities.
    pub measured: Vec<(f64, f64)>,
    /// Fitted, at the same places; may be empty.
    pub fitted: Vec<(f64, f64)>,
}

impl Report {
    /// Adds the distributions side by side, each to its own scale.
    pub fn densities(&mut self, densities: &[Density]) {
        let figure = |d: &Density| {
            format!(
                "<figure>{}<figcaption><b title=\"{name}\">{short}</b><span>{}</span></figcaption></figure>\n",
                draw(d),
                escape(&d.note),
                name = escape(&d.name),
                short = escape(super::readable(&d.name))
            )
        };
        let figures: String = densities.iter().map(figure).collect();
        self.drawn(&format!(
            "<p class=\"note\"><span class=\"key\" style=\"background:color-mix(in srgb, var(--blue) 45%, transparent)\"></span>weights\
             <span class=\"key\" style=\"background:var(--amber)\"></span>generalised Gaussian that fits them</p>\n\
             <div class=\"grid\">\n{figures}</div>"
        ));
    }
}

fn draw(density: &Density) -> String {
    let count = density.measured.len();
    // Codes of few values stand far above every fit: the fit must stay visible.
    let peak = |points: &[(f64, f64)]| points.iter().fold(0.0f64, |m, p| m.max(p.1));
    let (measured, fitted) = (peak(&density.measured), peak(&density.fitted));
    let top = match fitted > 0.0 {
        true => measured.min(2.5 * fitted).max(fitted),
        false => measured.max(1e-9),
    };
    let height = |density: f64| 60.0 * (1.0 - (density / top).min(1.0));
    let mut area = String::from("M0 60");
    for (i, &(_, d)) in density.measured.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(area, "V{:.1}H{}", height(d), i + 1);
    }
    let mut line = String::new();
    for (i, &(_, d)) in density.fitted.iter().enumerate() {
        let command = if i == 0 { 'M' } else { 'L' };
        let _ = write!(line, "{command}{:.1} {:.1}", i as f64 + 0.5, height(d));
    }
    let middle = count as f64 / 2.0;
    format!(
        "<svg class=\"density\" viewBox=\"0 0 {count} 60\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"distribution\">\
         <path class=\"zero\" d=\"M{middle} 0V60\"/><path class=\"measured\" d=\"{area}V60Z\"/><path class=\"fitted\" d=\"{line}\"/></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bin_is_as_high_as_its_density() {
        let svg = draw(&Density {
            name: "a".into(),
            note: String::new(),
            measured: vec![(-1.0, 0.25), (0.0, 0.5), (1.0, 0.0)],
            fitted: Vec::new(),
        });
        assert!(svg.contains("M0 60V30.0H1V0.0H2V60.0H3V60Z"), "{svg}");
        assert!(svg.contains("viewBox=\"0 0 3 60\""));
    }
}
