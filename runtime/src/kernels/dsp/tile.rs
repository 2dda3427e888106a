//! Two pixels by four channels of split or wide weights: the inner loop of convolutions.

use crate::kernels::split::Split;
use crate::kernels::wide::Wide;
use core::arch::naked_asm;
use core::marker::PhantomData;
use core::num::NonZeroUsize;

/// Weights for this loop.
pub(super) trait Pairs {
    /// 16-bit numbers of a block for each group of four taps.
    const GROUP: usize;

    fn weights(&self) -> &[i16];
    /// `[blocks][4]`.
    fn bias(&self) -> &[i32];
    /// `[blocks][4]`.
    fn multipliers(&self) -> &[f32];

    /// The loop: results of the first pixel to `y0`, of the second to `y1`.
    ///
    /// # Safety
    /// As [`Job::run`].
    unsafe fn tile(job: &Job<Self>, y0: *mut i8, y1: *mut i8)
    where
        Self: Sized;
}

macro_rules! pairs {
    ($weights:ty, $group:literal, $tile:ident) => {
        impl Pairs for $weights {
            const GROUP: usize = $group;

            fn weights(&self) -> &[i16] {
                self.weights
            }

            fn bias(&self) -> &[i32] {
                self.bias
            }

            fn multipliers(&self) -> &[f32] {
                self.multipliers
            }

            #[inline(always)]
            unsafe fn tile(job: &Job<Self>, y0: *mut i8, y1: *mut i8) {
                // SAFETY: the caller's.
                unsafe { $tile(job, y0, y1) }
            }
        }
    };
}

