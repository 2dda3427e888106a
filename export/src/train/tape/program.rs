//! Steps in order, with the parameters and values that they work on.

use super::kernels::rows;
use super::operation::{Context, Mode, Operation};
use super::tensor::{Buffers, Tensor};
use crate::graph::{Clamp, Data, Graph, ValueId};
use crate::train::tensor::Real;
use std::collections::BTreeMap;

/// What a parameter is to its layer; optimisers and methods choose by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Weights of a convolution or a fully connected layer.
    Weight,
    /// Their bias.
    Bias,
    /// Batch-norm's scale (gamma).
    Scale,
    /// Batch-norm's bias (beta).
    Shift,
    /// An operand of an element-wise operator.
    Constant,
    /// A method's own.
    Other,
}

/// A tensor that is trained, as ONNX has it.
#[derive(Clone, PartialEq, Debug)]
pub struct Parameter<T> {
    /// Its name in the graph.
    pub name: String,
    /// What it is to its layer.
    pub kind: Kind,
    /// Whether it has a gradient.
    pub trainable: bool,
    /// Contents; the shape is ONNX's.
    pub value: Tensor<T>,
}

/// Gradients of the loss by parameter (and by input, if asked for).
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Gradients<T>(BTreeMap<ValueId, Tensor<T>>);

impl<T> Gradients<T> {
    /// The gradient of a parameter; `None` if the loss does not depend on it.
    pub fn get(&self, id: ValueId) -> Option<&Tensor<T>> {
        self.0.get(&id)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: ValueId) -> Option<&mut Tensor<T>> {
        self.0.get_mut(&id)
    }

    /// All gradients, by id.
    pub fn iter(&self) -> impl Iterator<Item = (ValueId, &Tensor<T>)> {
        self.0.iter().map(|(&id, gradient)| (id, gradient))
    }
}

pub(super) struct Step<T> {
    pub(super) name: String,
    pub(super) op: Box<dyn Operation<T>>,
    pub(super) inputs: Vec<ValueId>,
    pub(super) output: ValueId,
    /// The batch-norm's own result, where the step is one with the clamp after it.
    pub(super) hidden: Option<(ValueId, Clamp, String)>,
}

/// A trainable network. See the [module's description](super).
pub struct Program<T> {
    pub(super) steps: Vec<Step<T>>,
    /// Names of values; [`ValueId`]s beyond the graph's are the program's own.
    pub(super) names: Vec<String>,
    pub(super) parameters: BTreeMap<ValueId, Parameter<T>>,
    /// Batch-norm's running statistics.
    pub(super) state: BTreeMap<ValueId, Tensor<T>>,
    pub(super) input: ValueId,
    /// Shape of one sample at the input, as ONNX has it.
    pub(super) input_shape: Vec<usize>,
    pub(super) output: ValueId,
    values: BTreeMap<ValueId, Tensor<T>>,
    context: Context<T>,
    /// Whether a backward pass also gives the input's gradient.
    pub input_gradient: bool,
}

impl<T: Real> Program<T> {
    pub(super) fn empty(
        names: Vec<String>,
        input: ValueId,
        input_shape: Vec<usize>,
        output: ValueId,
    ) -> Self {
        Program {
            steps: Vec::new(),
            names,
            parameters: BTreeMap::new(),
            state: BTreeMap::new(),
            input,
            input_shape,
            output,
            values: BTreeMap::new(),
            context: Context {
                mode: Mode::Evaluate,
                buffers: Buffers::default(),
            },
            input_gradient: false,
        }
    }

    /// The value that the loss is taken of: the graph's output, or what goes into a Softmax that ends it.
    pub fn output(&self) -> ValueId {
        self.output
    }

    /// The value that samples are given as.
    pub fn input(&self) -> ValueId {
        self.input
    }

