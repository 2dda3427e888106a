//! Recipes: which methods a training runs, in which order, with which numbers. A TOML file, checked before anything runs.
//!
//! ```toml
//! name = "half the multiplications"
//! seed = 1
//! norms = "insert"     # for models whose exporter has folded them
//!
//! [defaults]            # of every training
//! batch = 128
//!
//! [[stage]]
//! kind = "mask"
//! macs = 0.5            # of the input model's
//! training = { epochs = 20, lr = 0.05 }
//!
//! [[stage]]
//! kind = "quantize"
//! format = "int8"
//! ```
//!
//! Stages come in the order structure → rank → rate → number format: `train`, then `mask` and `gate`, then `trp`, then
//! `backslash`, `deepshape` and `prune`, then `quantize`. Each keeps what earlier ones decided. [`Recipe::parse`] refuses
//! unknown keys, numbers out of range, stages in an order that undoes an earlier one, and budgets that cannot be, with the
//! line.

mod check;
mod error;
mod schema;
mod training;

pub use error::RecipeError;
pub use schema::{
    Activations, Backslash, DeepShapeStage, Form, Gate, GateUnits, Initialization, Mask, MaskStart,
    Norms, Prune, Quantize, Score, ShapeChoice, Stage, Train, Trp,
};
pub use training::{Augment, Distill, LrSchedule, Training};

use error::Place;
use serde::de::DeserializeOwned;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

/// A checked recipe.
#[derive(Clone, PartialEq, Debug)]
pub struct Recipe {
    /// What it is called in reports.
    pub name: String,
    /// Seed of everything random.
    pub seed: u64,
    /// What happens to layers whose normalisation the exporter has folded.
    pub norms: Norms,
    /// What to do, in order.
    pub stages: Vec<Stage>,
    source: Source,
}

/// Where the recipe came from, to say where a stage is that fails later.
#[derive(Clone, PartialEq, Debug)]
struct Source {
    text: String,
    file: String,
    /// Of each stage's `kind`.
    stages: Vec<Range<usize>>,
}

/// A stage and where each of its keys is in the file.
struct Located {
    stage: Stage,
    span: Range<usize>,
    keys: Vec<(String, Range<usize>)>,
}

impl Recipe {
    /// Reads and checks a recipe; `file` is what errors call it.
    ///
    /// # Errors
    /// See [`RecipeError`]; each names the line.
    pub fn parse(text: &str, file: &str) -> Result<Recipe, RecipeError> {
        let place = Place { text, file };
        let mut document = DeTable::parse(text)
            .map_err(|e| place.toml(&e, 0))?
            .into_inner();
        let mut entry = |name: &str| remove(&mut document, name);
        let (name, seed, norms, defaults, stages) = (
            entry("name"),
            entry("seed"),
            entry("norms"),
            entry("defaults"),
            entry("stage"),
        );
        if let Some((key, _)) = document.iter().next() {
            let known = ["name", "seed", "norms", "defaults", "stage"];
            return Err(place.error(key.span(), unknown(key.get_ref(), &known)));
        }
        let name = match name {
            Some((_, value)) => place.value(value)?,
            None => return Err(place.error(0..0, "a recipe has a `name`".into())),
        };
        let seed = seed.map_or(Ok(0), |(_, value)| place.value(value))?;
        let norms = norms.map_or(Ok(Norms::default()), |(_, value)| place.value(value))?;
        let defaults = defaults
            .map(|(key, value)| table(&place, &key, value))
            .transpose()?;
        if let Some(defaults) = &defaults {
            // Every key of a training but its length may have a default. The length is there only to be read.
            let mut whole = defaults.clone();
            if let Some(key) = whole.keys().find(|k| k.get_ref() == "epochs") {
                return Err(place.error(
                    key.span(),
                    "`epochs` has no default: each training says its own".into(),
                ));
            }
            whole.insert(
                Spanned::new(0..0, "epochs".into()),
                Spanned::new(0..0, one()),
            );
            place.table::<Training>(whole, 0..0)?;
        }
        let located = match stages {
            Some((key, value)) => read_stages(&place, &key, value, defaults.as_ref())?,
            None => Vec::new(),
        };
        if located.is_empty() {
            return Err(place.error(0..0, "a recipe has at least one `[[stage]]`".into()));
        }
        check::check(&located, &place)?;
        let spans = located.iter().map(|l| {
            let kind = l.keys.iter().find(|(key, _)| key == "kind");
            kind.map_or_else(|| l.span.clone(), |(_, span)| span.clone())
        });
        let source = Source {
            text: text.to_owned(),
            file: file.to_owned(),
            stages: spans.collect(),
        };
        Ok(Recipe {
            name,
            seed,
            norms,
            source,
            stages: located.into_iter().map(|l| l.stage).collect(),
        })
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        &self.source.text
    }