pairs!(Split<'_>, 8, split);
pairs!(Wide<'_>, 16, wide);

/// What the loop works on, in the order in which it puts it on its stack.
#[repr(C)]
pub(super) struct Job<P> {
    /// Behind the last pair of activations.
    patch_end: *const u32,
    /// The patch: for each group of four taps the words `p0(k0,k2), p1(k0,k2), p0(k1,k3), p1(k1,k3)`.
    patch: *const u32,
    bias: *const i32,
    multipliers: *const f32,
    zero_point: i32,
    weights: *const i16,
    /// Number of taps / 2.
    pairs: usize,
    /// Channels, a positive multiple of four.
    channels: usize,
    kind: PhantomData<P>,
}

/// A layer's constants and its patch, checked once.
pub(super) struct Tile<'a, P> {
    constants: &'a P,
    groups: usize,
    channels: usize,
    zero_point: i32,
}

impl<'a, P: Pairs> Tile<'a, P> {
    /// For patches of `groups ≥ 1` groups of four taps, and that many channels; results saturate to int8 around `zero_point`.
    pub(super) fn new(
        constants: &'a P,
        groups: usize,
        channels: usize,
        zero_point: i32,
    ) -> Option<Tile<'a, P>> {
        let filled = channels.checked_next_multiple_of(4)?;
        let weights = filled.checked_mul(groups)?.checked_mul(P::GROUP / 4)?;
        let enough = constants.weights().len() >= weights
            && constants.bias().len() >= filled
            && constants.multipliers().len() >= filled;
        (enough && groups > 0 && channels > 0).then_some(Tile {
            constants,
            groups,
            channels,
            zero_point,
        })
    }

    /// Requantised results of two pixels, whose taps are in `patch` as [`super::expand`] writes them. `y` has the channels of
    /// both, one pixel behind the other, or of one, when the taps are the same.
    #[inline(always)]
    pub(super) fn results(&self, patch: &[u32], y: &mut [i8]) -> Option<()> {
        let channels = self.channels;
        if patch.len() != self.groups * 4 || (y.len() != channels && y.len() != channels * 2) {
            return None;
        }
        let second = y.len() - channels;
        let whole = channels & !3;
        if whole > 0 {
            let job = self.job(0, whole, patch);
            // SAFETY: the patch has the length it should have, both pixels' results lie in `y`.
            unsafe { job.run(y.as_mut_ptr(), second) };
        }
        if whole < channels {
            self.last_block(patch, y.get_mut(whole..)?, second);
        }
        Some(())
    }

    /// [`Tile::results`] of pairs of pixels side by side, as many as `y` has, whose patches begin every `step` words. `None` also for
    /// channels that are no multiple of four.
    pub(super) fn row(&self, patches: &[u32], step: usize, y: &mut [i8]) -> Option<()> {
        let both = self.channels.checked_mul(2)?;
        let pairs = y.len() / NonZeroUsize::new(both)?;
        let last = pairs.checked_sub(1)?.checked_mul(step)?;
        let first = patches.get(..self.groups * 4)?;
        let enough = patches.len() - first.len() >= last && y.len() == pairs.wrapping_mul(both);
        let mut job = self.whole(first).filter(|_| enough)?;
        let mut to = y.as_mut_ptr();
        for _ in 0..pairs {
            // SAFETY: the last patch begins `last` words behind the first and lies in `patches` like that; `y` has the results of so
            // many pairs.
            unsafe { job.run(to, self.channels) };
            to = to.wrapping_add(both);
            job.patch = job.patch.wrapping_add(step);
            job.patch_end = job.patch_end.wrapping_add(step);
        }
        Some(())
    }

    /// The work for one pair of pixels after the other, whose taps come to be in `patch`. `None` for channels that are no
    /// multiple of four.
    pub(super) fn whole(&self, patch: &[u32]) -> Option<Job<P>> {
        let fits = patch.len() == self.groups * 4 && self.channels % 4 == 0;
        fits.then(|| self.job(0, self.channels, patch))
    }

    /// The last block, of fewer than four channels, by way of a buffer.
    #[inline(never)]
    fn last_block(&self, patch: &[u32], y: &mut [i8], second: usize) {
        let mut last = [[0i8; 4]; 2];
        let count = self.channels % 4;
        let job = self.job(self.channels & !3, 4, patch);
        // SAFETY: the patch is as long as for `results`; the buffer holds a whole block of both pixels.
        unsafe { job.run(last.as_mut_ptr().cast(), 4) };
        for (start, last) in [0, second].into_iter().zip(last) {
            for (y, last) in y.iter_mut().skip(start).zip(last).take(count) {
                *y = last;
            }
        }
    }

    /// `channels` channels from `first` on, both multiples of four and within what [`Tile::new`] was asked for.
    #[inline(always)]
    fn job(&self, first: usize, channels: usize, patch: &[u32]) -> Job<P> {
        let range = patch.as_ptr_range();
        Job {
            patch_end: range.end,
            patch: range.start,
            bias: self.constants.bias().as_ptr().wrapping_add(first),
            multipliers: self.constants.multipliers().as_ptr().wrapping_add(first),
            zero_point: self.zero_point,
            weights: self
                .constants
                .weights()
                .as_ptr()
                .wrapping_add(first * self.groups * (P::GROUP / 4)),
            pairs: self.groups * 2,
            channels,
            kind: PhantomData,
        }
    }
}

impl<P: Pairs> Job<P> {
    /// Results of the first pixel to `y`, of the second to `second` bytes behind it.
    ///
    /// # Safety
    /// The patch must be the one the job was made for, `groups · 4` words that nobody else writes meanwhile, and both places
    /// must have room for the job's channels.
    #[inline(always)]
    pub(super) unsafe fn run(&self, y: *mut i8, second: usize) {
        // SAFETY: constants suffice for all channels, filled up to blocks of four: `Tile::new` has checked; patch and results
        // as the caller says. Words are aligned: patch, biases and multipliers by their types, weights since they begin at a
        // multiple of 4 bytes (checked for the plan, or where a tile was decoded to) and blocks are multiples of 16 bytes long. Those
        // of hand-made weights are aligned too, or the load faults (`LDRD` does not read elsewhere).
        unsafe { P::tile(self, y, y.wrapping_add(second)) };
    }
}

