//! ONNX's own backend node tests, as the Python package `onnx` has them: all whose operators are ours, compiled and run here.
//!
//! The result is the page docs/conformance.md: `KINGLET_UPDATE_TABLES=1` writes it, and the test fails when it is not what the run
//! gives, or when any result is wrong. `tests/conformance.py` writes the cases; without a Python that has `onnx`
//! (`KINGLET_PYTHON`, `python3` by default) this is skipped, except in CI.

use kinglet_export::compile::{CompileOptions, compile};
use kinglet_export::graph::Data;
use kinglet_export::host::Runner;
use kinglet_export::onnx::{self, LoadOptions};
use kinglet_export::passes::prepare;
use kinglet_export::samples::decode;
use kinglet_tests::command::script;
use prost::Message;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use tract_onnx::pb::{ModelProto, TensorProto, tensor_proto::DataType};

/// What became of a case.
#[derive(Clone, PartialEq, Debug)]
enum Outcome {
    Passed,
    /// Its further operands are constants in any real model, and were made some.
    PassedWithConstants,
    Refused(String),
    Wrong(String),
}

/// Elements of a tensor as reals.
fn reals(tensor: &TensorProto) -> Option<Vec<f64>> {
    let raw = &tensor.raw_data;
    fn words<const N: usize>(raw: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
        raw.chunks_exact(N).filter_map(|word| word.try_into().ok())
    }
    let integers = || tensor.int32_data.iter().map(|&v| f64::from(v)).collect();
    Some(match DataType::try_from(tensor.data_type).ok()? {
        DataType::Float if raw.is_empty() => {
            tensor.float_data.iter().map(|&v| f64::from(v)).collect()
        }
        DataType::Float => words(raw).map(f32::from_le_bytes).map(f64::from).collect(),
        DataType::Int64 if raw.is_empty() => tensor.int64_data.iter().map(|&v| v as f64).collect(),
        DataType::Int64 => words(raw).map(|w| i64::from_le_bytes(w) as f64).collect(),
        DataType::Int32 | DataType::Bool | DataType::Int8 | DataType::Uint8 if raw.is_empty() => {
            integers()
        }
        DataType::Int32 => words(raw).map(i32::from_le_bytes).map(f64::from).collect(),
        DataType::Bool | DataType::Uint8 => raw.iter().map(|&v| f64::from(v)).collect(),
        DataType::Int8 => raw.iter().map(|&v| f64::from(v as i8)).collect(),
        _ => return None,
    })
}

fn tensors(folder: &Path, which: &str) -> Vec<TensorProto> {
    (0..)
        .map_while(|i| fs::read(folder.join(format!("{which}_{i}.pb"))).ok())
        .map(|bytes| TensorProto::decode(bytes.as_slice()).unwrap())
        .collect()
}

