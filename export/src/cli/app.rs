//! `kinglet emulate --app`.

use super::common::{self, ModelArgs, grouped};
use crate::diagnose::IntoDiagnostic;
use crate::emulate::{self, App, AppRequest, Counts, recording};
use crate::report::terminal_table;
use miette::ensure;
use serde_json::json;
use std::path::PathBuf;

/// Looks that the table shows of one recording.
const SHOWN: usize = 20;

/// Runs `app` on the recordings and prints what it decided.
pub(super) fn run(
    app: App,
    model: &ModelArgs,
    board: &str,
    inputs: &[String],
    view: (f32, f32),
    as_json: bool,
) -> miette::Result<()> {
    let board = emulate::board(board).into_diagnostic()?;
    let model = model.open(board.plan_target)?;
    let paths: Vec<PathBuf> = inputs.iter().map(PathBuf::from).collect();
    let recordings = paths.iter().map(|path| recording::read(app, path));
    let recordings = recordings
        .collect::<Result<Vec<_>, _>>()
        .into_diagnostic()?;
    ensure!(!recordings.is_empty(), "give a recording with --input");
    let request = AppRequest {
        board,
        app,
        plan: &model.plan,
        recordings: &recordings,
        view,
    };
    let progress = common::spinner();
    let run = emulate::emulate_app(&request, &|text| progress.set_message(text.to_owned()))
        .into_diagnostic()?;
    progress.finish_and_clear();
    if as_json {
        let counts = |counts: &Counts| json!({"mean": counts.mean(), "most": counts.most, "times": counts.times});
        let looks = run.looks.iter().map(|look| {
            json!({
                "recording": inputs[look.recording],
                "taken": look.taken,
                "decision": look.decision,
                "scores": look.scores,
            })
        });
        common::print_json(&json!({
            "board": board.name,
            "model": model.name,
            "looks": looks.collect::<Vec<_>>(),
            "instructions_before": counts(&run.before),
            "instructions_look": counts(&run.model),
            "flash_bytes": run.flash_bytes,
            "plan_bytes": run.plan_bytes,
            "arena_bytes": run.arena_bytes,
            "static_ram_bytes": run.static_ram_bytes,
            "stack_peak_bytes": run.stack_peak_bytes,
            "log": run.log,
        }));
        return Ok(());
    }
    let mut rows = Vec::new();
    for (index, path) in inputs.iter().enumerate() {
        let looks = || run.looks.iter().filter(|look| look.recording == index);
        // Of a long recording only what was decided.
        let all = looks().count() <= SHOWN;
        for look in looks().filter(|look| all || look.decision.is_some()) {
            let mut best = 0;
            for (class, score) in look.scores.iter().enumerate() {
                if *score > look.scores[best] {
                    best = class;
                }
            }
            rows.push(vec![
                path.clone(),
                look.taken.to_string(),
                format!("{best} ({:.3})", look.scores.get(best).unwrap_or(&0.0)),
                look.decision.map_or("-".into(), |class| class.to_string()),
            ]);
        }
    }
    let taken = match app {
        App::Keywords => "hops of 20 ms",
        App::Activity => "measurements",
        App::Images => "frames",
    };
    println!(
        "{}",
        terminal_table(
            &["recording", taken, "best class (score)", "decision"],
            &rows
        )
    );
    let bytes = |n: u64| format!("{} bytes", grouped(n));
    let mut rows = Vec::new();
    for (what, counts) in [
        ("before the model", &run.before),
        ("a look of the model", &run.model),
    ] {
        rows.push(vec![
            format!("instructions {what}, mean of {}", counts.times),
            grouped(counts.mean()),
        ]);
    }
    rows.extend([
        vec!["flash".into(), bytes(run.flash_bytes)],
        vec!["  plan".into(), bytes(run.plan_bytes)],
        vec!["arena".into(), bytes(run.arena_bytes)],
        vec![
            "static RAM without the arena".into(),
            bytes(run.static_ram_bytes),
        ],
        vec!["stack peak".into(), bytes(run.stack_peak_bytes)],
    ]);
    println!("{}", terminal_table(&[&model.name, board.name], &rows));
    Ok(())
}
