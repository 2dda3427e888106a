//! Steps: one record for every operation that does something, with its place in the arena.

mod binary;
mod elementwise;
mod layers;
mod movement;

use super::image::{Image, Tensor};
use super::layout::Arranged;
use super::memory;
use super::storage::{Storage, bytes};
use super::weights::Affine;
use super::{CompileError, StepInfo};
use crate::graph::{Clamp, DType, Graph, Node, Op, Value, ValueId, Window};
use crate::passes::{macs, op_name};
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
}

struct Emitter<'g> {
    graph: &'g Graph,
    permutations: &'g HashMap<ValueId, Vec<usize>>,
    reordered: &'g HashSet<ValueId>,
    spans: HashMap<ValueId, Span>,
    image: Image,
    steps: Vec<StepInfo>,
}

type Result<T> = std::result::Result<T, CompileError>;

/// Emits all steps of a channels-last graph.
pub(super) fn emit(arranged: &Arranged) -> Result<Emitted> {
    let graph = &arranged.graph;
    check_border(graph)?;
    let storage = Storage::plan(graph);
    let placement = memory::place(&storage.buffers);
    if u32::try_from(placement.arena_len).is_err() {
        let name = graph.name.clone();
        return Err(CompileError::TooLarge {
            node: name,
            what: "arena",
            value: placement.arena_len,
        });
    }
    let spans = storage.buffer_of.iter().map(|(&id, &buffer)| {
        (
            id,
            Span::new(placement.offsets[buffer] as u32, bytes(&graph[id]) as u32),
        )
    });
    let mut emitter = Emitter {
        graph,
        permutations: &arranged.permutations,
        reordered: &arranged.reordered,
        spans: spans.collect(),
        image: Image::default(),
        steps: Vec::new(),
    };
    let mut first_step = Vec::new();
    for node in &graph.nodes {
        first_step.push(emitter.steps.len());
        emitter.node(node)?;
    }
    for (ids, is_input) in [(&graph.inputs, true), (&graph.outputs, false)] {
        for &id in ids {
            emitter.border(id, is_input)?;
        }
    }
    let (node, peak) = memory::peak(&storage.buffers, graph.nodes.len());
    Ok(Emitted {
        image: emitter.image,
        arena_len: placement.arena_len,
        peak: (first_step.get(node).copied().unwrap_or(0), peak),
        steps: emitter.steps,
    })
}

fn check_border(graph: &Graph) -> Result<()> {
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
        DType::I32 | DType::I64 => None,
    }
}

impl Emitter<'_> {
    fn node(&mut self, node: &Node) -> Result<()> {
        match &node.op {
            Op::Reshape => Ok(()),
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
            Op::Quantize => {
                let y = self.affine(node, node.output)?;
                self.require(node, DType::I8, node.output)?;
                self.push(node, OpCode::Quantize, &affine_record(y))
            }
            Op::Dequantize => {
                let x = self.affine(node, node.inputs[0])?;
                self.require(node, DType::I8, node.inputs[0])?;
                self.push(node, OpCode::Dequantize, &affine_record(x))
            }
            Op::Requantize => self.lookup(node, |x| x),
            Op::BatchNorm { .. } => {
                Err(self.unsupported(node, "batch normalisation was not folded"))
            }
        }
    }

    fn unsupported(&self, node: &Node, reason: impl Into<String>) -> CompileError {
        CompileError::Unsupported {
            node: node.name.clone(),
            operator: op_name(&node.op),
            reason: reason.into(),
        }
    }

    fn value(&self, id: ValueId) -> &Value {
        &self.graph[id]
    }

    fn require(&self, node: &Node, dtype: DType, id: ValueId) -> Result<()> {
        let value = self.value(id);
        if value.dtype == dtype {
            return Ok(());
        }
        Err(self.unsupported(
            node,
            format!(
                "`{}` has element type {:?}, {dtype:?} expected",
                value.name, value.dtype
            ),
        ))
    }

    fn affine(&self, node: &Node, id: ValueId) -> Result<Affine> {
        match &self.value(id).quantization {
            Some(q) if q.scales.len() == 1 => Ok(Affine {
                scale: q.scales[0],
                zero_point: q.zero_point,
            }),
            _ => Err(self.unsupported(
                node,
                format!("`{}` has no per-tensor quantisation", self.value(id).name),
            )),
        }
    }

    fn span(&self, node: &Node, id: ValueId) -> Result<Span> {
        let missing = || {
            self.unsupported(
                node,
                format!("operand `{}` is a constant", self.value(id).name),
            )
        };
        self.spans.get(&id).copied().ok_or_else(missing)
    }

    fn int8(&self, node: &Node, x: Affine, y: Affine, clamp: Clamp) -> Result<format::Int8> {
        let (min, max) = y.bounds(clamp);
        if i8::try_from(y.zero_point).is_err() || i8::try_from(x.zero_point).is_err() {
            return Err(self.unsupported(node, "a zero point is not an int8"));
        }
        Ok(format::Int8 {
            input_zero_point: x.zero_point.into(),
            output_zero_point: y.zero_point.into(),
            min: min.into(),
            max: max.into(),
        })
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
        let output = self.span(node, node.output)?;
        self.image.step(code, input, output, parameters);
        let value = self.value(node.output);
        let dtype = border_type(value)
            .ok_or_else(|| self.unsupported(node, "an integer tensor is computed"))?;
        self.steps.push(StepInfo {
            name: node.name.clone(),
            operator: code.name(),
            output: value.name.clone(),
            shape: value.shape.clone(),
            permutation: self.permutations.get(&node.output).cloned(),
            complete,
            reordered: self.reordered.contains(&node.output),
            dtype,
            quantization: value.quantization.clone(),
            macs: macs(self.graph, node),
        });
        Ok(())
    }

    fn window(&self, node: &Node, window: &Window) -> Result<format::Window> {
        let (x, y) = (
            &self.value(node.inputs[0]).shape,
            &self.value(node.output).shape,
        );
        let three = |s: &[usize]| -> Result<[zerocopy::little_endian::U32; 3]> {
            Ok([
                self.u32(node, s[1])?,
                self.u32(node, s[2])?,
                self.u32(node, s[3])?,
            ])
        };
        let two = |what, a: [usize; 2]| -> Result<[zerocopy::little_endian::U16; 2]> {
            let fit = |value| {
                let name = node.name.clone();
                u16::try_from(value).map_err(|_| CompileError::TooLarge {
                    node: name,
                    what,
                    value,
                })
            };
            Ok([fit(a[0])?.into(), fit(a[1])?.into()])
        };
        Ok(format::Window {
            batch: self.u32(node, x[0])?,
            input: three(x)?,
            output: three(y)?,
            kernel: two("kernel size", window.kernel)?,
            stride: two("stride", window.strides)?,
            dilation: two("dilation", window.dilations)?,
            pad: two("padding", [window.pads[0], window.pads[1]])?,
        })
    }

    fn u32(&self, node: &Node, value: usize) -> Result<zerocopy::little_endian::U32> {
        let too_large = |_| CompileError::TooLarge {
            node: node.name.clone(),
            what: "dimension",
            value,
        };
        Ok(u32::try_from(value).map_err(too_large)?.into())
    }

    fn border(&mut self, id: ValueId, is_input: bool) -> Result<()> {
        let value = self.value(id).clone();
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
        let tensor = Tensor {
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
