//! Activity recognition: an inertial sensor's measurements in, what its wearer does out.
//!
//! The model sees the last `LENGTH` measurements, one row each, oldest first, as shares of the sensor's range: acceleration along
//! x, y, z, rotation about x, y, z. Half of them are new from one look to the next.

use crate::imu::Sample;
use crate::model::{self, Error, Model, Rounding};
use crate::smooth::{Rule, Smooth};
use crate::window::Window;

/// Measurements that the committed model sees: two seconds.
pub const LENGTH: usize = 100;
/// The classes of the committed model (`boards/apps/models`), in the order of its scores: exercises of the shoulder.
pub const LABELS: [&str; 7] = [
    "pendulum",
    "abduction",
    "forward elevation",
    "internal rotation",
    "external rotation",
    "trapezius extension",
    "upright row",
];

/// Inferences whose scores are averaged: three seconds.
pub const AVERAGED: usize = 3;

/// When a class is decided: whenever the averages' greatest is that, so a decision says what goes on, not that it began.
pub const RULE: Rule = Rule {
    threshold: f32::MIN,
    pause: 0,
    ignored: 0,
};

/// One look at the last measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen<const CLASSES: usize> {
    /// The model's scores.
    pub scores: [f32; CLASSES],
    /// What goes on.
    pub decision: Option<usize>,
}

/// The application's state.
#[derive(Clone, Debug)]
pub struct Activity<const CLASSES: usize, const LENGTH: usize> {
    window: Window<Sample, LENGTH>,
    smooth: Smooth<CLASSES, AVERAGED>,
    /// Measurements since the last look.
    fresh: usize,
}

impl<const CLASSES: usize, const LENGTH: usize> Activity<CLASSES, LENGTH> {
    /// With nothing measured yet.
    pub const fn new(rule: Rule) -> Self {
        Activity {
            window: Window::new(),
            smooth: Smooth::new(rule),
            fresh: 0,
        }
    }

    /// Forgets everything measured.
    pub fn clear(&mut self) {
        self.window.clear();
        self.smooth.clear();
        self.fresh = 0;
    }

    /// Takes the next measurement, and looks when it is time: first after `LENGTH` of them.
    ///
    /// # Errors
    /// The model's input or output is another, or it does not run.
    pub fn measure(
        &mut self,
        sample: Sample,
        model: &mut impl Model,
    ) -> Result<Option<Seen<CLASSES>>, Error> {
        if !self.collect(sample) {
            return Ok(None);
        }
        self.look(model).map(Some)
    }

    /// The first half of [`measure`](Self::measure): takes the next measurement; whether it is time to look.
    pub fn collect(&mut self, sample: Sample) -> bool {
        self.window.push(sample);
        self.fresh += 1;
        if !self.window.is_full() || self.fresh < LENGTH.div_ceil(2) {
            return false;
        }
        self.fresh = 0;
        true
    }

    /// The model's half of [`measure`](Self::measure).
    ///
    /// # Errors
    /// As there.
    pub fn look(&mut self, model: &mut impl Model) -> Result<Seen<CLASSES>, Error> {
        let axes = self
            .window
            .iter()
            .flat_map(|sample| [sample.acceleration, sample.rotation]);
        let shares = axes.flatten().map(|count| f32::from(count) / 32768.0);
        model::fill(model, shares, Rounding::Nearest)?;
        model.infer()?;
        let scores = model::scores(model)?;
        let decision = self.smooth.push(&scores);
        Ok(Seen { scores, decision })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::Echo;
    use kinglet::format::DType;

    #[test]
    fn the_model_sees_the_last_measurements_in_their_order() {
        let mut model = Echo::<24, 24>::new(DType::I8, 1.0 / 128.0, 0);
        let mut activity = Activity::<24, 4>::new(RULE);
        for round in 0..2 {
            let mut looks = 0;
            for n in 0..9i16 {
                let count = |axis: i16| (10 * n + axis) * 256;
                let sample = Sample {
                    acceleration: [count(0), count(1), count(2)],
                    rotation: [count(3), count(4), count(5)],
                };
                let seen = activity.measure(sample, &mut model).unwrap();
                // Half of the measurements are new each time.
                assert_eq!(seen.is_some(), n >= 3 && n % 2 == 1, "{round}: {n}");
                let Some(seen) = seen else { continue };
                for (row, of) in model.input.chunks(6).zip(n - 3..) {
                    let expected = core::array::from_fn(|axis| (10 * of + axis as i16) as u8);
                    assert_eq!(row, <[u8; 6]>::as_slice(&expected));
                }
                looks += 1;
                assert_eq!(
                    seen.decision.is_some(),
                    looks >= 3,
                    "three looks are averaged"
                );
            }
            activity.clear();
        }
    }
}
