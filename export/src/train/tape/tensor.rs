//! Tensors of any rank, and the store that hands their memory on from step to step.

use crate::train::tensor::Real;
use std::collections::HashMap;

/// A tensor, row-major in its `shape`.
///
/// Activations of rank 4 are stored channels last: where ONNX says `[N, C, H, W]`, `shape` is `[N, H, W, C]`.
/// Activations of other ranks, and parameters of every rank, are stored as ONNX has them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Tensor<T> {
    /// Dimensions, in the order of storage.
    pub shape: Vec<usize>,
    /// Elements.
    pub data: Vec<T>,
}

impl<T: Real> Tensor<T> {
    /// A tensor of these dimensions and elements.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<T>) -> Self {
        let shape = shape.into();
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        Tensor { shape, data }
    }

    /// All zeros.
    pub fn zeros(shape: impl Into<Vec<usize>>) -> Self {
        let shape = shape.into();
        let data = vec![T::zero(); shape.iter().product()];
        Tensor { shape, data }
    }

    /// The leading dimension; 1 for a scalar.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Elements of one row of the leading dimension.
    pub fn row_len(&self) -> usize {
        self.shape.iter().skip(1).product()
    }
}

/// Dimensions in the order of storage of an activation that ONNX describes as `shape`.
pub fn stored_shape(shape: &[usize]) -> Vec<usize> {
    match *shape {
        [n, c, h, w] => vec![n, h, w, c],
        _ => shape.to_vec(),
    }
}

/// Distance in memory between neighbours along each of ONNX's axes, for a stored activation.
pub(crate) fn stored_strides(shape: &[usize]) -> Vec<usize> {
    match *shape {
        [_, c, h, w] => vec![h * w * c, 1, w * c, c],
        _ => row_major_strides(shape),
    }
}

/// The same for a row-major tensor.
pub(crate) fn row_major_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Memory that is no longer needed, by length, so that a step does not have to ask the system for fresh pages.
#[derive(Debug, Default)]
pub struct Buffers<T> {
    free: HashMap<usize, Vec<Vec<T>>>,
    /// Buffers handed out less those given back: what comes from elsewhere is not kept.
    out: HashMap<usize, usize>,
}

impl<T: Real> Buffers<T> {
    /// A buffer of this length with arbitrary contents.
    pub fn take(&mut self, len: usize) -> Vec<T> {
        *self.out.entry(len).or_default() += 1;
        let reused = self.free.get_mut(&len).and_then(Vec::pop);
        reused.unwrap_or_else(|| vec![T::zero(); len])
    }

    /// A tensor of this shape with arbitrary contents.
    pub fn tensor(&mut self, shape: impl Into<Vec<usize>>) -> Tensor<T> {
        let shape = shape.into();
        let data = self.take(shape.iter().product());
        Tensor { shape, data }
    }

    /// A copy of a tensor.
    pub fn copy(&mut self, of: &Tensor<T>) -> Tensor<T> {
        let mut copy = self.tensor(of.shape.clone());
        copy.data.copy_from_slice(&of.data);
        copy
    }

    /// Takes a buffer back.
    pub fn give(&mut self, buffer: Vec<T>) {
        let len = buffer.len();
        if let Some(out) = self.out.get_mut(&len)
            && *out > 0
        {
            *out -= 1;
            self.free.entry(len).or_default().push(buffer);
        }
    }

    /// Forgets all free memory.
    pub fn clear(&mut self) {
        self.free.clear();
        self.out.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_buffers_that_were_handed_out_are_kept() {
        let mut buffers = Buffers::<f32>::default();
        buffers.give(vec![1.0; 4]);
        assert_eq!(buffers.take(4), [0.0; 4]);
        buffers.give(vec![1.0; 4]);
        buffers.give(vec![2.0; 4]);
        assert_eq!(buffers.take(4), [1.0; 4]);
        assert_eq!(buffers.take(4), [0.0; 4]);
    }

    #[test]
    fn activations_of_rank_four_are_stored_channels_last() {
        assert_eq!(stored_shape(&[2, 3, 4, 5]), [2, 4, 5, 3]);
        assert_eq!(stored_strides(&[2, 3, 4, 5]), [60, 1, 15, 3]);
        assert_eq!(stored_strides(&[2, 3, 4]), [12, 4, 1]);
    }
}
