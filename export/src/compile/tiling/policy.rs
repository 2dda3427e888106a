//! Which of the possible tilings is taken.

use super::{Choice, cost};
use serde::Serialize;

/// How much tiling is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Tiling {
    /// None.
    Off,
    /// Where the arena shrinks by a tenth at least and instructions grow by three in a hundred at most; never for the host.
    #[default]
    Auto,
    /// The smallest arena, whatever it costs.
    Smallest,
}

/// Share of the arena that tiling must save to be worth its steps.
const WORTHWHILE: f64 = 0.10;
/// Share of the instructions that it may cost.
const ACCEPTABLE: f64 = 0.03;
/// A larger arena is taken for a cheaper tiling if it is no larger than this times the smallest.
const NEAR: f64 = 1.03;

impl Tiling {
    /// The choices to take, most wanted first, without the untiled one, which is the first of `choices`. One inference
    /// without tiling takes `instructions`.
    pub(in crate::compile) fn order(self, choices: &[Choice], instructions: u64) -> Vec<&Choice> {
        let Some((untiled, rest)) = choices.split_first() else {
            return Vec::new();
        };
        let price = |c: &Choice| cost(c.extra_steps, c.copied);
        let mut order: Vec<&Choice> = match self {
            Tiling::Off => Vec::new(),
            Tiling::Smallest => rest.iter().collect(),
            Tiling::Auto => {
                let most = untiled.arena_len as f64 * (1.0 - WORTHWHILE);
                let dearest = instructions as f64 * ACCEPTABLE;
                let good = |c: &&Choice| c.arena_len as f64 <= most && price(c) as f64 <= dearest;
                rest.iter().filter(good).collect()
            }
        };
        order.sort_by_key(|c| (c.arena_len, price(c)));
        if self == Tiling::Auto
            && let Some(smallest) = order.first().map(|c| c.arena_len as f64)
        {
            // The cheapest of those that are nearly as small as the smallest.
            let near = |c: &&Choice| c.arena_len as f64 > smallest * NEAR;
            order.sort_by_key(|c| (near(c), price(c), c.arena_len));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(arena_len: usize, extra_steps: u64) -> Choice {
        Choice {
            segments: Vec::new(),
            arena_len,
            extra_steps,
            copied: 0,
        }
    }

    fn arenas(tiling: Tiling, instructions: u64) -> Vec<usize> {
        let choices = [
            choice(1000, 0),
            choice(950, 1),
            choice(820, 10),
            choice(810, 20),
            choice(500, 100),
        ];
        let order = tiling.order(&choices, instructions);
        order.iter().map(|c| c.arena_len).collect()
    }

    #[test]
    fn small_gains_and_dear_ones_are_left() {
        assert_eq!(arenas(Tiling::Auto, 2_000_000), [820, 810]);
        assert_eq!(arenas(Tiling::Auto, 30_000_000), [500, 820, 810]);
        assert!(arenas(Tiling::Auto, 1000).is_empty());
    }

    #[test]
    fn the_smallest_comes_first_when_it_is_asked_for() {
        assert_eq!(arenas(Tiling::Smallest, 0), [500, 810, 820, 950]);
        assert!(arenas(Tiling::Off, u64::MAX).is_empty());
    }
}
