//! Steps: one record for every operation that does something, with its place in the arena.

mod binary;
mod elementwise;
mod general;
mod layers;
mod movement;
mod tflite;

use super::cost::Work;
use super::facts::{Facts, Result};
use super::image::{Image, Tensor};
use super::layers::{Layer, accumulators};
use super::layout::Arranged;
use super::lifetimes::{self, Lifetime};
use super::memory;
use super::planned::Planned;
use super::residual::Residuals;
use super::sparse;
use super::storage::bytes;
use super::weights::Affine;
use super::{CompileError, Rounding, StepInfo};
use crate::graph::{Clamp, DType, Graph, Node, Op, Value, ValueId};
use crate::passes::macs;
use kinglet::format::{self, MAX_RANK, OpCode, Span};
use std::collections::{HashMap, HashSet};
use zerocopy::{Immutable, IntoBytes};

/// What emission makes.
pub(super) struct Emitted {
    pub(super) image: Image,
    pub(super) steps: Vec<StepInfo>,
    pub(super) arena_len: usize,
    /// Step with most bytes in use, and the bytes.
    pub(super) peak: (usize, usize),
    /// What lies where in the arena, and when.
    pub(super) lifetimes: Vec<Lifetime>,
}

struct Emitter<'g> {
    facts: Facts<'g>,
    layers: HashMap<usize, Layer>,
    residuals: Residuals,
    rounding: Rounding,
    panels: bool,
    scratch: HashMap<usize, Span>,
    arranged: &'g Arranged,
    spans: HashMap<ValueId, Span>,
    image: Image,
    steps: Vec<StepInfo>,
}

/// Emits all steps of a channels-last graph.
pub(super) fn emit(planned: Planned) -> Result<Emitted> {
    let lifetimes = lifetimes::lifetimes(&planned);
    let Planned {
        arranged,
        layers,
        storage,
        placement,
    } = planned;
    let graph = &arranged.graph;
    if u32::try_from(placement.arena_len).is_err() {
        let name = graph.name.clone();
        return Err(CompileError::TooLarge {
            node: name,
            what: "arena",
            value: placement.arena_len,
        });
    }
    let spans = storage.places.iter().map(|(&id, place)| {
        let offset = placement.offsets[place.buffer] + place.offset;
        (id, Span::new(offset as u32, bytes(&graph[id]) as u32))
    });
    let scratch = storage.scratch_of.iter().map(|(&t, &buffer)| {
        let len = storage.buffers[buffer].len;
        (t, Span::new(placement.offsets[buffer] as u32, len as u32))
    });
    let mut emitter = Emitter {
        facts: Facts { graph },
        scratch: scratch.collect(),
        layers: layers.layers,
        residuals: layers.residuals,
        rounding: layers.rounding,
        panels: layers.panels,
        arranged: &arranged,
        spans: spans.collect(),
        image: Image::default(),
        steps: Vec::new(),
    };
    let mut first_step = Vec::new();
    let added: HashSet<usize> = emitter.residuals.values().copied().collect();
    for (t, node) in graph.nodes.iter().enumerate() {
        first_step.push(emitter.steps.len());
        let constants = emitter.image.data_len();
        match emitter.layers.remove(&t) {
            Some(layer) => {
                let entries = sparse::entries(&layer, node, graph);
                emitter.layer(t, node, layer)?;
                if let (Some(step), Some([entries, weights])) = (emitter.steps.last_mut(), entries)
                {
                    step.macs = step.macs * entries / weights;
                    step.work.macs = step.macs;
                }
            }
            None if added.contains(&t) => {}
            None => emitter.node(node)?,
        }
        if let Some(step) = emitter.steps[first_step[t]..].last_mut() {
            step.constant_bytes = emitter.image.data_len() - constants;
        }
    }
    for (input, output) in graph.carried() {
        emitter.carry(input, output)?;
    }
    for (ids, is_input) in [(&graph.inputs, true), (&graph.outputs, false)] {
        for &id in ids {
            emitter.border(id, is_input)?;
        }
    }
    let (node, peak) = memory::peak(&storage.buffers, graph.nodes.len());
    Ok(Emitted {
        lifetimes: lifetimes::in_steps(lifetimes, &first_step, emitter.steps.len()),
        image: emitter.image,
        arena_len: placement.arena_len,
        peak: (first_step.get(node).copied().unwrap_or(0), peak),
        steps: emitter.steps,
    })
}

