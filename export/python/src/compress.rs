//! Recipes.

use crate::compile::choice;
use crate::error::{failure, refuse};
use crate::interrupt::Interrupt;
use kinglet_export::compress::recipe::Recipe;
use kinglet_export::compress::run::{Event, Job, StageRecord};
use kinglet_export::data::{self, Scaling};
use kinglet_export::train::trainer::Report;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// After a stage: its kind, accuracy from 0 to 1, multiply-accumulates, parameters, warnings.
type Stage = (String, f64, u64, u64, Vec<String>);

fn stage(record: &StageRecord) -> Stage {
    let figures = &record.figures;
    (
        record.kind.clone(),
        figures.accuracy,
        figures.macs,
        figures.parameters,
        record.warnings.clone(),
    )
}

/// What there is to tell of an event; nothing of single steps.
fn line(event: &Event<'_>) -> Option<String> {
    match event {
        Event::Stage { number, of, kind } => Some(format!("stage {number} of {of}: {kind}")),
        Event::Training {
            key,
            epochs,
            report: Report::Epoch(m),
            ..
        } => Some(format!(
            "{key}: epoch {}/{epochs}, loss {:.4}, test {:.2} %",
            m.epoch,
            m.loss,
            100.0 * m.test_accuracy
        )),
        Event::Training { .. } => None,
        Event::Done(stage) => Some(format!(
            "{}: test {:.2} %",
            stage.kind,
            100.0 * stage.figures.accuracy
        )),
    }
}

/// Runs the recipe `text`; gives the figures before and after every stage.
#[pyfunction]
#[pyo3(signature = (model, output, *, data, text, name, folder, resume, seed, epochs_scale, pixels, limit, report))]
#[expect(clippy::too_many_arguments, reason = "Python passes them by name")]
pub(crate) fn compress(
    py: Python<'_>,
    model: PathBuf,
    output: PathBuf,
    data: PathBuf,
    text: &str,
    name: &str,
    folder: Option<PathBuf>,
    resume: bool,
    seed: Option<u64>,
    epochs_scale: f64,
    pixels: &str,
    limit: Option<usize>,
    report: Option<Py<PyAny>>,
) -> PyResult<Vec<Stage>> {
    if !(epochs_scale > 0.0 && epochs_scale.is_finite()) {
        return Err(refuse(format!(
            "epochs_scale must be positive, not {epochs_scale}"
        )));
    }
    let scaling = choice::<Scaling>("pixels", pixels)?;
    let recipe = Recipe::parse(text, name).map_err(failure)?;
    let folder = folder.unwrap_or_else(|| output.with_extension("compress"));
    py.detach(|| {
        let mut data = data::open(&data).map_err(failure)?;
        if let Some(limit) = limit {
            data.limit(limit);
        }
        let stop = AtomicBool::new(false);
        let mut interrupt = Interrupt::new();
        let outcome = Job {
            recipe: &recipe,
            model: &model,
            data: &data,
            scaling,
            output: &output,
            folder: &folder,
            resume,
            seed,
            epochs_scale,
            stop: &stop,
            report: &mut |event| {
                if let (Some(report), Some(line)) = (&report, line(&event)) {
                    let told = Python::attach(|py| report.call1(py, (line,)).map(drop));
                    told.unwrap_or_else(|error| interrupt.because(error));
                }
                if interrupt.wanted() {
                    stop.store(true, Ordering::Relaxed);
                }
            },
        }
        .run();
        interrupt.check()?;
        let record = outcome.map_err(failure)?.record;
        let input = &record.input;
        let before = (
            "input".to_owned(),
            input.accuracy,
            input.macs,
            input.parameters,
            Vec::new(),
        );
        Ok(std::iter::once(before)
            .chain(record.stages.iter().map(stage))
            .collect())
    })
}
