//! What a model costs on a board, and the committed tables of it, one a board.

use kinglet_export::report::grouped;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Costs of all models on one board.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Table {
    /// The board.
    pub board: String,
    /// Its core.
    pub core: String,
    /// The firmware's compiler: counts differ a little from one to the next.
    pub compiler: String,
    /// One row a model.
    pub rows: Vec<Row>,
}

/// Costs of one model.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Folder of the model in the zoo.
    pub model: String,
    /// Multiply-accumulates of the plan, padding counted.
    pub macs: u64,
    /// Executed instructions of one inference.
    pub instructions: u64,
    /// What the compiler predicted.
    pub predicted: u64,
    /// Bytes of flash without the plan: firmware, log and file exchange included.
    pub code: u64,
    /// Bytes of the plan.
    pub plan: u64,
    /// Bytes of arena.
    pub arena: u64,
    /// Bytes of stack, at most.
    pub stack: u64,
    /// The compiler's bound for them.
    pub stack_bound: u64,
    /// Instructions of each step.
    pub steps: Vec<Step>,
}

/// Costs of one step.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Operator of the runtime.
    pub operator: String,
    /// Multiply-accumulates, padding counted.
    pub macs: u64,
    /// Executed instructions.
    pub instructions: u64,
}

/// What a rival costs.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Rival {
    /// The board.
    pub board: String,
    /// The model.
    pub model: String,
    /// Executed instructions of one inference.
    pub instructions: u64,
    /// Bytes of flash without the model.
    pub code: u64,
    /// Bytes of arena.
    pub arena: u64,
    /// Bytes of the model file.
    pub model_bytes: u64,
}

/// The rivals' figures, and what they are.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Rivals {
    /// Versions and method.
    pub what: String,
    /// One row a board and model.
    pub rows: Vec<Rival>,
}

/// The folder of the tables.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("performance")
}

/// Whether tables and pages are to be written instead of compared.
pub fn updating() -> bool {
    std::env::var_os("KINGLET_UPDATE_TABLES").is_some_and(|value| value == "1")
}

/// Whether a figure has grown. Another folder makes the linker order functions otherwise, which moves counts a little: 0.2 % and 64 are
/// not growth. With another compiler 3 % are not.
pub fn has_grown(before: u64, now: u64, same_compiler: bool) -> bool {
    let slack = if same_compiler { 0.002 } else { 0.03 };
    now as f64 > before as f64 * (1.0 + slack) + 64.0
}

/// What has grown against `committed`, a line for each.
pub fn growth(committed: &Table, measured: &Table) -> Vec<String> {
    let same_compiler = committed.compiler == measured.compiler;
    let mut lines = Vec::new();
    let mut compare = |what: String, before: Option<u64>, now: u64| match before {
        Some(before) if has_grown(before, now, same_compiler) => {
            lines.push(format!("{what}: {before} in the table, {now} measured"));
        }
        Some(_) => {}
        None => lines.push(format!("{what}: {now} measured, not in the table")),
    };
    for row in &measured.rows {
        let before = committed.rows.iter().find(|b| b.model == row.model);
        type Field = (&'static str, fn(&Row) -> u64);
        let fields: [Field; 5] = [
            ("instructions", |r| r.instructions),
            ("bytes of code", |r| r.code),
            ("bytes of plan", |r| r.plan),
            ("bytes of arena", |r| r.arena),
            ("bytes of stack", |r| r.stack),
        ];
        for (name, field) in fields {
            compare(
                format!("{} {name}", row.model),
                before.map(field),
                field(row),
            );
        }
        for (index, step) in row.steps.iter().enumerate() {
            let same = before
                .and_then(|b| b.steps.get(index))
                .filter(|b| b.operator == step.operator);
            let what = format!(
                "{} step {index} ({}) instructions",
                row.model, step.operator
            );
            compare(what, same.map(|s| s.instructions), step.instructions);
        }
    }
    lines
}

/// The page that shows the tables beside the rivals.
pub fn page(tables: &[Table], rivals: &Rivals) -> String {
    let mut text = String::from(
        "# Instructions, flash and memory\n\n\
         Executed instructions of one inference with int8 models, counted by the emulator: exact and repeatable, but *not* cycles\n\
         (no wait states, no pipelines; Helium's instructions take two cycles or more each). Output bytes are those of the host on\n\
         every board. Code is the whole firmware without the plan: runtime, start-up, log, file exchange with the emulator.\n\n\
         Predicted is what `kinglet compile` says before anything runs, against what was counted: its costs were\n\
         fitted over these models, among others. Bound is what it says of the stack.\n\n\
         This page is made from `tests/performance/*.json`, which also have the instructions of every step. CI measures all of\n\
         them again and fails when one has grown. The commands behind the figures:\n\n\
         ```\n\
         kinglet emulate MODEL/model_int8.onnx --board BOARD --input MODEL/golden_int8_inputs.npy --json\n\
         kinglet bench MODEL/model_int8.onnx --board BOARD --profile\n\
         KINGLET_UPDATE_TABLES=1 cargo test --release -p kinglet-tests --test performance -- --include-ignored\n\
         ```\n\n",
    );
    let _ = writeln!(text, "The rival: {}.", rivals.what);
    for table in tables {
        let _ = writeln!(
            text,
            "\n## {} ({})\n\nCompiler: {}.\n",
            table.board, table.core, table.compiler
        );
        text.push_str(
            "| model | MACs run | instructions | predicted | per MAC run | rival | ours / rival | code | rival | arena | rival | plan | `.tflite` | stack | bound |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for row in &table.rows {
            let rival = rivals
                .rows
                .iter()
                .find(|r| r.board == table.board && r.model == row.model);
            let of = |field: fn(&Rival) -> u64| rival.map_or("-".into(), |r| grouped(field(r)));
            let ratio = rival.map_or("-".into(), |r| {
                format!("**{:.3}**", row.instructions as f64 / r.instructions as f64)
            });
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:+.1} % | {:.2} | {} | {ratio} | {} | {} | {} | {} | {} | {} | {} | {} |",
                row.model,
                grouped(row.macs),
                grouped(row.instructions),
                100.0 * (row.predicted as f64 / row.instructions.max(1) as f64 - 1.0),
                row.instructions as f64 / row.macs.max(1) as f64,
                of(|r| r.instructions),
                grouped(row.code),
                of(|r| r.code),
                grouped(row.arena),
                of(|r| r.arena),
                grouped(row.plan),
                of(|r| r.model_bytes),
                grouped(row.stack),
                grouped(row.stack_bound),
            );
        }
    }
    text
}
