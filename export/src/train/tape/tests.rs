//! Whole programs: gradients through a network, insertions, and agreement with the runtime.

use super::check::random_tensor;
use super::*;
use crate::graph::{Data, Graph, ValueId};
use crate::train::arch::Arch;
use crate::train::objective::{Targets, cross_entropy};

fn network() -> Graph {
    Arch::ResNet8.build(&[3, 8, 8], 5, 2).expect("fits")
}

fn parameter_named(program: &Program<f64>, name: &str) -> ValueId {
    let found = program.parameters().find(|(_, p)| p.name == name);
    found.expect("there is one").0
}

fn loss(program: &mut Program<f64>) -> (f64, Tensor<f64>) {
    program.forward(random_tensor(&[4, 8, 8, 3], 3), Mode::Train);
    let targets = Targets::from_labels(&[0, 1, 4, 2], 5);
    cross_entropy(program.logits().expect("it ran"), &targets)
}

/// Compares gradients with finite differences, some elements of every parameter.
fn agrees(program: &mut Program<f64>) {
    const H: f64 = 1e-5;
    let (_, d) = loss(program);
    let gradients = program.backward(vec![(program.output(), d)]);
    let all: Vec<ValueId> = gradients.iter().map(|(id, _)| id).collect();
    assert_eq!(all.len(), program.parameters().count());
    for id in all {
        let gradient = gradients.get(id).expect("listed").clone();
        let len = gradient.data.len();
        for i in (0..len).step_by((len / 3).max(1)) {
            let mut at = |h: f64| {
                let before = program.parameter(id).expect("listed").value.data[i];
                program.parameter_mut(id).expect("listed").value.data[i] = before + h;
                let loss = loss(program).0;
                program.parameter_mut(id).expect("listed").value.data[i] = before;
                loss
            };
            let difference = (at(H) - at(-H)) / (2.0 * H);
            let got = gradient.data[i];
            assert!(
                (difference - got).abs() < 1e-6 * (1.0 + got.abs()),
                "{} [{i}]: difference {difference}, gradient {got}",
                program.name(id)
            );
        }
    }
}

#[test]
fn gradients_of_a_residual_network_equal_finite_differences() {
    agrees(&mut Program::new(&network()).expect("can be trained"));
}

/// `x [N,H,W,C]` times `g [C]`.
struct Gate;

impl Operation<f64> for Gate {
    fn forward(&mut self, inputs: &[&Tensor<f64>], context: &mut Context<f64>) -> Tensor<f64> {
        let mut y = context.buffers.copy(inputs[0]);
        for row in y.data.chunks_mut(inputs[1].data.len()) {
            row.iter_mut()
                .zip(&inputs[1].data)
                .for_each(|(y, g)| *y *= g);
        }
        y
    }

    fn backward(
        &mut self,
        inputs: &[&Tensor<f64>],
        _: &Tensor<f64>,
        mut gradient: Tensor<f64>,
        _: &[bool],
        _: &mut Context<f64>,
    ) -> Vec<Option<Tensor<f64>>> {
        let channels = inputs[1].data.len();
        let mut dg = Tensor::zeros([channels]);
        let rows = inputs[0].data.chunks(channels);
        for (x, d) in rows.zip(gradient.data.chunks_mut(channels)) {
            for c in 0..channels {
                dg.data[c] += x[c] * d[c];
                d[c] *= inputs[1].data[c];
            }
        }
        vec![Some(gradient), Some(dg)]
    }
}

#[test]
fn a_gate_behind_an_activation_has_gradients_too() {
    let graph = network();
    let mut program = Program::<f64>::new(&graph).expect("can be trained");
    let relu = graph
        .nodes
        .iter()
        .find(|n| n.name == "stack1.relu1")
        .expect("there");
    let gate = program.add_parameter("gate", Kind::Other, random_tensor(&[16], 9));
    program.intercept(relu.output, "gate", Gate, &[gate]);
    agrees(&mut program);
}

