//! Labelled samples through plans: which class each is taken for, and how surely.

use crate::data::{Scaling, Split};
use crate::files::{self, FileError};
use crate::graph::Data;
use crate::host::{HostError, Runner};
use crate::samples::{self, SampleError, decode};
use kinglet::format::DType;
use kinglet::{Plan, TensorInfo};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Samples as reals, and their classes.
#[derive(Clone, PartialEq, Debug)]
pub struct Labelled {
    /// Shape of a sample, without a leading 1.
    pub shape: Vec<usize>,
    /// A sample a row.
    pub samples: Vec<Vec<f32>>,
    /// Class of each sample.
    pub labels: Vec<usize>,
}

/// Why labelled samples cannot be read, or do not fit a plan.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The inputs do not fit.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The labels cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The plan stopped.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The labels are no integers.
    #[error("{}: labels are class numbers in integers, a dimension long; found {found}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// A label is none of the model's classes.
    #[error("label {label} of sample {sample} is no class of the model: its output has {classes} elements, so classes are 0 to {}", classes - 1)]
    Class {
        /// Which sample.
        sample: usize,
        /// Its label.
        label: i64,
        /// Classes of the model.
        classes: usize,
    },
    /// Not a label a sample.
    #[error("{labels} labels for {samples} samples")]
    Count {
        /// Number of labels.
        labels: usize,
        /// Number of samples.
        samples: usize,
    },
    /// Samples of a shape that the plan does not take.
    #[error("a sample has shape {found:?}, input `{input}` takes {expected:?}")]
    Shape {
        /// The input.
        input: String,
        /// Its shape.
        expected: Vec<usize>,
        /// The samples'.
        found: Vec<usize>,
    },
    /// Not one input.
    #[error(
        "a model with {inputs} inputs and {outputs} outputs is no classifier that could be judged: one input and one output with an element a class are expected"
    )]
    NoClassifier {
        /// Number of inputs.
        inputs: usize,
        /// Number of outputs.
        outputs: usize,
    },
}

/// What a plan said of labelled samples.
#[derive(Clone, PartialEq, Debug)]
pub struct Evaluation {
    /// Number of classes.
    pub classes: usize,
    /// For each sample a score a class, as reals.
    pub scores: Vec<Vec<f32>>,
    /// For each sample the bytes of the output.
    pub outputs: Vec<Vec<u8>>,
    /// For each sample the class of the greatest score, the first of equals.
    pub classified: Vec<usize>,
}

impl Labelled {
    /// The first `limit` samples of a split whose samples have `shape` in ONNX's order; images become channels last.
    pub fn of_split(split: &Split, shape: &[usize], scaling: Scaling, limit: usize) -> Labelled {
        let len = shape.iter().product();
        let count = split.len().min(limit);
        let sample = |i: usize| {
            let mut row = Vec::with_capacity(len);
            split.sample(i, len, scaling, &mut row);
            row
        };
        Labelled {
            shape: match shape {
                &[c, h, w] => vec![h, w, c],
                other => other.to_vec(),
            },
            samples: (0..count).map(sample).collect(),
            labels: split.labels[..count].iter().map(|&l| l.into()).collect(),
        }
    }

    /// Samples that fit the input of `plan`, and a file of labels.
    ///
    /// # Errors
    /// A file cannot be read or does not fit: see [`EvaluateError`].
    pub fn read(
        plan: &Plan<'_>,
        input: &str,
        labels: &Path,
        limit: usize,
    ) -> Result<Labelled, EvaluateError> {
        let (info, _) = borders(plan)?;
        let rows = samples::read(plan, &[input.to_owned()])?.rows;
        let tensor = files::read_tensor(labels)?;
        let found = || EvaluateError::Labels {
            path: labels.into(),
            found: format!("{:?} of shape {:?}", tensor.data.dtype(), tensor.shape),
        };
        if matches!(tensor.data, Data::F32(_))
            || tensor.shape.iter().filter(|&&d| d != 1).count() > 1
        {
            return Err(found());
        }
        let numbers = tensor.data.reals();
        if numbers.len() != rows.len() {
            return Err(EvaluateError::Count {
                labels: numbers.len(),
                samples: rows.len(),
            });
        }
        let classes = classes(plan)?;
        let mut labels = Vec::new();
        for (sample, &label) in numbers.iter().enumerate().take(limit) {
            if label < 0.0 || label >= classes as f64 {
                let label = label as i64;
                return Err(EvaluateError::Class {
                    sample,
                    label,
                    classes,
                });
            }
            labels.push(label as usize);
        }
        let reals = |row: &Vec<u8>| reals(&info, &decode(info.dtype, row));
        Ok(Labelled {
            shape: without_batch(info.shape()).to_vec(),
            samples: rows.iter().take(limit).map(reals).collect(),
            labels,
        })
    }

