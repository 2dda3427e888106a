//! `kinglet bench` on this machine: the time of an inference, and of every node.

use super::common;
use super::profile::{NodeCosts, profile};
use crate::diagnose::IntoDiagnostic;
use crate::model::Model;
use crate::report::{Report, terminal_table};
use crate::rivals::peak::Peak;
use kinglet::Observer;
use miette::bail;
use serde_json::json;
use std::path::Path;
use std::time::Instant;

pub(super) struct Args<'a> {
    pub(super) runs: u32,
    pub(super) profile: bool,
    pub(super) report: Option<&'a Path>,
    pub(super) json: bool,
}

/// The nanoseconds of every step, run by run.
struct Clock {
    start: Instant,
    steps: Vec<Vec<u64>>,
}

impl Observer for Clock {
    fn before(&mut self, _: usize) {
        self.start = Instant::now();
    }

    fn after(&mut self, index: usize, _: &mut [u8]) {
        let elapsed = self.start.elapsed().as_nanos() as u64;
        if let Some(step) = self.steps.get_mut(index) {
            step.push(elapsed);
        }
    }
}

const HEADERS: [&str; 8] = [
    "step",
    "steps",
    "node",
    "operator",
    "MACs",
    "µs",
    "MACs a ns",
    "share",
];

pub(super) fn run(args: &Args<'_>, model: &Model, samples: &[Vec<u8>]) -> miette::Result<()> {
    let mut runner = model.runner().into_diagnostic()?;
    let Some(sample) = samples.first() else {
        bail!("the input holds no samples")
    };
    let mut started = runner.start().into_diagnostic()?;
    let mut nanoseconds = Vec::new();
    for _ in 0..args.runs {
        let start = Instant::now();
        started.run(sample, &mut ()).into_diagnostic()?;
        nanoseconds.push(start.elapsed().as_nanos() as u64);
    }
    let nodes = if args.profile {
        let mut clock = Clock {
            start: Instant::now(),
            steps: vec![Vec::new(); model.operators.len()],
        };
        for _ in 0..args.runs {
            started.run(sample, &mut clock).into_diagnostic()?;
        }
        let medians = clock.steps.iter().map(|step| common::median(step));
        profile(model, &[medians.collect()])
    } else {
        Vec::new()
    };
    let (median, least) = (
        common::median(&nanoseconds),
        nanoseconds.iter().copied().min().unwrap_or(0),
    );
    let operators = model.operators.iter().map(|(op, macs)| (op.name(), *macs));
    let at_peak = Peak::measure().microseconds(operators);
    let share = at_peak.map(|us| us / microseconds(median).max(0.001));
    let rows = rows(&nodes);
    if let Some(path) = args.report {
        let mut report = Report::new(&format!("{} on this machine", model.name));
        report.paragraph(&format!(
            "{:.1} µs an inference: the median of {}, on one thread.",
            microseconds(median),
            args.runs
        ));
        if args.profile {
            let bars = nodes
                .iter()
                .map(|n| (format!("{} {}", n.first, n.operator), microseconds(n.cost)));
            report.bar_chart("Microseconds of each node", &bars.collect::<Vec<_>>());
            report.table("Nodes", &HEADERS, &rows);
        }
        report.write(path).into_diagnostic()?;
    }
    if args.json {
        let steps = nodes.iter().map(|n| {
            json!({
                "name": n.name, "operator": n.operator, "macs": n.macs, "microseconds": microseconds(n.cost),
                "first_step": n.first, "step_count": n.count,
            })
        });
        common::print_json(&json!({
            "model": model.name,
            "runs": args.runs,
            "ours_us": microseconds(median),
            "least_us": microseconds(least),
            "macs": model.macs(),
            "share_of_peak": share,
            "steps": steps.collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    if args.profile {
        println!("{}", terminal_table(&HEADERS, &rows));
    }
    print!(
        "{}: {:.1} µs an inference on this machine (median of {}, least {:.1} µs; one thread)",
        model.name,
        microseconds(median),
        args.runs,
        microseconds(least)
    );
    match share {
        Some(share) => println!(", {:.0} % of the machine's peak", 100.0 * share),
        None => println!(),
    }
    Ok(())
}

fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

/// A row a node; their times have the clock's own in them, some tens of nanoseconds a step.
fn rows(nodes: &[NodeCosts]) -> Vec<Vec<String>> {
    let total = nodes.iter().map(|n| n.cost).sum::<u64>().max(1);
    let row = |n: &NodeCosts| {
        vec![
            n.first.to_string(),
            n.count.to_string(),
            common::shorten(&n.name),
            n.operator.to_owned(),
            common::grouped(n.macs),
            format!("{:.2}", microseconds(n.cost)),
            match n.macs {
                0 => "-".into(),
                macs => format!("{:.1}", macs as f64 / n.cost.max(1) as f64),
            },
            format!("{:.1} %", 100.0 * n.cost as f64 / total as f64),
        ]
    };
    nodes.iter().map(row).collect()
}
