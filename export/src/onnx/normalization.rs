//! Normalisations that compute their statistics at inference, by reductions.

use super::OnnxError;
use super::attributes::OnnxNode;
use super::import::Importer;
use crate::graph::{Binary, Reduction, Unary, ValueId};

impl Importer<'_> {
    /// `(x − mean) / √(variance + epsilon)` over `axes`, the mean and the root.
    fn normalized(
        &mut self,
        node: &OnnxNode,
        x: ValueId,
        axes: &[usize],
        epsilon: f32,
    ) -> Result<[ValueId; 3], OnnxError> {
        let mean = self.mean(node, x, axes)?;
        let centred = self.combine(node, Binary::Sub, x, mean)?;
        let squares = self.combine(node, Binary::Mul, centred, centred)?;
        let variance = self.mean(node, squares, axes)?;
        let variance = self.with(node, Binary::Add, variance, epsilon)?;
        let deviation = self.apply(node, Unary::Sqrt, variance)?;
        let y = self.combine(node, Binary::Div, centred, deviation)?;
        Ok([y, mean, deviation])
    }

    /// `x · scale + bias`, whose shapes broadcast.
    fn scaled_and_shifted(
        &mut self,
        node: &OnnxNode,
        x: ValueId,
        scale: ValueId,
        bias: Option<ValueId>,
    ) -> Result<ValueId, OnnxError> {
        let product = self.combine(node, Binary::Mul, x, scale)?;
        match bias {
            Some(bias) => self.combine(node, Binary::Add, product, bias),
            None => Ok(product),
        }
    }

    pub(super) fn layer_norm(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.float(node, 0)?;
        let scale = self.float(node, 1)?;
        let bias = self.optional(node, 2)?;
        let rank = self.shape(x).len();
        let axis = node.axis(node.int("axis", -1), rank, false)?;
        let axes: Vec<usize> = (axis..rank).collect();
        let epsilon = node.float("epsilon", 1e-5);
        let y = match node.op() {
            "RMSNormalization" => {
                let squares = self.combine(node, Binary::Mul, x, x)?;
                let mean = self.mean(node, squares, &axes)?;
                let mean = self.with(node, Binary::Add, mean, epsilon)?;
                let root = self.apply(node, Unary::Sqrt, mean)?;
                self.combine(node, Binary::Div, x, root)?
            }
            _ => {
                let [y, mean, deviation] = self.normalized(node, x, &axes, epsilon)?;
                for (name, id) in node.proto.output.iter().skip(1).zip([mean, deviation]) {
                    if !name.is_empty() {
                        let id = match id == mean {
                            true => mean,
                            false => {
                                let one = self.scalar(1.0);
                                self.combine(node, Binary::Div, one, deviation)?
                            }
                        };
                        self.bind_as(node, name, id)?;
                    }
                }
                y
            }
        };
        self.scaled_and_shifted(node, y, scale, bias)
    }

    /// InstanceNormalization and GroupNormalization.
    pub(super) fn group_norm(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.float(node, 0)?;
        let xs = self.shape(x);
        let &[batch, channels, ..] = &xs[..] else {
            return Err(node.invalid("its input has no channels"));
        };
        let instance = node.op() == "InstanceNormalization";
        let groups = match instance {
            true => channels,
            false => usize::try_from(node.int("num_groups", 0)).unwrap_or(0),
        };
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(node.invalid(format!("{channels} channels in {groups} groups")));
        }
        let plane: usize = xs[2..].iter().product();
        let grouped = vec![batch, groups, channels / groups * plane];
        let flat = self.reshape(node, x, grouped, &format!("{}_groups", node.output()?));
        let epsilon = node.float("epsilon", 1e-5);
        let [y, ..] = self.normalized(node, flat, &[2], epsilon)?;
        let y = self.reshape(node, y, xs.clone(), &format!("{}_channels", node.output()?));
        let mut along = vec![1; xs.len()];
        along[1] = channels;
        let mut factors = [0, 0].map(|_| None);
        for (i, factor) in factors.iter_mut().enumerate() {
            let mut value = self.float(node, i + 1)?;
            if self.shape(value) == [groups] && groups != channels {
                // Before opset 21 there is one for each group.
                let wide = vec![groups, channels / groups];
                let name = format!("{}_by_group", self.graph[value].name);
                let column = self.reshape(node, value, vec![groups, 1], &name);
                value = self.expanded(node, column, &wide)?;
            }
            let name = format!("{}_by_channel", self.graph[value].name);
            *factor = Some(self.reshape(node, value, along.clone(), &name));
        }
        match factors {
            [Some(scale), bias] => self.scaled_and_shifted(node, y, scale, bias),
            _ => Ok(y),
        }
    }

    pub(super) fn mean_variance(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.float(node, 0)?;
        let rank = self.shape(x).len();
        let axes = node.ints("axes").unwrap_or(&[0, 2, 3]);
        let mut axes = axes
            .iter()
            .map(|&a| node.axis(a, rank, false))
            .collect::<Result<Vec<_>, _>>()?;
        axes.sort_unstable();
        Ok(self.normalized(node, x, &axes, 1e-9)?[0])
    }

    pub(super) fn lp_norm(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.float(node, 0)?;
        let axis = node.axis(node.int("axis", -1), self.shape(x).len(), false)?;
        let size = match node.int("p", 2) {
            1 => {
                let size = self.apply(node, Unary::Abs, x)?;
                self.reduced(node, Reduction::Sum, size, &[axis])?
            }
            _ => {
                let squares = self.combine(node, Binary::Mul, x, x)?;
                let sum = self.reduced(node, Reduction::Sum, squares, &[axis])?;
                self.apply(node, Unary::Sqrt, sum)?
            }
        };
        // Where all is 0, so is the result.
        let zero = self.with(node, Binary::Equal, size, 0.0)?;
        let size = self.combine(node, Binary::Add, size, zero)?;
        self.combine(node, Binary::Div, x, size)
    }
}
