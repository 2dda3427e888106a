//! What holds for every inference of a plan, as one JSON object: `kinglet compile --certify`.
//!
//! Arena, flash and accumulators are exact. The stack's bound is that of [`crate::compile::cost`]. The bound on instructions is
//! made of two parts:
//!
//! - **a count**: the emulator runs the plan on a few inputs, among them the extreme ones; the largest count is taken. A plan is
//!   a straight line of steps whose trip counts come from its records, so a second input takes another count only where a kernel
//!   branches on a value.
//! - **an allowance**: for each step, what such branches can add ([`allowance`]), on every element at once.
//!
//! docs/trust-bounds.md has the argument, the branches there are, and how tight it is.

pub mod allowance;

use crate::compile::cost::{MARGIN, costs, name};
use crate::compile::{Compiled, Target};
use crate::emulate::{BOARDS, Board, EmulateError, Emulation, Mode, Request, emulate};
use crate::host::{AlignedBytes, HostError};
use kinglet::Plan;
use kinglet::format::{DType, VERSION};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertifyError {
    /// The plan is not one: a defect of the compiler.
    #[error(transparent)]
    Plan(#[from] HostError),
    /// Nothing emulates the target.
    #[error("no emulated board runs plans for {target}: certify for another target")]
    NoBoard {
        /// The target's name on the command line.
        target: String,
    },
    /// The counts are made in the emulator.
    #[error("instructions cannot be counted: {0}")]
    Emulate(#[from] EmulateError),
    /// There is no allowance for an operator, so no bound.
    #[error(
        "step `{step}`: what branches of `{operator}` can add was never measured on {target}, so its instructions have no bound"
    )]
    Unmeasured {
        /// The step.
        step: String,
        /// The runtime's operator.
        operator: &'static str,
        /// The target's name on the command line.
        target: String,
    },
}

/// What holds for every inference of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct Certificate {
    /// What kind of file this is.
    pub certificate: &'static str,
    /// Kinglet's version.
    pub kinglet: &'static str,
    /// Version of the plan's format.
    pub plan_format: u16,
    /// The model's file.
    pub model: String,
    /// What the plan is compiled for.
    pub target: Target,
    /// The emulated board that counted.
    pub board: &'static str,
    /// The firmware's compiler.
    pub compiler: String,
    /// The plan.
    pub plan: PlanFacts,
    /// Bytes of arena: exact, the plan says them and the session takes no others.
    pub arena_bytes: u64,
    /// Flash of the firmware that was measured.
    pub flash: Flash,
    /// Stack of an inference.
    pub stack: Stack,
    /// Instructions of an inference.
    pub instructions: Instructions,
    /// Multiply-accumulates of an inference, padding counted.
    pub multiply_accumulates: u64,
    /// Ranges of the int8 layers' accumulators.
    pub layers: Vec<LayerRanges>,
}

/// What identifies a plan.
#[derive(Clone, Debug, Serialize)]
pub struct PlanFacts {
    /// Bytes of the core: what a device holds.
    pub bytes: u64,
    /// SHA-256 of the core, in hexadecimal digits.
    pub sha256: String,
    /// Seed of the self-test's input.
    pub self_test_seed: u32,
    /// What the self-test's outputs must hash to, on every device.
    pub self_test_digest: u32,
}

/// Bytes of flash.
#[derive(Clone, Debug, Serialize)]
pub struct Flash {
    /// The plan.
    pub plan_bytes: u64,
    /// Everything else in the measured firmware, its log and file exchange included.
    pub code_bytes: u64,
}

/// Bytes of stack.
#[derive(Clone, Debug, Serialize)]
pub struct Stack {
    /// No inference takes more.
    pub bound_bytes: u64,
    /// The deepest operator, with what it is known to take: from the start of the stack, by painting.
    pub deepest: (String, u64),
    /// What is added for firmware that is linked otherwise.
    pub margin_bytes: u64,
    /// Most that the counted inferences took.
    pub measured_bytes: u64,
}

/// Instructions of an inference.
#[derive(Clone, Debug, Serialize)]
pub struct Instructions {
    /// No inference takes more, as far as the allowances reach: `counted` and `allowance`.
    pub bound: u64,
    /// The largest count over the inputs tried.
    pub counted: u64,
    /// How many inputs were tried.
    pub inputs: usize,
    /// What branches on values can add to a count, all steps together.
    pub allowance: u64,
    /// Of every operator: how often it runs, and its part of the allowance.
    pub operators: BTreeMap<&'static str, (u64, u64)>,
}

/// Ranges of a layer's accumulators.
#[derive(Clone, Debug, Serialize)]
pub struct LayerRanges {
    /// ONNX node.
    pub node: String,
    /// Least and greatest 32-bit sum of each output channel, over all inputs.
    pub accumulators: Vec<[i32; 2]>,
}

/// The emulated board that runs plans for `target`.
pub fn board(target: Target) -> Option<&'static Board> {
    BOARDS.iter().find(|board| board.plan_target == target)
}

