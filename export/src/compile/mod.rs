//! From a prepared graph to a plan file.
//!
//! [`compile`] cuts out channels that compute nothing ([`channels`]), arranges the graph for channels-last execution
//! (`layout`), decides what shares memory and where it
//! lives (`memory`, `storage`) and which layers leave their zero weights out ([`sparse`]), and emits one step record per operation (`emit`) into the file (`image`).

pub mod channels;
pub mod coded;
pub mod cost;
mod emit;
mod expand;
mod facts;
mod image;
mod layers;
mod layout;
mod lifetimes;
mod liveness;
mod memory;
mod packing;
mod planned;
mod residual;
pub mod sparse;
mod storage;
mod tflite;
mod tiling;
mod views;
mod weights;

pub use coded::StoredWeights;
pub use image::step_names;
pub use layout::transpose_data as transpose;
pub use lifetimes::Lifetime;
pub use tiling::Tiling;

use crate::graph::{Graph, Quantization};
use crate::host::{HostError, Runner};
use kinglet::format::DType;
use kinglet::kernels::scratch::Form;
use serde::Serialize;

/// What to compile for: how weights are packed and what runs in place. Every runtime runs every plan, with the same
/// bytes; a plan for another target is only slower.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// This machine.
    #[default]
    Host,
    /// Cortex-M0, M0+ and M23.
    CortexM0,
    /// Cortex-M3, and other Armv7-M cores without DSP instructions or FPU.
    CortexM3,
    /// Cortex-M4 with single-precision FPU.
    CortexM4f,
    /// Cortex-M7.
    CortexM7,
    /// Cortex-M33 with DSP instructions and FPU.
    CortexM33,
    /// Cortex-M55 and M85 with Helium.
    CortexM55,
    /// RISC-V without floating point.
    Riscv32imc,
}

impl Target {
    /// How int8 layers' weights are stored.
    fn form(self) -> Form {
        match self {
            Target::Host => Form::Plain,
            Target::CortexM55 => Form::Helium,
            Target::CortexM4f | Target::CortexM7 | Target::CortexM33 => Form::Split,
            Target::CortexM0 | Target::CortexM3 | Target::Riscv32imc => Form::Quad,
        }
    }

    /// Whether convolutions use working memory, run in place and add residuals.
    fn patches(self) -> bool {
        self != Target::Host
    }
}

/// Which kernels an int8 layer may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kernels {
    /// The cheapest by the target's measured costs.
    #[default]
    Cheapest,
    /// Those with weights packed for the target, wherever that is possible.
    Packed,
    /// Those with plain weights.
    Plain,
}

/// How int8 results are rounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// As ONNX means it: one product in single precision, ties to even ([`kinglet::requantize`]).
    #[default]
    Kinglet,
    /// As TensorFlow Lite's reference kernels: fixed point, rounded twice ([`kinglet::requantize::tflite`]). Plain weights and
    /// portable kernels only.
    Tflite,
}

/// Choices of the compiler.
#[derive(Clone, Copy, Debug, Default)]
pub struct CompileOptions {
    /// What to compile for.
    pub target: Target,
    /// Leave the step names out of the file.
    pub strip: bool,
    /// Inputs and outputs that are quantised at the border are integers.
    pub int8_io: bool,
    /// Compute every channel of the model, also those that [`channels::eliminate`] would cut out.
    pub keep_dead_channels: bool,
    /// Which chains of steps run by bands of rows.
    pub tiling: Tiling,
    /// Most bytes of arena; tiles whatever is necessary, at the least cost.
    pub arena_limit: Option<usize>,
    /// Which kernels int8 layers may take.
    pub kernels: Kernels,
    /// How int8 results are rounded.
    pub rounding: Rounding,
    /// Which int8 layers' weights are entropy-coded.
    pub weights: StoredWeights,
    /// Which int8 layers have sparse weights.
    pub sparse: sparse::Sparse,
    /// With [`StoredWeights::Auto`]: the share of the plan's instructions that decoding may add; [`coded::AUTO_SHARE`] by default.
    pub decoding_share: Option<f64>,
}

