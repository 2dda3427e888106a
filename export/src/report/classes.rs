//! What a classifier makes of labelled samples: classes, confusions, and the worst mistakes as pictures.

use super::html::{Report, escape};
use crate::evaluate::{Evaluation, Labelled};
use base64ct::{Base64, Encoding};
use std::fmt::Write as _;

/// Most classes that a matrix is drawn for; beyond that, the commonest confusions are listed.
const MATRIX: usize = 24;
/// Pairs that are listed, and pictures that are shown.
const SHOWN: usize = 12;

impl Report {
    /// Adds accuracy by class, the confusions, and the worst samples. `names` has a name a class, or none at all.
    pub fn classes(&mut self, data: &Labelled, said: &Evaluation, names: &[String]) {
        let name = |class: usize| {
            names
                .get(class)
                .cloned()
                .unwrap_or_else(|| class.to_string())
        };
        let confusion = said.confusion(&data.labels);
        self.part("Accuracy by class");
        let rows: String = confusion
            .iter()
            .enumerate()
            .filter_map(|(class, row)| {
                let all: usize = row.iter().sum();
                let share = row[class] as f64 / all.max(1) as f64;
                (all > 0).then(|| {
                    let label = escape(&name(class));
                    let of = format!("{:.1} % of {all}", 100.0 * share);
                    format!(
                        "<span>{label}</span>{}<b>{of}</b>\n",
                        super::chart::track(share)
                    )
                })
            })
            .collect();
        self.drawn(&format!("<div class=\"bars\">\n{rows}</div>"));
        if said.classes <= MATRIX {
            self.part("Confusion matrix");
            self.note("A row a true class, a column what it is taken for; in percent of the row.");
            self.drawn(&matrix(&confusion, &name));
        } else {
            self.commonest(&confusion, &name);
        }
        self.worst(data, said, &name);
    }

    fn commonest(&mut self, confusion: &[Vec<usize>], name: &dyn Fn(usize) -> String) {
        let mut pairs: Vec<(usize, usize, usize)> = Vec::new();
        for (class, row) in confusion.iter().enumerate() {
            let other = row
                .iter()
                .enumerate()
                .filter(|(taken, n)| *taken != class && **n > 0);
            pairs.extend(other.map(|(taken, &n)| (n, class, taken)));
        }
        pairs.sort_unstable_by_key(|&(n, class, taken)| (usize::MAX - n, class, taken));
        let rows: Vec<Vec<String>> = pairs
            .iter()
            .take(SHOWN)
            .map(|&(n, class, taken)| vec![name(class), name(taken), n.to_string()])
            .collect();
        self.part("Commonest confusions");
        self.rows(&["class", "taken for", "samples"], &rows);
    }

    fn worst(&mut self, data: &Labelled, said: &Evaluation, name: &dyn Fn(usize) -> String) {
        let worst = said.worst(&data.labels, SHOWN);
        if worst.is_empty() {
            self.note("No sample is taken for something else.");
            return;
        }
        self.part("The surest mistakes");
        let mut figures = String::new();
        for &i in &worst {
            let percent = 100.0 * said.probabilities(i)[said.classified[i]];
            let picture = picture(&data.shape, &data.samples[i]).map_or_else(String::new, |png| {
                let encoded = Base64::encode_string(&png);
                format!("<img alt=\"sample {i}\" src=\"data:image/png;base64,{encoded}\">")
            });
            // Writing to a string does not fail.
            let _ = writeln!(
                figures,
                "<figure>{picture}<figcaption><b>{}</b> {percent:.0} %<br><span>is {} · sample {i}</span></figcaption></figure>",
                escape(&name(said.classified[i])),
                escape(&name(data.labels[i])),
            );
        }
        self.drawn(&format!("<div class=\"samples\">\n{figures}</div>"));
    }
}

fn matrix(confusion: &[Vec<usize>], name: &dyn Fn(usize) -> String) -> String {
    let classes = confusion.len();
    let head: String = (0..classes)
        .map(|c| format!("<th title=\"{0}\">{0}</th>", escape(&name(c))))
        .collect();
    let mut html = format!("<table class=\"confusion\">\n<tr><th></th>{head}</tr>\n");
    for (class, row) in confusion.iter().enumerate() {
        let all: usize = row.iter().sum::<usize>().max(1);
        html += &format!("<tr><th title=\"{0}\">{0}</th>", escape(&name(class)));
        for (taken, &n) in row.iter().enumerate() {
            let percent = 100.0 * n as f64 / all as f64;
            // Mistakes are rare: their colour grows faster.
            let (tint, share) = match taken == class {
                true => ("blue", 0.9 * percent),
                false => ("red", (4.0 * percent).min(90.0)),
            };
            let style = match (n, share > 55.0) {
                (0, _) => "none",
                (_, true) => "strong",
                (_, false) => "",
            };
            html += &format!(
                "<td class=\"{style}\" style=\"--tint:var(--{tint});--share:{share:.0}%\" title=\"{} is taken for {}: {n}\">{percent:.0}</td>",
                escape(&name(class)),
                escape(&name(taken))
            );
        }
        html += "</tr>\n";
    }
    html + "</table>"
}

/// A sample as a PNG file, if it is an image of one or three channels; its values stretch over the whole range.
fn picture(shape: &[usize], sample: &[f32]) -> Option<Vec<u8>> {
    let (h, w, c, planar) = match *shape {
        [h, w, c @ (1 | 3)] => (h, w, c, false),
        [c @ (1 | 3), h, w] => (h, w, c, true),
        [h, w] => (h, w, 1, false),
        _ => return None,
    };
    if h.min(w) < 4 || h.max(w) > 1024 || sample.len() != h * w * c {
        return None;
    }
    let low = sample.iter().fold(f32::INFINITY, |m, &v| m.min(v));
    let high = sample.iter().fold(f32::NEG_INFINITY, |m, &v| m.max(v));
    let factor = if high > low {
        255.0 / (high - low)
    } else {
        0.0
    };
    let pixels: Vec<u8> = (0..h * w * c)
        .map(|i| {
            let at = if planar { i % c * h * w + i / c } else { i };
            ((sample[at] - low) * factor).round() as u8
        })
        .collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, w as u32, h as u32);
    encoder.set_color(match c {
        1 => png::ColorType::Grayscale,
        _ => png::ColorType::Rgb,
    });
    encoder
        .write_header()
        .ok()?
        .write_image_data(&pixels)
        .ok()?;
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planar_image_becomes_its_pixels() {
        let mut planar = vec![0.0f32; 3 * 16];
        planar[16 + 5] = 1.0;
        let file = picture(&[3, 4, 4], &planar).expect("an image");
        let mut reader = png::Decoder::new(std::io::Cursor::new(file))
            .read_info()
            .expect("PNG");
        let mut pixels = vec![0; 48];
        reader.next_frame(&mut pixels).expect("pixels");
        let mut expected = vec![0; 48];
        expected[5 * 3 + 1] = 255;
        assert_eq!(pixels, expected);
        assert!(
            picture(&[49, 10], &[0.0; 490]).is_some() && picture(&[640], &[0.0; 640]).is_none()
        );
    }

    #[test]
    fn mistakes_are_drawn_with_their_share() {
        let html = matrix(&[vec![3, 1], vec![0, 0]], &|c| format!("<{c}>"));
        assert!(
            html.contains(">75</td>") && html.contains(">25</td>"),
            "{html}"
        );
        assert!(html.contains("&lt;0&gt; is taken for &lt;1&gt;: 1") && !html.contains("<0>"));
    }
}