    /// An error about a stage that shows only when it is run, at the stage's line.
    pub fn error(&self, stage: usize, message: String) -> RecipeError {
        let Source { text, file, stages } = &self.source;
        let span = stages.get(stage).cloned().unwrap_or(0..0);
        Place { text, file }.error(span, message)
    }
}

fn one() -> DeValue<'static> {
    DeValue::parse("1").map_or(DeValue::Boolean(true), Spanned::into_inner)
}

type Entry<'i> = (Range<usize>, Spanned<DeValue<'i>>);

fn remove<'i>(table: &mut DeTable<'i>, name: &str) -> Option<Entry<'i>> {
    let key = table.keys().find(|k| k.get_ref() == name)?.clone();
    let span = key.span();
    table.remove(&key).map(|value| (span, value))
}

fn table<'i>(
    place: &Place<'_>,
    key: &Range<usize>,
    value: Spanned<DeValue<'i>>,
) -> Result<DeTable<'i>, RecipeError> {
    match value.into_inner() {
        DeValue::Table(table) => Ok(table),
        other => Err(place.error(
            key.clone(),
            format!("this is a table, not a {}", other.type_str()),
        )),
    }
}

fn unknown(key: &str, known: &[&str]) -> String {
    format!("unknown key `{key}`, expected one of {}", known.join(", "))
}

fn read_stages(
    place: &Place<'_>,
    key: &Range<usize>,
    value: Spanned<DeValue<'_>>,
    defaults: Option<&DeTable<'_>>,
) -> Result<Vec<Located>, RecipeError> {
    let DeValue::Array(stages) = value.into_inner() else {
        return Err(place.error(key.clone(), "stages are written as `[[stage]]`".into()));
    };
    stages
        .into_iter()
        .map(|stage| read_stage(place, stage, defaults))
        .collect()
}

fn read_stage(
    place: &Place<'_>,
    stage: Spanned<DeValue<'_>>,
    defaults: Option<&DeTable<'_>>,
) -> Result<Located, RecipeError> {
    let span = stage.span();
    let mut table = table(place, &span, stage)?;
    let Some((kind_span, kind)) = remove(&mut table, "kind") else {
        let kinds = Stage::KINDS.join(", ");
        return Err(place.error(span, format!("a stage has a `kind`, one of {kinds}")));
    };
    let kind: String = place.value(kind)?;
    let mut keys = vec![("kind".to_owned(), kind_span.clone())];
    collect_keys(&table, "", &mut keys);
    for name in ["training", "search", "fine-tune"] {
        with_defaults(&mut table, name, defaults);
    }
    let stage = match kind.as_str() {
        "train" => Stage::Train(place.table(table, span.clone())?),
        "mask" => Stage::Mask(place.table(table, span.clone())?),
        "gate" => Stage::Gate(place.table(table, span.clone())?),
        "trp" => Stage::Trp(place.table(table, span.clone())?),
        "backslash" => Stage::Backslash(place.table(table, span.clone())?),
        "deepshape" => Stage::DeepShape(place.table(table, span.clone())?),
        "prune" => Stage::Prune(place.table(table, span.clone())?),
        "quantize" => Stage::Quantize(place.table(table, span.clone())?),
        other => {
            let kinds = Stage::KINDS.join(", ");
            return Err(place.error(
                kind_span,
                format!("unknown kind of stage `{other}`, expected one of {kinds}"),
            ));
        }
    };
    Ok(Located { stage, span, keys })
}

/// Puts defaults where a training table does not say otherwise.
fn with_defaults<'i>(table: &mut DeTable<'i>, name: &str, defaults: Option<&DeTable<'i>>) {
    let training = table
        .iter_mut()
        .find(|(key, _)| key.get_ref() == name)
        .map(|(_, value)| value.get_mut());
    if let (Some(DeValue::Table(training)), Some(defaults)) = (training, defaults) {
        for (key, value) in defaults {
            if !training.keys().any(|k| k.get_ref() == key.get_ref()) {
                training.insert(key.clone(), value.clone());
            }
        }
    }
}

fn collect_keys(table: &DeTable<'_>, prefix: &str, keys: &mut Vec<(String, Range<usize>)>) {
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        if let DeValue::Table(inner) = value.get_ref() {
            collect_keys(inner, &format!("{path}."), keys);
        }
        keys.push((path, key.span()));
    }
}

impl Place<'_> {
    fn value<T: DeserializeOwned>(&self, value: Spanned<DeValue<'_>>) -> Result<T, RecipeError> {
        let start = value.span().start;
        T::deserialize(toml::de::ValueDeserializer::from(value)).map_err(|e| self.toml(&e, start))
    }

    fn table<T: DeserializeOwned>(
        &self,
        table: DeTable<'_>,
        span: Range<usize>,
    ) -> Result<T, RecipeError> {
        let start = span.start;
        T::deserialize(Deserializer::from(Spanned::new(span, table)))
            .map_err(|e| self.toml(&e, start))
    }
}

#[cfg(test)]
mod tests;
