//! The model that Kinglet trained itself, all the way: golden outputs, linked in, loaded, on the device.

use kinglet_export::compile::CompileOptions;
use kinglet_export::emulate::{Mode, Request, board, emulate};
use kinglet_export::files::read_tensor;
use kinglet_export::graph::Data;
use kinglet_export::model::Model;
use kinglet_export::onnx::LoadOptions;
use kinglet_export::train::accuracy;
use std::path::{Path, PathBuf};

kinglet::model!(Digits, "../models/digits_int8.kinglet");

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("models")
        .join(name)
}

fn floats(name: &str) -> Vec<f32> {
    match read_tensor(file(name)).unwrap().data {
        Data::F32(values) => values,
        other => panic!("{name} holds {:?}", other.dtype()),
    }
}

fn labels() -> Vec<u8> {
    match read_tensor(file("digits_labels.npy")).unwrap().data {
        Data::U8(labels) => labels,
        other => panic!("labels are {:?}", other.dtype()),
    }
}

fn open(name: &str) -> Model {
    Model::open(
        &file(name),
        &LoadOptions::default(),
        &CompileOptions::default(),
    )
    .unwrap()
}

/// The images as bytes, one item a sample.
fn samples() -> Vec<Vec<u8>> {
    let images = floats("digits_images.npy");
    images
        .chunks(64)
        .map(|image| image.iter().flat_map(|p| p.to_le_bytes()).collect())
        .collect()
}

fn scores(model: &Model) -> Vec<f32> {
    let samples = samples();
    let outputs = model
        .runner()
        .unwrap()
        .run_all(samples.iter().map(Vec::as_slice), &mut ())
        .unwrap();
    let bytes = outputs.concat().concat();
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|&word| f32::from_le_bytes(word))
        .collect()
}

#[test]
fn the_float_model_equals_onnx_runtime() {
    let (ours, theirs) = (scores(&open("digits.onnx")), floats("digits_scores.npy"));
    let largest = theirs.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    for (a, b) in ours.iter().zip(&theirs) {
        assert!((a - b).abs() <= 1e-5 * largest, "{a} and {b}");
    }
    assert!(accuracy(&ours, &labels()) > 0.9);
}

#[test]
fn the_int8_model_equals_onnx_runtime_exactly() {
    assert_eq!(
        scores(&open("digits_int8.onnx")),
        floats("digits_int8_scores.npy")
    );
}

#[test]
fn the_committed_plan_is_what_the_compiler_makes() {
    let compiled = open("digits_int8.onnx").compiled.unwrap();
    let committed = std::fs::read(file("digits_int8.kinglet")).unwrap();
    assert!(
        compiled.file == committed,
        "compile tests/models/digits_int8.onnx again"
    );
}

#[test]
fn linked_in_it_has_typed_inputs_and_gives_the_same_scores() {
    let mut arena = Digits::arena();
    let mut digits = Digits::new(&mut arena).unwrap();
    let mut linked = Vec::new();
    for image in floats("digits_images.npy").as_chunks::<64>().0 {
        linked.extend_from_slice(digits.run(image).unwrap());
    }
    assert_eq!(linked, floats("digits_int8_scores.npy"));
}

#[test]
fn the_plan_s_own_self_test_passes_and_can_fail() {
    let mut arena = Digits::arena();
    let mut digits = Digits::new(&mut arena).unwrap();
    digits.session().self_test().unwrap();

    // Other weights behind a right checksum: only the self-test notices.
    let mut damaged = kinglet_export::host::AlignedBytes::from(Digits::PLAN);
    let bytes = damaged.bytes_mut();
    let middle = bytes.len() * 3 / 4;
    bytes[middle..middle + 64].fill(0x55);
    let crc = kinglet::format::CRC.checksum(&bytes[kinglet::format::CRC_START..]);
    bytes[kinglet::format::CRC_START - 4..kinglet::format::CRC_START]
        .copy_from_slice(&crc.to_le_bytes());
    let plan = kinglet::Plan::parse(damaged.bytes()).unwrap();
    let mut arena = Digits::arena();
    let mut session = kinglet::DynSession::new(plan, arena.bytes_mut()).unwrap();
    assert!(matches!(
        session.self_test(),
        Err(kinglet::RunError::SelfTest { .. })
    ));
}

#[test]
fn a_session_without_an_operator_refuses_the_plan() {
    let plan = kinglet::Plan::parse(Digits::PLAN).unwrap();
    let mut arena = Digits::arena();
    const MISSING: u128 = kinglet::OpCode::ConvI8Octet.bit();
    assert!(plan.op_set() & MISSING != 0);
    let without = kinglet::Session::<{ kinglet::ALL_OPS & !MISSING }>::new(plan, arena.bytes_mut());
    assert_eq!(
        without.err(),
        Some(kinglet::SessionError::OperatorNotLinked { missing: MISSING })
    );
}

/// On the board, in every way that it has, the scores of ONNX Runtime.
fn the_device_gives_the_host_s_bytes(name: &str) {
    let board = board(name).unwrap();
    let options = CompileOptions {
        target: board.plan_target,
        ..CompileOptions::default()
    };
    let model = Model::open(&file("digits_int8.onnx"), &LoadOptions::default(), &options);
    let plan = model.unwrap().plan;
    let host: Vec<u8> = floats("digits_int8_scores.npy")
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let samples = samples();
    for loaded in [false, true] {
        if loaded && board.load_len.is_none() {
            continue;
        }
        let request = Request {
            board,
            plan: &plan,
            samples: &samples,
            mode: Mode::Run,
            loaded,
        };
        let device = emulate(&request, &|_| {}).unwrap();
        assert_eq!(device.outputs.concat(), host, "loaded: {loaded}");
    }
}

#[test]
fn an_m4f_gives_the_hosts_bytes() {
    the_device_gives_the_host_s_bytes("mps2-an386");
}

#[test]
fn an_m0_gives_the_hosts_bytes() {
    the_device_gives_the_host_s_bytes("microbit");
}
