//! When gates open, polarise and freeze.

use serde::{Deserialize, Serialize};

/// Times are shares of the training. The defaults are our own; the paper's are not known to us.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Schedule {
    /// Gates are forced open until here.
    pub open_until: f64,
    /// From `open_until` to here the share that may stay open falls from 1 to what is asked for, so that gates close one after
    /// another while the network adapts, and the weight of the polarisation rises to its full value.
    pub ramp_until: f64,
    /// From here on the mask is fixed.
    pub freeze_at: f64,
    /// Weight of the activation term.
    pub lambda_act: f64,
    /// Full weight of the polarisation.
    pub lambda_pol: f64,
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule {
            open_until: 0.1,
            ramp_until: 0.6,
            freeze_at: 0.85,
            lambda_act: 5.0,
            lambda_pol: 1.0,
        }
    }
}

/// What gates do at a time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Phase {
    /// All gates are 1.
    Open,
    /// Gates follow their modules, with these weights of both terms.
    Gated {
        /// λ_act.
        act: f64,
        /// λ_pol.
        pol: f64,
        /// How far the ramp is, 0 … 1.
        risen: f64,
    },
    /// Gates are the mask that [`super::Consensus::mask`] gave when the phase began.
    Frozen,
}

impl Schedule {
    /// The phase at `progress`, 0 … 1 of the training.
    pub fn at(&self, progress: f64) -> Phase {
        if progress < self.open_until {
            Phase::Open
        } else if progress < self.freeze_at {
            let length = self.ramp_until - self.open_until;
            let risen = if length > 0.0 {
                ((progress - self.open_until) / length).min(1.0)
            } else {
                1.0
            };
            Phase::Gated {
                act: self.lambda_act,
                pol: self.lambda_pol * risen,
                risen,
            }
        } else {
            Phase::Frozen
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_open_ramp_and_freeze() {
        let s = Schedule::default();
        assert_eq!(s.at(0.05), Phase::Open);
        let gated = |risen: f64| Phase::Gated {
            act: 5.0,
            pol: risen,
            risen,
        };
        assert_eq!(s.at(0.1), gated(0.0));
        let Phase::Gated { pol, .. } = s.at(0.35) else {
            panic!("gated")
        };
        assert!((pol - 0.5).abs() < 1e-12);
        assert_eq!(s.at(0.7), gated(1.0));
        assert_eq!((s.at(0.85), s.at(1.0)), (Phase::Frozen, Phase::Frozen));
        let at_once = Schedule {
            ramp_until: 0.1,
            ..s
        };
        assert_eq!(at_once.at(0.1), gated(1.0));
    }
}
