//! The rounding contract, four sums at a time: see [`crate::requantize`].
//!
//! `SCVTF` and `FCVTNS` round to nearest even. `FMINNM` and `FMAXNM` give the bound where the product is no number: the lower one
//! comes first, so that is what it becomes.

use crate::kernels::octet::arm::{Layer, Results};
use crate::requantize::Output;
use core::arch::aarch64::{
    float32x4_t, int8x8_t, int32x4_t, vaddq_s32, vcombine_s16, vcvtnq_s32_f32, vcvtq_f32_s32,
    vdupq_n_f32, vdupq_n_s32, vget_high_s16, vget_low_s16, vld1_s8, vmaxnmq_f32, vminnmq_f32,
    vmovl_s8, vmovl_s16, vmulq_f32, vmulq_s32, vqmovn_s16, vqmovn_s32, vst1_s8,
};

/// Zero point and bounds of an output, in every lane.
#[derive(Clone, Copy)]
struct Bounds {
    low: float32x4_t,
    high: float32x4_t,
    zero_point: int32x4_t,
}

impl Bounds {
    #[inline]
    #[target_feature(enable = "neon")]
    fn new(output: &Output) -> Bounds {
        Bounds {
            low: vdupq_n_f32((output.min().wrapping_sub(output.zero_point())) as f32),
            high: vdupq_n_f32(output.high()),
            zero_point: vdupq_n_s32(output.zero_point()),
        }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn requantize(&self, sums: int32x4_t, multipliers: float32x4_t) -> int32x4_t {
        let products = vmulq_f32(vcvtq_f32_s32(sums), multipliers);
        let within = vminnmq_f32(vmaxnmq_f32(products, self.low), self.high);
        vaddq_s32(vcvtnq_s32_f32(within), self.zero_point)
    }
}

/// What makes results of sums.
#[derive(Clone, Copy)]
pub(super) struct Epilogue {
    bounds: Bounds,
    sum: Option<Sum>,
}

/// Eight sums with what belongs to them.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub(super) sums: [int32x4_t; 2],
    pub(super) multipliers: [float32x4_t; 2],
    /// Where their results go.
    pub(super) y: *mut i8,
    /// How many of them there are.
    pub(super) count: usize,
}

/// An addition behind the results.
#[derive(Clone, Copy)]
struct Sum {
    factor: int32x4_t,
    factor_b: int32x4_t,
    offset: int32x4_t,
    multiplier: float32x4_t,
    bounds: Bounds,
}

impl Epilogue {
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn new(layer: &Layer<'_>, results: &Results<'_, '_>) -> Epilogue {
        let sum = results.residual.map(|r| Sum {
            factor: vdupq_n_s32(r.factor),
            factor_b: vdupq_n_s32(r.factor_b),
            offset: vdupq_n_s32(r.offset),
            multiplier: vdupq_n_f32(r.multiplier),
            bounds: Bounds::new(&r.output),
        });
        Epilogue {
            bounds: Bounds::new(&layer.output),
            sum,
        }
    }

    /// Stores the results of eight sums.
    ///
    /// # Safety
    /// So many results may be read and written where they go.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn store(&self, sums: Sums) {
        let (y, count) = (sums.y, sums.count.min(8));
        let mut low = self.bounds.requantize(sums.sums[0], sums.multipliers[0]);
        let mut high = self.bounds.requantize(sums.sums[1], sums.multipliers[1]);
        let mut bytes = [0i8; 8];
        if let Some(sum) = &self.sum {
            // SAFETY: the caller's promise, for the channels that there are; eight bytes fit.
            let other = unsafe {
                if count == 8 {
                    vld1_s8(y)
                } else {
                    core::ptr::copy_nonoverlapping(y, bytes.as_mut_ptr(), count);
                    vld1_s8(bytes.as_ptr())
                }
            };
            let other = vmovl_s8(other);
            low = sum.add(low, vmovl_s16(vget_low_s16(other)));
            high = sum.add(high, vmovl_s16(vget_high_s16(other)));
        }
        let packed = pack(low, high);
        // SAFETY: the caller's promise, for the channels that there are; eight bytes fit.
        unsafe {
            if count == 8 {
                vst1_s8(y, packed);
            } else {
                vst1_s8(bytes.as_mut_ptr(), packed);
                core::ptr::copy_nonoverlapping(bytes.as_ptr(), y, count);
            }
        }
    }
}

impl Sum {
    #[inline]
    #[target_feature(enable = "neon")]
    fn add(&self, result: int32x4_t, other: int32x4_t) -> int32x4_t {
        let a = vmulq_s32(result, self.factor);
        let b = vmulq_s32(other, self.factor_b);
        let sum = vaddq_s32(vaddq_s32(a, b), self.offset);
        self.bounds.requantize(sum, self.multiplier)
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn pack(low: int32x4_t, high: int32x4_t) -> int8x8_t {
    vqmovn_s16(vcombine_s16(vqmovn_s32(low), vqmovn_s32(high)))
}