/// A step, for people and for comparisons.
#[derive(Clone, Debug, Serialize)]
pub struct StepInfo {
    /// ONNX node.
    pub name: String,
    /// Operator of the runtime.
    pub operator: &'static str,
    /// ONNX name of the tensor that the step writes.
    pub output: String,
    /// Shape as stored.
    pub shape: Vec<usize>,
    /// The ONNX tensor is the stored one transposed by this; `None` when they are the same.
    pub permutation: Option<Vec<usize>>,
    /// Whether the tensor is complete after this step (a concatenation takes several).
    pub complete: bool,
    /// The stored tensor's elements that the step writes; `None` when it writes all of them.
    pub part: Option<std::ops::Range<usize>>,
    /// Whether the columns are stored in an order of their own, which only the fully connected layers behind know.
    pub reordered: bool,
    /// What is left of the ONNX tensor when channels were cut out of it; `None` when it is whole.
    pub kept: Option<channels::Kept>,
    /// Element type of the output.
    #[serde(serialize_with = "dtype_name")]
    pub dtype: DType,
    /// How integers map to reals.
    pub quantization: Option<Quantization>,
    /// Multiply-accumulates, padding counted.
    pub macs: u64,
    /// What its instructions depend on.
    pub work: cost::Work,
    /// Bytes of weights, biases and tables that it adds to the plan; what an earlier step brought counts there.
    pub constant_bytes: usize,
    /// How its weights are coded; `None` when they are not.
    pub coded: Option<coded::CodedStep>,
    /// Instructions, as the target's measurements predict them; `None` where there are none.
    pub instructions: Option<u64>,
    /// Least and greatest value of each output channel's 32-bit accumulator, over all inputs; `None` where there is none.
    #[serde(skip)]
    pub accumulators: Option<Vec<[i32; 2]>>,
}

fn dtype_name<S: serde::Serializer>(dtype: &DType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match dtype {
        DType::F32 => "f32",
        DType::I8 => "i8",
        DType::U8 => "u8",
        DType::I32 => "i32",
    })
}

/// A plan and what the compiler knows about it.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The plan file: core, then step names unless stripped.
    pub file: Vec<u8>,
    /// Bytes of the core: what a device holds.
    pub core_len: usize,
    /// Bytes of arena.
    pub arena_len: usize,
    /// All steps.
    pub steps: Vec<StepInfo>,
    /// Index of the step at which most arena bytes are in use.
    pub peak_step: usize,
    /// Bytes in use there: no placement takes less.
    pub peak_bytes: usize,
    /// What lies where in the arena, and while which steps.
    pub lifetimes: Vec<Lifetime>,
    /// Bytes of weights, biases and tables.
    pub constant_bytes: usize,
    /// What was cut out of int8 layers; `None` when it was not looked for.
    pub channels: Option<channels::Report>,
    /// What runs by bands; `None` when nothing does.
    pub tiled: Option<Tiled>,
    /// What coding the weights does; `None` when they are plain.
    pub coding: Option<coded::Report>,
    /// Which layers have many zero weights, and what the plan makes of that; `None` when none has, or they were not looked for.
    pub zeros: Option<sparse::Report>,
    /// Instructions of one inference, as the target's measurements predict them; `None` where there are none.
    pub instructions: Option<u64>,
    /// Bytes of stack that no inference exceeds; `None` where nothing was measured.
    pub stack_bound: Option<u64>,
}

/// What tiling did to a plan. No row is computed twice: rows that two bands need are copied.
#[derive(Clone, Debug, Serialize)]
pub struct Tiled {
    /// The chains that run by bands.
    pub chains: Vec<Chain>,
    /// Bytes of arena without tiling.
    pub untiled_arena_len: usize,
    /// Steps more than without tiling.
    pub extra_steps: u64,
    /// Bytes that are copied from band to band in one inference.
    pub copied_bytes: u64,
}

/// A chain of nodes that runs by bands.
#[derive(Clone, Debug, Serialize)]
pub struct Chain {
    /// ONNX node where it begins.
    pub first: String,
    /// ONNX node where it ends.
    pub last: String,
    /// Rows of the result that are made at a time; the last band may have fewer.
    pub rows: usize,
    /// Number of bands.
    pub bands: usize,
}

impl Compiled {
    /// The part a device holds.
    pub fn core(&self) -> &[u8] {
        &self.file[..self.core_len]
    }

    /// Multiply-accumulates of one inference.
    pub fn macs(&self) -> u64 {
        self.steps.iter().map(|s| s.macs).sum()
    }
}

