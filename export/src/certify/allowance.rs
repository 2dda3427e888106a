//! What branches on values can add to a step's instructions.
//!
//! The table `allowance.json` is measured (`tests/tests/bounds.rs`): for every target and operator the largest difference between
//! two runs of one step, for each of the step's units, over seeded random networks fed with constant, extreme and random inputs, and
//! over networks made so that every single result is a tie, which is the longest way through a requantisation without floats.

use crate::compile::Target;
use crate::compile::cost::{Work, name};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Instructions a unit, by the target's and the operator's names.
pub type Table = BTreeMap<String, BTreeMap<String, f64>>;

/// Factor over what was measured: an input may reach a slower case of each branch than any that was tried.
pub const MARGIN: f64 = 1.25;

/// Instructions that any step may take more, besides.
pub const FIXED: u64 = 64;

/// The table that this compiler was built with.
fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    // A damaged table fails the test below.
    TABLE.get_or_init(|| serde_json::from_str(include_str!("allowance.json")).unwrap_or_default())
}

/// Units of a step: as often as this the operator branches on a value.
pub fn units(operator: &str, work: &Work) -> u64 {
    let int8_layer = work.macs > 0 && operator.contains("int8");
    if int8_layer && !operator.contains("softmax") {
        // Products are sums without branches.
        work.outputs
    } else {
        work.outputs + work.inputs + work.gathered + work.macs
    }
}

/// Instructions that a step may take more than in any other run; `None` when its operator was not measured.
pub fn of(target: Target, operator: &str, work: &Work) -> Option<u64> {
    let each = table().get(&name(target))?.get(operator)?;
    let units = units(operator, work) as f64;
    Some((each * MARGIN * units).ceil() as u64 + FIXED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let table: Table = serde_json::from_str(include_str!("allowance.json")).expect("JSON");
        assert_eq!(&table, super::table());
        for (target, operators) in &table {
            assert!(!operators.is_empty(), "{target}");
            assert!(operators.values().all(|&each| each >= 0.0), "{target}");
        }
    }

    #[test]
    fn a_layer_of_bytes_branches_once_a_result() {
        let work = Work {
            inputs: 10,
            outputs: 20,
            macs: 300,
            ..Work::default()
        };
        assert_eq!(units("conv2d int8, split weights", &work), 20);
        assert_eq!(units("conv2d f32", &work), 330);
    }
}
