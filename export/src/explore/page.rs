//! The report: what was tried, what is wanted, and the front.

use super::front::Costs;
use super::{Exploration, Limits, Member, Outcome, points};
use crate::compile::cost;
use crate::emulate::Emulation;
use crate::report::{Report, Scatter, grouped};

/// What [`rows`] has in its columns.
pub const HEADERS: [&str; 8] = [
    "",
    "held out",
    "test",
    "flash",
    "RAM",
    "instructions",
    "what",
    "form",
];

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// A row for every member of the front.
pub fn rows(front: &[Member]) -> Vec<Vec<String>> {
    let row = |member: &Member| {
        let Costs {
            accuracy,
            flash,
            ram,
            instructions,
        } = member.point.costs;
        let name = member.stem.file_name().unwrap_or_default();
        vec![
            name.to_string_lossy().into_owned(),
            percent(accuracy),
            member.test_accuracy.map_or("-".into(), percent),
            grouped(flash),
            grouped(ram),
            grouped(instructions),
            member.trial.what.clone(),
            member.point.form.to_string(),
        ]
    };
    front.iter().map(row).collect()
}

/// The limits in words; empty where there are none.
pub fn wanted(limits: &Limits) -> String {
    let most = |what: &str, limit: Option<u64>| {
        limit.map(|limit| format!("{what} at most {}", grouped(limit)))
    };
    let limits = [
        most("flash", limits.flash),
        most("RAM", limits.ram),
        most("instructions", limits.instructions),
        limits
            .accuracy
            .map(|least| format!("accuracy at least {}", percent(least))),
    ];
    limits.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The page of a search. `counted` is what the emulator says of the front's members, in their order; empty if it was not asked.
pub fn page(title: &str, search: &Searched, outcome: &Outcome, counted: &[Emulation]) -> Report {
    let mut report = Report::new(title);
    report.note(&format!(
        "Compiled for {} ({}). Accuracy is that of {} samples held out from training, with the device's arithmetic; flash is \
         the plan, RAM its arena and the bound of its stack, instructions are the compiler's prediction.",
        search.board,
        search.target,
        grouped(outcome.held_out as u64)
    ));
    let failed = outcome
        .trials
        .iter()
        .filter(|t| t.failure.is_some())
        .count();
    let tried = points(&outcome.trials);
    let allowed = tried.iter().filter(|(_, p)| search.limits.allow(&p.costs));
    report.facts(&[
        [
            "Trials".into(),
            grouped(outcome.trials.len() as u64),
            match failed {
                0 => String::new(),
                failed => format!("{failed} failed"),
            },
        ],
        [
            "Plans".into(),
            grouped(tried.len() as u64),
            format!("{} are within the limits", allowed.count()),
        ],
        [
            "On the front".into(),
            grouped(outcome.front.len() as u64),
            wanted(&search.limits),
        ],
    ]);
    if !outcome.finished {
        report.paragraph("The search was stopped before its end.");
    }
    let limits = &search.limits;
    scatter(
        &mut report,
        "bytes of flash",
        search,
        outcome,
        |c| c.flash,
        limits.flash,
    );
    scatter(
        &mut report,
        "bytes of RAM",
        search,
        outcome,
        |c| c.ram,
        limits.ram,
    );
    scatter(
        &mut report,
        "instructions",
        search,
        outcome,
        |c| c.instructions,
        limits.instructions,
    );
    report.table("The front", &HEADERS, &rows(&outcome.front));
    report.note(
        "Each has its recipe (.toml), model (.onnx) and plan (.kinglet) in the folder `front`. The test samples chose nothing.",
    );
    if !counted.is_empty() {
        report.table(
            "Counted in the emulator",
            &COUNTED,
            &counted_rows(&outcome.front, counted),
        );
    }
    let row = |t: &super::journal::Trial| {
        let best = t.points.iter().map(|p| p.costs.flash).min();
        vec![
            (t.round + 1).to_string(),
            t.candidate.to_string(),
            t.what.clone(),
            t.points
                .first()
                .map_or("-".into(), |p| percent(p.costs.accuracy)),
            best.map_or("-".into(), grouped),
            t.failure.clone().unwrap_or_default(),
        ]
    };
    let trials: Vec<Vec<String>> = outcome.trials.iter().map(row).collect();
    let headers = [
        "round",
        "number",
        "what",
        "held out",
        "least flash",
        "why it failed",
    ];
    report.table("All trials", &headers, &trials);
    report
}

/// Every plan's accuracy over one of its costs.
fn scatter(
    report: &mut Report,
    what: &str,
    search: &Searched,
    outcome: &Outcome,
    axis: fn(&Costs) -> u64,
    limit: Option<u64>,
) {
    let place = |c: &Costs| (axis(c) as f64, 100.0 * c.accuracy);
    let on_front = |c: &Costs| outcome.front.iter().any(|m| m.point.costs == *c);
    let mut scatter = Scatter {
        x_limit: limit.map(|l| l as f64),
        y_limit: search.limits.accuracy.map(|least| 100.0 * least),
        ..Scatter::default()
    };
    for (_, point) in points(&outcome.trials) {
        match (on_front(&point.costs), search.limits.allow(&point.costs)) {
            (true, _) => scatter.front.push(place(&point.costs)),
            (false, true) => scatter.feasible.push(place(&point.costs)),
            (false, false) => scatter.other.push(place(&point.costs)),
        }
    }
    report.scatter(&format!("Accuracy in percent over {what}"), &scatter);
}

/// What [`counted_rows`] has in its columns.
pub const COUNTED: [&str; 5] = ["", "instructions", "flash with code", "RAM in all", "stack"];

/// A row for every member of the front that was emulated.
pub fn counted_rows(front: &[Member], counted: &[Emulation]) -> Vec<Vec<String>> {
    let row = |(member, run): (&Member, &Emulation)| {
        let name = member.stem.file_name().unwrap_or_default();
        vec![
            name.to_string_lossy().into_owned(),
            grouped(run.instructions.first().copied().unwrap_or(0)),
            grouped(run.flash_bytes),
            grouped(run.ram_bytes()),
            grouped(run.stack_peak_bytes),
        ]
    };
    front.iter().zip(counted).map(row).collect()
}

/// What a page says of the search besides its outcome.
#[derive(Clone, Debug)]
pub struct Searched {
    /// The board.
    pub board: &'static str,
    /// What plans were compiled for.
    pub target: String,
    /// What was wanted.
    pub limits: Limits,
}

impl From<&Exploration<'_>> for Searched {
    fn from(search: &Exploration<'_>) -> Self {
        Searched {
            board: search.board.name,
            target: cost::name(search.board.plan_target),
            limits: search.limits,
        }
    }
}
