//! Which operators run, with what translates each, and which of a file's are needed.

use super::TfliteError;
use super::convert::Converter;
use super::schema::{Model, Operator};

/// Operators that run, in the order of their numbers.
pub fn operators() -> impl Iterator<Item = &'static str> {
    OPERATORS.iter().map(|(name, _)| *name)
}

pub(super) type Convert = fn(&mut Converter<'_>, &Operator<'_>) -> Result<(), TfliteError>;

/// Every operator with what translates it.
pub(super) const OPERATORS: &[(&str, Convert)] = &[
    ("ADD", |c, op| c.binary(op, "Add", Some(0))),
    ("AVERAGE_POOL_2D", |c, op| c.pool(op, "AveragePool")),
    ("CONCATENATION", |c, op| c.concatenation(op)),
    ("CONV_2D", |c, op| c.convolution(op)),
    ("DEPTHWISE_CONV_2D", |c, op| c.depthwise(op)),
    ("DEPTH_TO_SPACE", |c, op| c.blocks(op, "DepthToSpace")),
    ("DEQUANTIZE", |c, op| c.dequantized(op)),
    ("FLOOR", |c, op| c.unary(op, "Floor")),
    ("FULLY_CONNECTED", |c, op| c.fully_connected(op)),
    ("L2_NORMALIZATION", |c, op| c.l2_normalization(op)),
    ("LOGISTIC", |c, op| c.unary(op, "Sigmoid")),
    ("MAX_POOL_2D", |c, op| c.pool(op, "MaxPool")),
    ("MUL", |c, op| c.binary(op, "Mul", Some(0))),
    ("RELU", |c, op| c.activation(op, 1)),
    ("RELU_N1_TO_1", |c, op| c.activation(op, 2)),
    ("RELU6", |c, op| c.activation(op, 3)),
    ("RESHAPE", |c, op| c.reshape(op)),
    ("RESIZE_BILINEAR", |c, op| c.resize(op, "linear", [2, 3])),
    ("SOFTMAX", |c, op| c.softmax(op)),
    ("SPACE_TO_DEPTH", |c, op| c.blocks(op, "SpaceToDepth")),
    ("TANH", |c, op| c.unary(op, "Tanh")),
    ("PAD", |c, op| c.pad(op)),
    ("GATHER", |c, op| c.gather(op)),
    ("TRANSPOSE", |c, op| c.transpose(op)),
    ("MEAN", |c, op| c.mean(op)),
    ("SUB", |c, op| c.binary(op, "Sub", Some(0))),
    ("DIV", |c, op| c.binary(op, "Div", Some(0))),
    ("SQUEEZE", |c, op| c.squeeze(op)),
    ("STRIDED_SLICE", |c, op| c.strided_slice(op)),
    ("EXP", |c, op| c.unary(op, "Exp")),
    ("SPLIT", |c, op| c.split(op)),
    ("CAST", |c, op| c.cast(op)),
    ("PRELU", |c, op| c.binary(op, "PRelu", None)),
    ("MAXIMUM", |c, op| c.binary(op, "Max", None)),
    ("ARG_MAX", |c, op| c.arg(op, "ArgMax")),
    ("MINIMUM", |c, op| c.binary(op, "Min", None)),
    ("LESS", |c, op| c.binary(op, "Less", None)),
    ("NEG", |c, op| c.unary(op, "Neg")),
    ("PADV2", |c, op| c.pad(op)),
    ("GREATER", |c, op| c.binary(op, "Greater", None)),
    ("GREATER_EQUAL", |c, op| {
        c.binary(op, "GreaterOrEqual", None)
    }),
    ("LESS_EQUAL", |c, op| c.binary(op, "LessOrEqual", None)),
    ("SELECT", |c, op| c.select(op)),
    ("SLICE", |c, op| c.slice(op)),
    ("SIN", |c, op| c.unary(op, "Sin")),
    ("TRANSPOSE_CONV", |c, op| c.transposed_convolution(op)),
    ("TILE", |c, op| c.tile(op)),
    ("EXPAND_DIMS", |c, op| c.expand_dims(op)),
    ("EQUAL", |c, op| c.binary(op, "Equal", None)),
    ("LOG", |c, op| c.unary(op, "Log")),
    ("SUM", |c, op| c.reduce(op, "ReduceSum")),
    ("SQRT", |c, op| c.unary(op, "Sqrt")),
    ("RSQRT", |c, op| c.reciprocal_root(op)),
    ("SHAPE", |c, op| c.shape_of(op)),
    ("POW", |c, op| c.binary(op, "Pow", None)),
    ("ARG_MIN", |c, op| c.arg(op, "ArgMin")),
    ("REDUCE_PROD", |c, op| c.reduce(op, "ReduceProd")),
    ("REDUCE_MAX", |c, op| c.reduce(op, "ReduceMax")),
    ("PACK", |c, op| c.pack(op)),
    ("LOGICAL_OR", |c, op| c.binary(op, "Or", None)),
    ("LOGICAL_AND", |c, op| c.binary(op, "And", None)),
    ("LOGICAL_NOT", |c, op| c.unary(op, "Not")),
    ("UNPACK", |c, op| c.unpack(op)),
    ("REDUCE_MIN", |c, op| c.reduce(op, "ReduceMin")),
    ("SQUARE", |c, op| c.square(op)),
    ("RESIZE_NEAREST_NEIGHBOR", |c, op| {
        c.resize(op, "nearest", [0, 1])
    }),
    ("LEAKY_RELU", |c, op| c.leaky_relu(op)),
    ("ABS", |c, op| c.unary(op, "Abs")),
    ("CEIL", |c, op| c.unary(op, "Ceil")),
    ("COS", |c, op| c.unary(op, "Cos")),
    ("ELU", |c, op| c.unary(op, "Elu")),
    ("QUANTIZE", |c, op| c.unary(op, "Identity")),
    ("ROUND", |c, op| c.unary(op, "Round")),
    ("HARD_SWISH", |c, op| c.unary(op, "HardSwish")),
    ("SPLIT_V", |c, op| c.split(op)),
    ("MIRROR_PAD", |c, op| c.mirror_pad(op)),
    ("SELECT_V2", |c, op| c.select(op)),
    ("BATCH_MATMUL", |c, op| c.matmul(op)),
];

