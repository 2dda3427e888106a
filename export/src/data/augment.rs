//! Changing samples so that no two epochs see the same ones.

use rand::Rng;

/// What is done to training samples. Nothing by default; images only, except for mixup.
#[derive(Clone, Copy, PartialEq, Debug, Default, serde::Serialize)]
pub struct Augment {
    /// Moves the image by up to this many pixels in both directions; what enters is 0 (the usual pad and crop).
    pub crop: usize,
    /// Mirrors left and right, half of the time.
    pub flip: bool,
    /// Blanks a square of this side, whose centre is anywhere in the image, to 0; 0 is off.
    pub cutout: usize,
    /// Replaces a rectangle by another sample's, whose class gets that share. The share is Beta(α, α); 0 is off.
    pub cutmix: f64,
    /// Blends with another sample, whose class gets that share. The share is Beta(α, α); 0 is off.
    pub mixup: f64,
}

/// A row of targets: this share of the sample's own class, the rest of its partner's.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Mix {
    /// The partner's index in the batch.
    pub partner: usize,
    /// The share of the sample's own class.
    pub own: f32,
}

/// Moves and mirrors one image of `[height, width, channels]` in place; `scratch` is memory to work in.
pub fn move_and_mirror(
    image: &mut [f32],
    [height, width, channels]: [usize; 3],
    augment: &Augment,
    scratch: &mut Vec<f32>,
    rng: &mut impl Rng,
) {
    let reach = augment.crop as i64;
    let [dy, dx] = [(); 2].map(|()| {
        if reach > 0 {
            rng.random_range(-reach..=reach)
        } else {
            0
        }
    });
    let mirrored = augment.flip && rng.random::<bool>();
    if dy == 0 && dx == 0 && !mirrored {
        return;
    }
    scratch.clear();
    scratch.extend_from_slice(image);
    for y in 0..height {
        for x in 0..width {
            let from_y = y as i64 - dy;
            let from_x = if mirrored { width - 1 - x } else { x } as i64 - dx;
            let inside =
                (0..height as i64).contains(&from_y) && (0..width as i64).contains(&from_x);
            let to = &mut image[(y * width + x) * channels..][..channels];
            if inside {
                let from = (from_y as usize * width + from_x as usize) * channels;
                to.copy_from_slice(&scratch[from..from + channels]);
            } else {
                to.fill(0.0);
            }
        }
    }
}

/// Blanks a square of `side` pixels in an image of `[height, width, channels]`; what lies outside of the image is cut off.
pub fn blank(
    image: &mut [f32],
    [height, width, channels]: [usize; 3],
    side: usize,
    rng: &mut impl Rng,
) {
    let mut span = |size: usize| {
        let from = rng.random_range(0..size.max(1)) as i64 - side as i64 / 2;
        let within = |v: i64| v.clamp(0, size as i64) as usize;
        within(from)..within(from + side as i64)
    };
    let (rows, columns) = (span(height), span(width));
    for y in rows {
        let row = &mut image[y * width * channels..][..width * channels];
        row[columns.start * channels..columns.end * channels].fill(0.0);
    }
}

/// Mixes a batch: every sample with another. Returns who was mixed with whom; `None` if the batch stays as it is.
///
/// `image` is `[height, width, channels]`, or `None` if samples are no images (then CutMix is left out).
pub fn mix(
    batch: &mut [f32],
    samples: usize,
    image: Option<[usize; 3]>,
    augment: &Augment,
    rng: &mut impl Rng,
) -> Option<Vec<Mix>> {
    let cut = augment.cutmix > 0.0 && image.is_some();
    let blend = augment.mixup > 0.0;
    if samples < 2 || !(cut || blend) {
        return None;
    }
    let cut = cut && (!blend || rng.random::<bool>());
    let alpha = if cut { augment.cutmix } else { augment.mixup };
    let share = beta(alpha, rng);
    // Every sample's partner is as many places further: a fresh offset a batch.
    let offset = rng.random_range(1..samples);
    let len = batch.len() / samples;
    let original = batch.to_vec();
    let mut own = share as f32;
    let rectangle = match image {
        Some([h, w, _]) if cut => {
            let side = (1.0 - share).sqrt();
            let span = |size: usize, rng: &mut _| {
                let center = Rng::random_range(rng, 0..size) as f64;
                let half = side * size as f64 / 2.0;
                let from = (center - half).max(0.0) as usize;
                (from, ((center + half) as usize).min(size))
            };
            let (y, x) = (span(h, rng), span(w, rng));
            own = 1.0 - ((y.1 - y.0) * (x.1 - x.0)) as f32 / (h * w) as f32;
            Some((y, x))
        }
        _ => None,
    };
    let mut mixes = Vec::with_capacity(samples);
    for (i, sample) in batch.chunks_exact_mut(len.max(1)).enumerate() {
        let partner = (i + offset) % samples;
        let other = &original[partner * len..][..len];
        match (rectangle, image) {
            (Some((y, x)), Some([_, w, c])) => {
                for row in y.0..y.1 {
                    let span = (row * w + x.0) * c..(row * w + x.1) * c;
                    sample[span.clone()].copy_from_slice(&other[span]);
                }
            }
            _ => {
                for (v, o) in sample.iter_mut().zip(other) {
                    *v = own * *v + (1.0 - own) * o;
                }
            }
        }
        mixes.push(Mix { partner, own });
    }
    Some(mixes)
}

