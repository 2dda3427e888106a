//! Functions of one and two variables, Softmax and batch normalisation.

use super::OnnxError;
use super::attributes::OnnxNode;
use super::import::Importer;
use crate::graph::{Binary, Clamp, DType, Op, Unary, ValueId};

/// numpy's broadcasting of two shapes.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim = |s: &[usize], i: usize| {
        if i + s.len() < rank {
            1
        } else {
            s[i + s.len() - rank]
        }
    };
    (0..rank)
        .map(|i| match (dim(a, i), dim(b, i)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

impl Importer<'_> {
    pub(super) fn unary(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.number(node, 0)?;
        let function = match node.op() {
            "Relu" => Unary::Clamp(Clamp::RELU),
            "Clip" => Unary::Clamp(self.clip_bounds(node)?),
            "LeakyRelu" => Unary::LeakyRelu {
                alpha: node.float("alpha", 0.01),
            },
            "Sigmoid" => Unary::Sigmoid,
            "Tanh" => Unary::Tanh,
            "HardSigmoid" => Unary::HardSigmoid {
                alpha: node.float("alpha", 0.2),
                beta: node.float("beta", 0.5),
            },
            _ => Unary::HardSwish,
        };
        let shape = self.shape(x);
        Ok(self.emit(
            &node.name(),
            Op::Unary(function),
            vec![x],
            node.output()?,
            shape,
            DType::F32,
        ))
    }

    fn clip_bounds(&mut self, node: &OnnxNode) -> Result<Clamp, OnnxError> {
        let bound =
            |importer: &mut Self, i: usize, name: &str, default: f32| -> Result<f32, OnnxError> {
                let value = if node.opset < 11 {
                    node.float(name, default)
                } else if node.input(i).is_some() {
                    importer
                        .constant_floats(node, i, name)?
                        .first()
                        .copied()
                        .unwrap_or(default)
                } else {
                    default
                };
                // Exporters write the largest float for "none".
                Ok(if value.abs() == f32::MAX {
                    value * 2.0
                } else {
                    value
                })
            };
        let clamp = Clamp {
            min: bound(self, 1, "min", f32::NEG_INFINITY)?,
            max: bound(self, 2, "max", f32::INFINITY)?,
        };
        if clamp.min.is_nan() || clamp.max.is_nan() || clamp.min > clamp.max {
            return Err(node.invalid(format!(
                "bounds {} and {} are out of order",
                clamp.min, clamp.max
            )));
        }
        Ok(clamp)
    }

    pub(super) fn binary(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let op = match node.op() {
            "Add" | "Sum" => Binary::Add,
            "Sub" => Binary::Sub,
            "Mul" => Binary::Mul,
            _ => Binary::Div,
        };
        let count = node.proto.input.len();
        if count == 0 || (node.op() != "Sum" && count != 2) {
            return Err(node.invalid(format!("it has {count} inputs")));
        }
        let mut result = self.number(node, 0)?;
        for i in 1..count {
            let other = self.number(node, i)?;
            let (a, b) = (self.shape(result), self.shape(other));
            let shape = broadcast(&a, &b)
                .ok_or_else(|| node.invalid(format!("{a:?} and {b:?} do not broadcast")))?;
            let name = if i + 1 == count {
                node.output()?.to_owned()
            } else {
                format!("{}_{i}", node.output()?)
            };
            let op = Op::Binary {
                op,
                clamp: Clamp::NONE,
            };
            result = self.emit(
                &node.name(),
                op,
                vec![result, other],
                &name,
                shape,
                DType::F32,
            );
        }
        Ok(result)
    }

    pub(super) fn softmax(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.float(node, 0)?;
        let shape = self.shape(x);
        let since_13 = node.opset >= 13;
        let axis = node.axis(
            node.int("axis", if since_13 { -1 } else { 1 }),
            shape.len(),
            false,
        )?;
        let output = node.output()?;
        let inner: usize = shape[axis + 1..].iter().product();
        if since_13 || inner == 1 {
            return Ok(self.emit(
                &node.name(),
                Op::Softmax { axis },
                vec![x],
                output,
                shape,
                DType::F32,
            ));
        }
        // Before opset 13 all axes from `axis` on are one.
        let flat = vec![
            shape[..axis].iter().product(),
            shape[axis..].iter().product(),
        ];
        let flattened = self.reshape(node, x, flat.clone(), &format!("{output}_flat"));
        let name = format!("{output}_softmax");
        let y = self.emit(
            &node.name(),
            Op::Softmax { axis: 1 },
            vec![flattened],
            &name,
            flat,
            DType::F32,
        );
        Ok(self.reshape(node, y, shape, output))
    }

    pub(super) fn batch_norm(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        if node.int("training_mode", 0) != 0 {
            return Err(node.unsupported(
                "training_mode",
                1,
                "export the model for inference (model.eval())",
            ));
        }
        if node.opset < 9 && node.int("spatial", 1) == 0 {
            return Err(node.unsupported("spatial", 0, "normalise per channel"));
        }
        let x = self.float(node, 0)?;
        let shape = self.shape(x);
        let &channels = shape
            .get(1)
            .ok_or_else(|| node.invalid("its input has no channels"))?;
        let mut inputs = vec![x];
        for (i, what) in ["scale", "B", "mean", "var"].iter().enumerate() {
            let found = self.constant_floats(node, i + 1, what)?.len();
            if found != channels {
                return Err(node.invalid(format!(
                    "{what} has {found} entries for {channels} channels"
                )));
            }
            inputs.push(self.operand(node, i + 1)?);
        }
        let op = Op::BatchNorm {
            epsilon: node.float("epsilon", 1e-5),
        };
        Ok(self.emit(&node.name(), op, inputs, node.output()?, shape, DType::F32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_is_numpys() {
        assert_eq!(broadcast(&[1, 8, 4, 4], &[8, 1, 1]), Some(vec![1, 8, 4, 4]));
        assert_eq!(broadcast(&[3, 1], &[4]), Some(vec![3, 4]));
        assert_eq!(broadcast(&[], &[2]), Some(vec![2]));
        assert_eq!(broadcast(&[3], &[4]), None);
    }
}