/// The way round an operator that does not run.
pub(super) fn hint(op: &str) -> &'static str {
    match op {
        "WHILE" | "IF" | "CALL_ONCE" | "VAR_HANDLE" | "READ_VARIABLE" | "ASSIGN_VARIABLE" => {
            "control flow and variables do not run: convert the model unrolled, its states as inputs and outputs (`--state`)"
        }
        "LSTM"
        | "RNN"
        | "SVDF"
        | "UNIDIRECTIONAL_SEQUENCE_LSTM"
        | "BIDIRECTIONAL_SEQUENCE_LSTM"
        | "UNIDIRECTIONAL_SEQUENCE_RNN"
        | "BIDIRECTIONAL_SEQUENCE_RNN" => {
            "recurrent layers are read from ONNX: export the Keras model with tf2onnx"
        }
        "RANK" | "RANGE" | "FILL" => {
            "shapes that are computed do not run: convert the model with fixed shapes"
        }
        "FAKE_QUANT" => "convert the model with full integer quantisation",
        "TOPK_V2" | "NON_MAX_SUPPRESSION_V4" | "NON_MAX_SUPPRESSION_V5" => {
            "end the model before it, and do this in the application"
        }
        _ => {
            "docs/import.md lists the operators that run; end the model before it, or build the layer of those \
             (operators of TensorFlow itself come with SELECT_TF_OPS: convert without it)"
        }
    }
}

/// Operands whose contents matter: the sizes that resizing and transposed convolution take are those of their results.
fn operands<'a>(op: &'a Operator<'_>) -> &'a [Option<usize>] {
    match &*op.name {
        "RESIZE_BILINEAR" | "RESIZE_NEAREST_NEIGHBOR" => op.inputs.get(..1).unwrap_or(&[]),
        "TRANSPOSE_CONV" => op.inputs.get(1..).unwrap_or(&[]),
        _ => &op.inputs,
    }
}

/// For each operator, whether an output depends on it. Exporters leave computed shapes behind that nothing reads.
pub(super) fn needed(model: &Model<'_>) -> Result<Vec<bool>, TfliteError> {
    let mut read = vec![false; model.tensors.len()];
    for &t in &model.outputs {
        read[t] = true;
    }
    let mut needed = vec![false; model.operators.len()];
    for (op, needed) in model.operators.iter().zip(&mut needed).rev() {
        *needed = op.outputs.iter().any(|&t| read[t]);
        if *needed {
            for &t in operands(op).iter().flatten() {
                read[t] = true;
            }
        }
    }
    let mut made: Vec<bool> = model.tensors.iter().map(|t| t.data.is_some()).collect();
    for &t in &model.inputs {
        made[t] = true;
    }
    for (op, _) in model.operators.iter().zip(&needed).filter(|(_, n)| **n) {
        if let Some(&t) = operands(op).iter().flatten().find(|&&t| !made[t]) {
            let name = &model.tensors[t].name;
            return Err(op.refused(format!(
                "it reads tensor {t} (`{name}`), which no input, constant or earlier operator provides"
            )));
        }
        for &t in &op.outputs {
            made[t] = true;
        }
    }
    match model.outputs.iter().find(|&&t| !made[t]) {
        Some(&t) => Err(TfliteError::Tensor {
            index: t,
            name: model.tensors[t].name.to_string(),
            message: "it is an output, but nothing makes it".into(),
        }),
        None => Ok(needed),
    }
}
