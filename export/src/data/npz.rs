//! Arrays: `.npz` files with samples and labels.

use super::{DataError, Dataset, Elements, Split};
use crate::files::{self, FileError, Tensor};
use crate::graph::Data;
use std::path::Path;

pub(super) fn read(path: &Path, name: String) -> Result<Dataset, DataError> {
    let array = |names: &[&str]| -> Result<Option<Tensor>, DataError> {
        let mut missing = None;
        for name in names {
            let mut member = path.as_os_str().to_owned();
            member.push(":");
            member.push(name);
            match files::read_tensor(member) {
                Ok(tensor) => return Ok(Some(tensor)),
                Err(e @ FileError::Member { .. }) => missing = Some(e),
                Err(e) => return Err(e.into()),
            }
        }
        drop(missing);
        Ok(None)
    };
    let malformed = |reason: String| DataError::Malformed {
        path: path.into(),
        reason,
    };
    let x = array(&["x_train", "x"])?;
    let y = array(&["y_train", "y"])?;
    let (Some(x), Some(y)) = (x, y) else {
        let wanted = "the archive has no arrays `x` and `y`, nor `x_train` and `y_train`";
        return Err(malformed(wanted.into()));
    };
    let (shape, train) = split(x, &y).map_err(malformed)?;
    let test = match (array(&["x_test"])?, array(&["y_test"])?) {
        (Some(x), Some(y)) => {
            let (test_shape, test) = split(x, &y).map_err(malformed)?;
            if test_shape != shape {
                return Err(malformed(format!(
                    "samples of shape {test_shape:?} in `x_test`, {shape:?} in `x_train`"
                )));
            }
            Some(test)
        }
        _ => None,
    };
    Dataset::new(path, name, shape, train, test)
}

/// Shape of a sample as ONNX has it, and the samples as [`Split`] has them.
fn split(x: Tensor, y: &Tensor) -> Result<(Vec<usize>, Split), String> {
    let bytes = !matches!(x.data, Data::F32(_));
    // Byte arrays of rank 3 are grey images. Of rank 4, 1, 3 or 4 elements along the last axis are channels.
    let (shape, channels_last) = match x.shape[..] {
        [_, h, w] if bytes => (vec![1, h, w], true),
        [_, h, w, c] if matches!(c, 1 | 3 | 4) => (vec![c, h, w], true),
        [_, ref rest @ ..] => (rest.to_vec(), rest.len() != 3),
        [] => return Err("`x` has no axis of samples".into()),
    };
    let n = x.shape[0];
    let elements = match x.data {
        Data::U8(v) => Elements::U8(arranged(v, &shape, channels_last)),
        Data::I8(v) => Elements::I8(arranged(v, &shape, channels_last)),
        Data::F32(v) => Elements::F32(arranged(v, &shape, channels_last)),
        Data::I32(v) => Elements::F32(
            arranged(v, &shape, channels_last)
                .iter()
                .map(|&v| v as f32)
                .collect(),
        ),
        Data::I64(v) => Elements::F32(
            arranged(v, &shape, channels_last)
                .iter()
                .map(|&v| v as f32)
                .collect(),
        ),
    };
    let labels: Option<Vec<u16>> = match &y.data {
        Data::U8(v) => Some(v.iter().map(|&l| l.into()).collect()),
        Data::I8(v) => v.iter().map(|&l| l.try_into().ok()).collect(),
        Data::I32(v) => v.iter().map(|&l| l.try_into().ok()).collect(),
        Data::I64(v) => v.iter().map(|&l| l.try_into().ok()).collect(),
        Data::F32(_) => None,
    };
    let labels = labels.ok_or("the labels are not integers from 0 to 65535")?;
    if labels.len() != n {
        return Err(format!("{} labels for {n} samples", labels.len()));
    }
    Ok((shape, Split { elements, labels }))
}

/// Brings the channels of images last.
fn arranged<T: Copy>(v: Vec<T>, shape: &[usize], channels_last: bool) -> Vec<T> {
    let &[c, h, w] = shape else {
        return v;
    };
    if channels_last || c == 1 {
        return v;
    }
    let plane = h * w;
    let samples = v.chunks_exact((c * plane).max(1));
    samples
        .flat_map(|s| (0..c * plane).map(move |i| s[i % c * plane + i / c]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(n: usize) -> Tensor {
        Tensor {
            shape: vec![n],
            data: Data::I64((0..n as i64).collect()),
        }
    }

    #[test]
    fn channels_come_last_wherever_they_were() {
        let first = Tensor::f32(vec![1, 5, 1, 2], (0..10u8).map(f32::from).collect());
        let (shape, split_) = split(first, &labels(1)).expect("fits");
        assert_eq!(shape, [5, 1, 2]);
        let expected = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9].map(|v| v as f32).to_vec();
        assert_eq!(split_.elements, Elements::F32(expected));
        let last = Tensor {
            shape: vec![1, 2, 1, 1],
            data: Data::I8(vec![1, 2]),
        };
        assert_eq!(split(last, &labels(1)).expect("fits").0, [1, 2, 1]);
        let features = Tensor::f32(vec![2, 3], vec![0.0; 6]);
        assert_eq!(split(features, &labels(2)).expect("fits").0, [3]);
    }

    #[test]
    fn labels_must_be_as_many_as_samples() {
        let x = Tensor::f32(vec![2, 3], vec![0.0; 6]);
        assert!(split(x.clone(), &labels(3)).is_err());
        let negative = Tensor {
            shape: vec![2],
            data: Data::I8(vec![0, -1]),
        };
        assert!(split(x, &negative).is_err());
    }
}
