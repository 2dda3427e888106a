//! Refuses what Kinglet cannot run before anything else interprets the file.

use super::attributes::node_name;
use super::{OnnxError, tensor};
use crate::limits::Limits;
use tract_onnx::pb::{GraphProto, ModelProto};

/// Supported versions of the standard operator set.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=28;

/// Operators that become nodes of our graph.
const OPERATORS: &[&str] = &[
    "Abs",
    "Add",
    "And",
    "ArgMax",
    "ArgMin",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Ceil",
    "Celu",
    "Clip",
    "Concat",
    "Constant",
    "Conv",
    "ConvTranspose",
    "Cos",
    "DepthToSpace",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "Floor",
    "GRU",
    "Gather",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Greater",
    "GreaterOrEqual",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "InstanceNormalization",
    "IsNaN",
    "LSTM",
    "LayerNormalization",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "MatMul",
    "Max",
    "MaxPool",
    "Mean",
    "MeanVarianceNormalization",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "PRelu",
    "Pad",
    "Pow",
    "QuantizeLinear",
    "RMSNormalization",
    "RNN",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "Resize",
    "Round",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "SpaceToDepth",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Tile",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Upsample",
    "Where",
    "Xor",
];

/// Operators that are fine where everything they read is constant.
pub(super) const CONSTANT_ONLY: &[&str] = &["ConstantOfShape", "Range", "Shape", "Size"];

/// Operators of the standard set that run, or are folded.
pub fn operators() -> impl Iterator<Item = &'static str> {
    OPERATORS.iter().chain(CONSTANT_ONLY).copied()
}

/// What to do about an operator that is not supported.
fn hint(op: &str, domain: &str) -> String {
    let advice = match op {
        "QLinearConv"
        | "QLinearMatMul"
        | "QLinearAdd"
        | "QLinearMul"
        | "QLinearAveragePool"
        | "QLinearGlobalAveragePool"
        | "QLinearSigmoid"
        | "QLinearLeakyRelu"
        | "QLinearConcat"
        | "QLinearSoftmax"
        | "QGemm"
        | "ConvInteger"
        | "MatMulInteger"
        | "FusedConv" => {
            "export the quantised model in QDQ format (onnxruntime: quant_format=QuantFormat.QDQ)"
        }
        "DynamicQuantizeLinear" | "DynamicQuantizeMatMul" => {
            "quantise statically with calibration data, in QDQ format (`kinglet quantize` does)"
        }
        "MaxUnpool" => "use Resize or ConvTranspose",
        "Scan" | "Loop" | "If" => {
            "control flow is not supported; export the model unrolled, with its states as inputs and outputs (`--state`)"
        }
        "LRN" => "use BatchNormalization, which costs nothing at inference",
        "SimplifiedLayerNormalization" => "export it as RMSNormalization",
        "TopK" => "end the model before it and take the maximum of the output instead",
        "Silu" => "export it as Sigmoid and Mul",
        "GlobalLpPool" | "LpPool" => "use average pooling",
        "Einsum" => "export it as Transpose, Reshape and MatMul",
        "GatherElements" | "GatherND" | "ScatterElements" | "ScatterND" | "NonZero" => {
            "index with Gather along one axis"
        }
        _ if !domain.is_empty() && domain != "ai.onnx" => {
            "export with standard ONNX operators only"
        }
        _ if CONSTANT_ONLY.contains(&op) => {
            "it is supported only where everything it reads is constant"
        }
        _ => "see the README for the list of supported operators",
    };
    advice.to_owned()
}

/// An error for a node whose operator we do not have.
pub(super) fn unsupported(node: &tract_onnx::pb::NodeProto, opset: i64) -> OnnxError {
    let domain = if node.domain.is_empty() {
        "ai.onnx"
    } else {
        &node.domain
    };
    OnnxError::UnsupportedOperator {
        node: node_name(node),
        op: node.op_type.clone(),
        domain: domain.to_owned(),
        opset,
        hint: hint(&node.op_type, &node.domain),
    }
}

fn model_error(message: impl Into<String>) -> OnnxError {
    OnnxError::Model {
        message: message.into(),
    }
}

/// The graph, which a model must have.
pub(super) fn graph(proto: &ModelProto) -> Result<&GraphProto, OnnxError> {
    proto
        .graph
        .as_ref()
        .ok_or_else(|| model_error("it holds no graph; is it an ONNX file?"))
}

/// Checks opset, operators and stored tensors; returns the version of the standard operator set.
pub(super) fn check(proto: &ModelProto, limits: &Limits) -> Result<i64, OnnxError> {
    let graph = graph(proto)?;
    let standard = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let opset = proto
        .opset_import
        .iter()
        .find(|o| standard(&o.domain))
        .map(|o| o.version)
        .ok_or_else(|| model_error("it does not say which ONNX opset it uses"))?;
    if !OPSETS.contains(&opset) {
        return Err(OnnxError::Opset {
            found: opset,
            min: *OPSETS.start(),
            max: *OPSETS.end(),
        });
    }
    if !proto.functions.is_empty() {
        return Err(model_error(
            "it defines functions of its own; export it with them inlined (onnx.inliner)",
        ));
    }
    if !graph.sparse_initializer.is_empty() {
        return Err(model_error(
            "sparse initialisers are not supported; store them dense",
        ));
    }
    if graph.node.is_empty() {
        return Err(model_error("its graph has no nodes"));
    }
    for node in &graph.node {
        let known = standard(&node.domain)
            && (OPERATORS.contains(&node.op_type.as_str())
                || CONSTANT_ONLY.contains(&node.op_type.as_str()));
        if !known {
            let version = proto
                .opset_import
                .iter()
                .find(|o| o.domain == node.domain)
                .map_or(opset, |o| o.version);
            return Err(unsupported(node, version));
        }
        for attribute in &node.attribute {
            // Operators with graphs inside are not supported, so nothing needs to look into them.
            if attribute.g.is_some() || !attribute.graphs.is_empty() {
                let what = format!("attribute `{}` of {}", attribute.name, node.op_type);
                return Err(model_error(format!(
                    "{what} holds a graph, which it cannot"
                )));
            }
            for t in attribute.t.iter().chain(&attribute.tensors) {
                tensor::check_within(t, limits)?;
            }
        }
    }
    for tensor in &graph.initializer {
        tensor::check_within(tensor, limits)?;
    }
    Ok(opset)
}
