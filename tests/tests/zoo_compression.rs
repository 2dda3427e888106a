//! Compressed real models: what surgery on graphs promises, and ONNX Runtime on the files that it writes.
//!
//! The claims about ONNX Runtime need a Python with onnx, onnxruntime and numpy, which `KINGLET_PYTHON` names (`python3` by
//! default).

use kinglet_export::compress::formats::{Granularity, WeightFormat, dequantized};
use kinglet_export::compress::mask::{Channels, Limits, Selection, cut, masked};
use kinglet_export::compress::trp::{RankRule, Scheme, candidates, split};
use kinglet_export::files::{self, Tensor};
use kinglet_export::graph::{Data, Graph};
use kinglet_export::model::Model;
use kinglet_export::onnx::write::{to_coded_model_proto, write};
use kinglet_export::onnx::{self, LoadOptions};
use kinglet_export::passes::total_macs;
use kinglet_tests::command::script;
use kinglet_tests::zoo::{self, Golden};
use kinglet_tests::zoo_claims;
use prost::Message;
use std::path::Path;

const SAMPLES: usize = 8;

fn load(golden: Golden) -> Graph {
    onnx::load(&golden.path(), &LoadOptions::default()).unwrap()
}

/// The first golden inputs, with a leading sample axis.
fn inputs(golden: Golden) -> Tensor {
    let all = files::read_tensor(golden.inputs_path()).unwrap();
    let Data::F32(values) = all.data else {
        panic!("float inputs")
    };
    let len = values.len() / all.shape[0];
    let count = SAMPLES.min(all.shape[0]);
    let shape = [count].into_iter().chain(all.shape[1..].iter().copied());
    Tensor::f32(shape.collect(), values[..count * len].to_vec())
}

fn ours(path: &Path, inputs: &Tensor) -> Vec<f32> {
    let model = Model::open(path, &LoadOptions::default(), &Default::default()).unwrap();
    let mut runner = model.runner().unwrap();
    let Data::F32(values) = &inputs.data else {
        panic!("float inputs")
    };
    let run = |sample: &[f32]| {
        let bytes: Vec<u8> = sample.iter().flat_map(|v| v.to_le_bytes()).collect();
        let outputs = runner.run(&bytes, &mut ()).unwrap();
        let words = outputs[0].as_chunks::<4>().0;
        words
            .iter()
            .map(|&w| f32::from_le_bytes(w))
            .collect::<Vec<_>>()
    };
    values
        .chunks(values.len() / inputs.shape[0])
        .flat_map(run)
        .collect()
}

fn ours_of(graph: &Graph, inputs: &Tensor) -> Vec<f32> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    write(graph, &path).unwrap();
    ours(&path, inputs)
}

fn onnxruntime(path: &Path, output: &str, inputs: &Tensor) -> Vec<f32> {
    let folder = tempfile::tempdir().unwrap();
    let (given, values) = (
        folder.path().join("inputs.npy"),
        folder.path().join("values.npz"),
    );
    files::write_tensor(&given, inputs).unwrap();
    let status = script("reference.py")
        .args([path, &given, &values])
        .status()
        .unwrap();
    assert!(
        status.success(),
        "set KINGLET_PYTHON to a Python with onnx, onnxruntime and numpy"
    );
    let tensors = files::read_archive(&values).unwrap();
    let (_, tensor) = tensors.into_iter().find(|(n, _)| n == output).unwrap();
    let Data::F32(values) = tensor.data else {
        panic!("float outputs")
    };
    values
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()))
}

/// Every third channel of each layer.
fn a_third(channels: &Channels) -> Selection {
    let scores = channels.groups().iter().map(|g| {
        (0..g.channels.len())
            .map(|i| f32::from(u8::from(i % 3 != 0)))
            .collect()
    });
    Selection::uniform(channels, &scores.collect(), 0.7, Limits::default()).unwrap()
}

