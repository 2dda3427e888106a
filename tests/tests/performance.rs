//! The committed tables of instructions, flash, arena and stack: nothing may grow without the tables being changed on purpose.
//!
//! `KINGLET_UPDATE_TABLES=1` writes the tables, and the page made from them, instead of comparing. `KINGLET_UPDATE_COSTS=1`
//! refines the compiler's table of costs, so that its predictions are those for real models; since kernels are chosen by
//! it, the tables are made after that, with a compiler that has the new one.

use kinglet_export::compile::cost::{self, TargetCosts};
use kinglet_export::compile::{CompileOptions, Compiled};
use kinglet_export::emulate::{Board, Emulation, Mode, Request, board, emulate};
use kinglet_export::model::Model;
use kinglet_export::onnx::LoadOptions;
use kinglet_tests::costs::{self, Measurements, refine};
use kinglet_tests::performance::{Rivals, Row, Step, Table, folder, growth, page, updating};
use kinglet_tests::zoo::{self, Golden};
use kinglet_tests::zoo_claims;
use std::fs;
use std::path::Path;

const BOARDS: [&str; 7] = [
    "mps2-an386",
    "mps2-an500",
    "mps2-an505",
    "mps3-an547",
    "mps2-an385",
    "riscv32-virt",
    "microbit",
];

const TINY: [(&str, Golden); 4] = [
    ("kws_dscnn", zoo::KWS_INT8),
    ("resnet8_cifar10", zoo::RESNET_INT8),
    ("vww_mobilenet_v1_025", zoo::VWW_INT8),
    ("ad_autoencoder", zoo::AD_INT8),
];

/// How far a prediction may be off, for models that the table of costs was refined with.
const PREDICTION: f64 = 0.15;

