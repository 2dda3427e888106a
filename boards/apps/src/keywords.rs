//! Keyword spotting: 16 kHz sound in, words out.
//!
//! Each 20 ms of sound become one frame of the [front end](crate::mfcc); every `stride` of them the model looks at the last
//! second, and its scores are smoothed into decisions.

pub use crate::mfcc::{FrontEnd, HOP, RATE};
use crate::model::{self, Error, Model, Rounding};
use crate::smooth::{Rule, Smooth};

/// MLPerf Tiny's classes, in the order of its model's scores.
pub const LABELS: [&str; 12] = [
    "down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown",
];

/// Inferences whose scores are averaged: 0.3 s with the default stride.
pub const AVERAGED: usize = 3;

/// Where sound comes from: an I²S or PDM peripheral, for which `embedded-hal` has no trait, or a recording.
pub trait Microphone {
    /// Why there is no sound.
    type Error;

    /// Waits for the next 20 ms: mono, 16 kHz. `false` at the end of a recording.
    ///
    /// # Errors
    /// The device's.
    fn read(&mut self, hop: &mut [i16; HOP]) -> Result<bool, Self::Error>;
}

/// How often the model looks, and when it is believed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Hops of 20 ms from one inference to the next; at least 1.
    pub stride: u32,
    /// When a word is decided.
    pub rule: Rule,
    /// How features become the model's integers.
    pub rounding: Rounding,
}

impl Settings {
    /// For MLPerf Tiny's model: ten looks a second, a second of pause behind a word, which is how long it stays in the window, and
    /// neither "silence" nor "unknown" is a word.
    pub const TINY: Settings = Settings {
        stride: 5,
        rule: Rule {
            threshold: 0.6,
            pause: 10,
            ignored: 1 << 10 | 1 << 11,
        },
        rounding: Rounding::TowardsZero,
    };
}

/// One look at the last second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heard<const CLASSES: usize> {
    /// The model's scores.
    pub scores: [f32; CLASSES],
    /// The word that has been spoken, once a word.
    pub decision: Option<usize>,
}

/// The application's state.
#[derive(Clone, Debug)]
pub struct Keywords<const CLASSES: usize> {
    front_end: FrontEnd,
    smooth: Smooth<CLASSES, AVERAGED>,
    settings: Settings,
    /// Hops until the next look.
    rest: u32,
}

impl<const CLASSES: usize> Keywords<CLASSES> {
    /// With nothing heard yet.
    pub const fn new(settings: Settings) -> Self {
        Keywords {
            front_end: FrontEnd::new(),
            smooth: Smooth::new(settings.rule),
            settings,
            rest: 0,
        }
    }

    /// Forgets everything heard.
    pub fn clear(&mut self) {
        self.front_end.clear();
        self.smooth.clear();
        self.rest = 0;
    }

    /// Takes the next 20 ms, and looks when it is time: first after a whole second.
    ///
    /// # Errors
    /// The model's input or output is another, or it does not run.
    pub fn hear(
        &mut self,
        hop: &[i16; HOP],
        model: &mut impl Model,
    ) -> Result<Option<Heard<CLASSES>>, Error> {
        if !self.listen(hop) {
            return Ok(None);
        }
        self.look(model).map(Some)
    }

    /// The front end's half of [`hear`](Self::hear): takes the next 20 ms; whether it is time to look.
    pub fn listen(&mut self, hop: &[i16; HOP]) -> bool {
        self.front_end.push(hop);
        if !self.front_end.is_full() {
            return false;
        }
        if let Some(rest) = self.rest.checked_sub(1) {
            self.rest = rest;
            return false;
        }
        self.rest = self.settings.stride.saturating_sub(1);
        true
    }

    /// The model's half of [`hear`](Self::hear).
    ///
    /// # Errors
    /// As there.
    pub fn look(&mut self, model: &mut impl Model) -> Result<Heard<CLASSES>, Error> {
        model::fill(model, self.front_end.features(), self.settings.rounding)?;
        model.infer()?;
        let scores = model::scores(model)?;
        let decision = self.smooth.push(&scores);
        Ok(Heard { scores, decision })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mfcc::{COEFFICIENTS, FRAMES};
    use crate::model::testing::Echo;
    use kinglet::format::DType;

    #[test]
    fn the_model_looks_after_a_second_and_then_every_stride() {
        let mut model = Echo::<{ FRAMES * COEFFICIENTS }, 2>::new(DType::I8, 1.0, 0);
        let settings = Settings {
            stride: 5,
            rule: Rule {
                threshold: -1e9,
                pause: 1,
                ignored: 0,
            },
            ..Settings::TINY
        };
        let mut keywords = Keywords::<2>::new(settings);
        for round in 0..2 {
            let mut looks = [None; 100];
            for (i, look) in looks.iter_mut().enumerate() {
                let hop = [i as i16 + 1; HOP];
                *look = keywords.hear(&hop, &mut model).unwrap();
            }
            for (i, look) in looks.iter().enumerate() {
                assert_eq!(
                    look.is_some(),
                    i >= 49 && (i - 49) % 5 == 0,
                    "{round}: hop {i}"
                );
            }
            // Three are averaged, and after a decision one is left out.
            let decided = looks.iter().flatten().map(|look| look.decision.is_some());
            let expected = [
                false, false, true, false, true, false, true, false, true, false, true,
            ];
            assert!(decided.eq(expected));
            keywords.clear();
        }
    }

    #[test]
    fn a_model_of_another_input_is_refused() {
        let mut model = Echo::<10, 2>::new(DType::I8, 1.0, 0);
        let mut keywords = Keywords::<2>::new(Settings::TINY);
        let result = (0..50).try_for_each(|_| keywords.hear(&[1; HOP], &mut model).map(drop));
        let expected = FRAMES * COEFFICIENTS;
        assert_eq!(result, Err(Error::Input { expected }));
    }
}
