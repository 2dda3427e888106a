//! What an instruction set has to offer to run float layers in panels.

use super::CHANNELS;

/// Sums of sixteen channels for consecutive output pixels.
#[derive(Clone, Copy, Debug)]
pub struct Tile<'a> {
    /// The input.
    pub x: &'a [f32],
    /// The weights.
    pub weights: &'a [f32],
    /// Where in `x`, for the first pixel, and in `weights` each run of taps begins.
    pub runs: &'a [[usize; 2]],
    /// Taps of a run.
    pub taps: usize,
    /// Elements from a tap to the next one, in `x` and in `weights`.
    pub tap: [usize; 2],
    /// Elements of `x` from a pixel to the next one.
    pub pixel: usize,
    /// Number of pixels.
    pub pixels: usize,
    /// Where the sums begin.
    pub start: &'a [f32; CHANNELS],
    /// Lower and upper bound of the results, if there are any.
    pub bounds: Option<[f32; 2]>,
}

/// Where the results go.
#[derive(Debug)]
pub struct Results<'y> {
    /// From the first pixel's first channel on.
    pub y: &'y mut [f32],
    /// Elements from a pixel to the next one.
    pub step: usize,
    /// Channels that are written, sixteen at most unless a method says otherwise.
    pub channels: usize,
}

impl Tile<'_> {
    /// Whether a kernel that reads so many elements of `x` and of `weights` for a tap stays within all slices, and there is
    /// something to do.
    pub fn fits(&self, read: [usize; 2], results: &Results<'_>) -> bool {
        (1..=CHANNELS).contains(&results.channels) && self.all_fit(read, results)
    }

    /// As [`Tile::fits`], of any number of channels.
    pub fn all_fit(&self, read: [usize; 2], results: &Results<'_>) -> bool {
        let last = |count: usize, step: usize| count.checked_sub(1)?.checked_mul(step);
        let greatest = self.runs.iter().fold([0; 2], |greatest: [usize; 2], run| {
            [greatest[0].max(run[0]), greatest[1].max(run[1])]
        });
        let x = || {
            last(self.pixels, self.pixel)?
                .checked_add(greatest[0])?
                .checked_add(last(self.taps, self.tap[0])?)?
                .checked_add(read[0])
        };
        let weights = || {
            greatest[1]
                .checked_add(last(self.taps, self.tap[1])?)?
                .checked_add(read[1])
        };
        let y = || last(self.pixels, results.step)?.checked_add(results.channels);
        let within = |end: Option<usize>, len: usize| end.is_some_and(|end| end <= len);
        let nothing = self.runs.is_empty();
        (nothing || (within(x(), self.x.len()) && within(weights(), self.weights.len())))
            && within(y(), results.y.len())
    }
}

/// An instruction set. A value proves that the processor has it.
pub trait Arm: Copy {
    /// A tap is one element of a pixel, which all channels share; `None` when something does not fit.
    fn shared(self, tile: &Tile<'_>, results: &mut Results<'_>) -> Option<()>;

    /// As [`Arm::shared`], for any number of channels: panels of weights are `panel` elements apart, and their sums begin with
    /// `starts`, not with the tile's.
    fn shared_panels(
        self,
        tile: &Tile<'_>,
        panel: usize,
        starts: &[[f32; CHANNELS]],
        results: &mut Results<'_>,
    ) -> Option<()> {
        one_by_one(self, tile, panel, starts, results)
    }

    /// A tap is an element of a pixel for each channel that is written; `None` when something does not fit.
    fn own(self, tile: &Tile<'_>, results: &mut Results<'_>) -> Option<()>;

    /// As [`Arm::own`], for any number of channels; their sums begin with `start`, not with the tile's.
    fn own_all(self, tile: &Tile<'_>, start: &[f32], results: &mut Results<'_>) -> Option<()> {
        let all = results.channels;
        for first in (0..all).step_by(CHANNELS) {
            let channels = all.checked_sub(first)?.min(CHANNELS);
            let mut sums = [0.0; CHANNELS];
            let start = start.get(first..)?.get(..channels)?;
            sums.get_mut(..channels)?.copy_from_slice(start);
            let some = Tile {
                x: tile.x.get(first..)?,
                weights: tile.weights.get(first..)?,
                start: &sums,
                ..*tile
            };
            let mut results = Results {
                y: results.y.get_mut(first..)?,
                step: results.step,
                channels,
            };
            self.own(&some, &mut results)?;
        }
        Some(())
    }
}

/// What [`Arm::shared_panels`] does, panel by panel.
pub fn one_by_one<A: Arm>(
    arm: A,
    tile: &Tile<'_>,
    panel: usize,
    starts: &[[f32; CHANNELS]],
    results: &mut Results<'_>,
) -> Option<()> {
    let all = results.channels;
    for (index, start) in (0..all.div_ceil(CHANNELS)).zip(starts) {
        let first = index.checked_mul(CHANNELS)?;
        let one = Tile {
            weights: tile.weights.get(index.checked_mul(panel)?..)?,
            start,
            ..*tile
        };
        let mut results = Results {
            y: results.y.get_mut(first..)?,
            step: results.step,
            channels: all.checked_sub(first)?.min(CHANNELS),
        };
        arm.shared(&one, &mut results)?;
    }
    Some(())
}
