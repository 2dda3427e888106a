//! What the nodes of a model cost: their steps added up.

use super::common;
use crate::model::Model;

/// The steps of one node: several when it runs by bands.
pub(super) struct NodeCosts {
    /// ONNX node.
    pub(super) name: String,
    /// Index of the first one.
    pub(super) first: usize,
    pub(super) count: usize,
    /// Operator of the step that takes most, or else does most.
    pub(super) operator: &'static str,
    /// Cost of that step, or else its multiply-accumulates.
    most: u64,
    pub(super) macs: u64,
    /// Bytes of weights, biases and tables; 0 for a plan file.
    pub(super) bytes: u64,
    /// Measured instructions or nanoseconds; 0 where nothing was.
    pub(super) cost: u64,
    /// What the compiler predicted; `None` for a plan file or an operator that was not measured.
    pub(super) predicted: Option<u64>,
}

/// All nodes in order. Costs are medians over the samples of a profile, each with one a step; the profile may be empty.
pub(super) fn profile(model: &Model, step_costs: &[Vec<u64>]) -> Vec<NodeCosts> {
    let mut nodes: Vec<NodeCosts> = Vec::new();
    for (i, (name, &(operator, macs))) in model.step_names.iter().zip(&model.operators).enumerate()
    {
        let counts = step_costs.iter().filter_map(|s| s.get(i));
        let cost = common::median(&counts.copied().collect::<Vec<u64>>());
        let operator = operator.name();
        let step = model.steps().and_then(|steps| steps.get(i));
        let predicted = step.and_then(|step| step.instructions);
        let bytes = step.map_or(0, |step| step.constant_bytes as u64);
        let most = if step_costs.is_empty() { macs } else { cost };
        let Some(node) = nodes.iter_mut().find(|n| n.name == *name) else {
            nodes.push(NodeCosts {
                name: name.clone(),
                first: i,
                count: 1,
                operator,
                most,
                macs,
                bytes,
                cost,
                predicted,
            });
            continue;
        };
        node.count += 1;
        node.macs += macs;
        node.bytes += bytes;
        node.cost += cost;
        node.predicted = node.predicted.zip(predicted).map(|(a, b)| a + b);
        if most > node.most {
            (node.most, node.operator) = (most, operator);
        }
    }
    nodes
}
