//! Data that do not fit the model.

use super::{Diagnosis, because, model};
use crate::data::DataError;
use crate::evaluate::EvaluateError;
use crate::graph::{Graph, Op};
use crate::samples::SampleError;
use std::error::Error;

/// Fewer samples than this see too little of a network to calibrate it.
const FEW: usize = 8;
/// Data that reach so many times farther than the calibration, or that part of it, are scaled in another way.
const FARTHER: f32 = 4.0;
const NEARER: f32 = 1.0 / 32.0;

pub(super) fn diagnose(error: &(dyn Error + 'static)) -> Option<Diagnosis> {
    if let Some(error) = error.downcast_ref::<SampleError>() {
        return sample(error);
    }
    if let Some(error) = error.downcast_ref::<DataError>() {
        return match error {
            DataError::Array(error) => model::file(error),
            DataError::Read { path, source } => model::unreadable(source, path),
            DataError::Missing { .. } => because(
                "file::missing",
                "give the path of a folder or an .npz file; docs/training.md says which forms are read",
            ),
            _ => None,
        };
    }
    match error.downcast_ref::<EvaluateError>()? {
        EvaluateError::Sample(error) => sample(error),
        EvaluateError::File(error) => model::file(error),
        EvaluateError::Labels { .. } => because(
            "data::labels",
            "save class numbers, not names, scores or one-hot rows: numpy.save(\"labels.npy\", y.argmax(1).astype(\"int32\")) makes them of one-hot rows",
        ),
        EvaluateError::Class { .. } => because(
            "data::labels",
            "count classes from 0, in the order of the model's output; where labels begin at 1, subtract it",
        ),
        EvaluateError::Count { .. } => because(
            "data::labels",
            "inputs and labels must be of the same samples, in the same order",
        ),
        EvaluateError::Shape {
            expected, found, ..
        } => shape(expected, found),
        _ => None,
    }
}

fn sample(error: &SampleError) -> Option<Diagnosis> {
    match error {
        SampleError::File(error) => model::file(error),
        SampleError::Shape {
            expected, found, ..
        } => shape(expected, found),
        SampleError::Type {
            expected, found, ..
        } => because("data::dtype", dtype(expected, found)),
        SampleError::NotFinite { .. } => because(
            "data::not-finite",
            "find where it comes from (a division by zero, a logarithm of 0, a missing value) or replace it: numpy.nan_to_num(x)",
        ),
        _ => None,
    }
}

fn dtype(expected: &str, found: &str) -> String {
    match (expected, found) {
        ("int8", "uint8") => "for pixels and a zero point of −128: (x.astype(\"int16\") - 128).astype(\"int8\"); `kinglet inspect MODEL` prints the input's scale and zero point".into(),
        ("int8" | "uint8", _) => "quantise it as the model's input is: numpy.clip(numpy.round(x / scale) + zero_point, low, high), with scale and zero point from `kinglet inspect MODEL`".into(),
        ("float32", "uint8" | "int8") => "convert it, scaled as in training: x.astype(\"float32\") / 255 for pixels that were trained on as 0 to 1".into(),
        _ => format!("convert it: x.astype(\"{expected}\")"),
    }
}

/// Why a sample of shape `found` is not one of shape `expected`, which may begin with a batch of 1.
fn shape(expected: &[usize], found: &[usize]) -> Option<Diagnosis> {
    let bare = match expected {
        [1, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    let sample = match found {
        [1, rest @ ..] if rest.len() == bare.len() => rest,
        all => all,
    };
    let all = |shape: &[usize]| shape.iter().product::<usize>();
    if let Some(axes) = permutation(bare, sample) {
        let axes: Vec<String> = axes
            .iter()
            .map(|a| (a + found.len() - sample.len() + 1).to_string())
            .collect();
        let axes = axes.join(", ");
        let leading = match found.len() > sample.len() {
            true => "0, 1",
            false => "0",
        };
        let why = match bare.len() {
            3 => "the channels are elsewhere: ",
            _ => "the axes are in another order: ",
        };
        return because(
            "data::layout",
            format!("{why}numpy.ascontiguousarray(x.transpose({leading}, {axes}))"),
        );
    }
    if bare.len() == sample.len() + 1 && bare[1..] == *sample {
        return because(
            "data::batch",
            "the first axis counts the samples: for one sample add it with x[None]",
        );
    }
    if all(bare) == all(found) {
        let dims: Vec<String> = bare.iter().map(usize::to_string).collect();
        return because(
            "data::shape",
            format!(
                "the elements are as many: x.reshape(-1, {}) if they are in that order",
                dims.join(", ")
            ),
        );
    }
    because(
        "data::shape",
        "the first axis counts the samples, the others are the model's: resize or crop as in training; `kinglet inspect MODEL` prints the shape",
    )
}

/// How `found` must be permuted to be `expected`; `None` if it cannot, or is so already.
fn permutation(expected: &[usize], found: &[usize]) -> Option<Vec<usize>> {
    if expected.len() != found.len() || expected == found {
        return None;
    }
    let orders: [&[usize]; 3] = [&[2, 0, 1], &[1, 2, 0], &[1, 0]];
    let fits = |order: &&&[usize]| {
        order.len() == found.len()
            && order
                .iter()
                .zip(expected)
                .all(|(&from, &to)| found[from] == to)
    };
    if let Some(order) = orders.iter().find(fits) {
        return Some(order.to_vec());
    }
    let mut free: Vec<Option<usize>> = found.iter().copied().map(Some).collect();
    expected
        .iter()
        .map(|&dim| {
            let at = free.iter().position(|&f| f == Some(dim))?;
            free[at] = None;
            Some(at)
        })
        .collect()
}

/// The reals that a quantised model's only float input can tell apart; `None` where there are none.
fn calibrated(graph: &Graph) -> Option<[f32; 2]> {
    let &[input] = graph.inputs.as_slice() else {
        return None;
    };
    let mut value = input;
    loop {
        let mut readers = graph.nodes.iter().filter(|n| n.inputs.contains(&value));
        let reader = readers.next()?;
        match reader.op {
            Op::Transpose { .. } | Op::Reshape => value = reader.output,
            Op::Quantize => {
                let q = graph[reader.output].quantization.as_ref()?;
                let [scale] = q.scales[..] else { return None };
                let real = |level: i32| scale * (level - q.zero_point) as f32;
                return Some([real(-128), real(127)]);
            }
            _ => return None,
        }
    }
}

/// Whether inputs are scaled as those that the model was calibrated with: what is wrong, and the next step. `rows` are the
/// bytes of samples; only single float inputs of models that were opened from ONNX are looked at.
pub fn scaling(graph: &Graph, rows: &[Vec<u8>]) -> Option<(String, Diagnosis)> {
    let [low, high] = calibrated(graph)?;
    let reals = rows
        .iter()
        .flat_map(|row| row.as_chunks::<4>().0)
        .map(|&w| f32::from_le_bytes(w));
    let [least, most] = reals.fold([f32::INFINITY, f32::NEG_INFINITY], |[a, b], v| {
        [a.min(v), b.max(v)]
    });
    let reach = |a: f32, b: f32| a.abs().max(b.abs());
    let ratio = reach(least, most) / reach(low, high);
    if !ratio.is_finite() || (NEARER..=FARTHER).contains(&ratio) || reach(least, most) == 0.0 {
        return None;
    }
    let what = format!(
        "the inputs reach from {least} to {most}, the model was calibrated with {low:.3} to {high:.3}"
    );
    let help = match (ratio > 1.0, least >= 0.0 && most <= 255.0 && most > 1.0) {
        (true, true) => {
            "these look like pixels from 0 to 255: scale them as in training, such as x / 255"
        }
        (true, false) => "scale the inputs as in training; what is outside that range is cut off",
        (false, _) => {
            "scale the inputs as in training: where the model takes pixels from 0 to 255, do not divide them by 255"
        }
    };
    Some((what, because("data::scaling", help)?))
}

/// Whether calibration data can tell a model's ranges: what is wrong with them, and the next step.
pub fn calibration(rows: &[Vec<u8>]) -> Option<(String, Diagnosis)> {
    let first = rows.first()?;
    if rows.len() > 1 && rows.iter().all(|row| row == first) {
        let what = format!("all {} calibration samples are the same", rows.len());
        return Some((
            what,
            because(
                "data::constant",
                "take samples as they come in use, of all classes: ranges of one say little of the others",
            )?,
        ));
    }
    if first.len() > 4
        && rows
            .iter()
            .all(|row| row.as_chunks::<4>().0.iter().all(|w| *w == row[..4]))
    {
        return Some((
            "every calibration sample is constant".into(),
            because(
                "data::constant",
                "take samples as they come in use: zeroes or ones say nothing of the ranges within the network",
            )?,
        ));
    }
    (rows.len() < FEW).then(|| {
        let what = format!("only {} calibration samples", rows.len());
        let help = "give a hundred or so, of all classes: values that none of them reaches are cut off later".into();
        let code = "data::few-samples";
        (what, Diagnosis { code, help })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(expected: &[usize], found: &[usize]) -> (&'static str, String) {
        let diagnosis = shape(expected, found).expect("a diagnosis");
        (diagnosis.code, diagnosis.help)
    }

    #[test]
    fn channels_that_are_elsewhere_come_with_their_transposition() {
        let (code, text) = help(&[1, 3, 9, 11], &[9, 11, 3]);
        assert_eq!(code, "data::layout");
        assert!(text.ends_with("x.transpose(0, 3, 1, 2))"), "{text}");
        let (_, text) = help(&[1, 9, 11, 3], &[3, 9, 11]);
        assert!(text.ends_with("x.transpose(0, 2, 3, 1))"), "{text}");
        let (_, text) = help(&[1, 3, 9, 11], &[1, 9, 11, 3]);
        assert!(text.ends_with("x.transpose(0, 1, 4, 2, 3))"), "{text}");
    }

    #[test]
    fn other_shapes_have_other_reasons() {
        assert_eq!(help(&[1, 3, 9, 11], &[9, 11]).0, "data::batch");
        let (code, text) = help(&[1, 3, 9, 11], &[297]);
        assert!(code == "data::shape" && text.contains("reshape(-1, 3, 9, 11)"));
        assert_eq!(help(&[1, 3, 9, 11], &[3, 32, 32]).0, "data::shape");
    }

    #[test]
    fn calibration_data_that_say_too_little_are_named() {
        let row = |values: [f32; 2]| {
            values
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect::<Vec<u8>>()
        };
        let code = |rows: &[Vec<u8>]| calibration(rows).map(|(_, d)| d.code);
        let different: Vec<_> = (0..9).map(|i| row([i as f32, 1.0])).collect();
        assert_eq!(code(&different), None);
        assert_eq!(code(&different[..3]), Some("data::few-samples"));
        assert_eq!(code(&vec![row([1.0, 2.0]); 9]), Some("data::constant"));
        let flat: Vec<_> = (0..9).map(|i| row([i as f32, i as f32])).collect();
        assert_eq!(code(&flat), Some("data::constant"));
    }
}
