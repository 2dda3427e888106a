//! Gemm and MatMul with constant weights: both become fully connected layers.

use super::OnnxError;
use super::attributes::OnnxNode;
use super::import::Importer;
use crate::graph::{Binary, Clamp, DType, Data, Op, ValueId};

impl Importer<'_> {
    pub(super) fn matmul(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.float(node, 0)?;
        let w = self.float(node, 1)?;
        let output = node.output()?;
        let (xs, mut ws) = (self.shape(x), self.shape(w));
        while ws.len() > 2 && ws[0] == 1 && xs.len() >= ws.len() {
            ws.remove(0);
        }
        if self.constant_source(w).is_none() || self.is_constant(x) || ws.len() > 2 {
            return self.product(node, x, w);
        }
        let w = self.symmetric_weights(node, w)?;
        let vector = ws.len() == 1;
        if vector {
            ws.push(1);
        }
        let (&[k, m], Some(&xk)) = (ws.as_slice(), xs.last()) else {
            return Err(node.unsupported(
                "weights' shape",
                format!("{ws:?}"),
                "use one weight matrix",
            ));
        };
        if xk != k {
            return Err(node.invalid(format!("{xs:?} and {ws:?} cannot be multiplied")));
        }
        let w = self.reshape(node, w, ws, &format!("{}_matrix", self.graph[w].name));
        let w = self.transpose(
            node,
            w,
            &[1, 0],
            &format!("{}_transposed", self.graph[w].name),
        );
        let rows: usize = xs[..xs.len() - 1].iter().product();
        let mut shape = xs[..xs.len() - 1].to_vec();
        if !vector {
            shape.push(m);
        }
        let plain = xs.len() == 2 && !vector;
        let x = if xs.len() == 2 {
            x
        } else {
            self.reshape(node, x, vec![rows, k], &format!("{output}_rows"))
        };
        let name = if plain {
            output.to_owned()
        } else {
            format!("{output}_product")
        };
        let op = Op::FullyConnected { clamp: Clamp::NONE };
        let y = self.emit(
            &node.name(),
            op,
            vec![x, w],
            &name,
            vec![rows, m],
            DType::F32,
        );
        Ok(if plain {
            y
        } else {
            self.reshape(node, y, shape, output)
        })
    }

    /// The product of two tensors of any rank, with numpy's rules.
    fn product(&mut self, node: &OnnxNode, a: ValueId, b: ValueId) -> Result<ValueId, OnnxError> {
        let output = node.output()?.to_owned();
        let (mut xs, mut ws) = (self.shape(a), self.shape(b));
        let (row, column) = (xs.len() == 1, ws.len() == 1);
        if row {
            xs.insert(0, 1);
        }
        if column {
            ws.push(1);
        }
        let (&[ref xb @ .., m, k], &[ref wb @ .., wk, n]) = (&xs[..], &ws[..]) else {
            return Err(node.invalid(format!("{xs:?} and {ws:?} cannot be multiplied")));
        };
        let batch = super::elementwise::broadcast(xb, wb).filter(|_| k == wk);
        let batch =
            batch.ok_or_else(|| node.invalid(format!("{xs:?} and {ws:?} cannot be multiplied")))?;
        let count: usize = batch.iter().product();
        let one = wb.iter().all(|&d| d == 1);
        // One matrix for all: the batch is rows.
        let (a_shape, b_shape) = match one && xb.iter().product::<usize>() == count {
            true => (vec![1, count * m, k], vec![1, k, n]),
            false => (vec![count, m, k], vec![count, k, n]),
        };
        let whole = |dims: &[usize]| [&batch[..], dims].concat();
        let a = self.reshape(node, a, xs.clone(), &format!("{output}_a_rows"));
        let b = self.reshape(node, b, ws.clone(), &format!("{output}_b_columns"));
        let (mut a, mut b) = (a, b);
        if a_shape[0] == count {
            a = self.expanded(node, a, &whole(&[m, k]))?;
        }
        if b_shape[0] == count {
            b = self.expanded(node, b, &whole(&[k, n]))?;
        }
        let a = self.reshape(node, a, a_shape.clone(), &format!("{output}_a"));
        let b = self.reshape(node, b, b_shape, &format!("{output}_b"));
        let shape = vec![a_shape[0], a_shape[1], n];
        let y = self.step(node, "product", Op::MatMul, vec![a, b], shape)?;
        let mut shape = batch.clone();
        if !row {
            shape.push(m);
        }
        if !column {
            shape.push(n);
        }
        Ok(self.reshape(node, y, shape, &output))
    }

    /// Gemm whose second operand is computed.
    fn general_gemm(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let output = node.output()?.to_owned();
        let (mut a, mut b) = (self.number(node, 0)?, self.number(node, 1)?);
        if node.int("transA", 0) != 0 {
            a = self.transpose(node, a, &[1, 0], &format!("{output}_a"));
        }
        if node.int("transB", 0) != 0 {
            b = self.transpose(node, b, &[1, 0], &format!("{output}_b"));
        }
        let mut y = self.product(node, a, b)?;
        if node.float("alpha", 1.0) != 1.0 {
            y = self.with(node, Binary::Mul, y, node.float("alpha", 1.0))?;
        }
        let beta = node.float("beta", 1.0);
        if node.input(2).is_some() && beta != 0.0 {
            let mut c = self.number(node, 2)?;
            if beta != 1.0 {
                c = match self.constant_source(c) {
                    Some(_) => self.scaled(node, c, beta, "beta")?,
                    None => self.with(node, Binary::Mul, c, beta)?,
                };
            }
            y = self.combine(node, Binary::Add, y, c)?;
        }
        Ok(y)
    }

    pub(super) fn gemm(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let mut x = self.float(node, 0)?;
        let w = self.float(node, 1)?;
        let c = self.optional(node, 2)?;
        let output = node.output()?;
        let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
        if self.shape(x).len() != 2 || self.shape(w).len() != 2 {
            return Err(node.invalid(format!(
                "operands have shapes {:?} and {:?}",
                self.shape(x),
                self.shape(w)
            )));
        }
        let scaled = |i: usize, factor| {
            let of = node.input(i).is_some() && factor != 1.0;
            of.then_some(i)
        };
        let computed = c.is_some_and(|c| self.constant_source(c).is_none());
        if self.constant_source(w).is_none()
            || self.is_constant(x)
            || (computed && scaled(2, beta).is_some())
        {
            return self.general_gemm(node);
        }
        if node.int("transA", 0) != 0 {
            x = self.transpose(node, x, &[1, 0], &format!("{output}_a"));
        }
        let mut w = self.symmetric_weights(node, w)?;
        if node.int("transB", 0) == 0 {
            w = self.transpose(
                node,
                w,
                &[1, 0],
                &format!("{}_transposed", self.graph[w].name),
            );
        }
        w = self.scaled(node, w, alpha, "alpha")?;
        let (xs, ws) = (self.shape(x), self.shape(w));
        let (rows, k, m) = (xs[0], xs[1], ws[0]);
        if ws[1] != k {
            return Err(node.invalid(format!(
                "{xs:?} and the weights {ws:?} [M,K] cannot be multiplied"
            )));
        }
        let mut inputs = vec![x, w];
        let mut addend = None;
        if let Some(c) = c
            && beta != 0.0
        {
            if self.graph[c].dtype != DType::F32 {
                return Err(node.invalid("C is not float"));
            }
            let c = self.scaled(node, c, beta, "beta")?;
            let shape = self.shape(c);
            let is_bias = shape.last() == Some(&m) && shape.iter().product::<usize>() == m;
            if is_bias && self.constant_source(c).is_some() {
                let bias = self.reshape(node, c, vec![m], &format!("{}_bias", self.graph[c].name));
                inputs.push(bias);
            } else {
                addend = Some(c);
            }
        }
        let name = if addend.is_some() {
            format!("{output}_product")
        } else {
            output.to_owned()
        };
        let op = Op::FullyConnected { clamp: Clamp::NONE };
        let y = self.emit(&node.name(), op, inputs, &name, vec![rows, m], DType::F32);
        let Some(c) = addend else { return Ok(y) };
        let cs = self.shape(c);
        if super::elementwise::broadcast(&cs, &[rows, m]) != Some(vec![rows, m]) {
            return Err(node.invalid(format!("C {cs:?} does not broadcast to [{rows}, {m}]")));
        }
        let op = Op::Binary {
            op: Binary::Add,
            clamp: Clamp::NONE,
        };
        Ok(self.emit(
            &node.name(),
            op,
            vec![y, c],
            output,
            vec![rows, m],
            DType::F32,
        ))
    }

    /// A constant times a factor; of a dequantised constant, the scales are multiplied.
    fn scaled(
        &mut self,
        node: &OnnxNode,
        id: ValueId,
        factor: f32,
        what: &str,
    ) -> Result<ValueId, OnnxError> {
        if factor == 1.0 {
            return Ok(id);
        }
        let hint = "use a factor of 1";
        let source = self
            .constant_source(id)
            .ok_or_else(|| node.unsupported(what, factor, hint))?;
        let value = &self.graph[source];
        let (shape, name) = (
            value.shape.clone(),
            format!("{}_{what}", self.graph[id].name),
        );
        match (value.data.clone(), value.quantization.clone()) {
            (Some(Data::F32(v)), _) => {
                let data = Data::F32(v.iter().map(|x| x * factor).collect());
                Ok(self.replace_constant(id, source, &name, shape, data, None))
            }
            (Some(data), Some(mut q)) if factor > 0.0 && factor.is_finite() => {
                q.scales.iter_mut().for_each(|s| *s *= factor);
                if q.scales.iter().any(|s| !(s.is_finite() && *s > 0.0)) {
                    return Err(node.unsupported(what, factor, hint));
                }
                Ok(self.replace_constant(id, source, &name, shape, data, Some(q)))
            }
            _ => Err(node.unsupported(what, factor, hint)),
        }
    }
}
