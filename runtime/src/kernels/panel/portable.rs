//! Panels on any machine: the definition of the others.

use super::CHANNELS;
use super::arm::{Arm, Results, Tile};
use crate::kernels::clamp;

/// No particular instructions.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Arm for Portable {
    fn shared(self, tile: &Tile<'_>, results: &mut Results<'_>) -> Option<()> {
        let read = [1, CHANNELS];
        run(tile, results, read, |x| Some([*x.first()?; CHANNELS]))
    }

    fn own(self, tile: &Tile<'_>, results: &mut Results<'_>) -> Option<()> {
        let channels = results.channels;
        let read = [channels; 2];
        run(tile, results, read, |x| first(x, channels))
    }
}

/// The first elements, filled up with zeros.
#[inline(always)]
fn first(all: &[f32], count: usize) -> Option<[f32; CHANNELS]> {
    if count == CHANNELS {
        return all.first_chunk().copied();
    }
    let mut filled = [0.0; CHANNELS];
    let (some, _) = filled.split_at_mut_checked(count)?;
    some.copy_from_slice(all.get(..count)?);
    Some(filled)
}

#[inline(always)]
fn run(
    tile: &Tile<'_>,
    results: &mut Results<'_>,
    read: [usize; 2],
    tap: impl Fn(&[f32]) -> Option<[f32; CHANNELS]>,
) -> Option<()> {
    if !tile.fits(read, results) {
        return None;
    }
    for pixel in 0..tile.pixels {
        let mut sums = *tile.start;
        for [x, weights] in tile.runs {
            let x = pixel.checked_mul(tile.pixel)?.checked_add(*x)?;
            let (mut x, mut weights) = (tile.x.get(x..)?, tile.weights.get(*weights..)?);
            for _ in 0..tile.taps {
                let (value, w) = (tap(x)?, first(weights, read[1])?);
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
