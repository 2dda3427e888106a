//! Depthwise convolutions: eight channels' pairs of rows at a time, up to four pixels at once.
//!
//! The products of a pair's two rows stay apart until the window is through.

use super::requantize::{Epilogue, Sums};
use crate::kernels::octet::arm::{Layer, Results, Windows};
use crate::kernels::parts::groups;
use core::arch::aarch64::{
    float32x4_t, int16x8_t, int32x4_t, vaddq_s32, vdupq_n_s32, vget_high_s8, vget_low_s8,
    vget_low_s16, vld1q_f32, vld1q_s8, vld1q_s16, vld1q_s32, vmlal_high_s16, vmlal_s16, vmovl_s8,
    vpaddq_s32,
};

/// The constants of eight channels.
struct Block<'e> {
    /// Their first one.
    channel: usize,
    weights: *const i8,
    bias: [int32x4_t; 2],
    multipliers: [float32x4_t; 2],
    epilogue: &'e Epilogue,
}

/// Adds four channels' pairs of products.
#[inline]
#[target_feature(enable = "neon")]
fn add(sums: &mut [int32x4_t], x: int16x8_t, w: int16x8_t) {
    if let [low, high] = sums {
        *low = vmlal_s16(*low, vget_low_s16(x), vget_low_s16(w));
        *high = vmlal_high_s16(*high, x, w);
    }
}

/// # Safety
/// [`Windows::depthwise`] has said that everything fits.
#[target_feature(enable = "neon")]
pub(super) unsafe fn depthwise(
    windows: &Windows<'_, i16>,
    layer: &Layer<'_>,
    results: &mut Results<'_, '_>,
) {
    let epilogue = Epilogue::new(layer, results);
    for block in 0..results.channels.div_ceil(8) {
        // SAFETY: the caller's promise, for a block and pixels that there are.
        unsafe {
            let bias: *const i32 = layer.bias.as_ptr().add(block).cast();
            let multipliers: *const f32 = layer.multipliers.as_ptr().add(block).cast();
            let block = Block {
                channel: block * 8,
                weights: layer.weights.as_ptr().add(block * layer.block),
                bias: [vld1q_s32(bias), vld1q_s32(bias.add(4))],
                multipliers: [vld1q_f32(multipliers), vld1q_f32(multipliers.add(4))],
                epilogue: &epilogue,
            };
            for (pixel, count) in groups(windows.pixels, 4) {
                match count {
                    1 => tile::<1>(windows, &block, results, pixel),
                    2 => tile::<2>(windows, &block, results, pixel),
                    3 => tile::<3>(windows, &block, results, pixel),
                    _ => tile::<4>(windows, &block, results, pixel),
                }
            }
        }
    }
}

/// # Safety
/// There are `P` pixels from `pixel` on, and such a block.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn tile<const P: usize>(
    windows: &Windows<'_, i16>,
    block: &Block<'_>,
    results: &mut Results<'_, '_>,
    pixel: usize,
) {
    // SAFETY: the caller's promise; weights are read in order.
    unsafe {
        let mut sums = [[vdupq_n_s32(0); 4]; P];
        let mut weights = block.weights;
        let rows = windows.rows.as_ptr();
        let rows = rows.add(2 * block.channel + pixel * windows.step);
        for run in windows.runs {
            let (first, w) = (rows.add(*run), vld1q_s8(weights));
            weights = weights.add(16);
            let w = [vmovl_s8(vget_low_s8(w)), vmovl_s8(vget_high_s8(w))];
            for (p, sums) in sums.iter_mut().enumerate() {
                let x = first.add(p * windows.step);
                let (low, high) = sums.split_at_mut(2);
                add(low, vld1q_s16(x), w[0]);
                add(high, vld1q_s16(x.add(8)), w[1]);
            }
        }
        for (p, sums) in sums.iter().enumerate() {
            let low = vpaddq_s32(sums[0], sums[1]);
            let high = vpaddq_s32(sums[2], sums[3]);
            let y = results.y.as_mut_ptr();
            block.epilogue.store(Sums {
                sums: [
                    vaddq_s32(low, block.bias[0]),
                    vaddq_s32(high, block.bias[1]),
                ],
                multipliers: block.multipliers,
                y: y.add((pixel + p) * results.step + block.channel),
                count: (results.channels - block.channel).min(8),
            });
        }
    }
}
