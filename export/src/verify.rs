//! Comparing, step by step: reference, host, device.
//!
//! Each step of the host is fed with the reference's own values, so that its row shows its own error and not what it
//! inherited; the device is compared with an undisturbed run of the host, byte by byte.

use crate::compile::StepInfo;
use crate::compile::transpose;
use crate::graph::Data;
use crate::reference::Values;
use kinglet::Observer;
use kinglet::format::DType;
use serde::Serialize;

/// How one step compares with the reference, over all samples.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Comparison {
    /// Elements compared; 0 when the reference has no tensor of that name.
    pub elements: u64,
    /// Elements that differ: any difference for integers, more than 10⁻⁴ of the tensor's largest magnitude for floats.
    pub different: u64,
    /// Largest difference: in steps of the quantisation for integers, relative to the largest magnitude for floats.
    pub largest: f64,
}

impl Comparison {
    /// Share of equal elements.
    pub fn equal_share(&self) -> f64 {
        if self.elements == 0 {
            1.0
        } else {
            1.0 - self.different as f64 / self.elements as f64
        }
    }

    /// Whether the step is as exact as the rounding contract promises: at least 99.9 % equal and none off by more
    /// than 1 for integers; within 10⁻⁴ for floats.
    pub fn holds(&self, dtype: DType) -> bool {
        match dtype {
            DType::F32 => self.largest <= 1e-4,
            DType::I8 | DType::U8 | DType::I32 => {
                self.largest <= 1.0 && (self.equal_share() >= 0.999 || self.different <= 1)
            }
        }
    }

    /// Whether a step of means is as exact as it can be against an engine that sums in another order: none off by more than 1, at
    /// least 95 % equal. A mean of a few integers is often a tie, and the order of a float sum decides where it falls.
    pub fn holds_but_for_ties(&self, dtype: DType) -> bool {
        let integers = dtype != DType::F32;
        self.holds(dtype) || integers && self.largest <= 1.0 && self.equal_share() >= 0.95
    }

    fn add(&mut self, ours: &Data, reference: &Data) {
        match (ours, reference) {
            (Data::F32(a), Data::F32(b)) => {
                let finite = b.iter().filter(|v| v.is_finite());
                let scale = finite.fold(1e-6f32, |m, v| m.max(v.abs()));
                for (a, b) in a.iter().zip(b) {
                    // Infinities of one sign are equal, and NaN is what the reference says.
                    let same = a == b || (a.is_nan() && b.is_nan());
                    let difference = if same { 0.0 } else { (a - b).abs() / scale };
                    self.element(f64::from(difference), 1e-4);
                }
            }
            (a, b) => {
                for (a, b) in integers(a).zip(integers(b)) {
                    self.element((a - b).abs() as f64, 0.0);
                }
            }
        }
    }

    fn element(&mut self, difference: f64, tolerance: f64) {
        self.elements += 1;
        self.different += u64::from(difference > tolerance || difference.is_nan());
        self.largest = if difference.is_nan() {
            f64::INFINITY
        } else {
            self.largest.max(difference)
        };
    }
}

/// Integers of any type; unsigned bytes recentred, as the compiler stores them.
fn integers(data: &Data) -> Box<dyn Iterator<Item = i64> + '_> {
    match data {
        Data::I8(v) => Box::new(v.iter().map(|&v| v.into())),
        Data::U8(v) => Box::new(v.iter().map(|&v| i64::from(v) - 128)),
        Data::I32(v) => Box::new(v.iter().map(|&v| v.into())),
        Data::I64(v) => Box::new(v.iter().copied()),
        Data::F32(v) => Box::new(v.iter().map(|&v| v as i64)),
    }
}

/// An observer that compares every step with the reference and then puts the reference's values in its place.
pub struct Forced<'a> {
    steps: &'a [StepInfo],
    comparisons: &'a mut [Comparison],
    reference: &'a Values,
}

impl<'a> Forced<'a> {
    /// For one inference; `comparisons` has one entry a step and accumulates.
    pub fn new(
        steps: &'a [StepInfo],
        comparisons: &'a mut [Comparison],
        reference: &'a Values,
    ) -> Self {
        Forced {
            steps,
            comparisons,
            reference,
        }
    }
}