/// Inputs and outputs must be of types and ranks that a plan can describe.
pub(super) fn check_border(graph: &Graph) -> Result<()> {
    for (input, output) in &graph.states {
        let found = graph
            .carried()
            .find(|&(i, o)| graph[i].name == *input && graph[o].name == *output);
        let alike = |(i, o): (ValueId, ValueId)| {
            (&graph[i].shape, graph[i].dtype, &graph[i].quantization)
                == (&graph[o].shape, graph[o].dtype, &graph[o].quantization)
        };
        let reason = match found {
            Some(pair) if alike(pair) => continue,
            Some(_) => format!("as a state it must have the shape and type of output `{output}`"),
            None => format!("no such pair of an input and an output `{output}` for a state"),
        };
        return Err(CompileError::Border {
            which: "input",
            name: input.clone(),
            reason,
        });
    }
    for (ids, which) in [(&graph.inputs, "input"), (&graph.outputs, "output")] {
        for &id in ids {
            let value = &graph[id];
            let wrong = |reason: String| CompileError::Border {
                which,
                name: value.name.clone(),
                reason,
            };
            if value.data.is_some() {
                return Err(wrong(
                    "is a constant; a model that computes nothing has no plan".into(),
                ));
            }
            if value.shape.len() > MAX_RANK {
                return Err(wrong(format!(
                    "has {} dimensions, at most {MAX_RANK} are supported",
                    value.shape.len()
                )));
            }
            border_type(value)
                .ok_or_else(|| wrong(format!("has element type {:?}", value.dtype)))?;
        }
    }
    Ok(())
}

fn border_type(value: &Value) -> Option<format::DType> {
    match value.dtype {
        DType::F32 => Some(format::DType::F32),
        DType::I8 => Some(format::DType::I8),
        DType::U8 => Some(format::DType::U8),
        DType::I32 => Some(format::DType::I32),
        DType::I64 => None,
    }
}