/// Why a graph does not compile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The runtime has no kernel for this.
    #[error("node `{node}` ({operator}): {reason}")]
    Unsupported {
        /// ONNX node.
        node: String,
        /// Operator.
        operator: &'static str,
        /// What is not supported, and what to do.
        reason: String,
    },
    /// An int8 accumulator could overflow.
    #[error(
        "node `{node}`: the 32-bit accumulator of output channel {channel} can reach {bound}: its weights are too large"
    )]
    AccumulatorOverflow {
        /// ONNX node.
        node: String,
        /// Output channel.
        channel: usize,
        /// The proven bound.
        bound: i64,
    },
    /// An option that needs kernels which TensorFlow Lite's rounding does not have.
    #[error(
        "TensorFlow Lite's rounding runs on plain weights: leave out {0}, or use the rounding of `--rounding kinglet`"
    )]
    Rounding(&'static str),
    /// A number does not fit its field in the plan.
    #[error("node `{node}`: {what} = {value} is larger than a plan can hold")]
    TooLarge {
        /// ONNX node.
        node: String,
        /// What.
        what: &'static str,
        /// Its value.
        value: usize,
    },
    /// No tiling makes the arena small enough.
    #[error(
        "the arena cannot be smaller than {smallest} bytes, {limit} are allowed; most is in use in `{node}`"
    )]
    ArenaLimit {
        /// The limit.
        limit: usize,
        /// The smallest arena found.
        smallest: usize,
        /// The node at its peak.
        node: String,
    },
    /// `int8_io` was asked for, and there is nothing that it could do.
    #[error(
        "no input or output is quantised at the border, so none can be int8: `kinglet quantize` makes a model whose are"
    )]
    NoIntegers,
    /// A graph input or output cannot be described.
    #[error("{which} `{name}`: {reason}")]
    Border {
        /// "input" or "output".
        which: &'static str,
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// The finished plan does not pass the runtime's own checks: a defect of the compiler.
    #[error("the compiler made a plan that the runtime refuses (please report this): {0}")]
    Refused(#[from] HostError),
}

/// Seed of the self-test that every plan carries.
const SELF_TEST_SEED: u32 = 0x4b69_6e67;

/// The graph with the integers on the inside of its borders as inputs and outputs.
fn integer_borders(graph: &Graph) -> Result<Graph, CompileError> {
    let mut graph = graph.clone();
    match crate::passes::int8_io(&mut graph) {
        0 => Err(CompileError::NoIntegers),
        _ => Ok(graph),
    }
}

/// Compiles a graph that [`crate::passes::prepare`] has been over.
///
/// # Errors
/// See [`CompileError`]; each names the node.
pub fn compile(graph: &Graph, options: &CompileOptions) -> Result<Compiled, CompileError> {
    let tflite = options.rounding == Rounding::Tflite;
    if tflite && options.weights != StoredWeights::Plain {
        return Err(CompileError::Rounding("`--weights`"));
    }
    if tflite && options.sparse == sparse::Sparse::Always {
        return Err(CompileError::Rounding("`--sparse`"));
    }
    let bare = match options.int8_io {
        true => Some(integer_borders(graph)?),
        false => None,
    };
    let graph = bare.as_ref().unwrap_or(graph);
    // What is constant is found with the arithmetic of the other rounding.
    let keep = options.keep_dead_channels || tflite;
    let eliminated = (!keep).then(|| channels::eliminate(graph));
    let graph = eliminated.as_ref().map_or(graph, |e| &e.graph);
    let mut arranged = layout::arrange(graph);
    expand::expand(&mut arranged.graph);
    emit::check_border(&arranged.graph)?;
    let (planned, tiled) = planned::plan(arranged, options)?;
    let (planned, zeros, coding) = if tflite {
        (planned, None, None)
    } else {
        let (planned, zeros) = sparse::sparse(planned, options)?;
        let (planned, coding) = coded::code(planned, options)?;
        (planned, zeros, coding)
    };
    let mut emitted = emit::emit(planned)?;
    if let Some(eliminated) = &eliminated {
        for step in &mut emitted.steps {
            step.kept = eliminated.kept.get(&step.output).cloned();
        }
    }
    let arena_len = emitted.arena_len;
    let unproven = emitted.image.finish(arena_len as u32, (SELF_TEST_SEED, 0));
    let digest = Runner::new(&unproven)?.self_test_digest(SELF_TEST_SEED)?;
    let core = emitted
        .image
        .finish(arena_len as u32, (SELF_TEST_SEED, digest));
    let core_len = core.len();
    let mut file = core;
    if !options.strip {
        file.extend(image::symbols(emitted.steps.iter().map(|s| &s.name)));
    }
    let costs = cost::costs(options.target);
    for step in &mut emitted.steps {
        step.instructions = match &step.coded {
            Some(coded) => coded.instructions,
            None => costs.and_then(|c| c.step(step.operator, &step.work)),
        };
    }
    let steps = &emitted.steps;
    let instructions = costs.and_then(|c| c.inference(steps));
    let stack_bound = costs.and_then(|c| c.stack(steps.iter().map(|s| s.operator)));
    let decoder = steps.iter().any(|s| s.coded.is_some());
    let stack_bound = stack_bound.map(|bound| bound + if decoder { coded::STACK } else { 0 });
    Ok(Compiled {
        instructions,
        stack_bound,
        file,
        core_len,
        arena_len,
        steps: emitted.steps,
        peak_step: emitted.peak.0,
        peak_bytes: emitted.peak.1,
        lifetimes: emitted.lifetimes,
        constant_bytes: emitted.image.data_len(),
        channels: eliminated.map(|e| e.report),
        tiled,
        coding,
        zeros,
    })
}
