//! Changing a program: what methods insert, and the fusion that must not hide anything from them.

use super::operation::Operation;
use super::ops::batch_norm::BatchNorm;
use super::ops::unary::Unary;
use super::program::{Kind, Parameter, Program, Step};
use super::tensor::Tensor;
use crate::graph::{Clamp, Unary as Function, ValueId};
use crate::train::tensor::Real;
use std::any::Any;

impl<T: Real> Program<T> {
    /// Adds a parameter that the graph does not have, for steps that a method adds.
    pub fn add_parameter(
        &mut self,
        name: impl Into<String>,
        kind: Kind,
        value: Tensor<T>,
    ) -> ValueId {
        let name = name.into();
        self.names.push(name.clone());
        let id = ValueId(self.names.len() - 1);
        let parameter = Parameter {
            name,
            kind,
            trainable: true,
            value,
        };
        self.parameters.insert(id, parameter);
        id
    }

    /// Adds a step, as early as its operands allow, and returns its result's id. Nothing reads the result yet.
    pub fn append(
        &mut self,
        name: impl Into<String>,
        op: impl Operation<T>,
        inputs: Vec<ValueId>,
    ) -> ValueId {
        for &id in &inputs {
            self.expose(id);
        }
        let name = name.into();
        self.names.push(name.clone());
        let output = ValueId(self.names.len() - 1);
        let produced = |s: &Step<T>| inputs.contains(&s.output);
        let at = self.steps.iter().rposition(produced).map_or(0, |i| i + 1);
        let step = Step {
            name,
            op: Box::new(op),
            inputs,
            output,
            hidden: None,
        };
        self.steps.insert(at, step);
        output
    }

    /// Puts an operation behind a value: it takes the value and `others`, and whatever read the value reads its result,
    /// except what the result itself is made of.
    ///
    /// The value may be a parameter (which then is seen through a function), an activation or the input.
    pub fn intercept(
        &mut self,
        value: ValueId,
        name: impl Into<String>,
        op: impl Operation<T>,
        others: &[ValueId],
    ) -> ValueId {
        let mut inputs = vec![value];
        inputs.extend(others);
        let result = self.append(name, op, inputs);
        let mut above = vec![result];
        let mut makes = vec![false; self.steps.len()];
        while let Some(id) = above.pop() {
            if let Some(i) = self.steps.iter().position(|s| s.output == id)
                && !std::mem::replace(&mut makes[i], true)
            {
                above.extend(&self.steps[i].inputs);
            }
        }
        for (step, _) in self
            .steps
            .iter_mut()
            .zip(&makes)
            .filter(|(_, makes)| !**makes)
        {
            for input in &mut step.inputs {
                if *input == value {
                    *input = result;
                }
            }
        }
        if self.output == value {
            self.output = result;
        }
        self.sort();
        result
    }

    /// The operation that computes a value, if it is an `O`.
    pub fn operation_mut<O: Operation<T>>(&mut self, output: ValueId) -> Option<&mut O> {
        let matches = |s: &&mut Step<T>| {
            s.output == output || s.hidden.as_ref().is_some_and(|h| h.0 == output)
        };
        let step = self.steps.iter_mut().find(matches)?;
        (&mut *step.op as &mut dyn Any).downcast_mut()
    }

    /// All operations of one type.
    pub fn operations_mut<O: Operation<T>>(&mut self) -> impl Iterator<Item = &mut O> {
        self.steps
            .iter_mut()
            .filter_map(|s| (&mut *s.op as &mut dyn Any).downcast_mut())
    }

    /// Makes a value that was computed in one step with a clamp after it a value of its own.
    pub fn expose(&mut self, value: ValueId) {
        let hidden = |s: &Step<T>| s.hidden.as_ref().is_some_and(|h| h.0 == value);
        let Some(i) = self.steps.iter().position(hidden) else {
            return;
        };
        let step = &mut self.steps[i];
        if let (Some((_, clamp, name)), Some(norm)) = (
            step.hidden.take(),
            (&mut *step.op as &mut dyn Any).downcast_mut::<BatchNorm>(),
        ) {
            norm.clamp = Clamp::NONE;
            let output = std::mem::replace(&mut step.output, value);
            let step = Step {
                name,
                op: Box::new(Unary(Function::Clamp(clamp))),
                inputs: vec![value],
                output,
                hidden: None,
            };
            self.steps.insert(i + 1, step);
        }
    }

    /// Computes batch-norms and clamps after them, that nobody else looks between, in one step each.
    pub(super) fn fuse(&mut self) {
        let mut i = 0;
        while i < self.steps.len() {
            let step = &mut self.steps[i];
            let clamp = match (&mut *step.op as &mut dyn Any).downcast_ref::<Unary>() {
                Some(&Unary(Function::Clamp(clamp))) => clamp,
                _ => {
                    i += 1;
                    continue;
                }
            };
            let (value, output, name) = (step.inputs[0], step.output, step.name.clone());
            let readers = self.steps.iter().flat_map(|s| &s.inputs);
            let alone = readers.filter(|&&id| id == value).count() == 1 && self.output != value;
            let producer = self.steps[..i].iter_mut().find(|s| s.output == value);
            match producer {
                Some(step) if alone => {
                    match (&mut *step.op as &mut dyn Any).downcast_mut::<BatchNorm>() {
                        Some(norm) => norm.clamp = clamp,
                        None => {
                            i += 1;
                            continue;
                        }
                    }
                    step.output = output;
                    step.hidden = Some((value, clamp, name));
                    self.steps.remove(i);
                }
                _ => i += 1,
            }
        }
    }

    /// Brings the steps into an order in which operands come first, keeping the old one as far as possible.
    fn sort(&mut self) {
        let mut rest = std::mem::take(&mut self.steps);
        while !rest.is_empty() {
            let ready = rest
                .iter()
                .position(|s| !rest.iter().any(|other| s.inputs.contains(&other.output)));
            // There are no cycles: an interception excludes what its result is made of.
            let step = rest.remove(ready.unwrap_or(0));
            self.steps.push(step);
        }
    }
}
