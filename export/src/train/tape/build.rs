//! From a graph to a program.

use super::operation::Operation;
use super::ops::batch_norm::BatchNorm;
use super::ops::binary::{Binary, Operand};
use super::ops::conv::Conv2d;
use super::ops::linear::FullyConnected;
use super::ops::movement::Movement;
use super::ops::pool::Pool;
use super::ops::softmax::Softmax;
use super::ops::unary::Unary;
use super::program::{Kind, Parameter, Program, Step};
use super::tensor::Tensor;
use crate::graph::{Data, Graph, Node, Op, ValueId};
use crate::passes::op_name;
use crate::train::tensor::Real;

/// Why a graph cannot be trained.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// Training needs exactly one input and one output.
    #[error("a model to train has one input and one output; this one has {inputs} and {outputs}")]
    Ends {
        /// Inputs.
        inputs: usize,
        /// Outputs.
        outputs: usize,
    },
    /// A node that only quantised models have.
    #[error("node `{node}` ({op}) is quantised: train the float model and quantise it afterwards")]
    Quantized {
        /// Node name.
        node: String,
        /// Operator.
        op: &'static str,
    },
    /// A node that does not treat each sample on its own.
    #[error("node `{node}` ({op}) mixes the samples of a batch: {reason}")]
    Batch {
        /// Node name.
        node: String,
        /// Operator.
        op: &'static str,
        /// How.
        reason: String,
    },
    /// An operand that training has no use for.
    #[error("node `{node}` ({op}): {reason}")]
    Operand {
        /// Node name.
        node: String,
        /// Operator.
        op: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl<T: Real> Program<T> {
    /// The program of a float graph in the ONNX dialect, whose constants are its parameters. Its leading dimension is the
    /// batch, and may be another when the program runs.
    ///
    /// # Errors
    /// The graph is quantised, has several inputs or outputs, or mixes the samples of a batch.
    pub fn new(graph: &Graph) -> Result<Program<T>, ProgramError> {
        let (&[input], &[output]) = (&graph.inputs[..], &graph.outputs[..]) else {
            return Err(ProgramError::Ends {
                inputs: graph.inputs.len(),
                outputs: graph.outputs.len(),
            });
        };
        let batch = graph[input].shape.first().copied().unwrap_or(1).max(1);
        let last = graph.producer(output).map(|i| &graph.nodes[i]);
        // The loss is taken of what a final Softmax sees: its own gradient would cancel badly.
        let output = match last {
            Some(node) if matches!(node.op, Op::Softmax { .. }) => node.inputs[0],
            _ => output,
        };
        let names = graph.values.iter().map(|v| v.name.clone()).collect();
        let sample = graph[input].shape.get(1..).unwrap_or_default().to_vec();
        let mut program = Program::empty(names, input, sample, output);
        let mut live = vec![false; graph.values.len()];
        live[output.0] = true;
        for node in graph.nodes.iter().rev().filter(|n| n.output != input) {
            if live[node.output.0] {
                node.inputs.iter().for_each(|id| live[id.0] = true);
            }
        }
        for node in graph.nodes.iter().filter(|n| live[n.output.0]) {
            let builder = Builder { graph, node, batch };
            let op = builder.operation::<T>()?;
            builder.parameters(&mut program)?;
            program.steps.push(Step {
                name: node.name.clone(),
                op,
                inputs: node.inputs.clone(),
                output: node.output,
                hidden: None,
            });
        }
        program.fuse();
        Ok(program)
    }
}

struct Builder<'a> {
    graph: &'a Graph,
    node: &'a Node,
    batch: usize,
}