#[test]
fn what_a_clamp_had_swallowed_can_be_intercepted() {
    let graph = network();
    let mut plain = Program::<f64>::new(&graph).expect("can be trained");
    let mut program = Program::<f64>::new(&graph).expect("can be trained");
    let norm = graph
        .nodes
        .iter()
        .find(|n| n.name == "stack2.bn1")
        .expect("there");
    let same = function(Clone::clone, |_: &Tensor<f64>, d| d);
    let seen = program.intercept(norm.output, "look", same, &[]);
    assert_eq!(loss(&mut program), loss(&mut plain));
    let values = &program.value(seen).expect("kept").data;
    assert!(values.iter().any(|&v| v < 0.0));
    assert!(program.operation_mut::<BatchNorm>(norm.output).is_some());
}

#[test]
fn a_parameter_seen_through_a_function_gets_the_straight_through_gradient() {
    let graph = network();
    let mut program = Program::<f64>::new(&graph).expect("can be trained");
    let id = parameter_named(&program, "stack2.conv1.weight");
    let rounded = |w: &Tensor<f64>| {
        let data = w.data.iter().map(|v| (v * 8.0).round() / 8.0).collect();
        Tensor::new(w.shape.clone(), data)
    };
    // The gradient is the one of a network whose weights are rounded.
    let mut other = Program::<f64>::new(&graph).expect("can be trained");
    let weights = &mut other.parameter_mut(id).expect("there").value;
    *weights = rounded(weights);
    program.intercept(id, "round", straight_through(rounded), &[]);
    let [a, b] = [&mut program, &mut other].map(|program| {
        let (_, d) = loss(program);
        program.backward(vec![(program.output(), d)])
    });
    for (id, gradient) in b.iter() {
        assert_eq!(a.get(id), Some(gradient));
    }
}

#[test]
fn frozen_parameters_have_no_gradient_and_the_input_has_one_on_request() {
    let mut program = Program::<f64>::new(&network()).expect("can be trained");
    let id = parameter_named(&program, "stem.conv.weight");
    program.parameter_mut(id).expect("there").trainable = false;
    program.input_gradient = true;
    let (_, d) = loss(&mut program);
    let gradients = program.backward(vec![(program.output(), d)]);
    assert!(gradients.get(id).is_none() && gradients.get(program.input()).is_some());
}

#[test]
fn weights_go_back_into_the_graph_they_came_from() {
    let mut graph = network();
    let mut program = Program::<f32>::new(&graph).expect("can be trained");
    let id = program.parameters().next().expect("there").0;
    program.parameter_mut(id).expect("there").value.data[0] = 42.0;
    program.write_back(&mut graph);
    assert!(matches!(&graph[id].data, Some(Data::F32(v)) if v[0] == 42.0));
}

#[test]
fn the_runtime_computes_what_the_program_does() {
    let mut graph = network();
    let mut program = Program::<f32>::new(&graph).expect("can be trained");
    let x: Vec<f32> = random_tensor(&[6, 8, 8, 3], 4)
        .data
        .iter()
        .map(|&v| v as f32)
        .collect();
    for _ in 0..3 {
        program.forward(Tensor::new([6, 8, 8, 3], x.clone()), Mode::Train);
    }
    program.write_back(&mut graph);
    program.forward(Tensor::new([6, 8, 8, 3], x.clone()), Mode::Evaluate);
    let logits = program.logits().expect("it ran").clone();
    crate::passes::prepare(&mut graph);
    let compiled = crate::compile::compile(&graph, &Default::default()).expect("compiles");
    let mut runner = crate::host::Runner::new(compiled.core()).expect("runs");
    for (sample, expected) in x.chunks(192).zip(logits.data.chunks(5)) {
        // ONNX counts channels first.
        let onnx: Vec<f32> = (0..192).map(|i| sample[i % 64 * 3 + i / 64]).collect();
        let bytes: Vec<u8> = onnx.iter().flat_map(|v| v.to_le_bytes()).collect();
        let output = runner.run(&bytes, &mut ()).expect("runs");
        for (got, expected) in output[0].as_chunks().0.iter().zip(expected) {
            let got = f32::from_le_bytes(*got);
            assert!((got - expected).abs() < 1e-4, "{got} {expected}");
        }
    }
}