/// A number of the Beta(α, α) distribution, `0 < α ≤ 1`, by Jöhnk's method.
fn beta(alpha: f64, rng: &mut impl Rng) -> f64 {
    let power = 1.0 / alpha.clamp(1e-3, 1.0);
    loop {
        let [x, y] = [(); 2].map(|()| libm::pow(rng.random::<f64>(), power));
        if x + y > 0.0 && x + y <= 1.0 {
            return x / (x + y);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(3)
    }

    #[test]
    fn a_moved_image_is_part_of_the_padded_one() {
        let augment = Augment {
            crop: 1,
            flip: true,
            ..Augment::default()
        };
        let original: Vec<f32> = (1..=18).map(|v| v as f32).collect();
        let mut rng = rng();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..200 {
            let mut image = original.clone();
            move_and_mirror(&mut image, [3, 3, 2], &augment, &mut Vec::new(), &mut rng);
            // Channels stay together.
            assert!(image.chunks(2).all(|p| p == [0.0; 2] || p[1] == p[0] + 1.0));
            seen.insert(format!("{image:?}"));
        }
        assert_eq!(seen.len(), 18);
    }

    #[test]
    fn squares_are_blanked_anywhere_and_cut_off_at_the_border() {
        let mut rng = rng();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..300 {
            let mut image = [1.0; 5 * 4 * 2];
            blank(&mut image, [5, 4, 2], 3, &mut rng);
            let gone: Vec<usize> = (0..20).filter(|p| image[2 * p] == 0.0).collect();
            assert!(image.chunks(2).all(|p| p[0] == p[1]), "whole pixels");
            assert!((2..=9).contains(&gone.len()), "{gone:?}");
            let (first, last) = (gone[0], gone[gone.len() - 1]);
            let area = (last / 4 - first / 4 + 1) * (last % 4 - first % 4 + 1);
            assert_eq!(area, gone.len(), "a rectangle");
            seen.insert(gone);
        }
        assert_eq!(seen.len(), 20, "a square for every centre");
    }

    #[test]
    fn mixes_share_pixels_as_they_share_classes() {
        for (cutmix, mixup) in [(1.0, 0.0), (0.0, 0.4), (0.5, 0.5)] {
            let augment = Augment {
                cutmix,
                mixup,
                ..Augment::default()
            };
            let mut rng = rng();
            for _ in 0..20 {
                let mut batch: Vec<f32> = [1.0, 0.0, 0.0].iter().flat_map(|&v| [v; 64]).collect();
                let mixes = mix(&mut batch, 3, Some([8, 8, 1]), &augment, &mut rng);
                let mixes = mixes.expect("mixed");
                for (sample, m) in batch.chunks(64).zip(&mixes).take(1) {
                    let mean = sample.iter().sum::<f32>() / 64.0;
                    assert!((mean - m.own).abs() < 1e-5, "{mean} {m:?}");
                }
            }
        }
    }

    #[test]
    fn beta_is_symmetric_and_wide_for_small_alpha() {
        let mut rng = rng();
        let draws: Vec<f64> = (0..4000).map(|_| beta(0.3, &mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / 4000.0;
        let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / 4000.0;
        // Var = 1 / (4·(2α + 1)).
        assert!((mean - 0.5).abs() < 0.03 && (variance - 0.15625).abs() < 0.01);
    }
}
