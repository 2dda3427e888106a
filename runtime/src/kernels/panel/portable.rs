//! Panels on any machine: the definition of the others.

use super::CHANNELS;
use super::arm::{Arm, Results, Tile};
use crate::kernels::clamp;

/// No particular instructions.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Arm for Portable {
    fn shared(self, tile: &Tile<'_>, results: &mut Results<'_>) -> Option<()> {
        run(tile, results, 1, |x| Some([*x.first()?; CHANNELS]))
    }

    fn own(self, tile: &Tile<'_>, results: &mut Results<'_>) -> Option<()> {
        run(tile, results, CHANNELS, |x| x.first_chunk().copied())
    }
}

#[inline(always)]
fn run(
    tile: &Tile<'_>,
    results: &mut Results<'_>,
    lanes: usize,
    tap: impl Fn(&[f32]) -> Option<[f32; CHANNELS]>,
) -> Option<()> {
    if !tile.fits(lanes, results) {
        return None;
    }
    for pixel in 0..tile.pixels {
        let mut sums = *tile.start;
        for [x, weights] in tile.runs {
            let x = pixel.checked_mul(tile.pixel)?.checked_add(*x)?;
            let (mut x, mut weights) = (tile.x.get(x..)?, tile.weights.get(*weights..)?);
            for _ in 0..tile.taps {
                let (value, w) = (tap(x)?, weights.first_chunk::<CHANNELS>()?);
                for ((sum, x), w) in sums.iter_mut().zip(value).zip(w) {
                    *sum += x * w;
                }
                // Behind the last tap there may be nothing.
                x = x.get(tile.tap[0]..).unwrap_or_default();
                weights = weights.get(tile.tap[1]..).unwrap_or_default();
            }
        }
        let at = pixel.checked_mul(results.step)?;
        let y = results.y.get_mut(at..)?.get_mut(..results.channels)?;
        for (y, sum) in y.iter_mut().zip(sums) {
            *y = match tile.bounds {
                Some([min, max]) => clamp(sum, min, max),
                None => sum,
            };
        }
    }
    Some(())
}
