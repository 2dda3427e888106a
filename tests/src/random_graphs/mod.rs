//! The differential test bench: random graphs through ONNX Runtime, tract, and our plans for every target and packing.
//!
//! What has to hold, and why, is in docs/trust-graphs.md. In short:
//!
//! - **ours against ours**: every plan of a graph gives the same bytes; NaN is NaN.
//! - **int8 against ONNX Runtime**: each step is fed with ONNX Runtime's own tensors and differs from its result by one at most.
//! - **floats against ONNX Runtime**: fed likewise, within [`RELATIVE`] of the tensor's largest magnitude or [`OPERANDS`] of its
//!   operands'.

mod generate;
mod minimize;
mod onnxruntime;
mod operators;
mod plans;
mod run;

pub use generate::case;
pub use minimize::minimize;
pub use onnxruntime::OnnxRuntime;
pub use plans::{BOARDS, Plans};
pub use run::{Row, Run, Summary, reproduce};

use kinglet::format::DType;
use kinglet_export::emulate::Board;
use kinglet_export::files::{Tensor, write_tensor};
use kinglet_export::graph::Data;
use kinglet_export::onnx::{self, LoadOptions};
use kinglet_export::passes::prepare;
use kinglet_export::reference::{Tract, Values};
use kinglet_export::samples::decode;
use kinglet_export::verify::{Comparison, Forced};
use prost::Message;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use tract_onnx::pb::ModelProto;

/// A float may differ by so much of the largest magnitude of its tensor.
pub const RELATIVE: f64 = 1e-4;

/// Or by so much of the largest magnitude among its node's operands: a sum whose terms cancel out is as exact as its terms.
pub const OPERANDS: f64 = 1e-5;

/// A model with one input for it.
#[derive(Clone, Debug)]
pub struct Case {
    /// What the generator calls it.
    pub kind: &'static str,
    /// The model.
    pub model: ModelProto,
    /// A tensor for each of its inputs, in their order.
    pub inputs: Vec<Input>,
}

/// A model's input.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// What it is fed with.
    pub tensor: Tensor,
}

impl Case {
    /// The bytes of all inputs as plans take them.
    pub fn sample(&self) -> Vec<u8> {
        let bytes = self.inputs.iter().map(|i| generate::bytes(&i.tensor.data));
        bytes.collect::<Vec<_>>().concat()
    }

    /// Operators of the model, in its order.
    pub fn operators(&self) -> Vec<&str> {
        let nodes = self.model.graph.iter().flat_map(|g| &g.node);
        nodes.map(|n| n.op_type.as_str()).collect()
    }

    /// Writes the model, its inputs and `text` into a folder.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, folder: &Path, text: &str) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("model.onnx"), self.model.encode_to_vec())?;
        for (index, input) in self.inputs.iter().enumerate() {
            write_tensor(folder.join(format!("input_{index}.npy")), &input.tensor)
                .map_err(io::Error::other)?;
        }
        fs::write(folder.join("README.txt"), text)
    }
}

/// Two results that should be the same.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Between whom: what has to stay while a graph is minimised.
    pub between: String,
    /// Where, and how much.
    pub detail: String,
}

/// What became of a graph.
#[derive(Debug)]
pub enum Outcome {
    /// All that has to hold holds.
    Agrees(Agreement),
    /// We refuse the model, with this error.
    Refused(String),
    /// ONNX Runtime refuses it: a defect of the generator.
    Invalid(String),
    /// Something differs.
    Differs(Difference),
}

