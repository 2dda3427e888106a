//! Errors as Python's `kinglet.Error`: the whole text, a code for likely mistakes, and the next step.

use kinglet_export::diagnose::diagnose;
use pyo3::prelude::*;
use std::error::Error;

/// Python's exception for an error of ours.
pub(crate) fn failure(error: impl Error + 'static) -> PyErr {
    let mut text = error.to_string();
    // Most texts name their cause already.
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    let found = diagnose(&error);
    let (code, help) = found.map_or((None, None), |d| (Some(d.code), Some(d.help)));
    raise(text, code, help)
}

/// An error that only this package can make.
pub(crate) fn refuse(text: String) -> PyErr {
    raise(text, None, None)
}

fn raise(text: String, code: Option<&'static str>, help: Option<String>) -> PyErr {
    Python::attach(|py| {
        let class = py
            .import("kinglet._error")
            .and_then(|m| m.getattr("Error"))
            .and_then(|class| class.call1((text, code, help)));
        match class {
            Ok(exception) => PyErr::from_value(exception),
            Err(error) => error,
        }
    })
}
