//! Pruning by magnitude: the smallest weights become zero.

/// The magnitude below or at which the smallest `fraction` of all weights of these tensors lies; ties at it are left to
/// [`prune`]. `fraction` is clamped to 0 … 1.
pub fn threshold<'a>(tensors: impl IntoIterator<Item = &'a [f32]>, fraction: f64) -> f32 {
    let mut magnitudes: Vec<f32> = tensors.into_iter().flatten().map(|w| w.abs()).collect();
    let count = (fraction.clamp(0.0, 1.0) * magnitudes.len() as f64).round() as usize;
    match count.checked_sub(1) {
        Some(last) if last < magnitudes.len() => {
            *magnitudes.select_nth_unstable_by(last, f32::total_cmp).1
        }
        _ => -1.0,
    }
}

/// Sets weights of magnitude up to `threshold` to zero; returns how many are zero now.
pub fn prune(weights: &mut [f32], threshold: f32) -> usize {
    for w in weights.iter_mut() {
        if w.abs() <= threshold {
            *w = 0.0;
        }
    }
    weights.iter().filter(|&&w| w == 0.0).count()
}

/// Which weights are not zero: what training after pruning multiplies gradients with.
pub fn mask(weights: &[f32]) -> Vec<bool> {
    weights.iter().map(|&w| w != 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_fraction_of_all_tensors_goes() {
        let (mut a, mut b) = ([0.1f32, -0.5, 0.2], [-0.05f32, 3.0]);
        let t = threshold([&a[..], &b[..]], 0.6);
        assert_eq!(t, 0.2);
        assert_eq!((prune(&mut a, t), prune(&mut b, t)), (2, 1));
        assert_eq!((a, b), ([0.0, -0.5, 0.0], [0.0, 3.0]));
        assert_eq!(mask(&a), [false, true, false]);
    }

    #[test]
    fn nothing_and_everything_are_fractions() {
        let w = [0.0f32, 1.0, -2.0];
        assert_eq!(
            prune(&mut w.clone(), threshold([&w[..]], 0.0)),
            1,
            "the zero was there before"
        );
        assert_eq!(prune(&mut w.clone(), threshold([&w[..]], 1.0)), 3);
        assert_eq!(threshold([], 0.5), -1.0);
    }
}
