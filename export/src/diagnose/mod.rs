//! Errors as help: a code for each likely mistake, and the next step.
//!
//! An error's own text says what is wrong and where; [`diagnose`] adds what to do. `docs/troubleshooting.md` has an entry for
//! every one of [`CODES`].

pub mod content;
mod data;
mod model;
mod tools;

pub use data::{calibration, scaling};
pub use model::{float_model, weights};

use miette::Diagnostic;
use std::error::Error;
use std::fmt;

/// A likely mistake: its code and the next step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnosis {
    /// One of [`CODES`].
    pub code: &'static str,
    /// What to do.
    pub help: String,
}

/// A diagnosis with this code.
fn because(code: &'static str, help: impl Into<String>) -> Option<Diagnosis> {
    let help = help.into();
    Some(Diagnosis { code, help })
}

/// All codes, of errors and of warnings.
pub const CODES: [&str; 33] = [
    "board::flash",
    "board::ram",
    "board::unknown",
    "compile::arena-limit",
    "compile::float-model",
    "compile::int8-io",
    "compile::unsupported",
    "data::batch",
    "data::constant",
    "data::dtype",
    "data::few-samples",
    "data::labels",
    "data::layout",
    "data::not-finite",
    "data::scaling",
    "data::shape",
    "file::folder",
    "file::missing",
    "model::attribute",
    "model::external-data",
    "model::not-finite",
    "model::not-onnx",
    "model::operator",
    "model::opset",
    "model::shape",
    "model::truncated",
    "plan::damaged",
    "plan::version",
    "quantize::already",
    "slots::key",
    "slots::refused",
    "tool::missing",
    "tool::probe",
];

/// What is behind an error, if it is one of the likely mistakes.
pub fn diagnose(error: &(dyn Error + 'static)) -> Option<Diagnosis> {
    model::diagnose(error)
        .or_else(|| data::diagnose(error))
        .or_else(|| tools::diagnose(error))
}

/// An error with its diagnosis, for [`miette`].
#[derive(Debug)]
struct Explained {
    error: Box<dyn Error + Send + Sync>,
    diagnosis: Option<Diagnosis>,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Explained {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl Diagnostic for Explained {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let diagnosis = self.diagnosis.as_ref()?;
        Some(Box::new(diagnosis.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let diagnosis = self.diagnosis.as_ref()?;
        Some(Box::new(&diagnosis.help))
    }
}

/// [`miette::IntoDiagnostic`], with a diagnosis where there is one.
pub trait IntoDiagnostic<T> {
    /// The same result with a report that commands can return.
    ///
    /// # Errors
    /// The same.
    fn into_diagnostic(self) -> miette::Result<T>;
}

impl<T, E: Error + Send + Sync + 'static> IntoDiagnostic<T> for Result<T, E> {
    fn into_diagnostic(self) -> miette::Result<T> {
        self.map_err(|error| {
            let diagnosis = diagnose(&error);
            let error = Box::new(error);
            Explained { error, diagnosis }.into()
        })
    }
}

/// Prints a failure to stderr: its code, its text, and the next step.
pub fn print_error(report: &miette::Report) {
    match report.code() {
        // Every error's text names its cause already, so the chain is not printed again.
        Some(code) => eprintln!("error[{code}]: {report}"),
        None => eprintln!("error: {report}"),
    }
    if let Some(help) = report.help() {
        eprintln!("help: {help}");
    }
}

/// Prints a warning to stderr, as errors are.
pub fn print_warning(what: &str, diagnosis: &Diagnosis) {
    eprintln!("warning[{}]: {what}", diagnosis.code);
    eprintln!("help: {}", diagnosis.help);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_documented() {
        assert!(CODES.windows(2).all(|pair| pair[0] < pair[1]));
        let page = include_str!("../../../docs/troubleshooting.md");
        let entries: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
            .collect();
        assert_eq!(entries, CODES);
    }

    #[test]
    fn every_code_in_the_sources_is_one_of_the_list_and_the_other_way_round() {
        let sources = [
            include_str!("model.rs"),
            include_str!("data.rs"),
            include_str!("tools.rs"),
        ]
        .concat();
        let is_code = |word: &&str| {
            let mut parts = word.split("::");
            let plain = |part: &str| {
                !part.is_empty()
                    && part
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || "-8".contains(c))
            };
            parts.next().is_some_and(plain)
                && parts.next().is_some_and(plain)
                && parts.next().is_none()
        };
        let mut used: Vec<&str> = sources.split('"').filter(is_code).collect();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used, CODES);
    }
}
