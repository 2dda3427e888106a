//! `backslash`: after every step of the optimiser each weight is pulled towards zero, as its layer's distribution says.

use super::session::{Session, pieces, whole};
use super::{Product, StageError};
use crate::compress::gaussian::backslash::{AdaptiveShape, authors_step, step};
use crate::compress::recipe::{Backslash, Form, ShapeChoice};
use crate::graph::{Graph, ValueId};
use crate::train::method::{Method, Moment};
use crate::train::tape::{Kind, Program, Tensor};
use serde_json::json;
use std::collections::BTreeMap;

/// The rate term on all weights; the shape of a layer is estimated now and then, or fixed.
struct RateTerm<'a> {
    stage: &'a Backslash,
    shapes: BTreeMap<ValueId, AdaptiveShape>,
    parameters: usize,
}

impl<'a> RateTerm<'a> {
    fn new(stage: &'a Backslash, program: &Program<f32>) -> Self {
        let shape = || match stage.shape {
            ShapeChoice::Adaptive { every } => AdaptiveShape::new(every),
            ShapeChoice::Fixed(nu) => AdaptiveShape::fixed(nu),
        };
        let weights = program.parameters().filter(|(_, p)| p.kind == Kind::Weight);
        RateTerm {
            stage,
            shapes: weights.map(|(id, _)| (id, shape())).collect(),
            parameters: program.parameters().map(|(_, p)| p.value.data.len()).sum(),
        }
    }
}

impl Method for RateTerm<'_> {
    fn after_step(&mut self, program: &mut Program<f32>, at: &Moment) {
        let strength = self.stage.strength;
        for (&id, shape) in &mut self.shapes {
            let Some(parameter) = program.parameter_mut(id) else {
                continue;
            };
            let weights = &mut parameter.value.data;
            let nu = shape.at(at.total_steps(), weights);
            match self.stage.form {
                Form::ScaleFree => step(weights, nu, strength),
                // The recipe's strength is λ/N.
                Form::Authors => {
                    let lambda = strength * self.parameters as f64;
                    authors_step(weights, nu, lambda, self.stage.epsilon, self.parameters);
                }
            }
        }
    }

    fn save(&self) -> Vec<(String, Tensor<f32>)> {
        let state = |(id, shape): (&ValueId, &AdaptiveShape)| {
            let (next, nu) = shape.state();
            let data = pieces(next as u64).into_iter().chain(pieces(nu.to_bits()));
            (id.0.to_string(), Tensor::new([8], data.collect()))
        };
        self.shapes.iter().map(state).collect()
    }

    fn restore(&mut self, saved: Vec<(String, Tensor<f32>)>) {
        for (name, state) in saved {
            let id = name.parse().map(ValueId).ok();
            if let Some(shape) = id.and_then(|id| self.shapes.get_mut(&id)) {
                let (next, nu) = state.data.split_at(state.data.len() / 2);
                *shape = shape.resume((whole(next) as usize, f64::from_bits(whole(nu))));
            }
        }
    }
}

pub(super) fn run(
    stage: &Backslash,
    graph: &mut Graph,
    session: &mut Session<'_>,
) -> Result<Product, StageError> {
    let mut program = Program::new(graph)?;
    let mut method = RateTerm::new(stage, &program);
    session.train("training", &mut program, &stage.training, Some(&mut method))?;
    program.write_back(graph);
    let shapes: BTreeMap<&str, f64> = method
        .shapes
        .iter()
        .map(|(&id, shape)| (program.name(id), shape.state().1))
        .collect();
    let shapes = json!(shapes);
    if let Some(fine_tune) = &stage.fine_tune {
        session.train_graph("fine-tune", graph, fine_tune)?;
    }
    Ok(Product::of([("shapes", shapes)]))
}
