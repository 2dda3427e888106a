//! What steps cost on a target, known before anything runs: instructions and stack.
//!
//! Both come from a table of measurements, `table.json`. Each operator's instructions were counted on the target's emulated
//! board, over seeded random networks (`tests/tests/costs.rs`) and, where they have it, over MLPerf Tiny's models
//! (`tests/tests/performance.rs`), and fitted, with no factor below zero, as
//!
//! ```text
//! instructions = c₀ + c₁·inputs + c₂·outputs + c₃·macs + c₄·gathered + c₅·lines      (see Work)
//! ```
//!
//! They are predictions: the emulator's counts are the truth. The stack is a bound: each operator's entry is the least of the
//! high-water marks of all runs in which it took part, so that it is never less than what the operator takes, and
//! [`MARGIN`] is for the frames of a firmware that is linked otherwise.

use super::{StepInfo, Target};
use crate::graph::{Graph, Node, Op};
use crate::passes::macs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Bytes of stack that another firmware around the same kernels may take more.
pub const MARGIN: u64 = 320;

/// How much a step does, as far as its instructions depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Work {
    /// Elements of the first operand.
    pub inputs: u64,
    /// Elements of the result.
    pub outputs: u64,
    /// Multiply-accumulates, padding counted.
    pub macs: u64,
    /// Taps of all pixels of a dense convolution: what may have to be gathered.
    pub gathered: u64,
    /// Rows of the kernel times pixels; rows of the result and blocks of channels where the kernel is depthwise.
    pub lines: u64,
}

impl Work {
    /// The work of a channels-last graph's node.
    pub(super) fn of(graph: &Graph, node: &Node) -> Work {
        let (x, y) = (&graph[node.inputs[0]], &graph[node.output]);
        let channels = y.shape.last().copied().unwrap_or(1).max(1);
        let pixels = y.len() / channels;
        let macs = macs(graph, node);
        let (gathered, lines) = match &node.op {
            Op::Conv2d { groups, .. } if *groups > 1 => {
                let rows = y.shape[..2].iter().product::<usize>();
                (0, rows * channels.div_ceil(4))
            }
            Op::Conv2d { window, .. } if window.kernel == [1, 1] => (0, pixels),
            Op::Conv2d { window, .. } => (macs as usize / channels, pixels * window.kernel[0]),
            Op::Pool { window, .. } => (
                y.len() * window.kernel.iter().product::<usize>(),
                pixels * window.kernel[0],
            ),
            _ => (0, pixels),
        };
        Work {
            inputs: x.len() as u64,
            outputs: y.len() as u64,
            macs,
            gathered: gathered as u64,
            lines: lines as u64,
        }
    }

    /// What the factors of a [`TargetCosts`] are multiplied with.
    pub fn terms(&self) -> [f64; 6] {
        [
            1.0,
            self.inputs as f64,
            self.outputs as f64,
            self.macs as f64,
            self.gathered as f64,
            self.lines as f64,
        ]
    }
}

/// A target's measurements.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct TargetCosts {
    /// The compiler of the measured firmware.
    pub compiler: String,
    /// Instructions of a run that are no step's, for each step.
    pub between: f64,
    /// Factors of [`Work::terms`], by the runtime's name of the operator.
    pub instructions: BTreeMap<String, [f64; 6]>,
    /// Bytes of stack from its start, by the runtime's name of the operator.
    pub stack: BTreeMap<String, u64>,
}

/// Measurements of all targets, by their names on the command line.
pub type Table = BTreeMap<String, TargetCosts>;

/// The table that this compiler was built with.
fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    // A damaged table fails the test below.
    TABLE.get_or_init(|| serde_json::from_str(include_str!("table.json")).unwrap_or_default())
}

/// A target's measurements; `None` for those that have no emulated board.
pub fn costs(target: Target) -> Option<&'static TargetCosts> {
    table().get(&name(target))
}

/// The target's name on the command line and in the table.
pub fn name(target: Target) -> String {
    let value = clap::ValueEnum::to_possible_value(&target);
    value.map_or_else(String::new, |v| v.get_name().to_owned())
}

impl TargetCosts {
    /// Instructions of a step; `None` when its operator was not measured.
    pub fn step(&self, operator: &str, work: &Work) -> Option<u64> {
        let factors = self.instructions.get(operator)?;
        let terms = work.terms();
        Some(terms.iter().zip(factors).map(|(t, c)| t * c).sum::<f64>() as u64)
    }

    /// Instructions of an inference with these steps; `None` when an operator was not measured.
    pub fn inference(&self, steps: &[StepInfo]) -> Option<u64> {
        let sum: Option<u64> = steps
            .iter()
            .map(|step| match &step.coded {
                Some(coded) => coded.instructions,
                None => self.step(step.operator, &step.work),
            })
            .sum();
        Some(sum? + (self.between * steps.len() as f64) as u64)
    }

    /// Bytes of stack that no inference with these operators exceeds; `None` when one was not measured.
    pub fn stack<'o>(&self, operators: impl Iterator<Item = &'o str>) -> Option<u64> {
        let mut most = 0;
        for operator in operators {
            most = most.max(*self.stack.get(operator)?);
        }
        Some((most + MARGIN).next_multiple_of(8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole_and_costs_grow_with_work() {
        let table: Table = serde_json::from_str(include_str!("table.json")).expect("JSON");
        assert_eq!(&table, super::table());
        for (target, costs) in &table {
            assert!(!costs.instructions.is_empty(), "{target}");
            for (operator, factors) in &costs.instructions {
                assert!(
                    factors.iter().all(|&c| c >= 0.0) && factors.iter().any(|&c| c > 0.0),
                    "{target}: {operator}"
                );
                assert!(costs.stack.contains_key(operator), "{target}: {operator}");
            }
        }
    }

    #[test]
    fn a_bound_is_that_of_the_deepest_operator() {
        let stack = BTreeMap::from([("a".to_owned(), 100), ("b".to_owned(), 700)]);
        let costs = TargetCosts {
            stack,
            ..TargetCosts::default()
        };
        assert_eq!(costs.stack(["a"].into_iter()), Some(424));
        assert_eq!(costs.stack(["a", "b"].into_iter()), Some(1024));
        assert_eq!(costs.stack(["a", "c"].into_iter()), None);
    }
}
