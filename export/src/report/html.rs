//! The report as one HTML file: no scripts, no fonts, no pictures from elsewhere.

use super::{chart, is_numeric};
use crate::files::{FileError, write_atomic};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

const STYLE: &str = include_str!("style.css");

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

    /// Adds a heading, behind which parts of their own sections follow.
    pub fn heading(&mut self, text: &str) {
        self.push(format_args!("<h2>{}</h2>\n", escape(text)));
    }

    /// Adds a heading within a section.
    pub fn part(&mut self, text: &str) {
        self.push(format_args!("<h3>{}</h3>\n", escape(text)));
    }

    /// Adds what is said in a smaller voice: how figures were found.
    pub fn note(&mut self, text: &str) {
        self.push(format_args!("<p class=\"note\">{}</p>\n", escape(text)));
    }

    /// Adds the figures that matter most: what each is, its value, and a remark that may be empty.
    pub fn facts(&mut self, facts: &[[String; 3]]) {
        let fact = |[what, value, remark]: &[String; 3]| {
            let [what, value, remark] = [what, value, remark].map(|text| escape(text));
            format!("<div><dt>{what}</dt><dd>{value}<small>{remark}</small></dd></div>\n")
        };
        let facts: String = facts.iter().map(fact).collect();
        self.push(format_args!("<dl class=\"facts\">\n{facts}</dl>\n"));
    }

    /// Adds a part of the page that another module of the report has drawn, its text escaped.
    pub(super) fn drawn(&mut self, html: &str) {
        self.push(format_args!("{html}\n"));
    }

    /// Adds a paragraph of text.
    pub fn paragraph(&mut self, text: &str) {
        self.push(format_args!("<p>{}</p>\n", escape(text)));
    }

    /// Adds a table under a heading; columns of numbers are aligned to the right.
    pub fn table(&mut self, caption: &str, headers: &[&str], rows: &[Vec<String>]) {
        self.heading(caption);
        self.rows(headers, rows);
    }

    /// Adds a table without a heading.
    pub fn rows(&mut self, headers: &[&str], rows: &[Vec<String>]) {
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
                .map(|(i, c)| {
                    // A percent sign alone on a line says nothing.
                    let text = escape(c).replace(" %", "\u{a0}%");
                    format!("<{tag}{}>{text}</{tag}>", class(i))
                })
                .collect();
            format!("<tr>{cells}</tr>\n")
        };
        let head = row("th", &mut headers.iter().copied());
        let body: String = rows
            .iter()
            .map(|r| row("td", &mut r.iter().map(String::as_str)))
            .collect();
        self.push(format_args!(
            "<figure>\n<table>\n<thead>{head}</thead>\n<tbody>\n{body}</tbody>\n</table>\n</figure>\n"
        ));
    }

    /// Adds horizontal bars under a heading, one a label, in the order given.
    pub fn bar_chart(&mut self, caption: &str, bars: &[(String, f64)]) {
        self.heading(caption);
        self.bars(bars);
    }

    /// Adds horizontal bars without a heading.
    pub fn bars(&mut self, bars: &[(String, f64)]) {
        self.drawn(&chart::bars(bars));
    }

    /// Adds lines over common axes: names and points.
    pub fn line_chart(&mut self, caption: &str, series: &[(String, Vec<(f64, f64)>)]) {
        let names = series.iter().enumerate();
        let key = key(names.map(|(i, (name, _))| (i, name.as_str())));
        self.chart(caption, chart::lines(series), &key);
    }

    /// Adds points of two figures with their limits.
    pub fn scatter(&mut self, caption: &str, points: &chart::Scatter) {
        let key = key(chart::SCATTER_KEY.into_iter());
        self.chart(caption, chart::scatter(points), &key);
    }

    /// The whole page.
    pub fn html(&self) -> String {
        let Report { title, body } = self;
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
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

/// What colours mean.
fn key<'n>(names: impl Iterator<Item = (usize, &'n str)>) -> String {
    let entry = |(color, name)| {
        format!(
            "<span class=\"key\" style=\"background:{}\"></span>{}",
            chart::color(color),
            escape(name)
        )
    };
    format!("<p>{}</p>", names.map(entry).collect::<String>())
}

pub(crate) fn escape(text: &str) -> String {
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
        assert_eq!(html.matches("<svg").count(), 1);
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