fn read(name: &str) -> Table {
    let path = folder().join(format!("{name}.json"));
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// One model on a board.
struct Run {
    model: &'static str,
    compiled: Compiled,
    whole: Emulation,
    /// Instructions of each step.
    steps: Vec<u64>,
}

fn run(board: &'static Board, model: &'static str, golden: &Golden) -> Run {
    let options = CompileOptions {
        target: board.plan_target,
        ..CompileOptions::default()
    };
    let opened = Model::open(&golden.path(), &LoadOptions::default(), &options)
        .unwrap_or_else(|error| panic!("{error}"));
    let samples = &golden.samples(&opened)[..1];
    let emulated = |mode| -> Emulation {
        let request = Request {
            board,
            plan: &opened.plan,
            samples,
            mode,
            loaded: false,
        };
        emulate(&request, &|_| {})
            .unwrap_or_else(|error| panic!("{model} on {}: {error}", board.name))
    };
    let (whole, profile) = (emulated(Mode::Run), emulated(Mode::Profile));
    assert_eq!(
        whole.outputs,
        zoo::run_on_host(&opened, samples),
        "{model} on {}",
        board.name
    );
    Run {
        model,
        compiled: opened.compiled.expect("compiled just now"),
        whole,
        steps: profile.step_instructions[0].clone(),
    }
}

impl Run {
    /// What `costs` predict for this run: instructions, and the bound of the stack.
    fn predicted(&self, costs: &TargetCosts) -> (u64, u64) {
        let steps = &self.compiled.steps;
        let stack = costs.stack(steps.iter().map(|s| s.operator));
        let all = "all operators are measured";
        (costs.inference(steps).expect(all), stack.expect(all))
    }
}

/// The costs in the table, refined with these runs where the table is to change.
fn costs_of(board: &Board, runs: &[Run]) -> TargetCosts {
    let target = cost::name(board.plan_target);
    if costs::updating().is_none() || runs.len() < 2 {
        return costs::table().remove(&target).unwrap();
    }
    let mut measured = Measurements::default();
    for run in runs {
        let whole = &run.whole;
        let (instructions, stack) = (whole.instructions[0], whole.stack_peak_bytes);
        measured.add(&run.compiled, &run.steps, instructions, stack);
    }
    costs::change_table(|table| {
        let entry = table.get_mut(&target).unwrap();
        refine(entry, &measured);
        entry.clone()
    })
}

fn measure(name: &str, models: &[(&'static str, Golden)]) -> Table {
    let board = board(name).unwrap();
    let runs: Vec<Run> = models
        .iter()
        .map(|(folder, golden)| run(board, folder, golden))
        .collect();
    let costs = costs_of(board, &runs);
    let rows = runs.iter().map(|run| {
        let (predicted, stack_bound) = run.predicted(&costs);
        let whole = &run.whole;
        let ratio = predicted as f64 / whole.instructions[0] as f64;
        assert!(
            (1.0 - PREDICTION..1.0 + PREDICTION).contains(&ratio),
            "{} on {name}: {predicted} instructions predicted, {} counted",
            run.model,
            whole.instructions[0]
        );
        assert!(
            whole.stack_peak_bytes <= stack_bound,
            "{} on {name}: {} bytes of stack, bound {stack_bound}",
            run.model,
            whole.stack_peak_bytes
        );
        let steps = run.compiled.steps.iter().zip(&run.steps);
        Row {
            model: run.model.to_owned(),
            macs: run.compiled.macs(),
            instructions: whole.instructions[0],
            predicted,
            code: whole.code_bytes,
            plan: whole.plan_bytes,
            arena: whole.arena_bytes,
            stack: whole.stack_peak_bytes,
            stack_bound,
            steps: steps
                .map(|(step, count)| Step {
                    operator: step.operator.to_owned(),
                    macs: step.macs,
                    instructions: *count,
                })
                .collect(),
        }
    });
    let rows = rows.collect();
    let toolchain = board.toolchain(&|_| {}).unwrap();
    Table {
        board: name.to_owned(),
        core: board.core.to_owned(),
        compiler: toolchain.rustc_version().to_owned(),
        rows,
    }
}

fn check(name: &str, models: &[(&'static str, Golden)]) {
    let measured = measure(name, models);
    if updating() {
        let text = serde_json::to_string_pretty(&measured).unwrap() + "\n";
        fs::write(folder().join(format!("{name}.json")), text).unwrap();
        return;
    }
    let committed = read(name);
    let grown = growth(&committed, &measured);
    assert!(
        grown.is_empty(),
        "{name}:\n{}\nif that is on purpose, run this test with KINGLET_UPDATE_TABLES=1",
        grown.join("\n")
    );
    if measured.rows != committed.rows {
        println!(
            "{name}: some figures are smaller than in the table: KINGLET_UPDATE_TABLES=1 writes them"
        );
    }
}

zoo_claims! {
    nothing_grows_on_cortex_m4: check("mps2-an386", &TINY);
    nothing_grows_on_cortex_m7: check("mps2-an500", &TINY);
    nothing_grows_on_cortex_m33: check("mps2-an505", &TINY);
    nothing_grows_on_cortex_m55: check("mps3-an547", &TINY);
    nothing_grows_on_cortex_m3: check("mps2-an385", &TINY);
    nothing_grows_on_risc_v: check("riscv32-virt", &TINY);
    nothing_grows_on_cortex_m0: check("microbit", &[("hello_sine", zoo::SINE_INT8)]);
}

#[test]
fn the_page_shows_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
    let rivals = fs::read_to_string(folder().join("rivals.json")).unwrap();
    let rivals: Rivals = serde_json::from_str(&rivals).unwrap();
    let made = page(&BOARDS.map(read), &rivals);
    if updating() {
        fs::write(&path, made).unwrap();
    } else {
        let found = fs::read_to_string(&path).unwrap();
        assert!(
            found == made,
            "docs/performance.md is not what the tables say: run with KINGLET_UPDATE_TABLES=1"
        );
    }
}

#[test]
fn growth_is_seen_and_another_compiler_has_some_slack() {
    let table = |compiler: &str, instructions: u64| Table {
        board: "b".into(),
        core: "c".into(),
        compiler: compiler.into(),
        rows: vec![Row {
            model: "m".into(),
            macs: 10,
            instructions,
            predicted: instructions,
            code: 1,
            plan: 1,
            arena: 1,
            stack: 1,
            stack_bound: 1,
            steps: vec![Step {
                operator: "o".into(),
                macs: 10,
                instructions,
            }],
        }],
    };
    assert!(growth(&table("1", 1_000_000), &table("1", 1_000_000)).is_empty());
    assert!(growth(&table("1", 1_000_000), &table("1", 900_000)).is_empty());
    assert_eq!(
        growth(&table("1", 1_000_000), &table("1", 1_002_100)).len(),
        2
    );
    assert!(growth(&table("1", 1_000_000), &table("2", 1_029_000)).is_empty());
    assert_eq!(
        growth(&table("1", 1_000_000), &table("2", 1_031_000)).len(),
        2
    );
    let mut other = table("1", 1_000_000);
    other.rows[0].model = "new".into();
    assert!(!growth(&table("1", 1_000_000), &other).is_empty());
}