impl Builder<'_> {
    fn mixes(&self, reason: impl Into<String>) -> ProgramError {
        ProgramError::Batch {
            node: self.node.name.clone(),
            op: op_name(&self.node.op),
            reason: reason.into(),
        }
    }

    fn operand(&self, reason: impl Into<String>) -> ProgramError {
        ProgramError::Operand {
            node: self.node.name.clone(),
            op: op_name(&self.node.op),
            reason: reason.into(),
        }
    }

    /// An activation's shape with the leading dimension of one sample.
    fn sample(&self, id: ValueId) -> Result<Vec<usize>, ProgramError> {
        let value = &self.graph[id];
        let mut shape = value.shape.clone();
        match shape.first_mut() {
            Some(rows) if rows.is_multiple_of(self.batch) => *rows /= self.batch,
            _ => {
                return Err(self.mixes(format!(
                    "`{}` has shape {:?}, the batch is {}",
                    value.name, value.shape, self.batch
                )));
            }
        }
        Ok(shape)
    }

    fn is_constant(&self, id: ValueId) -> bool {
        self.graph[id].data.is_some()
    }

    fn operation<T: Real>(&self) -> Result<Box<dyn Operation<T>>, ProgramError> {
        let node = self.node;
        let x = node.inputs[0];
        let constants = match node.op {
            Op::Conv2d { .. } | Op::FullyConnected { .. } => Some(1),
            Op::BatchNorm { .. } => Some(1),
            Op::Binary { .. } => None,
            _ => Some(node.inputs.len()),
        };
        if let Some(first) = constants {
            for (i, &id) in node.inputs.iter().enumerate() {
                if self.is_constant(id) != (i >= first) {
                    let name = &self.graph[id].name;
                    return Err(self.operand(match i >= first {
                        true => format!("`{name}` is computed; only constants can be trained"),
                        false => format!("`{name}` is a constant where samples are expected"),
                    }));
                }
            }
        }
        let to = self.sample(node.output)?;
        Ok(match &node.op {
            &Op::Conv2d {
                window,
                groups,
                clamp,
            } => Box::new(Conv2d {
                window,
                groups,
                clamp,
            }),
            &Op::FullyConnected { clamp } => Box::new(FullyConnected { clamp }),
            &Op::BatchNorm { epsilon } => {
                let rank = self.graph[x].shape.len();
                if rank != 2 && rank != 4 {
                    return Err(self.operand(format!("its input has rank {rank}, not 2 or 4")));
                }
                Box::new(BatchNorm::new(epsilon))
            }
            &Op::Binary { op, .. } if !Binary::has_slopes(op) => return Err(self.untrained()),
            &Op::Binary { op, clamp } => {
                let [a, b] = [0, 1].map(|i| self.binary_operand(node.inputs[i], to.len()));
                let (a, b) = (a?, b?);
                if a.parameter && b.parameter {
                    return Err(self.operand("both operands are constants"));
                }
                Box::new(Binary::new(op, clamp, [a, b], &to))
            }
            &Op::Pool { pool, window } => Box::new(Pool::new(pool, window)),
            &Op::Unary(function) if !Unary::has_slope(function) => return Err(self.untrained()),
            &Op::Unary(function) => Box::new(Unary(function)),
            &Op::Softmax { axis } => {
                self.inner(axis)?;
                Box::new(Softmax::new(&to, axis))
            }
            Op::Reshape => Box::new(Movement::reshape(&self.sample(x)?, &to)),
            Op::Transpose { perm } => {
                if perm.first() != Some(&0) {
                    return Err(self.mixes(format!("its permutation is {perm:?}")));
                }
                Box::new(Movement::transpose(&self.sample(x)?, perm))
            }
            Op::Pad {
                before,
                after,
                value,
            } => {
                if before.first() != Some(&0) || after.first() != Some(&0) {
                    return Err(self.mixes("it pads the batch"));
                }
                Box::new(Movement::pad(&self.sample(x)?, before, &to, *value))
            }
            &Op::Concat { axis } => {
                self.inner(axis)?;
                let parts: Result<Vec<_>, _> =
                    node.inputs.iter().map(|&id| self.sample(id)).collect();
                Box::new(Movement::concat(&parts?, axis, &to))
            }
            &Op::Slice { axis, start } => {
                self.inner(axis)?;
                Box::new(Movement::slice(&self.sample(x)?, axis, start, &to))
            }
            Op::Select
            | Op::Strided { .. }
            | Op::Pick { .. }
            | Op::Gather { .. }
            | Op::Resample { .. }
            | Op::Reduce { .. }
            | Op::MatMul
            | Op::Recurrent { .. }
            | Op::Load
            | Op::Convert => return Err(self.untrained()),
            Op::Quantize | Op::Dequantize | Op::Requantize => {
                return Err(ProgramError::Quantized {
                    node: node.name.clone(),
                    op: op_name(&node.op),
                });
            }
        })
    }

    fn untrained(&self) -> ProgramError {
        self.operand("it runs, but cannot be trained")
    }

    fn inner(&self, axis: usize) -> Result<(), ProgramError> {
        match axis {
            0 => Err(self.mixes("it works along the batch's axis")),
            _ => Ok(()),
        }
    }

    fn binary_operand(&self, id: ValueId, rank: usize) -> Result<Operand, ProgramError> {
        let value = &self.graph[id];
        if self.is_constant(id) {
            if value.shape.len() == rank && value.shape.first().is_some_and(|&n| n != 1) {
                return Err(self.mixes(format!("`{}` has an element a sample", value.name)));
            }
            return Ok(Operand {
                shape: value.shape.clone(),
                parameter: true,
            });
        }
        if value.shape.len() != rank {
            return Err(self.mixes(format!("`{}` has another rank than the result", value.name)));
        }
        Ok(Operand {
            shape: self.sample(id)?,
            parameter: false,
        })
    }

    /// Adds the node's constants to the program.
    fn parameters<T: Real>(&self, program: &mut Program<T>) -> Result<(), ProgramError> {
        let norm = matches!(self.node.op, Op::BatchNorm { .. });
        for (i, &id) in self.node.inputs.iter().enumerate() {
            let value = &self.graph[id];
            let Some(data) = &value.data else {
                continue;
            };
            let Data::F32(data) = data else {
                return Err(self.operand(format!("`{}` is not float", value.name)));
            };
            let data = data.iter().map(|&v| T::of(v.into())).collect();
            let tensor = Tensor::new(value.shape.clone(), data);
            let kind = match (&self.node.op, i) {
                (Op::BatchNorm { .. }, 1) => Kind::Scale,
                (Op::BatchNorm { .. }, _) => Kind::Shift,
                (Op::Conv2d { .. } | Op::FullyConnected { .. }, 1) => Kind::Weight,
                (Op::Conv2d { .. } | Op::FullyConnected { .. }, _) => Kind::Bias,
                _ => Kind::Constant,
            };
            if norm && i >= 3 {
                program.state.insert(id, tensor);
                continue;
            }
            program.parameters.entry(id).or_insert_with(|| Parameter {
                name: value.name.clone(),
                kind,
                trainable: true,
                value: tensor,
            });
        }
        Ok(())
    }
}