/// Removed channels move exactly where no border is padded. Elsewhere it is an approximation (before statistics are
/// estimated again), and `limit` guards how good it is on these inputs, relative to the largest output.
fn a_cut_model_equals_the_masked_one(golden: Golden, limit: f32) {
    let graph = load(golden);
    let channels = Channels::analyse(&graph);
    let selection = a_third(&channels);
    let mut small = graph.clone();
    let report = cut(&mut small, &channels, &selection).unwrap();
    assert_eq!(report.macs[1], total_macs(&small));
    assert!(report.macs[1] < report.macs[0] * 3 / 4);
    let x = inputs(golden);
    let masked = ours_of(&masked(&graph, &channels, &selection), &x);
    let difference = apart(&masked, &ours_of(&small, &x));
    let largest = masked.iter().fold(1.0f32, |m, v| m.max(v.abs()));
    println!(
        "{}: {:?} MACs, {} layers inexact, {difference} apart",
        golden.model,
        report.macs,
        report.inexact.len()
    );
    assert!(difference <= limit * largest);
}

fn resnet_has_its_streams_and_blocks() {
    let graph = load(zoo::RESNET_FLOAT);
    let channels = Channels::analyse(&graph);
    let streams: Vec<usize> = channels
        .groups()
        .iter()
        .filter(|g| g.is_residual())
        .map(|g| g.channels.len())
        .collect();
    assert_eq!(streams, [16, 32, 64]);
    let blocks = kinglet_export::compress::gate::blocks(&graph);
    let identity: Vec<bool> = blocks.iter().map(|b| b.identity).collect();
    assert_eq!(identity, [true, false, false]);
}

zoo_claims! {
    resnet_streams_and_blocks_are_found: resnet_has_its_streams_and_blocks();
    a_cut_resnet_equals_the_masked_one: a_cut_model_equals_the_masked_one(zoo::RESNET_FLOAT, 0.2);
    a_cut_kws_equals_the_masked_one: a_cut_model_equals_the_masked_one(zoo::KWS_FLOAT, 1e-5);
    a_cut_autoencoder_equals_the_masked_one: a_cut_model_equals_the_masked_one(zoo::AD_FLOAT, 1e-5);
    a_cut_vww_equals_the_masked_one: a_cut_model_equals_the_masked_one(zoo::VWW_FLOAT, 0.05);
}

#[test]
#[ignore = "needs the model zoo and onnxruntime"]
fn onnxruntime_reads_codes_with_a_table_as_the_floats_they_mean() {
    let golden = zoo::RESNET_FLOAT;
    let (graph, x) = (load(golden), inputs(golden));
    let output = graph[graph.outputs[0]].name.clone();
    for format in WeightFormat::ALL {
        for granularity in [Granularity::Tensor, Granularity::Channel] {
            let mut plain = graph.clone();
            let coded = dequantized(&mut plain, format, granularity);
            let folder = tempfile::tempdir().unwrap();
            let (floats, table) = (
                folder.path().join("floats.onnx"),
                folder.path().join("table.onnx"),
            );
            write(&plain, &floats).unwrap();
            std::fs::write(&table, to_coded_model_proto(&plain, &coded).encode_to_vec()).unwrap();
            let (a, b) = (
                onnxruntime(&floats, &output, &x),
                onnxruntime(&table, &output, &x),
            );
            // It packs initialisers, and sums in another order then.
            assert!(apart(&a, &b) < 1e-5, "{}", format.name());
            assert_eq!(ours(&floats, &x), ours(&table, &x), "{}", format.name());
            assert!(apart(&a, &ours(&table, &x)) < 1e-4);
        }
    }
}

#[test]
#[ignore = "needs the model zoo and onnxruntime"]
fn onnxruntime_runs_split_and_cut_models_as_we_do() {
    let golden = zoo::RESNET_FLOAT;
    let (graph, x) = (load(golden), inputs(golden));
    let output = graph[graph.outputs[0]].name.clone();
    let mut models = Vec::new();
    for scheme in [Scheme::Channel, Scheme::Spatial, Scheme::Decoupled] {
        let mut small = graph.clone();
        let all = candidates(&graph, scheme, false);
        let rule = RankRule::Energy(0.8);
        let report = split(&mut small, &all, scheme, |_, svd| Some(svd.rank(rule))).unwrap();
        assert!(report.iter().any(|l| l.split));
        models.push(small);
    }
    let channels = Channels::analyse(&graph);
    let mut small = graph.clone();
    cut(&mut small, &channels, &a_third(&channels)).unwrap();
    models.push(small);
    for model in models {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        write(&model, &path).unwrap();
        assert!(apart(&onnxruntime(&path, &output, &x), &ours(&path, &x)) < 1e-4);
    }
}