impl Emitter<'_> {
    fn node(&mut self, node: &Node) -> Result<()> {
        match &node.op {
            Op::Reshape => self.copy(node),
            Op::Conv2d {
                window,
                groups,
                clamp,
            } => self.conv(node, window, *groups, *clamp),
            Op::FullyConnected { clamp } => self.fully_connected(node, *clamp),
            Op::Binary { op, clamp } => self.binary(node, *op, *clamp),
            Op::Pool { pool, window } => self.pool(node, *pool, window),
            Op::Unary(unary) => self.unary(node, *unary),
            Op::Softmax { axis } => self.softmax(node, *axis),
            Op::Transpose { perm } => self.transpose(node, perm),
            Op::Pad {
                before,
                after,
                value,
            } => self.pad(node, before, after, *value),
            Op::Concat { axis } => self.concat(node, *axis),
            Op::Slice { axis, start } => self.slice(node, *axis, *start),
            Op::Select => self.select(node),
            Op::Strided { strides, offset } => self.strided(node, strides, *offset),
            Op::Pick { axis, indices } => self.pick(node, *axis, indices),
            Op::Gather { axis } => self.gather(node, *axis),
            Op::Resample {
                axis,
                taps,
                indices,
                weights,
            } => self.resample(node, *axis, *taps, (indices, weights)),
            Op::Reduce { reduction, axes } => self.reduce(node, *reduction, axes),
            Op::MatMul => self.matmul(node),
            Op::Recurrent { cell, reverse } => self.recurrent(node, *cell, *reverse),
            Op::Load => self.load(node),
            Op::Convert => self.convert(node),
            Op::Quantize => {
                let y = self.facts.affine(node, node.output)?;
                self.facts.require(node, DType::I8, node.output)?;
                let code = match self.rounding {
                    Rounding::Kinglet => OpCode::Quantize,
                    Rounding::Tflite => OpCode::QuantizeTflite,
                };
                self.push(node, code, &affine_record(y))
            }
            Op::Dequantize => {
                let x = self.facts.affine(node, node.inputs[0])?;
                self.facts.require(node, DType::I8, node.inputs[0])?;
                self.push(node, OpCode::Dequantize, &affine_record(x))
            }
            Op::Requantize if self.rounding == Rounding::Tflite => self.requantize_tflite(node),
            Op::Requantize => self.lookup(node, |x| x),
            Op::BatchNorm { .. } => Err(self
                .facts
                .unsupported(node, "batch normalisation was not folded")),
        }
    }

    /// Nothing, unless the result has a place of its own.
    fn copy(&mut self, node: &Node) -> Result<()> {
        let (from, to) = (
            self.span(node, node.inputs[0])?,
            self.span(node, node.output)?,
        );
        if from == to {
            return Ok(());
        }
        self.push(node, OpCode::Copy, &format::Nothing {})
    }

    fn span(&self, node: &Node, id: ValueId) -> Result<Span> {
        let missing = || {
            self.facts.unsupported(
                node,
                format!("operand `{}` is a constant", self.facts.value(id).name),
            )
        };
        self.spans.get(&id).copied().ok_or_else(missing)
    }

    /// Emits a step from the node's first operand to its output.
    fn push(
        &mut self,
        node: &Node,
        code: OpCode,
        parameters: &(impl IntoBytes + Immutable),
    ) -> Result<()> {
        let input = self.span(node, node.inputs[0])?;
        self.push_from(node, input, code, parameters, true)
    }

    fn push_from(
        &mut self,
        node: &Node,
        input: Span,
        code: OpCode,
        parameters: &(impl IntoBytes + Immutable),
        complete: bool,
    ) -> Result<()> {
        self.push_to(node, input, node.output, code, parameters, complete)
    }

    fn push_to(
        &mut self,
        node: &Node,
        input: Span,
        result: ValueId,
        code: OpCode,
        parameters: &(impl IntoBytes + Immutable),
        complete: bool,
    ) -> Result<()> {
        let output = self.span(node, result)?;
        self.image.step(code, input, output, parameters);
        let band = self.facts.value(result);
        let dtype = border_type(band).ok_or_else(|| {
            self.facts
                .unsupported(node, "an integer tensor is computed")
        })?;
        let (tensor, start) = match self.arranged.bands.tensors.get(&result) {
            Some(&(tensor, start)) => (tensor, Some(start)),
            None => (result, None),
        };
        let value = self.facts.value(tensor);
        self.steps.push(StepInfo {
            name: node.name.clone(),
            operator: code.name(),
            output: value.name.clone(),
            shape: value.shape.clone(),
            permutation: self.arranged.permutations.get(&tensor).cloned(),
            complete,
            kept: None,
            part: start.map(|start| start..start + band.len()),
            reordered: self.arranged.reordered.contains(&tensor),
            dtype,
            quantization: value.quantization.clone(),
            macs: macs(self.facts.graph, node),
            work: Work::of(self.facts.graph, node),
            constant_bytes: 0,
            coded: None,
            instructions: None,
            accumulators: accumulators(self.facts, node, self.rounding)?,
        });
        Ok(())
    }

    fn border(&mut self, id: ValueId, is_input: bool) -> Result<()> {
        let value = self.facts.value(id).clone();
        let which = if is_input { "input" } else { "output" };
        let wrong = |reason: &str| CompileError::Border {
            which,
            name: value.name.clone(),
            reason: reason.into(),
        };
        let dtype = border_type(&value).ok_or_else(|| wrong("unsupported element type"))?;
        let arena = *self
            .spans
            .get(&id)
            .ok_or_else(|| wrong("is never computed"))?;
        let (scale, zero_point) = match &value.quantization {
            Some(q) if q.scales.len() == 1 => (q.scales[0], q.zero_point),
            _ => (0.0, 0),
        };
        let graph = self.facts.graph;
        let state = graph.carried().find(|&(input, _)| is_input && input == id);
        let state = state.and_then(|(_, output)| graph.outputs.iter().position(|&o| o == output));
        let tensor = Tensor {
            state: state.map_or(0, |index| index as u16 + 1),
            name: &value.name,
            dtype,
            shape: &value.shape,
            arena,
            scale,
            zero_point,
        };
        if is_input {
            self.image.input(&tensor)
        } else {
            self.image.output(&tensor)
        }
        Ok(())
    }
}

fn clamp_record(clamp: Clamp) -> format::ClampF32 {
    format::ClampF32 {
        min: clamp.min.into(),
        max: clamp.max.into(),
    }
}

fn affine_record(q: Affine) -> format::Affine {
    format::Affine {
        scale: q.scale.into(),
        zero_point: q.zero_point.into(),
    }
}
