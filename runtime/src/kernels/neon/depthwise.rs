//! Depthwise convolutions: eight channels' pairs of rows at a time.

use super::requantize::{Epilogue, Sums};
use crate::kernels::octet::arm::{Layer, Results, Windows};
use core::arch::aarch64::{
    int16x8_t, int32x4_t, vaddq_s32, vget_high_s8, vget_low_s8, vget_low_s16, vld1q_f32, vld1q_s8,
    vld1q_s16, vld1q_s32, vmovl_s8, vmull_high_s16, vmull_s16, vpaddq_s32,
};

/// The sums of four pairs of products.
#[inline]
#[target_feature(enable = "neon")]
fn pairs(x: int16x8_t, w: int16x8_t) -> int32x4_t {
    let low = vmull_s16(vget_low_s16(x), vget_low_s16(w));
    vpaddq_s32(low, vmull_high_s16(x, w))
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
        let channel = block * 8;
        // SAFETY: the caller's promise, for a block and pixels that there are.
        unsafe {
            let bias: *const i32 = layer.bias.as_ptr().add(block).cast();
            let bias = [vld1q_s32(bias), vld1q_s32(bias.add(4))];
            let multipliers: *const f32 = layer.multipliers.as_ptr().add(block).cast();
            let multipliers = [vld1q_f32(multipliers), vld1q_f32(multipliers.add(4))];
            for pixel in 0..windows.pixels {
                let mut sums = bias;
                let mut weights = layer.weights.as_ptr().add(block * layer.block);
                let rows = windows.rows.as_ptr();
                let rows = rows.add(2 * channel + pixel * windows.step);
                for run in windows.runs {
                    let (x, w) = (rows.add(*run), vld1q_s8(weights));
                    weights = weights.add(16);
                    let low = pairs(vld1q_s16(x), vmovl_s8(vget_low_s8(w)));
                    let high = pairs(vld1q_s16(x.add(8)), vmovl_s8(vget_high_s8(w)));
                    sums = [vaddq_s32(sums[0], low), vaddq_s32(sums[1], high)];
                }
                epilogue.store(Sums {
                    sums,
                    multipliers,
                    y: results.y.as_mut_ptr().add(pixel * results.step + channel),
                    count: (results.channels - channel).min(8),
                });
            }
        }
    }
}
