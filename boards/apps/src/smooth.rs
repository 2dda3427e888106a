//! From scores that flicker to decisions that do not.

use crate::model::best;
use crate::window::Window;

/// When a class is decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// The least average score.
    pub threshold: f32,
    /// Inferences after a decision in which there is no other.
    pub pause: u32,
    /// Classes that are never decided, bit by bit: background, "something else".
    pub ignored: u64,
}

/// Averages the scores of the last `AVERAGED` inferences, as TensorFlow's speech commands example does it.
#[derive(Clone, Debug)]
pub struct Smooth<const CLASSES: usize, const AVERAGED: usize> {
    rule: Rule,
    recent: Window<[f32; CLASSES], AVERAGED>,
    /// Inferences until the next decision may be made.
    paused: u32,
}

impl<const CLASSES: usize, const AVERAGED: usize> Smooth<CLASSES, AVERAGED> {
    /// With no scores yet.
    pub const fn new(rule: Rule) -> Self {
        Smooth {
            rule,
            recent: Window::new(),
            paused: 0,
        }
    }

    /// Forgets all scores.
    pub fn clear(&mut self) {
        self.recent.clear();
        self.paused = 0;
    }

    /// Takes the scores of one inference: the class that is decided on, if one is. None is before `AVERAGED` inferences.
    pub fn push(&mut self, scores: &[f32; CLASSES]) -> Option<usize> {
        self.recent.push(*scores);
        if let Some(rest) = self.paused.checked_sub(1) {
            self.paused = rest;
            return None;
        }
        if !self.recent.is_full() {
            return None;
        }
        let mut sums = [0.0; CLASSES];
        for scores in self.recent.iter() {
            for (sum, score) in sums.iter_mut().zip(scores) {
                *sum += score;
            }
        }
        let class = best(&sums);
        let enough = self.rule.threshold * AVERAGED as f32;
        let ignored = class < 64 && self.rule.ignored >> class & 1 == 1;
        if ignored || sums.get(class).is_none_or(|sum| *sum < enough) {
            return None;
        }
        self.paused = self.rule.pause;
        Some(class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule {
        threshold: 0.5,
        pause: 2,
        ignored: 0b100,
    };

    #[test]
    fn one_high_score_does_not_decide_and_a_decision_is_not_repeated_at_once() {
        let mut smooth = Smooth::<3, 3>::new(RULE);
        let scores = [
            [1.0, 0.0, 0.0],
            [0.0, 0.0, 0.0],
            [0.0, 0.9, 0.0],
            [0.0, 0.9, 0.0],
            [0.0, 0.9, 0.0],
            [0.0, 0.9, 0.0],
            [0.0, 0.9, 0.0],
        ];
        let decided: [_; 7] = scores.map(|scores| smooth.push(&scores));
        assert_eq!(decided, [None, None, None, Some(1), None, None, Some(1)]);
        smooth.clear();
        assert_eq!(smooth.push(&[0.0, 9.0, 0.0]), None);
    }

    #[test]
    fn ignored_classes_and_low_scores_decide_nothing() {
        let mut smooth = Smooth::<3, 1>::new(RULE);
        assert_eq!(smooth.push(&[0.0, 0.1, 0.9]), None);
        assert_eq!(smooth.push(&[0.4, 0.1, 0.0]), None);
        assert_eq!(smooth.push(&[0.6, 0.1, 0.0]), Some(0));
    }
}