/// The loop. For each block of four channels: sums from the biases, `pairs` times the body, which is `$size` bytes long, and
/// requantisation. A block costs 80 instructions beside the bodies: 10 a result; the loop 3 for every 32 taps. The first round
/// enters in the middle, so that any multiple of four taps will do.
///
/// r0, r1 weights; r2, r3 activations; r4–r11 sums (of each channel for both pixels); r12 weights' address; lr the patch's.
macro_rules! tile {
    ($(#[$doc:meta])* $name:ident, $size:literal, [$($body:literal),+], [$($join:literal),*]) => {
        $(#[$doc])*
        #[unsafe(naked)]
        unsafe extern "C" fn $name<P>(job: &Job<P>, y0: *mut i8, y1: *mut i8) {
            naked_asm!(
                ".cpu cortex-m4",
                "push {{r4-r11, lr}}",
                "mov r11, r2",
                "ldmia r0, {{r3-r9, r12}}",
                // r3 patch end, r4 patch, r5 bias, r6 multipliers, r7 zero point, r8 weights, r9 pairs, r12 channels
                "add r10, r12, r1",
                "mov r12, r8",
                "mov r8, r1",
                // Where the first round enters: behind (16 − pairs mod 16) bodies.
                "adr.w r0, 4f",
                "subs r9, #1",
                "and r9, r9, #15",
                "adds r9, #1",
                concat!("movs r1, #", $size),
                "mls r0, r9, r1, r0",
                "orr r9, r0, #1",
                // patch end, patch, bias, multipliers, zero point, y0, entry, y0 end, y1
                "push {{r3-r11}}",
                "2:",
                "ldr r0, [sp, #8]",
                "ldmia r0!, {{r4, r6, r8, r10}}",
                "str r0, [sp, #8]",
                "ldr lr, [sp, #4]",
                "mov r5, r4",
                "mov r7, r6",
                "mov r9, r8",
                "mov r11, r10",
                "ldr pc, [sp, #24]",
                ".p2align 2",
                "3:",
                ".rept 16",
                $($body,)+
                ".endr",
                "4:",
                "ldr r0, [sp]",
                "cmp lr, r0",
                "bne.w 3b",
                // The multipliers of this block, and the next one's address.
                "ldr r0, [sp, #12]",
                "vldmia r0!, {{s8-s11}}",
                "str r0, [sp, #12]",
                $($join,)*
                "vmov s0, s1, r4, r5",
                "vmov s2, s3, r6, r7",
                "vmov s4, s5, r8, r9",
                "vmov s6, s7, r10, r11",
                "ldr r0, [sp, #16]",
                "ldr r1, [sp, #20]",
                "ldr r2, [sp, #32]",
                "vcvt.f32.s32 s0, s0",
                "vcvt.f32.s32 s1, s1",
                "vcvt.f32.s32 s2, s2",
                "vcvt.f32.s32 s3, s3",
                "vcvt.f32.s32 s4, s4",
                "vcvt.f32.s32 s5, s5",
                "vcvt.f32.s32 s6, s6",
                "vcvt.f32.s32 s7, s7",
                "vmul.f32 s0, s0, s8",
                "vmul.f32 s1, s1, s8",
                "vmul.f32 s2, s2, s9",
                "vmul.f32 s3, s3, s9",
                "vmul.f32 s4, s4, s10",
                "vmul.f32 s5, s5, s10",
                "vmul.f32 s6, s6, s11",
                "vmul.f32 s7, s7, s11",
                // To the nearest integer, ties to even (the FPU's mode), saturated.
                "vcvtr.s32.f32 s0, s0",
                "vcvtr.s32.f32 s1, s1",
                "vcvtr.s32.f32 s2, s2",
                "vcvtr.s32.f32 s3, s3",
                "vcvtr.s32.f32 s4, s4",
                "vcvtr.s32.f32 s5, s5",
                "vcvtr.s32.f32 s6, s6",
                "vcvtr.s32.f32 s7, s7",
                "vmov r4, r5, s0, s1",
                "vmov r6, r7, s2, s3",
                "vmov r8, r9, s4, s5",
                "vmov r10, r11, s6, s7",
                "cmn r0, #128",
                "beq 5f",
                "qadd r4, r4, r0",
                "qadd r5, r5, r0",
                "qadd r6, r6, r0",
                "qadd r7, r7, r0",
                "qadd r8, r8, r0",
                "qadd r9, r9, r0",
                "qadd r10, r10, r0",
                "qadd r11, r11, r0",
                "ssat r4, #8, r4",
                "ssat r5, #8, r5",
                "ssat r6, #8, r6",
                "ssat r7, #8, r7",
                "ssat r8, #8, r8",
                "ssat r9, #8, r9",
                "ssat r10, #8, r10",
                "ssat r11, #8, r11",
                "strb r4, [r1], #1",
                "strb r6, [r1], #1",
                "strb r8, [r1], #1",
                "strb r10, [r1], #1",
                "strb r5, [r2], #1",
                "strb r7, [r2], #1",
                "strb r9, [r2], #1",
                "strb r11, [r2], #1",
                "6:",
                "ldr r3, [sp, #28]",
                "str r1, [sp, #20]",
                "str r2, [sp, #32]",
                "cmp r1, r3",
                "bne.w 2b",
                "add sp, #36",
                "pop {{r4-r11, pc}}",
                // A zero point of −128, as behind a ReLU: unsigned saturation, and a flipped sign bit.
                "5:",
                "usat r4, #8, r4",
                "usat r5, #8, r5",
                "usat r6, #8, r6",
                "usat r7, #8, r7",
                "usat r8, #8, r8",
                "usat r9, #8, r9",
                "usat r10, #8, r10",
                "usat r11, #8, r11",
                "orr r4, r4, r6, lsl #8",
                "orr r5, r5, r7, lsl #8",
                "orr r8, r8, r10, lsl #8",
                "orr r9, r9, r11, lsl #8",
                "orr r4, r4, r8, lsl #16",
                "orr r5, r5, r9, lsl #16",
                "eor r4, r4, #0x80808080",
                "eor r5, r5, #0x80808080",
                "str r4, [r1], #4",
                "str r5, [r2], #4",
                "b 6b",
            )
        }
    };
}

tile! {
    /// For split weights. 16 multiplications: two double loads, eight `SMLAD`, two `SXTB16`: 12 instructions, 0.75 a
    /// multiplication. The sums are those of the first channel of a pair, scaled and mixed with the second, then of the second;
    /// at the end, the first channels lose what the second ones added.
    split, "48",
    [
        "ldrd r0, r1, [r12], #8",
        "ldrd r2, r3, [lr], #8",
        "smlad r4, r0, r2, r4",
        "smlad r5, r0, r3, r5",
        "smlad r8, r1, r2, r8",
        "smlad r9, r1, r3, r9",
        "sxtb16 r0, r0",
        "sxtb16 r1, r1",
        "smlad r6, r0, r2, r6",
        "smlad r7, r0, r3, r7",
        "smlad r10, r1, r2, r10",
        "smlad r11, r1, r3, r11"
    ],
    ["subs r4, r4, r6", "subs r5, r5, r7", "sub r8, r8, r10", "sub r9, r9, r11"]
}

tile! {
    /// For wide weights. 16 multiplications: three double loads, eight `SMLAD`: 11 instructions, 0.69 a multiplication.
    wide, "44",
    [
        "ldrd r0, r1, [r12], #8",
        "ldrd r2, r3, [lr], #8",
        "smlad r4, r0, r2, r4",
        "smlad r5, r0, r3, r5",
        "smlad r6, r1, r2, r6",
        "smlad r7, r1, r3, r7",
        "ldrd r0, r1, [r12], #8",
        "smlad r8, r0, r2, r8",
        "smlad r9, r0, r3, r9",
        "smlad r10, r1, r2, r10",
        "smlad r11, r1, r3, r11"
    ],
    []
}
