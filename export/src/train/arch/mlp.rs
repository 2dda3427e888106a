//! A multilayer perceptron.

use super::builder::Builder;
use crate::graph::ValueId;

/// Fully connected layers of these widths, each with a Relu, and a last one.
pub(super) fn mlp(b: &mut Builder, sample: &[usize], classes: usize, widths: &[usize]) -> ValueId {
    let mut x = b.input(sample);
    if sample.len() != 1 {
        x = b.flatten("flatten", x);
    }
    for (i, &width) in widths.iter().enumerate() {
        x = b.linear(&format!("fc{}", i + 1), x, width, 2.0);
        x = b.relu(&format!("relu{}", i + 1), x);
    }
    b.linear("fc", x, classes, 1.0)
}