    /// The bytes of every sample as the plan takes them: quantised as its input is, images with their channels where it has
    /// them.
    ///
    /// # Errors
    /// The shapes do not fit, or a label is no class of the plan.
    pub fn rows(&self, plan: &Plan<'_>) -> Result<Vec<Vec<u8>>, EvaluateError> {
        let (info, _) = borders(plan)?;
        let classes = classes(plan)?;
        if let Some(sample) = self.labels.iter().position(|&l| l >= classes) {
            return Err(EvaluateError::Class {
                sample,
                label: self.labels[sample] as i64,
                classes,
            });
        }
        let expected = without_batch(info.shape());
        let order = order(&self.shape, expected).ok_or_else(|| EvaluateError::Shape {
            input: info.name.into(),
            expected: info.shape().to_vec(),
            found: self.shape.clone(),
        })?;
        let row = |sample: &Vec<f32>| match &order {
            None => bytes(&info, sample.iter().copied()),
            Some(order) => bytes(&info, order.iter().map(|&i| sample[i])),
        };
        Ok(self.samples.iter().map(row).collect())
    }
}

impl Evaluation {
    /// Runs `plan` on rows of bytes, many at a time.
    ///
    /// # Errors
    /// It is no classifier, or a row has the wrong length.
    pub fn of(plan: &[u8], rows: &[Vec<u8>]) -> Result<Evaluation, EvaluateError> {
        let runner = Runner::new(plan)?;
        let parsed = runner.plan()?;
        let (_, info) = borders(&parsed)?;
        let classes = classes(&parsed)?;
        let chunk = rows.len().div_ceil(4 * rayon::current_num_threads()).max(1);
        let chunks: Result<Vec<Vec<Vec<Vec<u8>>>>, HostError> = rows
            .par_chunks(chunk)
            .map(|rows| Runner::new(plan)?.run_all(rows.iter().map(Vec::as_slice), &mut ()))
            .collect();
        let outputs: Vec<Vec<u8>> = chunks?
            .into_iter()
            .flatten()
            .map(Vec::into_iter)
            .filter_map(|mut o| o.next())
            .collect();
        let scores: Vec<Vec<f32>> = outputs
            .iter()
            .map(|o| reals(&info, &decode(info.dtype, o)))
            .collect();
        let classified = scores.iter().map(|s| greatest(s)).collect();
        Ok(Evaluation {
            classes,
            scores,
            outputs,
            classified,
        })
    }

    /// Share of samples that are taken for what they are; 0 of none.
    pub fn accuracy(&self, labels: &[usize]) -> f64 {
        let right = self.classified.iter().zip(labels).filter(|(a, b)| a == b);
        right.count() as f64 / labels.len().max(1) as f64
    }

    /// Samples by class (rows) and by what they are taken for (columns).
    pub fn confusion(&self, labels: &[usize]) -> Vec<Vec<usize>> {
        let mut counts = vec![vec![0; self.classes]; self.classes];
        for (&label, &class) in labels.iter().zip(&self.classified) {
            counts[label][class] += 1;
        }
        counts
    }

    /// A sample's scores as probabilities: as they are if they are such, else their softmax.
    pub fn probabilities(&self, sample: usize) -> Vec<f32> {
        let scores = &self.scores[sample];
        let sum: f32 = scores.iter().sum();
        if scores.iter().all(|&s| s >= 0.0) && (sum - 1.0).abs() < 0.1 {
            return scores.clone();
        }
        let greatest = scores.iter().fold(f32::NEG_INFINITY, |m, &s| m.max(s));
        let powers: Vec<f32> = scores.iter().map(|s| (s - greatest).exp()).collect();
        let sum: f32 = powers.iter().sum();
        powers.iter().map(|p| p / sum).collect()
    }

    /// The samples that are most surely taken for something else, worst first.
    pub fn worst(&self, labels: &[usize], count: usize) -> Vec<usize> {
        let mut wrong: Vec<(usize, f32)> = (0..labels.len())
            .filter(|&i| self.classified[i] != labels[i])
            .map(|i| {
                let p = self.probabilities(i);
                (i, p[self.classified[i]] - p[labels[i]])
            })
            .collect();
        wrong.sort_by(|a, b| b.1.total_cmp(&a.1));
        wrong.into_iter().take(count).map(|(i, _)| i).collect()
    }
}

fn borders<'p>(plan: &Plan<'p>) -> Result<(TensorInfo<'p>, TensorInfo<'p>), EvaluateError> {
    let (inputs, outputs) = (plan.input_count(), plan.output_count());
    match (plan.input(0), plan.output(0)) {
        (Some(input), Some(output)) if inputs == 1 && outputs == 1 => Ok((input, output)),
        _ => Err(EvaluateError::NoClassifier { inputs, outputs }),
    }
}

fn classes(plan: &Plan<'_>) -> Result<usize, EvaluateError> {
    let (_, output) = borders(plan)?;
    match output.len / output.dtype.size() {
        0 | 1 => Err(EvaluateError::NoClassifier {
            inputs: 1,
            outputs: 1,
        }),
        classes => Ok(classes),
    }
}

