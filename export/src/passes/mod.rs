//! Graph rewriting, one pass a file: from the ONNX dialect to the quantised one.

mod count;
mod fold_batch_norm;
mod fold_constants;
mod fuse_activation;
mod fuse_bias;
mod fuse_pad;
mod int8_io;
mod lower_qdq;
mod remove_identities;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use count::work;
pub use count::{macs, parameters, total_macs, total_parameters};
pub use fold_batch_norm::fold_batch_norm;
pub use fold_constants::fold_constants;
pub use fuse_activation::fuse_activation;
pub use fuse_bias::fuse_bias;
pub use fuse_pad::fuse_pad;
pub use int8_io::int8_io;
pub use lower_qdq::lower_qdq;
pub use remove_identities::remove_identities;

use crate::graph::{Graph, Op, ValueId};
use serde::Serialize;

/// Something a user should know about how a node will run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Warning {
    /// Node name.
    pub node: String,
    /// Operator.
    pub op: String,
    /// What, and why.
    pub message: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "node `{}` ({}): {}", self.node, self.op, self.message)
    }
}

/// Runs every pass in order.
pub fn prepare(graph: &mut Graph) -> Vec<Warning> {
    remove_identities(graph);
    fold_batch_norm(graph);
    fuse_bias(graph);
    fuse_activation(graph);
    let warnings = lower_qdq(graph);
    fold_constants(graph);
    remove_identities(graph);
    fuse_pad(graph);
    warnings
}

/// The operator's name, as ONNX has it where ONNX has it.
pub fn op_name(op: &Op) -> &'static str {
    use crate::graph::{Binary, Cell, Pool, Reduction, Unary};
    match op {
        Op::Conv2d { .. } => "Conv",
        Op::FullyConnected { .. } => "FullyConnected",
        Op::Binary {
            op: Binary::Add, ..
        } => "Add",
        Op::Binary {
            op: Binary::Sub, ..
        } => "Sub",
        Op::Binary {
            op: Binary::Mul, ..
        } => "Mul",
        Op::Binary {
            op: Binary::Div, ..
        } => "Div",
        Op::Binary { op, .. } => match op {
            Binary::Min => "Min",
            Binary::Max => "Max",
            Binary::Pow => "Pow",
            Binary::Equal => "Equal",
            Binary::Less => "Less",
            _ => "LessOrEqual",
        },
        Op::Pool {
            pool: Pool::Max, ..
        } => "MaxPool",
        Op::Pool {
            pool: Pool::Average { .. },
            ..
        } => "AveragePool",
        Op::Unary(Unary::Clamp(_)) => "Clip",
        Op::Unary(Unary::Sigmoid) => "Sigmoid",
        Op::Unary(Unary::Tanh) => "Tanh",
        Op::Unary(Unary::LeakyRelu { .. }) => "LeakyRelu",
        Op::Unary(Unary::HardSigmoid { .. }) => "HardSigmoid",
        Op::Unary(Unary::HardSwish) => "HardSwish",
        Op::Unary(Unary::Sqrt) => "Sqrt",
        Op::Unary(Unary::Exp) => "Exp",
        Op::Unary(Unary::Log) => "Log",
        Op::Unary(Unary::Abs) => "Abs",
        Op::Unary(Unary::Erf) => "Erf",
        Op::Unary(Unary::Floor) => "Floor",
        Op::Unary(Unary::Ceil) => "Ceil",
        Op::Unary(Unary::Round) => "Round",
        Op::Unary(Unary::Sign) => "Sign",
        Op::Unary(Unary::Sin) => "Sin",
        Op::Unary(Unary::Cos) => "Cos",
        Op::Select => "Where",
        Op::Strided { .. } => "Strided",
        Op::Pick { .. } | Op::Gather { .. } => "Gather",
        Op::Resample { .. } => "Resize",
        Op::Reduce { reduction, .. } => match reduction {
            Reduction::Sum => "ReduceSum",
            Reduction::Product => "ReduceProd",
            Reduction::Min => "ReduceMin",
            Reduction::Max => "ReduceMax",
            Reduction::ArgMin => "ArgMin",
            Reduction::ArgMax => "ArgMax",
        },
        Op::MatMul => "MatMul",
        Op::Recurrent { cell, .. } => match cell {
            Cell::Lstm => "LSTM",
            Cell::Gru => "GRU",
            Cell::Plain => "RNN",
        },
        Op::Load => "Load",
        Op::Convert => "Cast",
        Op::Softmax { .. } => "Softmax",
        Op::Reshape => "Reshape",
        Op::Transpose { .. } => "Transpose",
        Op::Pad { .. } => "Pad",
        Op::Concat { .. } => "Concat",
        Op::Slice { .. } => "Slice",
        Op::Quantize => "QuantizeLinear",
        Op::Dequantize => "DequantizeLinear",
        Op::BatchNorm { .. } => "BatchNormalization",
        Op::Requantize => "Requantize",
    }
}

/// Whether `id` has one reader and is no output, so that its producer may be rewritten.
fn is_private(graph: &Graph, id: ValueId) -> bool {
    !graph.is_output(id)
        && graph
            .nodes
            .iter()
            .flat_map(|n| &n.inputs)
            .filter(|&&i| i == id)
            .count()
            == 1
}

/// The node that computes `id`, seen through reshapes that nobody else reads. `None` if it is shared.
fn private_producer(graph: &Graph, mut id: ValueId) -> Option<usize> {
    loop {
        if !is_private(graph, id) {
            return None;
        }
        let i = graph.producer(id)?;
        if graph.nodes[i].op != Op::Reshape {
            return Some(i);
        }
        id = graph.nodes[i].inputs[0];
    }
}

/// Lets the producer of `from` (private to `node`) produce `node`'s output instead, and removes `node`. Where the node that takes its work
/// lies behind reshapes, the values between are no longer the model's, so they have other names.
fn absorb(graph: &mut Graph, node: usize, from: ValueId) {
    let output = graph.nodes[node].output;
    let mut id = from;
    while let Some(reshape) = graph
        .producer(id)
        .filter(|&i| graph.nodes[i].op == Op::Reshape)
    {
        id = graph.nodes[reshape].inputs[0];
        let name = format!("{} ({})", graph[id].name, graph.nodes[node].name);
        graph[id].name = name;
    }
    if let Some(producer) = graph.producer(from) {
        graph.nodes[producer].output = output;
    }
    graph.nodes.remove(node);
}
