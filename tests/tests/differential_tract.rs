//! Random networks, written as ONNX, against tract, which runs the literal graph.
//!
//! Float networks: every output within 10⁻⁵ of its largest magnitude, or of 10⁻³ where all that is larger has cancelled
//! out. Quantised networks: every step, fed with tract's own values, within one step of the quantisation and equal in
//! 99 % of its elements over all networks (tract multiplies by the reciprocal of a scale where ONNX divides, so values on
//! a rounding boundary may fall to the other side).

use kinglet_export::compile::CompileOptions;
use kinglet_export::graph::{Binary, Graph, Op};
use kinglet_export::model::Model;
use kinglet_export::onnx::{LoadOptions, write};
use kinglet_export::passes::prepare;
use kinglet_export::quantize::{self, Calibration, Calibrator, Options};
use kinglet_export::reference::Tract;
use kinglet_export::samples::decode;
use kinglet_export::verify::{Comparison, Forced};
use kinglet_tests::networks::Builder;
use kinglet_tests::random::Random;
use kinglet_tests::random_network::{network, sample, unsigned};
use kinglet_tests::zoo::reals;
use prost::Message;
use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto, TensorProto};

const NETWORKS: u64 = 400;

/// The network through a file: ours, tract's, and what to feed both with.
struct Case {
    model: Model,
    tract: Tract,
    inputs: Vec<u8>,
}

fn case(seed: u64, graph: &Graph) -> Result<Case, String> {
    open(&write::to_model_proto(graph), graph, seed)
}

/// A file of `graph`.
fn open(file: &ModelProto, graph: &Graph, seed: u64) -> Result<Case, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.onnx");
    std::fs::write(&path, file.encode_to_vec()).unwrap();
    let model = Model::open(&path, &LoadOptions::default(), &CompileOptions::default())
        .map_err(|e| format!("kinglet: {e}"))?;
    let inputs = graph
        .inputs
        .iter()
        .map(|&id| (graph[id].name.clone(), graph[id].shape.clone()));
    let inputs: Vec<(String, Vec<usize>)> = inputs.collect();
    let mut names: Vec<String> = model
        .steps()
        .unwrap()
        .iter()
        .map(|s| s.output.clone())
        .collect();
    names.extend(graph.outputs.iter().map(|&id| graph[id].name.clone()));
    names.sort();
    names.dedup();
    let tract = Tract::load(&path, &inputs, &names).map_err(|e| e.to_string())?;
    Ok(Case {
        model,
        tract,
        inputs: sample(graph, &mut Random::new(!seed)),
    })
}