fn without_batch(shape: &[usize]) -> &[usize] {
    match shape {
        [1, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    }
}

/// Where the elements of a sample of shape `from` go in one of shape `to`: `Some(None)` for nowhere else, `None` if they do
/// not fit.
#[allow(clippy::option_option)]
fn order(from: &[usize], to: &[usize]) -> Option<Option<Vec<usize>>> {
    let bare =
        |shape: &[usize]| -> Vec<usize> { shape.iter().copied().filter(|&d| d != 1).collect() };
    if bare(from) == bare(to) || (to.len() == 1 && to[0] == from.iter().product::<usize>()) {
        return Some(None);
    }
    let indices = |[h, w, c]: [usize; 3], planar: bool| -> Vec<usize> {
        let mut order = vec![0; h * w * c];
        for (pixel, channel) in (0..h * w).flat_map(|p| (0..c).map(move |c| (p, c))) {
            let (last, first) = (pixel * c + channel, channel * h * w + pixel);
            let (to, from) = if planar { (first, last) } else { (last, first) };
            order[to] = from;
        }
        order
    };
    match (from, to) {
        (&[h, w, c], &[c2, h2, w2]) if (h, w, c) == (h2, w2, c2) => {
            Some(Some(indices([h, w, c], true)))
        }
        (&[c, h, w], &[h2, w2, c2]) if (h, w, c) == (h2, w2, c2) => {
            Some(Some(indices([h, w, c], false)))
        }
        _ => None,
    }
}

fn affine(info: &TensorInfo<'_>) -> (f32, f32) {
    match info.scale > 0.0 {
        true => (info.scale, info.zero_point as f32),
        false => (1.0, 0.0),
    }
}

fn reals(info: &TensorInfo<'_>, data: &Data) -> Vec<f32> {
    let (scale, zero) = affine(info);
    match data {
        Data::F32(v) => v.clone(),
        Data::I8(v) => v.iter().map(|&q| scale * (f32::from(q) - zero)).collect(),
        Data::U8(v) => v.iter().map(|&q| scale * (f32::from(q) - zero)).collect(),
        other => other.reals().into_iter().map(|q| q as f32).collect(),
    }
}

fn bytes(info: &TensorInfo<'_>, reals: impl Iterator<Item = f32>) -> Vec<u8> {
    let (scale, zero) = affine(info);
    let level = |real: f32| (real / scale).round_ties_even() + zero;
    match info.dtype {
        DType::F32 => reals.flat_map(f32::to_le_bytes).collect(),
        DType::I8 => reals.map(|r| level(r) as i8 as u8).collect(),
        DType::U8 => reals.map(|r| level(r) as u8).collect(),
        DType::I32 => reals.flat_map(|r| (r as i32).to_le_bytes()).collect(),
    }
}

fn greatest(scores: &[f32]) -> usize {
    (1..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(scores: &[[f32; 3]]) -> Evaluation {
        let scores: Vec<Vec<f32>> = scores.iter().map(|s| s.to_vec()).collect();
        Evaluation {
            classes: 3,
            classified: scores.iter().map(|s| greatest(s)).collect(),
            scores,
            outputs: Vec::new(),
        }
    }

    #[test]
    fn the_surest_mistake_is_the_worst() {
        let e = said(&[
            [0.9, 0.1, 0.0],
            [0.2, 0.5, 0.3],
            [0.8, 0.1, 0.1],
            [0.0, 0.0, 1.0],
        ]);
        let labels = [0, 0, 2, 2];
        assert_eq!(e.classified, [0, 1, 0, 2]);
        assert_eq!(e.accuracy(&labels), 0.5);
        assert_eq!(e.worst(&labels, 9), [2, 1]);
        assert_eq!(e.confusion(&labels), [[1, 1, 0], [0, 0, 0], [1, 0, 1]]);
    }

    #[test]
    fn scores_that_are_no_probabilities_are_made_such() {
        let e = said(&[[0.0, 0.0, 100.0], [0.25, 0.25, 0.5]]);
        assert_eq!(e.probabilities(0)[2], 1.0);
        assert_eq!(e.probabilities(1), [0.25, 0.25, 0.5]);
    }

    #[test]
    fn pixels_find_their_channels() {
        let planar = order(&[2, 2, 3], &[3, 2, 2]).expect("fits").expect("moves");
        assert_eq!(planar[..4], [0, 3, 6, 9]);
        let back = order(&[3, 2, 2], &[2, 2, 3]).expect("fits").expect("moves");
        assert!((0..12).all(|i| planar[back[i]] == i));
        assert_eq!(order(&[28, 28, 1], &[1, 28, 28]), Some(None));
        assert_eq!(order(&[28, 28, 1], &[784]), Some(None));
        assert_eq!(order(&[28, 28, 1], &[28, 27]), None);
    }
}
