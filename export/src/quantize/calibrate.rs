//! Which range each value of a float model takes, from what is seen on calibration data.

use super::histogram::Histogram;
use super::{QuantizeError, lower};
use crate::files::first_non_finite;
use crate::graph::Graph;
use std::collections::HashMap;

/// How a range is made of the values seen.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Calibration {
    /// From the least to the greatest.
    #[default]
    MinMax,
    /// The middle that holds this percentage of the values; half of the rest is cut off at each end.
    ///
    /// In `(0, 100]`; 100 is the same as [`Calibration::MinMax`]. Resolved to 1/2,048 of the greatest magnitude or
    /// finer than twice that.
    Percentile(f64),
}

/// Range of real values by value name.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ranges {
    ranges: HashMap<String, (f32, f32)>,
}

impl Ranges {
    /// Least and greatest value of the named tensor.
    pub fn get(&self, name: &str) -> Option<(f32, f32)> {
        self.ranges.get(name).copied()
    }

    /// Sets the range of the named tensor.
    pub fn insert(&mut self, name: impl Into<String>, min: f32, max: f32) {
        self.ranges.insert(name.into(), (min, max));
    }
}

/// Collects the values of every tensor whose range [`super::quantize`] will ask for.
///
/// One pass over the data; every inference reports its tensors through [`Calibrator::observe`].
#[derive(Clone, Debug)]
pub struct Calibrator {
    tail: f64,
    /// In the order of the graph, for error messages.
    names: Vec<String>,
    seen: HashMap<String, Histogram>,
}

impl Calibrator {
    /// A calibrator for a float graph.
    ///
    /// # Errors
    /// The graph cannot be quantised, or the percentile is not in `(0, 100]`.
    pub fn new(graph: &Graph, method: Calibration) -> Result<Self, QuantizeError> {
        lower::check(graph)?;
        let tail = match method {
            Calibration::MinMax => 0.0,
            Calibration::Percentile(p) if p > 0.0 && p <= 100.0 => (100.0 - p) / 200.0,
            Calibration::Percentile(p) => return Err(QuantizeError::Percentile(p)),
        };
        let names: Vec<String> = lower::ranged_values(graph)
            .into_iter()
            .map(|id| graph[id].name.clone())
            .collect();
        let seen = names
            .iter()
            .map(|n| (n.clone(), Histogram::new()))
            .collect();
        Ok(Calibrator { tail, names, seen })
    }

    /// Takes in the contents of one tensor in one inference; tensors that need no range are passed over.
    ///
    /// # Errors
    /// A value is NaN or infinite.
    pub fn observe(&mut self, name: &str, values: &[f32]) -> Result<(), QuantizeError> {
        let Some(histogram) = self.seen.get_mut(name) else {
            return Ok(());
        };
        if let Some(index) = first_non_finite(values) {
            return Err(QuantizeError::NotFinite {
                value: name.into(),
                index,
                found: values[index],
            });
        }
        histogram.add(values);
        Ok(())
    }

    /// The ranges.
    ///
    /// # Errors
    /// A tensor was never observed.
    pub fn finish(self) -> Result<Ranges, QuantizeError> {
        let mut ranges = Ranges::default();
        for name in self.names {
            let Some(histogram) = self.seen.get(&name).filter(|h| !h.is_empty()) else {
                return Err(QuantizeError::NotObserved { value: name });
            };
            let (min, max) = histogram.range(self.tail);
            ranges.insert(name, min, max);
        }
        Ok(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{conv_relu_graph, value};
    use super::*;

    #[test]
    fn a_tensor_that_was_never_seen_is_named() {
        let mut calibrator =
            Calibrator::new(&conv_relu_graph(), Calibration::MinMax).expect("made");
        calibrator.observe("x", &[1.0]).expect("observed");
        calibrator.observe("unknown", &[1.0]).expect("passed over");
        let error = calibrator.finish().expect_err("y is missing");
        assert!(
            matches!(&error, QuantizeError::NotObserved { value } if value == "y"),
            "{error}"
        );
    }

    #[test]
    fn nan_and_infinity_are_refused_by_name_and_place() {
        let mut calibrator =
            Calibrator::new(&conv_relu_graph(), Calibration::MinMax).expect("made");
        for bad in [f32::NAN, f32::INFINITY] {
            let error = calibrator
                .observe("y", &[0.0, bad])
                .expect_err("refused")
                .to_string();
            assert!(
                error.contains("`y`") && error.contains("element 1"),
                "{error}"
            );
        }
    }

    #[test]
    fn percentiles_outside_their_meaning_are_refused() {
        for p in [0.0, -1.0, 100.1, f64::NAN] {
            assert!(
                Calibrator::new(&conv_relu_graph(), Calibration::Percentile(p)).is_err(),
                "{p}"
            );
        }
    }

    #[test]
    fn min_max_takes_everything_and_a_percentile_leaves_outliers_out() {
        let mut graph = conv_relu_graph();
        graph.add_value(value("unused", &[1]));
        let range = |method| {
            let mut calibrator = Calibrator::new(&graph, method).expect("made");
            let values: Vec<f32> = (0..1000).map(|i| i as f32 / 1000.0).collect();
            for name in ["x", "y"] {
                calibrator.observe(name, &values).expect("observed");
                calibrator.observe(name, &[50.0]).expect("observed");
            }
            calibrator
                .finish()
                .expect("finished")
                .get("y")
                .expect("known")
        };
        assert_eq!(range(Calibration::MinMax), (0.0, 50.0));
        assert_eq!(range(Calibration::Percentile(100.0)), (0.0, 50.0));
        let (_, high) = range(Calibration::Percentile(99.0));
        assert!((0.98..1.1).contains(&high), "{high}");
    }
}
