//! Factors of the compiler's cost table, from measured steps.

use kinglet_export::compile::cost::{TargetCosts, Work};
use std::collections::BTreeMap;

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
    let (steps, rest) = sums(&measured.between);
    costs.between = (rest as f64 / f64::max(steps as f64, 1.0)).round();
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

fn sums(pairs: &[(u64, u64)]) -> (u64, u64) {
    pairs.iter().fold((0, 0), |(a, b), (c, d)| (a + c, b + d))
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
    let (steps, rest) = sums(&measured.between);
    TargetCosts {
        compiler: compiler.to_owned(),
        between: (rest as f64 / f64::max(steps as f64, 1.0)).round(),
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
