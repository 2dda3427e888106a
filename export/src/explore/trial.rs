//! One trial: a recipe is run, its model compiled in several forms, its accuracy measured with the device's arithmetic.

use super::front::Costs;
use super::journal::Point;
use super::{ExploreError, Limits};
use crate::compile::{
    CompileError, CompileOptions, Compiled, StoredWeights, Target, Tiling, compile,
};
use crate::data::{Dataset, Scaling, Split};
use crate::evaluate::{EvaluateError, Evaluation, Labelled};
use crate::graph::Graph;
use crate::host::Runner;
use crate::model::{ModelError, load_graph};
use crate::onnx::LoadOptions;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// How a model is compiled: what `kinglet compile` takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Form {
    /// How weights are stored.
    pub weights: Stored,
    /// What bands of rows are for.
    pub memory: Memory,
}

/// How weights are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stored {
    /// As the kernels read them.
    #[default]
    Plain,
    /// Entropy-coded where that adds at most so many percent of instructions.
    Auto(u32),
    /// All entropy-coded.
    Coded,
}

/// What bands of rows are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Memory {
    /// A smaller arena where it is next to free.
    #[default]
    Auto,
    /// An arena of at most so many bytes.
    Limit(usize),
    /// The smallest arena.
    Smallest,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.weights {
            Stored::Plain => f.write_str("--weights plain")?,
            Stored::Auto(percent) => write!(f, "--weights auto --decoding {percent}")?,
            Stored::Coded => f.write_str("--weights coded")?,
        }
        match self.memory {
            Memory::Auto => Ok(()),
            Memory::Limit(bytes) => write!(f, " --arena-limit {bytes}"),
            Memory::Smallest => f.write_str(" --tile smallest"),
        }
    }
}

impl Form {
    /// The compiler's options for it.
    pub fn options(self, target: Target) -> CompileOptions {
        let (weights, decoding_share) = match self.weights {
            Stored::Plain => (StoredWeights::Plain, None),
            Stored::Auto(percent) => (StoredWeights::Auto, Some(f64::from(percent) / 100.0)),
            Stored::Coded => (StoredWeights::Coded, None),
        };
        let (tiling, arena_limit) = match self.memory {
            Memory::Auto => (Tiling::Auto, None),
            Memory::Limit(bytes) => (Tiling::Auto, Some(bytes)),
            Memory::Smallest => (Tiling::Smallest, None),
        };
        CompileOptions {
            target,
            weights,
            decoding_share,
            tiling,
            arena_limit,
            ..CompileOptions::default()
        }
    }
}

/// Forms in which every model is compiled.
const STORED: [Stored; 4] = [
    Stored::Plain,
    Stored::Auto(5),
    Stored::Auto(20),
    Stored::Coded,
];

/// RAM of a plan: its arena and the bound of its stack. `None` where the target was not measured.
fn ram(compiled: &Compiled) -> Option<u64> {
    Some(compiled.arena_len as u64 + compiled.stack_bound?)
}

/// The model's plans for the target, each form that differs from the ones before it and whose costs are known; there is one at least.
pub(super) fn plans(
    graph: &Graph,
    accuracy: f64,
    target: Target,
    limits: &Limits,
) -> Result<Vec<Point>, ExploreError> {
    let mut points: Vec<Point> = Vec::new();
    for weights in STORED {
        let mut room = None;
        for memory in [Memory::Auto, Memory::Smallest] {
            let form = Form { weights, memory };
            let compiled = compile(graph, &form.options(target))?;
            if let (Memory::Auto, Some(limit)) = (memory, limits.ram) {
                let stack = compiled.stack_bound.unwrap_or(0);
                let arena = usize::try_from(limit.saturating_sub(stack)).unwrap_or(usize::MAX);
                room = (arena < compiled.arena_len).then_some(arena);
            }
            add(&mut points, form, accuracy, &compiled);
        }
        // What has to be smaller than it comes, but not the smallest.
        if let Some(arena) = room {
            let memory = Memory::Limit(arena);
            let form = Form { weights, memory };
            match compile(graph, &form.options(target)) {
                Ok(compiled) => add(&mut points, form, accuracy, &compiled),
                Err(CompileError::ArenaLimit { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    match points.is_empty() {
        true => Err(ExploreError::NotMeasured),
        false => Ok(points),
    }
}

fn add(points: &mut Vec<Point>, form: Form, accuracy: f64, compiled: &Compiled) {
    let (Some(ram), Some(instructions)) = (ram(compiled), compiled.instructions) else {
        return;
    };
    let costs = Costs {
        accuracy,
        flash: compiled.core_len as u64,
        ram,
        instructions,
    };
    if points.iter().all(|p| p.costs != costs) {
        points.push(Point { form, costs });
    }
}

/// The graph of a model file, as it is compiled.
pub(super) fn graph(path: &Path) -> Result<Graph, ModelError> {
    Ok(load_graph(path, &LoadOptions::default())?.0)
}

/// Share of a split that a model classifies rightly. The plan is this machine's: its bytes are the device's.
pub(super) fn accuracy(
    graph: &Graph,
    data: &Dataset,
    split: &Split,
    scaling: Scaling,
) -> Result<f64, ExploreError> {
    let compiled = compile(graph, &CompileOptions::default())?;
    let labelled = Labelled::of_split(split, &data.shape, scaling, usize::MAX);
    let runner = Runner::new(compiled.core()).map_err(EvaluateError::from)?;
    let plan = runner.plan().map_err(EvaluateError::from)?;
    let rows = labelled.rows(&plan)?;
    let evaluation = Evaluation::of(compiled.core(), &rows)?;
    Ok(evaluation.accuracy(&labelled.labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::digits;

    #[test]
    fn a_form_is_said_as_the_command_line_takes_it() {
        let form = |weights, memory| Form { weights, memory }.to_string();
        assert_eq!(form(Stored::Plain, Memory::Auto), "--weights plain");
        assert_eq!(
            form(Stored::Auto(5), Memory::Smallest),
            "--weights auto --decoding 5 --tile smallest"
        );
        assert_eq!(
            form(Stored::Coded, Memory::Limit(900)),
            "--weights coded --arena-limit 900"
        );
    }

    #[test]
    fn a_target_without_measured_costs_has_no_plans_to_choose_from() {
        let graph = digits::quickly_trained().to_graph();
        let plans = plans(&graph, 0.5, Target::Host, &Limits::default());
        assert!(matches!(plans, Err(ExploreError::NotMeasured)), "{plans:?}");
    }

    #[test]
    fn a_limit_between_the_smallest_arena_and_the_usual_one_adds_a_form_that_meets_it() {
        let graph = digits::quickly_trained().to_graph();
        let plans = |limits: &Limits| plans(&graph, 0.5, Target::CortexM4f, limits).expect("plans");
        let free = plans(&Limits::default());
        let ram = |memory| free.iter().find(|p| p.form.memory == memory);
        let (usual, smallest) = (ram(Memory::Auto), ram(Memory::Smallest));
        let (Some(usual), Some(smallest)) = (usual, smallest) else {
            panic!("{free:?}")
        };
        assert!(smallest.costs.ram < usual.costs.ram, "{free:?}");
        let limit = (smallest.costs.ram + usual.costs.ram) / 2;
        let limited = plans(&Limits {
            ram: Some(limit),
            ..Limits::default()
        });
        let new: Vec<&Point> = limited.iter().filter(|p| !free.contains(p)).collect();
        assert!(
            !new.is_empty() && new.iter().all(|p| p.costs.ram <= limit),
            "{new:?}"
        );
    }
}