/// What was compared.
#[derive(Debug, Default)]
pub struct Agreement {
    /// The runtime's operator of every step with its comparison.
    pub steps: Vec<(&'static str, DType, Comparison)>,
    /// Plans that gave the same bytes.
    pub plans: usize,
    /// Whether tract agrees, or what differs; `None` when it was not asked or does not run the model. Where ONNX Runtime agrees
    /// with us, tract is alone.
    pub tract: Option<Result<(), String>>,
}

/// What a graph is tried with besides ONNX Runtime and the plans.
#[derive(Clone, Copy, Debug, Default)]
pub struct Others {
    /// A board on which the plan of its core also runs, in the emulator.
    pub board: Option<&'static Board>,
    /// tract, which takes as long as all else together.
    pub tract: bool,
}

/// Tries one graph in every way.
pub fn try_out(case: &Case, runtime: &mut OnnxRuntime, others: Others) -> Outcome {
    let tensors = match runtime.values(case) {
        Ok(tensors) => tensors,
        Err(why) => return Outcome::Invalid(why),
    };
    let mut graph = match onnx::load_model(&case.model, &LoadOptions::default()) {
        Ok(graph) => graph,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    prepare(&mut graph);
    let plans = match Plans::compile(&graph) {
        Ok(plans) => plans,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    let mut agreement = Agreement {
        plans: plans.len(),
        ..Agreement::default()
    };
    let compared = plans
        .give_the_same_bytes(case)
        .and_then(|()| {
            let board = others.board;
            board.map_or(Ok(()), |board| plans.run_on(board, &graph, case))
        })
        .and_then(|()| follow(case, &plans, &tensors, "ONNX Runtime"));
    match compared {
        Err(difference) => return Outcome::Differs(difference),
        Ok(steps) => agreement.steps = steps,
    }
    if others.tract {
        agreement.tract = with_tract(case, &plans, &runtime.model_path()).transpose();
    }
    Outcome::Agrees(agreement)
}

/// The steps of the host's plan, each fed with another engine's values; then the outputs.
fn follow(
    case: &Case,
    plans: &Plans,
    tensors: &HashMap<String, Tensor>,
    engine: &str,
) -> Result<Vec<(&'static str, DType, Comparison)>, Difference> {
    let values: Values = tensors
        .iter()
        .map(|(name, t)| (name.clone(), t.data.clone()))
        .collect();
    let compiled = plans.host();
    let mut rows = vec![Comparison::default(); compiled.steps.len()];
    let mut runner = plans.runner();
    let failed = |error: kinglet_export::host::HostError| Difference {
        between: "a run and its end".into(),
        detail: error.to_string(),
    };
    let mut forced = Forced::new(&compiled.steps, &mut rows, &values);
    let outputs = runner.run(&case.sample(), &mut forced).map_err(failed)?;
    for (step, row) in compiled.steps.iter().zip(&rows) {
        let least = match step.dtype {
            DType::F32 => float_floor(case, tensors, &step.output),
            _ => 0.0,
        };
        let size = values.get(&step.output).map_or(0.0, largest);
        let holds = match step.dtype {
            DType::F32 => row.largest <= RELATIVE || row.largest * size.max(1e-6) <= least,
            _ => row.largest <= 1.0,
        };
        if !holds {
            return Err(Difference {
                between: format!("step {} and {engine}", step.operator),
                detail: format!(
                    "`{}` -> `{}`: {} of {} elements, by {:e} (largest magnitude {size:e})",
                    step.name, step.output, row.different, row.elements, row.largest
                ),
            });
        }
    }
    let plan = runner.plan().map_err(failed)?;
    for (index, output) in outputs.iter().enumerate() {
        let Some(info) = plan.output(index) else {
            continue;
        };
        let Some(theirs) = values.get(info.name) else {
            continue;
        };
        compare_output(
            case,
            tensors,
            info.name,
            &decode(info.dtype, output),
            theirs,
        )
        .map_err(|detail| Difference {
            between: format!("an output and {engine}"),
            detail,
        })?;
    }
    let steps = compiled.steps.iter().zip(rows);
    Ok(steps.map(|(s, row)| (s.operator, s.dtype, row)).collect())
}

/// An output behind the last step that has a name of its own in the model.
fn compare_output(
    case: &Case,
    tensors: &HashMap<String, Tensor>,
    name: &str,
    ours: &Data,
    theirs: &Data,
) -> Result<(), String> {
    let (a, b) = (ours.reals(), theirs.reals());
    if a.len() != b.len() {
        return Err(format!(
            "`{name}` has {} elements, not {}",
            a.len(),
            b.len()
        ));
    }
    let tolerance = match (ours, theirs) {
        (Data::F32(_), _) => f64::max(RELATIVE * largest(theirs), float_floor(case, tensors, name)),
        // Unsigned outputs are not recentred.
        _ => 1.0,
    };
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        let same = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance;
        if !same {
            return Err(format!("`{name}`, element {i}: {a:e} instead of {b:e}"));
        }
    }
    Ok(())
}

/// The largest finite magnitude.
fn largest(data: &Data) -> f64 {
    let finite = data.reals().into_iter().filter(|v| v.is_finite());
    finite.fold(0.0, |most, v| most.max(v.abs()))
}

/// What the operands of the node that writes `name` allow.
fn float_floor(case: &Case, tensors: &HashMap<String, Tensor>, name: &str) -> f64 {
    let Some(graph) = &case.model.graph else {
        return 0.0;
    };
    let mut nodes = graph.node.iter();
    let Some(node) = nodes.find(|n| n.output.iter().any(|o| o == name)) else {
        return 0.0;
    };
    let operand = |input: &String| tensors.get(input).map_or(0.0, |t| largest(&t.data));
    OPERANDS * node.input.iter().map(operand).fold(0.0, f64::max)
}

/// tract's values instead; `None` when it refuses the model.
fn with_tract(case: &Case, plans: &Plans, path: &Path) -> Result<Option<()>, String> {
    let inputs: Vec<(String, Vec<usize>)> = case
        .inputs
        .iter()
        .map(|i| (i.name.clone(), i.tensor.shape.clone()))
        .collect();
    let mut names: Vec<String> = plans
        .host()
        .steps
        .iter()
        .map(|s| s.output.clone())
        .collect();
    names.sort();
    names.dedup();
    let values = std::panic::catch_unwind(|| {
        let tract = Tract::load(path, &inputs, &names).ok()?;
        tract.run(&case.sample()).ok()
    });
    let Ok(Some(values)) = values else {
        return Ok(None);
    };
    let flat = |(name, data): (String, Data)| {
        let shape = vec![data.len()];
        (name, Tensor { shape, data })
    };
    let tensors = values.into_iter().map(flat).collect();
    follow(case, plans, &tensors, "tract")
        .map(|_| Some(()))
        .map_err(|d| format!("{}: {}", d.between, d.detail))
}
