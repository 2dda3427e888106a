//! Small files that ask for much: refused with what exceeded what, before there is memory for it.

use kinglet_export::compile::{self, CompileOptions};
use kinglet_export::limits::{self, Limits};
use kinglet_export::onnx::{self, LoadOptions, OnnxError};
use kinglet_export::passes;
use kinglet_tests::hostile::operators::operators;
use peak_alloc::PeakAlloc;
use prost::Message;
use std::time::Instant;
use tract_onnx::pb::ModelProto;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The model of this operator, with other integers in its initialiser `a`.
fn asking(op: &str, a: &[i64]) -> ModelProto {
    let mut models = operators();
    let mut model = models
        .find(|m| m.graph.as_ref().unwrap().node[0].op_type == op)
        .unwrap();
    let graph = model.graph.as_mut().unwrap();
    let tensor = graph
        .initializer
        .iter_mut()
        .find(|t| t.name == "a")
        .unwrap();
    tensor.float_data.clear();
    tensor.data_type = 7;
    tensor.dims = vec![a.len() as i64];
    tensor.int64_data = a.to_vec();
    model
}

/// Loads, and compiles what loads; the error's text, and whether it was a limit.
fn refused(model: &ModelProto) -> (String, bool) {
    let bytes = model.encode_to_vec();
    assert!(bytes.len() < 400, "{} bytes", bytes.len());
    let limits = Limits::default();
    let loaded = onnx::decode(&bytes, &limits)
        .and_then(|proto| onnx::load_model(&proto, &LoadOptions::default()));
    match loaded {
        Ok(mut graph) => {
            passes::prepare(&mut graph);
            let compiled = compile::compile(&graph, &CompileOptions::default());
            (compiled.expect_err("refused").to_string(), false)
        }
        Err(error) => {
            let is_limit = matches!(error, OnnxError::Limit(_));
            (error.to_string(), is_limit)
        }
    }
}

#[test]
fn a_file_of_a_few_hundred_bytes_cannot_ask_for_gigabytes() {
    const LARGE: i64 = 1 << 24;
    let cases: [(&str, &[i64]); 10] = [
        ("ConstantOfShape", &[LARGE, LARGE]),
        ("ConstantOfShape", &[i64::MAX, i64::MAX]),
        ("ConstantOfShape", &[1, 2, 1 << 20, 1 << 20]),
        ("Expand", &[LARGE, 2, 4, 4]),
        ("Expand", &[i64::MAX, 2, 4, 4]),
        ("Tile", &[LARGE, LARGE, LARGE, LARGE]),
        ("Tile", &[1, 1, LARGE, 1]),
        ("Pad", &[0, 0, 1 << 40, 1, 0, 0, 1, 2]),
        ("Pad", &[0, 0, i64::MAX, 1, 0, 0, i64::MAX, 2]),
        ("Resize", &[1, 2, LARGE, LARGE]),
    ];
    for (op, a) in cases {
        ALLOCATOR.reset_peak_usage();
        let (before, start) = (ALLOCATOR.current_usage(), Instant::now());
        let (text, _) = refused(&asking(op, a));
        let taken = ALLOCATOR.peak_usage().saturating_sub(before);
        println!("{op} {a:?}: {taken} bytes: {text}");
        assert!(taken <= 16 << 20, "{op} {a:?} takes {taken} bytes");
        assert!(start.elapsed().as_secs() < 20, "{op} {a:?}");
    }
}

#[test]
fn what_exceeds_what_is_named() {
    let (text, is_limit) = refused(&asking("Expand", &[1 << 24, 2, 4, 4]));
    assert!(is_limit, "{text}");
    let limit = Limits::default().elements.to_string();
    for part in [
        "of node `node`",
        "536870912 elements",
        &limit,
        "docs/trust.md",
    ] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
}

#[test]
fn an_inference_that_would_not_end_is_refused() {
    let mut model = operators()
        .find(|m| m.graph.as_ref().unwrap().node[0].op_type == "Conv")
        .unwrap();
    let options = |macs| {
        let mut options = LoadOptions::default();
        options.limits.macs = macs;
        options
    };
    // 2 channels of 4×4 from 2 channels and 3×3 taps.
    assert!(onnx::load_model(&model, &options(576)).is_ok());
    let error = onnx::load_model(&model, &options(575)).unwrap_err();
    assert!(matches!(error, OnnxError::Limit(_)));
    assert!(
        error.to_string().contains("576 multiply-accumulates"),
        "{error}"
    );
    let limits = Limits::default();
    let graph = model.graph.as_mut().unwrap();
    graph.node = vec![graph.node[0].clone(); limits.nodes as usize + 1];
    let error = onnx::decode(&model.encode_to_vec(), &limits).unwrap_err();
    assert!(error.to_string().contains("20001 nodes"), "{error}");
}

#[test]
fn all_tensors_together_are_bounded() {
    let model = operators().next().unwrap();
    let mut options = LoadOptions::default();
    options.limits.total_elements = 100;
    let error = onnx::load_model(&model, &options).unwrap_err();
    assert!(error.to_string().contains("in all its tensors"), "{error}");
}

#[test]
fn the_documentation_has_these_limits() {
    let page = include_str!("../../docs/trust.md");
    let limits = Limits::default();
    let rows = [
        ("ONNX file", limits.file_bytes),
        ("decoded ONNX model", limits.decoded_bytes),
        ("messages within messages", limits.nesting),
        ("nodes", limits.nodes),
        ("dimensions of a tensor", limits.rank),
        ("elements of a tensor", limits.elements),
        ("elements of all tensors", limits.total_elements),
        ("multiply-accumulates of an inference", limits.macs),
        (
            "elements of a constant that is computed while a model is read",
            limits::FOLDED_ELEMENTS,
        ),
        ("plan file", limits::PLAN_BYTES),
        ("`.npy` or `.npz` file, array unpacked", limits::ARRAY_BYTES),
        ("arrays of an archive", limits::ARCHIVE_MEMBERS),
        ("file of a dataset, also unpacked", limits::DATA_BYTES),
        ("pixels of an image", limits::PICTURE_PIXELS),
        ("recipe, key", limits::TEXT_BYTES),
        (
            "checkpoint, record of a compression",
            limits::CHECKPOINT_BYTES,
        ),
        ("image for a slot", limits::IMAGE_BYTES),
    ];
    for (what, limit) in rows {
        let digits = limit.to_string();
        let grouped: Vec<&str> = digits
            .as_bytes()
            .rchunks(3)
            .rev()
            .map(|d| std::str::from_utf8(d).unwrap())
            .collect();
        let row = format!("| {what} | {} |", grouped.join(","));
        assert!(page.contains(&row), "docs/trust.md has no row {row}");
    }
}