/// Operators of a network, to be shown with a failure.
fn describe(graph: &Graph) -> String {
    let line = |n: &kinglet_export::graph::Node| {
        let shapes: Vec<_> = n.inputs.iter().map(|&id| &graph[id].shape).collect();
        format!(
            "{} -> {}: {:?} {shapes:?} -> {:?}",
            n.name, graph[n.output].name, n.op, graph[n.output].shape
        )
    };
    graph.nodes.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn float_network(seed: u64, graph: &Graph) -> Result<f64, String> {
    let case = case(seed, graph)?;
    let theirs = case.tract.run(&case.inputs).map_err(|e| e.to_string())?;
    let mut runner = case.model.runner().unwrap();
    let ours = runner.run(&case.inputs, &mut ()).unwrap();
    let plan = runner.plan().unwrap();
    let mut worst = 0.0f64;
    for (index, bytes) in ours.iter().enumerate() {
        let info = plan.output(index).unwrap();
        let ours = reals(&decode(info.dtype, bytes));
        let theirs = reals(
            theirs
                .get(info.name)
                .ok_or(format!("tract has no `{}`", info.name))?,
        );
        if ours.len() != theirs.len() {
            return Err(format!(
                "`{}` has {} elements, tract's {}",
                info.name,
                ours.len(),
                theirs.len()
            ));
        }
        let magnitude = theirs.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
        for (a, b) in ours.iter().zip(&theirs) {
            let error = (a - b).abs() / magnitude;
            if error.is_nan() || error > 1e-5 {
                return Err(format!("`{}`: {a} instead of {b}", info.name));
            }
            worst = worst.max(error);
        }
    }
    Ok(worst)
}

#[test]
fn float_networks_equal_tract() {
    let mut worst = 0.0f64;
    let mut failures = Vec::new();
    for seed in 0..NETWORKS {
        let graph = network(seed, false);
        match float_network(seed, &graph) {
            Ok(error) => worst = worst.max(error),
            Err(why) => failures.push(format!("seed {seed}: {why}\n{}", describe(&graph))),
        }
    }
    println!("{NETWORKS} networks, largest relative error {worst:.2e}");
    assert!(
        failures.is_empty(),
        "{} networks differ:\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

fn every_step_equals_tract(make: impl Fn(u64) -> Graph) {
    let (mut elements, mut different, mut integer_steps) = (0, 0, 0);
    let mut failures = Vec::new();
    for seed in 0..NETWORKS {
        let graph = make(seed);
        let outcome = case(seed, &graph).and_then(|case| {
            let values = case.tract.run(&case.inputs).map_err(|e| e.to_string())?;
            let steps = case.model.steps().unwrap();
            let mut rows = vec![Comparison::default(); steps.len()];
            let mut runner = case.model.runner().unwrap();
            runner
                .run(&case.inputs, &mut Forced::new(steps, &mut rows, &values))
                .unwrap();
            for (step, row) in steps.iter().zip(rows) {
                elements += row.elements;
                different += row.different;
                let integer = step.quantization.is_some();
                integer_steps += u32::from(integer && row.elements > 0);
                if row.largest > if integer { 1.0 } else { 1e-4 } {
                    return Err(format!(
                        "step {} -> {} ({}) is off by {}",
                        step.name, step.output, step.operator, row.largest
                    ));
                }
            }
            let outputs = graph.outputs.iter().map(|&id| &graph[id].name);
            for name in outputs {
                if !values.contains_key(name) {
                    return Err(format!("tract has no `{name}`"));
                }
            }
            Ok(())
        });
        if let Err(why) = outcome {
            failures.push(format!("seed {seed}: {why}\n{}", describe(&graph)));
        }
    }
    let equal = 1.0 - different as f64 / elements as f64;
    println!(
        "{NETWORKS} networks, {integer_steps} int8 steps, {:.4} % of {elements} elements equal",
        100.0 * equal
    );
    assert!(
        failures.is_empty(),
        "{} networks differ:\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    assert!(integer_steps > NETWORKS as u32, "most steps run in int8");
    assert!(equal >= 0.99, "{equal}");
}

#[test]
fn every_step_of_signed_networks_equals_tract() {
    every_step_equals_tract(|seed| network(seed, true));
}

#[test]
fn every_step_of_unsigned_networks_equals_tract() {
    every_step_equals_tract(|seed| unsigned(network(!seed, true)));
}

/// A random float network without divisions, which have no int8 form, calibrated on a few samples and quantised.
fn quantized(seed: u64) -> Graph {
    let divides = |graph: &Graph| {
        graph.nodes.iter().any(|n| {
            matches!(
                n.op,
                Op::Binary {
                    op: Binary::Div,
                    ..
                }
            )
        })
    };
    let mut candidates = (0..).map(|k| network(seed + k * NETWORKS, false));
    let mut graph = candidates.find(|graph| !divides(graph)).unwrap();
    prepare(&mut graph);
    let mut random = Random::new(seed);
    let samples: Vec<Vec<u8>> = (0..8).map(|_| sample(&graph, &mut random)).collect();
    let mut calibrator = Calibrator::new(&graph, Calibration::MinMax).unwrap();
    let rows = samples.iter().map(Vec::as_slice);
    quantize::observe(&graph, rows, &mut |name, values| {
        calibrator.observe(name, values)
    })
    .unwrap();
    let ranges = calibrator.finish().unwrap();
    let options = Options {
        int8_io: seed.is_multiple_of(2),
        ..Options::default()
    };
    quantize::quantize(&graph, &ranges, &options).unwrap()
}

#[test]
fn every_step_of_networks_that_we_quantised_equals_tract() {
    every_step_equals_tract(quantized);
}

/// A convolution whose channels are split and put together the other way round.
fn exchanged(quantized: bool, sizes: [usize; 3]) -> Graph {
    let mut b = Builder::new(17, quantized);
    let x = b.input("x", &[1, 3, 5, 4], 0.02, 3);
    let whole = b.conv(x, 1, 1, [1, sizes.iter().sum(), 5, 4]);
    let mut start = 0;
    let mut parts = sizes.map(|size| {
        let part = b.activation_like(whole, &[1, size, 5, 4]);
        let op = Op::Slice { axis: 1, start };
        start += size;
        b.node(op, &[whole], part)
    });
    parts.reverse();
    let y = b.activation_like(whole, &[1, sizes.iter().sum(), 5, 4]);
    let y = b.node(Op::Concat { axis: 1 }, &parts, y);
    b.graph.outputs.push(y);
    b.graph
}

/// The model with its slices replaced by one Split, of these sizes where it says them.
fn split(graph: &Graph, opset: i64, sizes: Option<[usize; 3]>) -> ModelProto {
    let mut model = write::to_model_proto(graph);
    model.opset_import[0].version = opset;
    let body = model.graph.as_mut().unwrap();
    let at = body.node.iter().position(|n| n.op_type == "Slice").unwrap();
    let slices: Vec<NodeProto> = (body.node.extract_if(.., |n| n.op_type == "Slice")).collect();
    let int = |name: &str, i: i64| AttributeProto {
        name: name.into(),
        i,
        r#type: 2,
        ..AttributeProto::default()
    };
    let mut node = NodeProto {
        op_type: "Split".into(),
        name: "split".into(),
        input: vec![slices[0].input[0].clone()],
        output: slices.iter().map(|n| n.output[0].clone()).collect(),
        attribute: vec![int("axis", 1)],
        ..NodeProto::default()
    };
    let sizes = sizes.map(|sizes| sizes.map(|s| s as i64).to_vec());
    match (opset, sizes) {
        (_, None) => node.attribute.push(int("num_outputs", 3)),
        (..13, Some(sizes)) => node.attribute.push(AttributeProto {
            ints: sizes,
            r#type: 7,
            ..int("split", 0)
        }),
        (_, Some(sizes)) => {
            node.input.push("sizes".into());
            body.initializer.push(TensorProto {
                name: "sizes".into(),
                dims: vec![3],
                data_type: 7,
                int64_data: sizes,
                ..TensorProto::default()
            });
        }
    }
    body.node.insert(at, node);
    model
}

#[test]
fn splits_equal_tract() {
    let uneven = [2, 3, 4];
    for (quantized, opset, sizes, said) in [
        (false, 11, uneven, true),
        (false, 13, uneven, true),
        (true, 13, uneven, true),
        (false, 18, [3, 3, 2], false),
        (true, 18, [3, 3, 2], false),
    ] {
        let graph = exchanged(quantized, sizes);
        let model = split(&graph, opset, said.then_some(sizes));
        let case = open(&model, &graph, 1).unwrap();
        let theirs = case.tract.run(&case.inputs).unwrap();
        let mut runner = case.model.runner().unwrap();
        let ours = runner.run(&case.inputs, &mut ()).unwrap();
        let output = runner.plan().unwrap().output(0).unwrap();
        let (ours, theirs) = (
            reals(&decode(output.dtype, &ours[0])),
            reals(&theirs[output.name]),
        );
        assert_eq!(ours.len(), theirs.len());
        let tolerance = if quantized { 1.0 } else { 1e-5 };
        for (a, b) in ours.iter().zip(&theirs) {
            assert!((a - b).abs() <= tolerance, "opset {opset}: {a} for {b}");
        }
        assert!(ours.iter().any(|&v| v != ours[0]));
    }
}
