//! Which rows of its operands a node reads for some rows of its result.

use crate::graph::{Graph, Node, Op, ValueId};
use std::ops::Range;

/// How the rows of an operand belong to the rows of the result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reach {
    /// Every row of the result needs all of the operand: weights, and what is broadcast over the rows.
    All,
    /// The same rows.
    Same,
    /// The rows under a window.
    Window {
        kernel: usize,
        stride: usize,
        dilation: usize,
        pad: usize,
    },
}

impl Reach {
    /// Rows of an operand with `height` rows that the rows `out` of the result need, and the padding above them.
    pub(super) fn read(self, out: &Range<usize>, height: usize) -> (Range<usize>, usize) {
        match self {
            Reach::All => (0..height, 0),
            Reach::Same => (out.clone(), 0),
            Reach::Window {
                kernel,
                stride,
                dilation,
                pad,
            } => {
                let first = out.start * stride;
                let end = (out.end - 1) * stride + (kernel - 1) * dilation + 1;
                let above = pad.saturating_sub(first);
                (
                    first.saturating_sub(pad)..end.saturating_sub(pad).min(height),
                    above,
                )
            }
        }
    }
}

/// Rows of a channels-last tensor of one image; `None` for other shapes.
pub(super) fn height(graph: &Graph, id: ValueId) -> Option<usize> {
    match graph[id].shape[..] {
        [1, height, _, _] => Some(height),
        _ => None,
    }
}

/// How `node` reads its operand `i`; `None` when it cannot be computed by rows.
pub(super) fn reach(graph: &Graph, node: &Node, i: usize) -> Option<Reach> {
    let rows = height(graph, node.output)?;
    let id = node.inputs[i];
    match &node.op {
        Op::Conv2d { .. } if i > 0 => Some(Reach::All),
        Op::Conv2d { window, .. } | Op::Pool { window, .. } => {
            let reach = Reach::Window {
                kernel: window.kernel[0],
                stride: window.strides[0],
                dilation: window.dilations[0],
                pad: window.pads[0],
            };
            let of = height(graph, id)?;
            // A row that lies in the padding alone could not be cut out of the operand.
            let meets = |row: usize| !reach.read(&(row..row + 1), of).0.is_empty();
            (rows > 0 && meets(0) && meets(rows - 1)).then_some(reach)
        }
        Op::Unary(_) | Op::Requantize | Op::Quantize | Op::Dequantize => Some(Reach::Same),
        Op::Binary { .. } => {
            // Leading axes that an operand lacks are 1.
            let shape = &graph[id].shape;
            let axis = shape.len().checked_sub(3);
            let own = axis.map_or(1, |axis| shape[axis]);
            match graph[id].data {
                _ if own == 1 => Some(Reach::All),
                None if height(graph, id) == Some(rows) => Some(Reach::Same),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Row by row: the rows of a band are those of its rows together, and padding is what the first row lacks.
        #[test]
        fn a_band_reads_what_its_rows_read(
            (kernel, stride, dilation, pad) in (1usize..6, 1usize..4, 1usize..4, 0usize..4),
            height in 1usize..30,
            start in 0usize..8,
            count in 1usize..8,
        ) {
            let reach = Reach::Window { kernel, stride, dilation, pad };
            let (band, above) = reach.read(&(start..start + count), height);
            let mut touched: Vec<usize> = Vec::new();
            for row in start..start + count {
                for tap in 0..kernel {
                    let at = (row * stride + tap * dilation) as isize - pad as isize;
                    if (0..height as isize).contains(&at) {
                        touched.push(at as usize);
                    }
                }
            }
            prop_assert!(touched.iter().all(|row| band.contains(row)));
            prop_assert_eq!(above, pad.saturating_sub(start * stride));
            if above == 0 && !band.is_empty() {
                prop_assert_eq!(band.start, start * stride - pad);
            }
        }
    }
}
