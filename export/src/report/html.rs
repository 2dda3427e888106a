//! The report as one HTML file: no scripts, no fonts, no pictures from elsewhere.

use super::{chart, is_numeric};
use crate::files::{FileError, write_atomic};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

const STYLE: &str = "\
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; }
h2 { font-size: 1.1rem; margin: 2rem 0 0.5rem; }
figure { margin: 0; overflow-x: auto; }
svg { width: 100%; min-width: 36rem; max-width: 45rem; height: auto; display: block; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.75rem 0.25rem 0; border-bottom: 1px solid #8884; text-align: left; vertical-align: top; }
.n { text-align: right; }
.key { display: inline-block; width: 0.8em; height: 0.8em; margin: 0 0.4em 0 1em; border-radius: 2px; }
footer { margin-top: 3rem; opacity: 0.7; font-size: 0.85rem; }
";

/// A page of paragraphs, tables and charts, in the order in which they are added. All text is escaped.
#[derive(Clone, Debug)]
pub struct Report {
    title: String,
    body: String,
}

impl Report {
    /// An empty report.
    pub fn new(title: &str) -> Self {
        Report {
            title: escape(title),
            body: String::new(),
        }
    }

    /// Adds a paragraph of text.
    pub fn paragraph(&mut self, text: &str) {
        self.push(format_args!("<p>{}</p>\n", escape(text)));
    }

    /// Adds a table; columns of numbers are aligned to the right.
    pub fn table(&mut self, caption: &str, headers: &[&str], rows: &[Vec<String>]) {
        let class = |column| {
            if is_numeric(rows, column) {
                " class=\"n\""
            } else {
                ""
            }
        };
        let row = |tag: &str, cells: &mut dyn Iterator<Item = &str>| {
            let cells: String = cells
                .enumerate()
                .map(|(i, c)| format!("<{tag}{}>{}</{tag}>", class(i), escape(c)))
                .collect();
            format!("<tr>{cells}</tr>\n")
        };
        let head = row("th", &mut headers.iter().copied());
        let body: String = rows
            .iter()
            .map(|r| row("td", &mut r.iter().map(String::as_str)))
            .collect();
        self.figure(
            caption,
            &format!("<table>\n<thead>{head}</thead>\n<tbody>\n{body}</tbody>\n</table>"),
        );
    }

    /// Adds horizontal bars, one a label, in the order given.
    pub fn bar_chart(&mut self, caption: &str, bars: &[(String, f64)]) {
        self.chart(caption, chart::bars(bars), "");
    }

    /// Adds lines over common axes: names and points.
    pub fn line_chart(&mut self, caption: &str, series: &[(String, Vec<(f64, f64)>)]) {
        let key: String = series
            .iter()
            .enumerate()
            .map(|(i, (name, _))| {
                format!(
                    "<span class=\"key\" style=\"background:{}\"></span>{}",
                    chart::color(i),
                    escape(name)
                )
            })
            .collect();
        self.chart(caption, chart::lines(series), &format!("<p>{key}</p>"));
    }

    /// The whole page.
    pub fn html(&self) -> String {
        let Report { title, body } = self;
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}\
             <footer>Kinglet {}</footer>\n</body>\n</html>\n",
            env!("CARGO_PKG_VERSION")
        )
    }

    /// Writes the page, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), FileError> {
        write_atomic(path, |file| file.write_all(self.html().as_bytes()))
    }

    fn chart(&mut self, caption: &str, svg: Result<String, Box<dyn std::error::Error>>, key: &str) {
        match svg {
            Ok(svg) => self.figure(caption, &format!("{svg}{key}")),
            Err(error) => self.figure(
                caption,
                &format!("<p>not drawn: {}</p>", escape(&error.to_string())),
            ),
        }
    }

    fn figure(&mut self, caption: &str, content: &str) {
        self.push(format_args!(
            "<h2>{}</h2>\n<figure>\n{content}\n</figure>\n",
            escape(caption)
        ));
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.body.write_fmt(text);
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Report {
        let mut report = Report::new("A <title> & \"more\"");
        report.paragraph("1 < 2");
        report.table(
            "Steps",
            &["name", "MACs"],
            &[vec!["<conv>".into(), "1,000".into()]],
        );
        report.bar_chart("Bars", &[("one".into(), 1.0), ("two".into(), 2.0)]);
        report.line_chart("Lines", &[("loss".into(), vec![(1.0, 2.0), (2.0, 1.0)])]);
        report
    }

    #[test]
    fn all_text_is_escaped() {
        let html = sample().html();
        for text in [
            "A &lt;title&gt; &amp; &quot;more&quot;",
            "1 &lt; 2",
            "&lt;conv&gt;",
        ] {
            assert!(html.contains(text), "{text}");
        }
        assert!(!html.contains("<conv>"));
    }

    #[test]
    fn the_page_needs_nothing_else() {
        let html = sample().html();
        for outside in ["<script", "<link", "<img", "src=", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert_eq!(html.matches("<svg").count(), 2);
        assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
        assert!(html.contains("<td class=\"n\">1,000</td>"));
    }

    #[test]
    fn the_file_is_the_page() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("report.html");
        sample().write(&path).expect("written");
        assert_eq!(
            std::fs::read_to_string(&path).expect("read"),
            sample().html()
        );
    }
}