/// Compiles the model, with the inputs from `constants` on as initialisers, and compares its outputs.
fn attempt(
    model: &ModelProto,
    inputs: &[TensorProto],
    outputs: &[TensorProto],
    constants: usize,
) -> Outcome {
    let mut model = model.clone();
    let graph = model.graph.as_mut().unwrap();
    let given = graph.input.len();
    for (input, tensor) in graph.input.iter().zip(inputs).skip(constants) {
        let name = input.name.clone();
        let tensor = tensor.clone();
        graph.initializer.push(TensorProto { name, ..tensor });
    }
    graph.input.truncate(constants.min(given));
    let mut graph = match onnx::load_model(&model, &LoadOptions::default()) {
        Ok(graph) => graph,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    prepare(&mut graph);
    let compiled = match compile(&graph, &CompileOptions::default()) {
        Ok(compiled) => compiled,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    let mut runner = Runner::new(&compiled.file).unwrap();
    let plan = runner.plan().unwrap();
    let mut sample = Vec::new();
    let mut types = Vec::new();
    for (i, tensor) in inputs.iter().take(plan.input_count()).enumerate() {
        let info = plan.input(i).unwrap();
        let Some(reals) = reals(tensor) else {
            return Outcome::Refused("a type of its data".into());
        };
        for v in reals {
            match info.dtype {
                kinglet::format::DType::F32 => sample.extend((v as f32).to_le_bytes()),
                kinglet::format::DType::I32 => sample.extend((v as i32).to_le_bytes()),
                kinglet::format::DType::I8 => sample.push(v as i8 as u8),
                kinglet::format::DType::U8 => sample.push(v as u8),
            }
        }
    }
    for i in 0..plan.output_count() {
        let info = plan.output(i).unwrap();
        types.push((info.dtype, info.shape().to_vec()));
    }
    let results = match runner.run(&sample, &mut ()) {
        Ok(results) => results,
        Err(error) => return Outcome::Wrong(error.to_string()),
    };
    for ((bytes, (dtype, shape)), expected) in results.iter().zip(&types).zip(outputs) {
        let Some(theirs) = reals(expected) else {
            return Outcome::Refused("a type of its result".into());
        };
        let dims: Vec<usize> = expected.dims.iter().map(|&d| d as usize).collect();
        if *shape != dims {
            return Outcome::Wrong(format!("shape {shape:?}, expected {dims:?}"));
        }
        let ours: Vec<f64> = match decode(*dtype, bytes) {
            Data::F32(v) => v.iter().map(|&v| f64::from(v)).collect(),
            Data::I32(v) => v.iter().map(|&v| f64::from(v)).collect(),
            Data::I8(v) => v.iter().map(|&v| f64::from(v)).collect(),
            Data::U8(v) => v.iter().map(|&v| f64::from(v)).collect(),
            Data::I64(v) => v.iter().map(|&v| v as f64).collect(),
        };
        for (i, (a, b)) in ours.iter().zip(&theirs).enumerate() {
            let close = (a - b).abs() <= 1e-6 + 1e-3 * b.abs();
            if !(close || a == b || (a.is_nan() && b.is_nan())) {
                return Outcome::Wrong(format!("element {i} is {a}, expected {b}"));
            }
        }
    }
    match constants < given {
        true => Outcome::PassedWithConstants,
        false => Outcome::Passed,
    }
}

/// The operator a case is about: its only one, or the one that its name begins with.
fn operator(name: &str, model: &ModelProto) -> String {
    let nodes = &model.graph.as_ref().unwrap().node;
    match &nodes[..] {
        [only] => only.op_type.clone(),
        _ => {
            let plain = name.trim_start_matches("test_");
            plain.split('_').next().unwrap_or(plain).to_owned()
        }
    }
}

fn run(folder: &Path) -> Option<(String, String, Outcome)> {
    let name = folder.file_name()?.to_str()?.to_owned();
    let model = fs::read(folder.join("model.onnx")).ok()?;
    let model = ModelProto::decode(model.as_slice()).ok()?;
    let graph = model.graph.as_ref()?;
    let ours: Vec<&str> = onnx::operators().collect();
    let known = |op: &str| ours.contains(&op);
    // One node an operator: what ONNX expands its functions to repeats these.
    if graph.node.len() != 1 || !known(&graph.node[0].op_type) || !graph.node[0].domain.is_empty() {
        return None;
    }
    let (inputs, outputs) = (tensors(folder, "input"), tensors(folder, "output"));
    if inputs.len() != graph.input.len() {
        return None;
    }
    let empty = |tensor: &TensorProto| tensor.dims.contains(&0);
    if inputs.iter().take(1).chain(&outputs).any(empty) {
        let outcome = Outcome::Refused("an empty tensor".into());
        return Some((operator(&name, &model), name, outcome));
    }
    let mut outcome = attempt(&model, &inputs, &outputs, inputs.len());
    if matches!(outcome, Outcome::Refused(_)) && inputs.len() > 1 {
        let second = attempt(&model, &inputs, &outputs, 1);
        if !matches!(second, Outcome::Refused(_)) {
            outcome = second;
        }
    }
    Some((operator(&name, &model), name, outcome))
}

fn page(results: &[(String, String, Outcome)]) -> String {
    let mut operators: BTreeMap<&str, [Vec<&str>; 3]> = BTreeMap::new();
    for (operator, name, outcome) in results {
        let at = match outcome {
            Outcome::Passed => 0,
            Outcome::PassedWithConstants => 1,
            _ => 2,
        };
        let name = name.trim_start_matches("test_");
        operators.entry(operator).or_default()[at].push(name);
    }
    let count = |at: usize| operators.values().map(|o| o[at].len()).sum::<usize>();
    let mut page = format!(
        "# Conformance\n\n\
         ONNX's own backend node tests for every operator that Kinglet runs or folds, compiled for the host and run: of {} cases\n\
         {} pass with every operand computed, {} pass where the operands behind the first are constants (weights, shapes, axes),\n\
         {} are refused with an error, none gives a wrong result. Results agree within 10⁻⁶ + 10⁻³ of the expected value, shapes exactly.\n\n\
         Refused are types that a plan does not have (float64, float16 results, strings, integers of other widths), empty tensors,\n\
         models that compute nothing, and the attributes that the error names. ONNX's expansions of functions into other operators\n\
         are not counted: they repeat these tests.\n\n\
         Made by `KINGLET_UPDATE_TABLES=1 cargo test --release -p kinglet-tests --test conformance`, which needs a Python with the package\n\
         `onnx` (`KINGLET_PYTHON`).\n\n\
         | operator | pass | with constants | refused |\n|---|---:|---:|---|\n",
        results.len(),
        count(0),
        count(1),
        count(2),
    );
    for (operator, [passed, constants, refused]) in &operators {
        let _infallible = writeln!(
            page,
            "| {operator} | {} | {} | {} |",
            passed.len(),
            constants.len(),
            refused.join(", ")
        );
    }
    page
}

#[test]
fn onnx_s_own_node_tests_pass_or_are_refused_as_the_page_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = script("conformance.py");
    command.arg(folder.path());
    let written = command.status().is_ok_and(|status| status.success());
    if !written && std::env::var_os("CI").is_none() {
        println!("skipped: it takes a Python with the package `onnx` (KINGLET_PYTHON)");
        return;
    }
    assert!(written, "{command:?} failed");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    let results: Vec<_> = cases.par_iter().filter_map(|case| run(case)).collect();
    assert!(results.len() > 500, "{} cases in scope", results.len());
    let wrong: Vec<_> = results
        .iter()
        .filter(|(_, _, outcome)| matches!(outcome, Outcome::Wrong(_)))
        .collect();
    for (_, name, outcome) in &results {
        if let Outcome::Refused(why) = outcome {
            println!("{name}: {why}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let made = page(&results);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
    if std::env::var_os("KINGLET_UPDATE_TABLES").is_some_and(|value| value == "1") {
        fs::write(&path, &made).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == made,
        "docs/conformance.md is not what the tests give: run this one with KINGLET_UPDATE_TABLES=1"
    );
}
