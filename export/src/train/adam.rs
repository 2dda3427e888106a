//! The Adam optimiser.

use super::tensor::{Parameter, Real};

/// First and second moments of every parameter's gradient (Kingma and Ba, 2015), with the usual decay rates.
#[derive(Clone, Debug, Default)]
pub struct Adam<T> {
    moments: Vec<(Vec<T>, Vec<T>)>,
    steps: i32,
}

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

impl<T: Real> Adam<T> {
    /// One step down the gradients, which are cleared. The parameters are the same ones, in the same order, each time.
    pub fn step(&mut self, parameters: Vec<&mut Parameter<T>>, learning_rate: f64) {
        self.steps += 1;
        let rate = learning_rate * (1.0 - BETA_2.powi(self.steps)).sqrt()
            / (1.0 - BETA_1.powi(self.steps));
        let (rate, epsilon) = (T::of(rate), T::of(EPSILON));
        let (b1, b2, one) = (T::of(BETA_1), T::of(BETA_2), T::one());
        for (i, parameter) in parameters.into_iter().enumerate() {
            if self.moments.len() == i {
                let zeros = vec![T::zero(); parameter.value.len()];
                self.moments.push((zeros.clone(), zeros));
            }
            let (first, second) = &mut self.moments[i];
            let moments = first.iter_mut().zip(second);
            for ((value, gradient), (m, v)) in parameter
                .value
                .iter_mut()
                .zip(&mut parameter.gradient)
                .zip(moments)
            {
                let g = std::mem::take(gradient);
                *m = b1 * *m + (one - b1) * g;
                *v = b2 * *v + (one - b2) * g * g;
                *value -= rate * *m / (v.sqrt() + epsilon);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_is_the_learning_rate_against_the_gradients_sign() {
        let mut p = Parameter::new(vec![1.0f64, 1.0]);
        p.gradient = vec![100.0, -0.01];
        Adam::default().step(vec![&mut p], 0.1);
        assert!((p.value[0] - 0.9).abs() < 1e-5 && (p.value[1] - 1.1).abs() < 1e-5);
        assert_eq!(p.gradient, [0.0, 0.0]);
    }

    #[test]
    fn a_bowl_is_descended_to_its_bottom() {
        let mut p = Parameter::new(vec![5.0f64, -3.0]);
        let mut adam = Adam::default();
        for _ in 0..2000 {
            p.gradient = vec![2.0 * (p.value[0] - 1.0), 20.0 * (p.value[1] - 2.0)];
            adam.step(vec![&mut p], 0.02);
        }
        assert!(
            (p.value[0] - 1.0).abs() < 1e-3 && (p.value[1] - 2.0).abs() < 1e-3,
            "{:?}",
            p.value
        );
    }
}
