//! The differential test bench on a few seeds, and that it can fail: docs/trust-graphs.md. By hand it runs for hours:
//! `cargo run --release -p kinglet-tests --bin random-graphs -- --count 10000`.
//!
//! Without a Python that has onnxruntime (`KINGLET_PYTHON`, `python3` by default) this is skipped, except in CI.

use kinglet_export::emulate::board;
use kinglet_tests::random_graphs::{
    Case, OnnxRuntime, Others, Outcome, Run, case, minimize, reproduce, try_out,
};
use tract_onnx::pb::{ModelProto, TensorProto};

const GRAPHS: u64 = 150;

fn runtime() -> Option<OnnxRuntime> {
    // The process starts in any case; only an answer says whether Python has what it needs.
    let mut runtime = OnnxRuntime::start().ok()?;
    match runtime.values(&case(0)) {
        Ok(_) => Some(runtime),
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "onnxruntime: {why}");
            println!("skipped: it takes a Python with onnxruntime (KINGLET_PYTHON)");
            None
        }
    }
}

#[test]
fn random_graphs_do_not_differ() {
    if runtime().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = Run {
        seed: 1_000_000,
        count: GRAPHS,
        emulate_every: 0,
        tract_every: 10,
        reproducers: folder.path().to_owned(),
    };
    let summary = run.run(|_, _| ()).unwrap();
    println!("{}", summary.text());
    assert!(summary.differing.is_empty(), "{:#?}", summary.differing);
    assert!(summary.invalid.is_empty(), "{:#?}", summary.invalid);
    assert!(summary.refused.is_empty(), "{:#?}", summary.refused);
    assert_eq!(summary.graphs(), GRAPHS);
    assert!(summary.int8[0] > 50_000, "{:?}", summary.int8);
    assert!(summary.int8_equal() >= 0.999, "{}", summary.int8_equal());
    assert!(summary.operators.len() > 40 && summary.nodes.len() > 40);
    assert_eq!(summary.kinds.len(), 9, "{:?}", summary.kinds.keys());
}

#[test]
fn boards_give_the_host_s_bytes() {
    let Some(mut runtime) = runtime() else {
        return;
    };
    for (seed, name) in [(1, "mps2-an386"), (2, "riscv32-virt")] {
        let others = Others {
            board: board(name).ok(),
            tract: false,
        };
        let outcome = try_out(&case(seed), &mut runtime, others);
        assert!(matches!(outcome, Outcome::Agrees(_)), "{name}: {outcome:?}");
    }
}

/// As if a kernel of ours multiplied wrongly: ONNX Runtime is told another bias than we are.
fn break_bias(model: &mut ModelProto) -> bool {
    let graph = model.graph.as_mut().unwrap();
    let is_bias = |t: &&mut TensorProto| t.data_type == 6 && t.dims.len() == 1;
    let Some(bias) = graph.initializer.iter_mut().find(is_bias) else {
        return false;
    };
    let mut raw = bias.raw_data.to_vec();
    for word in raw.chunks_exact_mut(4) {
        let value = i32::from_le_bytes(word.try_into().unwrap());
        word.copy_from_slice(&(value + 100_000).to_le_bytes());
    }
    bias.raw_data = raw;
    bias.int32_data
        .iter_mut()
        .for_each(|value| *value += 100_000);
    true
}

#[test]
fn what_differs_is_found_and_becomes_small() {
    let Some(mut runtime) = runtime() else {
        return;
    };
    // The minimiser asks only whether a case still fails: here, whether a convolution's bias still matters.
    let values = |runtime: &mut OnnxRuntime, case: &Case| runtime.values(case).ok();
    let cell = std::cell::RefCell::new(&mut runtime);
    let fails = |case: &Case| {
        let mut broken = case.clone();
        let layer = case
            .operators()
            .iter()
            .any(|op| matches!(*op, "Conv" | "Gemm"));
        if !layer || !break_bias(&mut broken.model) {
            return false;
        }
        let runtime = &mut **cell.borrow_mut();
        let outputs = case.model.graph.iter().flat_map(|g| &g.output);
        let names: Vec<String> = outputs.map(|o| o.name.clone()).collect();
        let (Some(a), Some(b)) = (values(runtime, case), values(runtime, &broken)) else {
            return false;
        };
        names.iter().any(|name| a.get(name) != b.get(name))
    };
    let large = |case: &Case| case.kind == "int8, wide" && case.operators().len() > 12;
    let whole = (0..200).map(case).find(|case| large(case) && fails(case));
    let whole = whole.expect("one of many");
    let small = minimize(
        &whole,
        |case| values(*cell.borrow_mut(), case).unwrap_or_default(),
        fails,
    );
    println!("{:?} -> {:?}", whole.operators(), small.operators());
    assert!(fails(&small));
    // What makes a bias matter: its DequantizeLinear, that of the weights perhaps, and the layer.
    assert!(small.operators().len() <= 4, "{:?}", small.operators());
    let elements: usize = small.inputs.iter().map(|i| i.tensor.data.len()).sum();
    assert!(elements <= 16, "{elements}");

    // A reproducer is read back.
    let folder = tempfile::tempdir().unwrap();
    whole.write(folder.path(), "by hand").unwrap();
    assert!(reproduce(folder.path()).unwrap().is_none());
}