    /// Shape of one sample, as ONNX has it (`[C, H, W]`, say).
    pub fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }

    /// A value's name.
    pub fn name(&self, id: ValueId) -> &str {
        self.names.get(id.0).map_or("", String::as_str)
    }

    /// All parameters, by id.
    pub fn parameters(&self) -> impl Iterator<Item = (ValueId, &Parameter<T>)> {
        self.parameters.iter().map(|(&id, p)| (id, p))
    }

    /// All parameters, to be changed.
    pub fn parameters_mut(&mut self) -> impl Iterator<Item = (ValueId, &mut Parameter<T>)> {
        self.parameters.iter_mut().map(|(&id, p)| (id, p))
    }

    /// A parameter.
    pub fn parameter(&self, id: ValueId) -> Option<&Parameter<T>> {
        self.parameters.get(&id)
    }

    /// A parameter, to be changed.
    pub fn parameter_mut(&mut self, id: ValueId) -> Option<&mut Parameter<T>> {
        self.parameters.get_mut(&id)
    }

    /// The parameters that meet the input: operands of the steps that read it, or what steps without parameters make of it.
    /// A parameter that is seen through a function (fake quantisation) is met where its image is.
    pub fn first_parameters(&self) -> Vec<ValueId> {
        let mut images: BTreeMap<ValueId, ValueId> = BTreeMap::new();
        let mut values = vec![self.input];
        let mut found = Vec::new();
        for step in &self.steps {
            let parameter = |id: &ValueId| match images.get(id) {
                Some(&of) => Some(of),
                None => self.parameters.contains_key(id).then_some(*id),
            };
            let parameters: Vec<ValueId> = step.inputs.iter().filter_map(parameter).collect();
            if step.inputs.iter().any(|id| values.contains(id)) {
                if parameters.is_empty() {
                    values.push(step.output);
                }
                found.extend(parameters);
            } else if let ([_], [of]) = (&step.inputs[..], &parameters[..]) {
                images.insert(step.output, *of);
            }
        }
        found
    }

    /// Batch-norm's running statistics, by id.
    pub fn state(&self) -> impl Iterator<Item = (ValueId, &Tensor<T>)> {
        self.state.iter().map(|(&id, s)| (id, s))
    }

    /// The same, to be changed.
    pub fn state_mut(&mut self) -> impl Iterator<Item = (ValueId, &mut Tensor<T>)> {
        self.state.iter_mut().map(|(&id, s)| (id, s))
    }

    /// Runs all steps on a batch, stored channels last if it has rank 4.
    ///
    /// In training mode all values stay for [`Self::backward`] and [`Self::value`]; otherwise only the output does.
    pub fn forward(&mut self, batch: Tensor<T>, mode: Mode) {
        for (_, old) in std::mem::take(&mut self.values) {
            self.context.buffers.give(old.data);
        }
        self.context.mode = mode;
        self.values.insert(self.input, batch);
        let Program {
            steps,
            parameters,
            state,
            values,
            context,
            output,
            ..
        } = self;
        let mut last_use: BTreeMap<ValueId, usize> = BTreeMap::new();
        for (i, step) in steps.iter().enumerate() {
            last_use.extend(step.inputs.iter().map(|&id| (id, i)));
        }
        for (i, step) in steps.iter_mut().enumerate() {
            let inputs: Vec<&Tensor<T>> = step
                .inputs
                .iter()
                .filter_map(|id| find(parameters, state, values, *id))
                .collect();
            let result = step.op.forward(&inputs, context);
            if mode == Mode::Train {
                for (operand, contents) in step.op.updates() {
                    if let Some(state) = state.get_mut(&step.inputs[operand]) {
                        *state = contents;
                    }
                }
            }
            values.insert(step.output, result);
            if mode == Mode::Evaluate {
                for id in &step.inputs {
                    if last_use.get(id) == Some(&i)
                        && id != output
                        && let Some(value) = values.remove(id)
                    {
                        context.buffers.give(value.data);
                    }
                }
            }
        }
    }

    /// The output of the last forward pass.
    pub fn logits(&self) -> Option<&Tensor<T>> {
        self.values.get(&self.output)
    }

    /// A value of the last forward pass in training mode.
    pub fn value(&self, id: ValueId) -> Option<&Tensor<T>> {
        find(&self.parameters, &self.state, &self.values, id)
    }

    /// Gradients of all trainable parameters, from the gradients of the values that the loss is made of.
    ///
    /// Follows a forward pass in training mode, whose values it uses up.
    pub fn backward(&mut self, seeds: Vec<(ValueId, Tensor<T>)>) -> Gradients<T> {
        let Program {
            steps,
            parameters,
            state,
            values,
            context,
            ..
        } = self;
        let mut depends: BTreeMap<ValueId, bool> = parameters
            .iter()
            .map(|(&id, p)| (id, p.trainable))
            .collect();
        depends.insert(self.input, self.input_gradient);
        for step in steps.iter() {
            let any = step.inputs.iter().any(|id| depends.get(id) == Some(&true));
            depends.insert(step.output, any);
        }
        let mut gradients: BTreeMap<ValueId, Tensor<T>> = BTreeMap::new();
        for (id, seed) in seeds {
            accumulate(&mut gradients, id, seed, context);
        }
        for step in steps.iter_mut().rev() {
            let Some(gradient) = gradients.remove(&step.output) else {
                continue;
            };
            let output = values.remove(&step.output);
            let wanted: Vec<bool> = step
                .inputs
                .iter()
                .map(|id| depends.get(id) == Some(&true))
                .collect();
            if let Some(output) = output {
                if wanted.contains(&true) {
                    let inputs: Vec<&Tensor<T>> = step
                        .inputs
                        .iter()
                        .filter_map(|id| find(parameters, state, values, *id))
                        .collect();
                    let results = step
                        .op
                        .backward(&inputs, &output, gradient, &wanted, context);
                    for ((&id, result), wanted) in step.inputs.iter().zip(results).zip(wanted) {
                        match result {
                            Some(result) if wanted => {
                                accumulate(&mut gradients, id, result, context);
                            }
                            Some(result) => context.buffers.give(result.data),
                            None => {}
                        }
                    }
                }
                context.buffers.give(output.data);
            }
        }
        gradients.retain(|id, _| depends.get(id) == Some(&true));
        Gradients(gradients)
    }

    /// The first parameter or value that holds a NaN or an infinity, in the order of computation.
    ///
    /// For values, follows a forward pass in training mode.
    pub fn first_non_finite(&self) -> Option<String> {
        let bad = |tensor: &Tensor<T>| tensor.data.iter().any(|v| !v.is_finite());
        if self.values.get(&self.input).is_some_and(bad) {
            return Some(format!("the input `{}`", self.name(self.input)));
        }
        for step in &self.steps {
            for id in &step.inputs {
                if self.parameters.get(id).is_some_and(|p| bad(&p.value))
                    || self.state.get(id).is_some_and(bad)
                {
                    return Some(format!(
                        "parameter `{}` of layer `{}`",
                        self.name(*id),
                        step.name
                    ));
                }
            }
            if self.values.get(&step.output).is_some_and(bad) {
                return Some(format!("the result of layer `{}`", step.name));
            }
        }
        None
    }

    /// Writes parameters and running statistics back into the graph that the program was made from.
    pub fn write_back(&self, graph: &mut Graph) {
        let parameters = self.parameters.iter().map(|(id, p)| (id, &p.value));
        for (id, tensor) in parameters.chain(&self.state) {
            if let Some(value) = graph.values.get_mut(id.0) {
                let data = tensor.data.iter().map(|v| v.double() as f32).collect();
                value.data = Some(Data::F32(data));
            }
        }
    }

    /// Forgets values and free memory.
    pub fn release(&mut self) {
        self.values.clear();
        self.context.buffers.clear();
    }
}

fn find<'a, T>(
    parameters: &'a BTreeMap<ValueId, Parameter<T>>,
    state: &'a BTreeMap<ValueId, Tensor<T>>,
    values: &'a BTreeMap<ValueId, Tensor<T>>,
    id: ValueId,
) -> Option<&'a Tensor<T>> {
    let parameter = parameters.get(&id).map(|p| &p.value);
    parameter
        .or_else(|| state.get(&id))
        .or_else(|| values.get(&id))
}

fn accumulate<T: Real>(
    gradients: &mut BTreeMap<ValueId, Tensor<T>>,
    id: ValueId,
    gradient: Tensor<T>,
    context: &mut Context<T>,
) {
    match gradients.get_mut(&id) {
        Some(sum) => {
            rows::add(&mut sum.data, &gradient.data);
            context.buffers.give(gradient.data);
        }
        None => {
            gradients.insert(id, gradient);
        }
    }
}
