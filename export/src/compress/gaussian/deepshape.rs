//! DeepShape: trained weights are dealt out anew so that their histogram is a narrower generalised Gaussian
//! (arXiv 2506.00486 v1–v3). Ranks are kept; a few epochs of training recover what it costs.

use super::shape::Moments;

/// Choices of [`deepshape`]; the defaults are the authors'.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DeepShape {
    /// Distance of two levels. The authors': 2⁻¹³ for all layers together. Ours: a fraction of the layer's deviation.
    pub step: f64,
    /// Levels are remapped up to the first positive one that so few weights have; the tails stay.
    pub tail: usize,
    /// ν of the target over ν of the weights.
    pub shape_factor: f64,
    /// α of the target over α of the weights.
    pub scale_factor: f64,
}

impl Default for DeepShape {
    fn default() -> Self {
        DeepShape {
            step: (-13f64).exp2(),
            tail: 1000,
            shape_factor: 0.8,
            scale_factor: 0.6,
        }
    }
}

impl DeepShape {
    /// For one layer: levels of `relative_step` deviations, and a tail that begins where a level has a thousandth of the
    /// weights. Layers of different deviations must not share a step.
    pub fn for_layer(weights: &[f32], relative_step: f64) -> Self {
        DeepShape {
            step: Moments::of(weights).deviation() * relative_step,
            tail: weights.len() / 1000,
            ..DeepShape::default()
        }
    }
}

/// Remaps `weights`; returns how many of them moved onto a level. Weights beyond the cut, and the few left over when the
/// target's shares were rounded down, keep their values.
pub fn deepshape(weights: &mut [f32], options: &DeepShape) -> usize {
    let level = |w: f32| (f64::from(w) / options.step).round();
    if options.step <= 0.0 || !options.step.is_finite() || weights.iter().any(|w| !w.is_finite()) {
        return 0;
    }
    let Some(cut) = cut(weights, options) else {
        return 0;
    };
    let within: Vec<f32> = weights
        .iter()
        .copied()
        .filter(|&w| level(w).abs() <= cut)
        .collect();
    let mean = within.iter().map(|&w| f64::from(w)).sum::<f64>() / within.len().max(1) as f64;
    let centred: Vec<f32> = within
        .iter()
        .map(|&w| (f64::from(w) - mean) as f32)
        .collect();
    let Some(found) = Moments::of(&centred).fit() else {
        return 0;
    };
    let (shape, mean) = (options.shape_factor * found.shape, mean / options.step);
    let scale = options.scale_factor * found.scale / options.step;

    let mut remapped: Vec<usize> = (0..weights.len())
        .filter(|&i| (level(weights[i]) - mean).abs() <= cut)
        .collect();
    remapped.sort_by(|&a, &b| weights[a].total_cmp(&weights[b]));
    let levels: Vec<f64> = ((mean - cut).ceil() as i64..=(mean + cut).floor() as i64)
        .map(|k| k as f64)
        .collect();
    let weight = |k: f64| (-((k - mean).abs() / scale).powf(shape)).exp();
    let total: f64 = levels.iter().map(|&k| weight(k)).sum();
    let count = remapped.len() as f64;
    let mut order = remapped.iter();
    let mut moved = 0;
    for &k in &levels {
        for &i in order.by_ref().take((weight(k) / total * count) as usize) {
            weights[i] = (k * options.step) as f32;
            moved += 1;
        }
    }
    moved
}

/// The smallest positive level that at most `tail` weights have.
fn cut(weights: &[f32], options: &DeepShape) -> Option<f64> {
    let mut levels: Vec<i64> = weights
        .iter()
        .map(|&w| (f64::from(w) / options.step).round() as i64)
        .filter(|&q| q > 0)
        .collect();
    levels.sort_unstable();
    let mut expected = 1;
    for run in levels.chunk_by(|a, b| a == b) {
        if run[0] > expected || run.len() <= options.tail {
            break;
        }
        expected += 1;
    }
    (!levels.is_empty()).then_some(expected as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::gaussian::{GeneralizedGaussian, rate::entropy};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_histogram_narrows_and_ranks_stay() {
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let before = GeneralizedGaussian::with_variance(1.0, 0.0025).draw(50_000, &mut random);
        let options = DeepShape::for_layer(&before, 0.1);
        let mut after = before.clone();
        let moved = deepshape(&mut after, &options);
        assert!(moved > 45_000, "{moved}");
        let levels = |w: &[f32]| -> Vec<i32> {
            w.iter()
                .map(|&w| (f64::from(w) / options.step).round() as i32)
                .collect()
        };
        let (fewer, more) = (entropy(&levels(&after)), entropy(&levels(&before)));
        assert!(fewer < more - 0.2, "{fewer} bits after, {more} before");
        // Among those that moved, order is kept.
        let mut order: Vec<usize> = (0..before.len()).collect();
        order.sort_by(|&a, &b| before[a].total_cmp(&before[b]));
        let on_level = |i: usize| after[i] != before[i];
        let dealt: Vec<f32> = order
            .iter()
            .filter(|&&i| on_level(i))
            .map(|&i| after[i])
            .collect();
        assert!(dealt.is_sorted());
    }

    #[test]
    fn tails_and_left_overs_keep_their_values() {
        let mut random = ChaCha8Rng::seed_from_u64(12);
        let before = GeneralizedGaussian::with_variance(0.7, 1.0).draw(20_000, &mut random);
        let options = DeepShape::for_layer(&before, 0.125);
        let limit = cut(&before, &options).unwrap() * options.step;
        let mut after = before.clone();
        let moved = deepshape(&mut after, &options);
        let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        assert!(changed <= moved);
        let tail = before
            .iter()
            .zip(&after)
            .filter(|(a, _)| f64::from(a.abs()) > limit + options.step);
        for (a, b) in tail {
            assert_eq!(a, b);
        }
    }

    #[test]
    fn nothing_to_reshape_is_left_alone() {
        for w in [vec![], vec![0.0; 5], vec![1.0, f32::NAN], vec![-1.0; 4]] {
            let mut after = w.clone();
            assert_eq!(deepshape(&mut after, &DeepShape::for_layer(&w, 0.1)), 0);
            assert!(
                after
                    .iter()
                    .zip(&w)
                    .all(|(a, b)| a.to_bits() == b.to_bits())
            );
        }
    }
}