/// Inputs that are counted: all least, all greatest, all in the middle, random extremes, random. Reals that are fed to a
/// quantisation saturate it.
pub fn inputs(plan: &Plan<'_>) -> Vec<Vec<u8>> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = move || {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let mut sample = |choose: &dyn Fn(f32) -> f32| {
        let mut bytes = Vec::new();
        for info in (0..plan.input_count()).filter_map(|i| plan.input(i)) {
            for _ in 0..info.len / info.dtype.size() {
                let value = choose(random());
                match info.dtype {
                    DType::F32 => bytes.extend((value * 100.0).to_le_bytes()),
                    DType::I32 => bytes.extend(((value * 4.0) as i32).to_le_bytes()),
                    DType::I8 => bytes.push((value * 127.5 - 0.5).round() as i8 as u8),
                    DType::U8 => bytes.push((value * 127.5 + 127.5).round() as u8),
                }
            }
        }
        bytes
    };
    vec![
        sample(&|_| -1.0),
        sample(&|_| 1.0),
        sample(&|_| 0.0),
        sample(&|r| if r < 0.5 { -1.0 } else { 1.0 }),
        sample(&|r| 2.0 * r - 1.0),
        sample(&|r| 0.02 * (2.0 * r - 1.0)),
    ]
}

/// What branches on values can add to a plan's instructions: for each operator, how often it runs and its part.
///
/// # Errors
/// [`CertifyError::Unmeasured`].
pub fn allowances(
    compiled: &Compiled,
    target: Target,
) -> Result<BTreeMap<&'static str, (u64, u64)>, CertifyError> {
    let mut operators: BTreeMap<&'static str, (u64, u64)> = BTreeMap::new();
    for step in &compiled.steps {
        let unmeasured = || CertifyError::Unmeasured {
            step: step.name.clone(),
            operator: step.operator,
            target: name(target),
        };
        let allowed = allowance::of(target, step.operator, &step.work).ok_or_else(unmeasured)?;
        let entry = operators.entry(step.operator).or_default();
        (entry.0, entry.1) = (entry.0 + 1, entry.1 + allowed);
    }
    Ok(operators)
}

/// Counts and bounds. `progress` hears of everything that takes time.
///
/// # Errors
/// See [`CertifyError`].
pub fn certify(
    model: &str,
    compiled: &Compiled,
    target: Target,
    progress: &dyn Fn(&str),
) -> Result<Certificate, CertifyError> {
    let target_name = name(target);
    let no_board = || CertifyError::NoBoard {
        target: target_name.clone(),
    };
    let board = board(target).ok_or_else(no_board)?;
    let costs = costs(target).ok_or_else(no_board)?;
    let operators = allowances(compiled, target)?;
    let toolchain = board.toolchain(progress).map_err(EmulateError::from)?;
    let allowance = operators.values().map(|(_, allowed)| allowed).sum();
    let bytes = AlignedBytes::from(compiled.core());
    let plan = Plan::parse(bytes.bytes()).map_err(HostError::from)?;
    let samples = inputs(&plan);
    let request = Request {
        board,
        plan: &compiled.file,
        samples: &samples,
        mode: Mode::Run,
        loaded: false,
    };
    let Emulation {
        instructions,
        plan_bytes,
        code_bytes,
        stack_peak_bytes,
        ..
    } = emulate(&request, progress)?;
    let counted = instructions.into_iter().max().unwrap_or(0);
    let depth = |step: &crate::compile::StepInfo| {
        let depth = costs.stack.get(step.operator).copied();
        (step.operator.to_owned(), depth.unwrap_or(0))
    };
    let deepest = compiled.steps.iter().map(depth).max_by_key(|(_, d)| *d);
    let mut layers: Vec<LayerRanges> = Vec::new();
    for step in &compiled.steps {
        // A layer that runs by bands takes several steps.
        let known = layers.iter().any(|layer| layer.node == step.name);
        if let (Some(accumulators), false) = (&step.accumulators, known) {
            layers.push(LayerRanges {
                node: step.name.clone(),
                accumulators: accumulators.clone(),
            });
        }
    }
    let digest = Sha256::digest(compiled.core());
    let (self_test_seed, self_test_digest) = plan.self_test();
    Ok(Certificate {
        certificate: "kinglet plan",
        kinglet: env!("CARGO_PKG_VERSION"),
        plan_format: VERSION,
        model: model.to_owned(),
        target,
        board: board.name,
        compiler: toolchain.rustc_version().to_owned(),
        plan: PlanFacts {
            bytes: plan_bytes,
            sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            self_test_seed,
            self_test_digest,
        },
        arena_bytes: plan.arena_len() as u64,
        flash: Flash {
            plan_bytes,
            code_bytes,
        },
        stack: Stack {
            bound_bytes: compiled.stack_bound.unwrap_or(stack_peak_bytes + MARGIN),
            deepest: deepest.unwrap_or_default(),
            margin_bytes: MARGIN,
            measured_bytes: stack_peak_bytes,
        },
        instructions: Instructions {
            bound: counted + allowance,
            counted,
            inputs: samples.len(),
            allowance,
            operators,
        },
        multiply_accumulates: compiled.macs(),
        layers,
    })
}
