//! What is better than what: costs, limits, and the front of points that nothing beats.

use serde::{Deserialize, Serialize};

/// What a plan costs and what it can. Flash is the plan's; RAM is its arena and the bound of its stack.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Costs {
    /// Share of the held-out samples that are classified rightly, with the device's arithmetic.
    pub accuracy: f64,
    /// Bytes of the plan.
    pub flash: u64,
    /// Bytes of arena and stack.
    pub ram: u64,
    /// Instructions of one inference, as the compiler predicts them.
    pub instructions: u64,
}

impl Costs {
    /// Whether this is as good everywhere, and better somewhere.
    pub fn dominates(&self, other: &Costs) -> bool {
        let as_good = self.accuracy >= other.accuracy
            && self.flash <= other.flash
            && self.ram <= other.ram
            && self.instructions <= other.instructions;
        as_good
            && (self.accuracy > other.accuracy
                || self.flash < other.flash
                || self.ram < other.ram
                || self.instructions < other.instructions)
    }
}

/// What is wanted; `None` where anything will do.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Most bytes of flash.
    pub flash: Option<u64>,
    /// Most bytes of RAM.
    pub ram: Option<u64>,
    /// Most instructions.
    pub instructions: Option<u64>,
    /// Least share of samples classified rightly.
    pub accuracy: Option<f64>,
}

impl Limits {
    /// By how much a point misses them: the sum of the shares by which it exceeds each; 0 where it meets them all.
    pub fn violation(&self, costs: &Costs) -> f64 {
        let above = |value: u64, limit: Option<u64>| match limit {
            Some(limit) => (value as f64 / limit.max(1) as f64 - 1.0).max(0.0),
            None => 0.0,
        };
        let below = self
            .accuracy
            .map_or(0.0, |least| (least - costs.accuracy).max(0.0));
        above(costs.flash, self.flash)
            + above(costs.ram, self.ram)
            + above(costs.instructions, self.instructions)
            + below
    }

    /// Whether a point meets them all.
    pub fn allow(&self, costs: &Costs) -> bool {
        self.violation(costs) == 0.0
    }

    /// Whether `a` is to be preferred: what meets the limits before what does not, then the nearer miss, then dominance.
    fn prefer(&self, a: &Costs, b: &Costs) -> bool {
        let (missed_a, missed_b) = (self.violation(a), self.violation(b));
        missed_a < missed_b || (missed_a == missed_b && a.dominates(b))
    }
}

/// Indices of the points that meet the limits and that no other such point dominates, the least flash first. Of equal points
/// the first counts.
pub fn front(points: &[Costs], limits: &Limits) -> Vec<usize> {
    let allowed = |i: &usize| limits.allow(&points[*i]);
    let beaten = |i: usize| {
        (0..points.len())
            .filter(allowed)
            .any(|j| points[j].dominates(&points[i]) || (j < i && points[j] == points[i]))
    };
    let mut front: Vec<usize> = (0..points.len())
        .filter(allowed)
        .filter(|&i| !beaten(i))
        .collect();
    front.sort_by_key(|&i| (points[i].flash, points[i].ram, points[i].instructions, i));
    front
}

/// For each point how many fronts have to be taken away before it is in one; limits first.
pub fn layers(points: &[Costs], limits: &Limits) -> Vec<usize> {
    let mut layers = vec![0; points.len()];
    let mut left: Vec<usize> = (0..points.len()).collect();
    for layer in 0.. {
        let (next, taken): (Vec<usize>, Vec<usize>) = left
            .iter()
            .partition(|&&i| left.iter().any(|&j| limits.prefer(&points[j], &points[i])));
        for i in taken {
            layers[i] = layer;
        }
        if next.is_empty() {
            break;
        }
        left = next;
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn costs((accuracy, flash, ram, instructions): (u8, u64, u64, u64)) -> Costs {
        Costs {
            accuracy: f64::from(accuracy) / 8.0,
            flash,
            ram,
            instructions,
        }
    }

    fn points() -> impl Strategy<Value = Vec<Costs>> {
        // Few values, so that ties and equal points are common.
        let point = (0u8..=8, 0u64..6, 0u64..6, 0u64..6).prop_map(costs);
        proptest::collection::vec(point, 0..40)
    }

    fn limits() -> impl Strategy<Value = Limits> {
        let limit = || proptest::option::of(2u64..6);
        (limit(), limit(), limit(), proptest::option::of(0u8..=8)).prop_map(|(f, r, i, a)| Limits {
            flash: f,
            ram: r,
            instructions: i,
            accuracy: a.map(|a| f64::from(a) / 8.0),
        })
    }

    proptest! {
        #[test]
        fn a_front_is_beaten_by_nothing_and_beats_all_else(points in points(), limits in limits()) {
            let front = front(&points, &limits);
            for &i in &front {
                prop_assert!(limits.allow(&points[i]));
                for (j, other) in points.iter().enumerate() {
                    let beaten = limits.allow(other) && other.dominates(&points[i]);
                    prop_assert!(!beaten, "{i} is dominated by {j}");
                }
            }
            for (i, point) in points.iter().enumerate() {
                let beaten = |&j: &usize| points[j].dominates(point) || points[j] == *point;
                let covered = front.contains(&i) || !limits.allow(point) || front.iter().any(beaten);
                prop_assert!(covered, "{i} is left out and nothing on the front is as good");
            }
            let distinct = front.iter().enumerate().all(|(n, &i)| front[..n].iter().all(|&j| points[i] != points[j]));
            prop_assert!(distinct);
        }

        #[test]
        fn later_layers_are_never_preferred(points in points(), limits in limits()) {
            let layers = layers(&points, &limits);
            for (i, a) in points.iter().enumerate() {
                for (j, b) in points.iter().enumerate() {
                    prop_assert!(!limits.prefer(a, b) || layers[i] < layers[j]);
                }
            }
        }

        #[test]
        fn dominance_is_a_strict_order(points in proptest::collection::vec((0u8..=3, 0u64..3, 0u64..3, 0u64..3).prop_map(costs), 3)) {
            let [a, b, c] = [points[0], points[1], points[2]];
            prop_assert!(!a.dominates(&a));
            prop_assert!(!(a.dominates(&b) && b.dominates(&a)));
            prop_assert!(!(a.dominates(&b) && b.dominates(&c)) || a.dominates(&c));
        }
    }

    #[test]
    fn a_miss_is_measured_in_shares_of_the_limit() {
        let limits = Limits {
            flash: Some(100),
            accuracy: Some(0.75),
            ..Limits::default()
        };
        assert_eq!(limits.violation(&costs((8, 150, 1_000, 9))), 0.5);
        assert_eq!(limits.violation(&costs((4, 100, 0, 0))), 0.25);
        assert!(limits.allow(&costs((6, 100, 0, 0))));
    }
}