impl Observer for Forced<'_> {
    fn after(&mut self, index: usize, output: &mut [u8]) {
        let comparable = |s: &&StepInfo| s.complete && !s.reordered;
        let Some(step) = self.steps.get(index).filter(comparable) else {
            return;
        };
        let Some(reference) = self.reference.get(&step.output) else {
            return;
        };
        let left = match &step.kept {
            None => Some(reference.clone()),
            Some(kept) => kept.pick(reference),
        };
        let ours = crate::samples::decode(step.dtype, output);
        let complete = |left: &Data| left.len() == step.shape.iter().product::<usize>();
        let Some(reference) = left.filter(complete) else {
            return;
        };
        let whole = arrange(step, &reference);
        let part = step.part.clone().unwrap_or(0..whole.len());
        let Some(stored) = whole.slice(part).filter(|s| s.len() == ours.len()) else {
            return;
        };
        self.comparisons[index].add(&ours, &stored);
        match (step.dtype, &stored) {
            (DType::F32, Data::F32(v)) => {
                for (to, from) in output.as_chunks_mut().0.iter_mut().zip(v) {
                    *to = from.to_le_bytes();
                }
            }
            (DType::I8, _) => {
                for (to, from) in output.iter_mut().zip(integers(&stored)) {
                    *to = from as i8 as u8;
                }
            }
            (DType::U8, Data::U8(v)) if v.len() == output.len() => output.copy_from_slice(v),
            _ => {}
        }
    }
}

/// What the step stores of the reference's tensor, in the order in which the step stores it.
fn arrange(step: &StepInfo, reference: &Data) -> Data {
    let Some(perm) = &step.permutation else {
        return reference.clone();
    };
    // onnx = transpose(stored, perm), so stored = transpose(onnx, perm⁻¹).
    let onnx_shape: Vec<usize> = perm.iter().map(|&p| step.shape[p]).collect();
    let mut back = vec![0; perm.len()];
    for (i, &p) in perm.iter().enumerate() {
        back[p] = i;
    }
    match reference {
        Data::F32(v) => Data::F32(transpose(v, &onnx_shape, &back)),
        Data::I8(v) => Data::I8(transpose(v, &onnx_shape, &back)),
        Data::U8(v) => Data::U8(transpose(v, &onnx_shape, &back)),
        Data::I32(v) => Data::I32(transpose(v, &onnx_shape, &back)),
        Data::I64(v) => Data::I64(transpose(v, &onnx_shape, &back)),
    }
}

/// An observer that keeps every step's bytes.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Bytes that each step wrote, in order.
    pub outputs: Vec<Vec<u8>>,
}

impl Observer for Recorder {
    fn after(&mut self, _: usize, output: &mut [u8]) {
        self.outputs.push(output.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_may_fall_either_way_and_nothing_else() {
        let row = |different, largest| Comparison {
            elements: 1000,
            different,
            largest,
        };
        let but_for_ties = |row: Comparison| row.holds_but_for_ties(DType::I8);
        assert!(!row(20, 1.0).holds(DType::I8) && but_for_ties(row(20, 1.0)));
        assert!(!but_for_ties(row(20, 2.0)) && !but_for_ties(row(60, 1.0)));
        assert!(!row(20, 1.0).holds_but_for_ties(DType::F32));
    }

    #[test]
    fn what_is_no_number_in_both_is_equal_and_in_one_is_not() {
        let data = |values: &[f32]| Data::F32(values.to_vec());
        let mut row = Comparison::default();
        row.add(
            &data(&[f32::NAN, f32::INFINITY, 2.0]),
            &data(&[f32::NAN, f32::INFINITY, 2.0]),
        );
        assert_eq!((row.elements, row.different), (3, 0));
        assert!(row.holds(DType::F32));
        row.add(&data(&[f32::NAN]), &data(&[1.0]));
        row.add(&data(&[f32::INFINITY]), &data(&[f32::NEG_INFINITY]));
        assert_eq!(row.different, 2);
        assert!(!row.holds(DType::F32));
    }
}
