//! Typed access to a node's attributes, and the errors that name the node.

use super::OnnxError;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto};

/// A node with the version of the operator set it belongs to.
#[derive(Clone, Copy)]
pub(super) struct OnnxNode<'a> {
    pub(super) proto: &'a NodeProto,
    pub(super) opset: i64,
}

/// A node's name, or what stands for it.
pub(super) fn node_name(node: &NodeProto) -> String {
    if !node.name.is_empty() {
        return node.name.clone();
    }
    match node.output.iter().find(|o| !o.is_empty()) {
        Some(output) => output.clone(),
        None => format!("(unnamed {})", node.op_type),
    }
}

impl<'a> OnnxNode<'a> {
    pub(super) fn name(&self) -> String {
        node_name(self.proto)
    }

    pub(super) fn op(&self) -> &'a str {
        &self.proto.op_type
    }

    /// The node contradicts ONNX.
    pub(super) fn invalid(&self, message: impl Into<String>) -> OnnxError {
        OnnxError::Invalid {
            node: self.name(),
            op: self.op().to_owned(),
            opset: self.opset,
            message: message.into(),
        }
    }

    /// The node is right, but we cannot run it.
    pub(super) fn unsupported(
        &self,
        attribute: &str,
        value: impl std::fmt::Display,
        hint: impl Into<String>,
    ) -> OnnxError {
        OnnxError::UnsupportedAttribute {
            node: self.name().into(),
            op: self.op().into(),
            opset: self.opset,
            attribute: attribute.into(),
            value: value.to_string().into(),
            hint: hint.into().into(),
        }
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'a AttributeProto> {
        self.proto.attribute.iter().find(|a| a.name == name)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |a| a.i)
    }

    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |a| a.f)
    }

    pub(super) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|a| a.ints.as_slice())
    }

    /// A string attribute, lossily decoded.
    pub(super) fn string(&self, name: &str, default: &str) -> String {
        self.attribute(name).map_or_else(
            || default.to_owned(),
            |a| String::from_utf8_lossy(&a.s).into_owned(),
        )
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&'a TensorProto> {
        self.attribute(name).and_then(|a| a.t.as_ref())
    }

    /// Non-negative integers; the default when absent.
    pub(super) fn sizes(
        &self,
        name: &str,
        count: usize,
        default: usize,
    ) -> Result<Vec<usize>, OnnxError> {
        let Some(values) = self.ints(name).filter(|v| !v.is_empty()) else {
            return Ok(vec![default; count]);
        };
        if values.len() != count {
            return Err(self.invalid(format!(
                "{name} has {} entries, {count} are needed",
                values.len()
            )));
        }
        self.checked_sizes(name, values)
    }

    /// Converts to sizes that fit every later product.
    pub(super) fn checked_sizes(
        &self,
        what: &str,
        values: &[i64],
    ) -> Result<Vec<usize>, OnnxError> {
        values
            .iter()
            .map(|&v| match usize::try_from(v) {
                Ok(v) if v <= 1 << 24 => Ok(v),
                _ => Err(self.invalid(format!("{what} = {values:?} is out of range"))),
            })
            .collect()
    }

    /// An axis in `-rank..rank`, made non-negative. `rank` itself is allowed when `end` is set.
    pub(super) fn axis(&self, axis: i64, rank: usize, end: bool) -> Result<usize, OnnxError> {
        let resolved = if axis < 0 {
            axis.checked_add(rank as i64).unwrap_or(-1)
        } else {
            axis
        };
        match usize::try_from(resolved) {
            Ok(a) if a < rank || (end && a == rank) => Ok(a),
            _ => Err(self.invalid(format!(
                "axis {axis} does not exist in a tensor of rank {rank}"
            ))),
        }
    }

    /// Name of operand `i`; `None` when it is left out.
    pub(super) fn input(&self, i: usize) -> Option<&'a str> {
        self.proto
            .input
            .get(i)
            .map(String::as_str)
            .filter(|s| !s.is_empty())
    }

    /// Name of the first result.
    pub(super) fn output(&self) -> Result<&'a str, OnnxError> {
        match self.proto.output.first().map(String::as_str) {
            Some(name) if !name.is_empty() => Ok(name),
            _ => Err(self.invalid("it has no output")),
        }
    }
}
