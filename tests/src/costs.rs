//! Factors of the compiler's cost table, from measured steps.

use kinglet_export::compile::Compiled;
use kinglet_export::compile::cost::{Table, TargetCosts, Work};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// One measured step.
pub struct Measured {
    /// What it did.
    pub work: Work,
    /// Executed instructions.
    pub instructions: u64,
}

/// Everything that was measured on one board.
#[derive(Default)]
pub struct Measurements {
    /// All steps, by operator.
    pub steps: BTreeMap<String, Vec<Measured>>,
    /// Of each run: its operators, and the stack's high-water mark.
    pub stacks: Vec<(Vec<String>, u64)>,
    /// Of each run: its steps, and its instructions that are no step's.
    pub between: Vec<(u64, u64)>,
}

impl Measurements {
    /// Adds a run of `compiled`, which took `instructions` and at most `stack` bytes; `steps` has those of each step.
    pub fn add(&mut self, compiled: &Compiled, steps: &[u64], instructions: u64, stack: u64) {
        for (step, &instructions) in compiled.steps.iter().zip(steps) {
            let measured = self.steps.entry(step.operator.to_owned()).or_default();
            let work = step.work;
            measured.push(Measured { work, instructions });
        }
        let operators = compiled.steps.iter().map(|s| s.operator.to_owned());
        self.stacks.push((operators.collect(), stack));
        let rest = instructions.saturating_sub(steps.iter().sum());
        self.between.push((steps.len() as u64, rest));
    }

    /// Instructions of a run that are no step's, for each step.
    fn between(&self) -> f64 {
        let add = |(a, b): (u64, u64), (c, d): &(u64, u64)| (a + c, b + d);
        let (steps, rest) = self.between.iter().fold((0, 0), add);
        (rest as f64 / f64::max(steps as f64, 1.0)).round()
    }
}

/// Which operators of the table are to be made anew, instead of being compared with: `1` for all of them, else those whose names
/// contain the text.
pub fn updating() -> Option<String> {
    let value = std::env::var("KINGLET_UPDATE_COSTS").ok();
    let value = value.filter(|value| !value.is_empty())?;
    Some(if value == "1" { String::new() } else { value })
}

/// Puts what was `made` into the table's entry of a target, but for operators whose names do not contain `wanted`.
pub fn insert(table: &mut Table, target: String, made: TargetCosts, wanted: &str) {
    let Some(known) = table.get_mut(&target).filter(|_| !wanted.is_empty()) else {
        table.insert(target, made);
        return;
    };
    let is_wanted = |operator: &str| operator.contains(wanted);
    let instructions = made.instructions.into_iter();
    known
        .instructions
        .extend(instructions.filter(|(o, _)| is_wanted(o)));
    known
        .stack
        .extend(made.stack.into_iter().filter(|(o, _)| is_wanted(o)));
}

/// The compiler's table as it is on disk.
pub fn table() -> Table {
    serde_json::from_str(&fs::read_to_string(path()).unwrap()).unwrap()
}

/// Changes the table on disk; boards' tests run side by side and write one file.
pub fn change_table<T>(change: impl FnOnce(&mut Table) -> T) -> T {
    static FILE: Mutex<()> = Mutex::new(());
    let _one = FILE.lock().unwrap();
    let mut table = table();
    let result = change(&mut table);
    fs::write(path(), serde_json::to_string_pretty(&table).unwrap() + "\n").unwrap();
    result
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../export/src/compile/cost/table.json")
}

/// Rounds of the fit: each improves one factor after the other.
const ROUNDS: usize = 3000;

/// Factors, none below zero, with the least sum of squared errors, each divided by the step's instructions: between absolute
/// errors, where small steps would not count, and relative ones, where large ones would count no more.
pub fn fit(steps: &[Measured]) -> [f64; 6] {
    let rows: Vec<([f64; 6], f64)> = steps
        .iter()
        .map(|step| {
            let root = (step.instructions.max(1) as f64).sqrt();
            (step.work.terms().map(|term| term / root), root)
        })
        .collect();
    let mut factors = [0.0; 6];
    for _ in 0..ROUNDS {
        for i in 0..factors.len() {
            let square: f64 = rows.iter().map(|(row, _)| row[i] * row[i]).sum();
            if square == 0.0 {
                continue;
            }
            let error = |row: &[f64; 6], root: f64| {
                root - row.iter().zip(&factors).map(|(x, c)| x * c).sum::<f64>()
            };
            let slope: f64 = rows
                .iter()
                .map(|(row, root)| row[i] * error(row, *root))
                .sum();
            factors[i] = (factors[i] + slope / square).max(0.0);
        }
    }
    factors.map(|c| (c * 1e4).round() / 1e4)
}

/// Fewest steps of real models that an operator's factors are made from: a few alike say nothing about others.
const ENOUGH: usize = 8;

/// Replaces the factors of the operators that enough steps were measured of, and what is between steps: real models' count more
/// than random networks'. Stacks stay as they are, or rise.
pub fn refine(costs: &mut TargetCosts, measured: &Measurements) {
    for (operator, steps) in measured.steps.iter().filter(|(_, s)| s.len() >= ENOUGH) {
        costs.instructions.insert(operator.clone(), fit(steps));
    }
    costs.between = measured.between();
    for (operators, peak) in &measured.stacks {
        let known = costs.stack(operators.iter().map(String::as_str));
        if known.is_none_or(|bound| bound < *peak) {
            for operator in operators {
                let stack = costs.stack.entry(operator.clone()).or_insert(*peak);
                *stack = (*stack).max(*peak);
            }
        }
    }
}

/// The table's entry for a target.
pub fn costs(measured: &Measurements, compiler: &str) -> TargetCosts {
    let mut stack = BTreeMap::new();
    for (operators, peak) in &measured.stacks {
        for operator in operators {
            let least = stack.entry(operator.clone()).or_insert(*peak);
            *least = (*least).min(*peak);
        }
    }
    TargetCosts {
        compiler: compiler.to_owned(),
        between: measured.between(),
        instructions: measured
            .steps
            .iter()
            .map(|(operator, steps)| (operator.clone(), fit(steps)))
            .collect(),
        stack,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_cost_is_found_again() {
        let steps: Vec<Measured> = (1..40)
            .map(|i| {
                let work = Work {
                    inputs: i * i % 17,
                    outputs: i * 7 % 23,
                    macs: i * 31 % 41 * i,
                    gathered: 0,
                    lines: i % 5,
                };
                let instructions = 900 + 11 * work.outputs + 3 * work.macs;
                Measured { work, instructions }
            })
            .collect();
        let [fixed, inputs, outputs, macs, gathered, lines] = fit(&steps);
        let near = |x: f64, want: f64| (x - want).abs() < 0.02 * (1.0 + want);
        assert!(near(fixed, 900.0) && near(outputs, 11.0) && near(macs, 3.0));
        assert!(near(inputs, 0.0) && near(lines, 0.0) && gathered == 0.0);
    }

    #[test]
    fn an_operator_s_stack_is_the_least_of_all_runs_it_is_in() {
        let run = |names: &[&str], peak| (names.iter().map(|n| n.to_string()).collect(), peak);
        let measured = Measurements {
            stacks: vec![
                run(&["a", "b"], 900),
                run(&["a"], 300),
                run(&["c", "b"], 950),
            ],
            ..Measurements::default()
        };
        let stack = costs(&measured, "").stack;
        assert_eq!((stack["a"], stack["b"], stack["c"]), (300, 900, 950));
    }
}
