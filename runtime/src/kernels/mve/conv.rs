//! Convolution: two pixels by four channels at a time.
//!
//! A tile's eight sums are in the eight even registers that `VMLAVA` adds to. For sixteen taps it takes four weight vectors, two
//! pixel vectors and eight `VMLAVA`: 14 instructions for 128 products, 0.109 each. With at most 4 or with 8 groups of taps the
//! tile is straight-line code, and the first two groups of both pixels stay in registers over all channels.

use super::lanes::{add, clamp};
use super::memory::{copy, fill, spread};
use crate::format;
use crate::kernels::helium::{self, CHANNELS, Helium, Source, TAPS};
use crate::kernels::{Geometry, Io};
use core::num::NonZeroUsize;

/// Groups of taps in the body of [`many_groups`].
const UNROLLED: usize = 9;
/// Bytes of the code for one group there: 14 instructions of 4.
const GROUP_CODE: usize = 56;

/// What the assembly functions take, in the order of the registers r1 to r11 that they load it into.
#[repr(C)]
struct Tiles {
    blocks: *const u8,
    pairs: usize,
    x0: *const i8,
    /// From a pair of pixels to the next.
    x_step: usize,
    y1: *mut i8,
    /// From behind the first block of a pair of pixels (the last to be stored) to the last block of the next pair.
    y_step: usize,
    y0: *mut i8,
    zero_point: i32,
    x1: *const i8,
    /// [`many_groups`]: bytes of a window.
    window: usize,
    block_count: usize,
    /// [`many_groups`]: turns of its loop, and the bytes of code to skip in the first one.
    turns: usize,
    skip: usize,
}

/// A layer's weights and how its results are stored.
struct Layer<'a> {
    blocks: &'a [u8],
    block_count: usize,
    groups: NonZeroUsize,
    channels: usize,
    int8: &'a format::Int8,
}

impl Layer<'_> {
    /// Computes `count` pixels whose windows are `step` bytes apart in `x`.
    ///
    /// Behind the last pixel's channels, filled blocks store up to three bytes more, so `y` must have room for them.
    fn pixels(&self, x: &[i8], step: usize, count: usize, y: &mut [i8]) -> Option<()> {
        let Some(last) = count.checked_sub(1) else {
            return Some(());
        };
        let window = self.groups.get() * TAPS;
        let stored = self.block_count * CHANNELS;
        let readable = last.checked_mul(step)?.checked_add(window)?;
        let writable = last.checked_mul(self.channels)?.checked_add(stored)?;
        if readable > x.len() || writable > y.len() {
            return None;
        }
        let top = stored.checked_sub(CHANNELS)?;
        let (x0, y0) = (x.as_ptr(), y.as_mut_ptr().wrapping_add(top));
        let turns = self.groups.get().div_ceil(UNROLLED);
        let mut tiles = Tiles {
            blocks: self.blocks.as_ptr(),
            pairs: count / 2,
            x0,
            x_step: step.wrapping_mul(2),
            x1: x0.wrapping_add(step),
            y_step: self.channels.wrapping_mul(2).wrapping_add(stored),
            y0,
            zero_point: self.int8.output_zero_point.get(),
            y1: y0.wrapping_add(self.channels),
            window,
            block_count: self.block_count,
            turns,
            skip: (turns * UNROLLED - self.groups.get()) * GROUP_CODE,
        };
        if tiles.pairs > 0 {
            // SAFETY: there are `block_count` blocks of `groups` groups, as [`Layer::new`] found. The windows of `count`
            // pixels and what is stored for them are inside `x` and `y`, as compared above; a pair is two of them.
            unsafe { self.run(&tiles) };
        }
        if count % 2 == 1 {
            tiles.pairs = 1;
            tiles.x0 = x0.wrapping_add(last * step);
            tiles.x1 = tiles.x0;
            tiles.y0 = y0.wrapping_add(last * self.channels);
            tiles.y1 = tiles.y0;
            // SAFETY: as above; this pair is the last pixel, twice.
            unsafe { self.run(&tiles) };
        }
        Some(())
    }

    /// # Safety
    /// `tiles` describes blocks of `self.groups` groups, and windows and results that are inside their memory.
    unsafe fn run(&self, tiles: &Tiles) {
        // SAFETY: the caller's.
        unsafe {
            match self.groups.get() {
                1 => one_group(tiles),
                2 => two_groups(tiles),
                3 => three_groups(tiles),
                4 => four_groups(tiles),
                8 => eight_groups(tiles),
                _ => many_groups(tiles),
            }
        }
    }
}

/// Convolution with Helium weights, in place if it is pointwise; `residual` is added if there is one. `scratch` has the
/// bytes that [`crate::kernels::scratch::conv`] says.
#[inline(never)]
pub fn conv_helium(
    g: &Geometry,
    weights: &Helium<'_>,
    int8: &format::Int8,
    residual: Option<&format::Residual>,
    io: &mut Io<'_>,
    scratch: &mut [i8],
) -> Option<()> {
    let [kernel_h, kernel_w, depth] = weights.window;
    let taps = kernel_h.checked_mul(kernel_w)?.checked_mul(depth)?;
    let channels = g.output[2].get();
    let layer = Layer {
        blocks: weights.blocks,
        block_count: channels.div_ceil(CHANNELS),
        groups: NonZeroUsize::new(taps.get().div_ceil(TAPS))?,
        channels,
        int8,
    };
    if weights.blocks.len() != helium::layer_len(taps.get(), channels)? {
        return None;
    }
    let (windows, results) = scratch.split_at_mut_checked(helium::source_len(g)?)?;
    let source = Source::of(g);
    let mut runs = Runs {
        layer,
        residual,
        step: source.step(g)?,
        results,
    };
    match source {
        Source::Pixels => runs.pixels(source.run(g), io, windows),
        Source::Columns => runs.rows(g, io, windows),
        Source::Windows => runs.windows(g, io, windows),
    }
}

/// Computes runs of pixels, from windows that are side by side.
struct Runs<'a> {
    layer: Layer<'a>,
    residual: Option<&'a format::Residual>,
    /// Bytes from a window to the next.
    step: usize,
    /// Empty where results go to the output at once.
    results: &'a mut [i8],
}

impl Runs<'_> {
    /// Computes `count` pixels from `x` to `y`, which is as long as they are.
    fn run(&mut self, x: &[i8], count: usize, y: &mut [i8]) -> Option<()> {
        let layer = &self.layer;
        if self.results.is_empty() {
            layer.pixels(x, self.step, count, y)?;
            clamp(layer.int8, y);
            return Some(());
        }
        layer.pixels(x, self.step, count, self.results)?;
        let results = self.results.get_mut(..y.len())?;
        clamp(layer.int8, results);
        match self.residual {
            Some(residual) => add(residual, results, y),
            None => copy(results, y),
        }
    }

    /// A pointwise convolution: from the input where it is another memory than the output, else from a copy of the run.
    fn pixels(&mut self, most: usize, io: &mut Io<'_>, windows: &mut [i8]) -> Option<()> {
        let channels = self.layer.channels;
        let depth = NonZeroUsize::new(self.step)?;
        let (mut at, total) = match io {
            Io::Apart { x, y } => {
                let total = x.len() / depth;
                // Whole groups are read; behind the input's last pixels they would leave it.
                let window = self.layer.groups.get() * TAPS;
                let inside = x.len().checked_sub(window).map_or(0, |n| n / depth + 1);
                let count = inside.min(total);
                let mut done = 0;
                while done < count {
                    let run = match self.results.is_empty() {
                        true => count,
                        false => most.min(count - done),
                    };
                    let y = y.get_mut(done * channels..)?.get_mut(..run * channels)?;
                    self.run(x.get(done * self.step..)?, run, y)?;
                    done += run;
                }
                (count, total)
            }
            Io::InPlace(both) => (0, both.len() / depth.get().max(channels)),
        };
        while at < total {
            let run = most.min(total - at);
            let x = io.input().get(at * self.step..)?.get(..run * self.step)?;
            copy(x, windows)?;
            let y = io.output().get_mut(at * channels..)?;
            self.run(windows, run, y.get_mut(..run * channels)?)?;
            at += run;
        }
        Some(())
    }

    /// Row by row, from the input's columns side by side.
    fn rows(&mut self, g: &Geometry, io: &mut Io<'_>, windows: &mut [i8]) -> Option<()> {
        let Io::Apart { x, y } = io else {
            return None;
        };
        let [kernel_h, _] = g.kernel.map(NonZeroUsize::get);
        let [_, in_w, depth] = g.input.map(NonZeroUsize::get);
        let [out_h, out_w, channels] = g.output.map(NonZeroUsize::get);
        let padding = self.layer.int8.input_zero_point.get() as i8;
        let column = kernel_h * depth;
        let columns = (out_w - 1) * g.stride[1].get() + g.kernel[1].get();
        let copied = in_w.min(columns.saturating_sub(g.pad[1]));
        let mut y = y.chunks_exact_mut(NonZeroUsize::new(out_w * channels)?.get());
        fill(windows, padding);
        for batch in 0..g.batch {
            let image = x.get(batch * g.image_len()..)?;
            for oy in 0..out_h {
                let rows = g.vertical(oy);
                if rows.len() != kernel_h {
                    fill(windows, padding);
                }
                for ky in rows.range() {
                    let iy = rows.position + (ky - rows.start) * g.dilation[0].get();
                    let row = image.get(iy * in_w * depth..)?;
                    let to = windows.get_mut(g.pad[1] * column + ky * depth..)?;
                    spread(row, copied, depth, to, column)?;
                }
                self.run(windows, out_w, y.next()?)?;
            }
        }
        Some(())
    }

    /// Two pixels at a time, from copies of their windows.
    fn windows(&mut self, g: &Geometry, io: &mut Io<'_>, windows: &mut [i8]) -> Option<()> {
        let Io::Apart { x, y } = io else {
            return None;
        };
        let [_, in_w, depth] = g.input.map(NonZeroUsize::get);
        let [out_h, out_w, channels] = g.output.map(NonZeroUsize::get);
        let kernel_h = g.kernel[0].get();
        let padding = self.layer.int8.input_zero_point.get() as i8;
        let total = g.batch * out_h * out_w;
        let mut y = y.chunks_mut(NonZeroUsize::new(2 * channels)?.get());
        for first in (0..total).step_by(2) {
            fill(windows, padding);
            let count = (total - first).min(2);
            for i in 0..count {
                let pixel = first + i;
                let (row, ox) = (pixel / g.output[1], pixel % g.output[1]);
                let (batch, oy) = (row / g.output[0], row % g.output[0]);
                let image = x.get(batch * g.image_len()..)?;
                let (rows, columns) = (g.vertical(oy), g.horizontal(ox));
                for kx in columns.range() {
                    let ix = columns.position + (kx - columns.start) * g.dilation[1].get();
                    for ky in rows.range() {
                        let iy = rows.position + (ky - rows.start) * g.dilation[0].get();
                        let from = image.get((iy * in_w + ix) * depth..)?.get(..depth)?;
                        let at = i * self.step + (kx * kernel_h + ky) * depth;
                        copy(from, windows.get_mut(at..)?)?;
                    }
                }
            }
            self.run(windows, count, y.next()?)?;
        }
        Some(())
    }
}

/// Saves registers and loads [`Tiles`]. On the stack: blocks, pairs, x_step, y_step, block_count.
macro_rules! enter {
    ($saved:expr) => {
        concat!(
            "push {{r4-r11, lr}}\n",
            "vpush {{d8-d15}}\n",
            $saved,
            "ldm r0, {{r1-r11}}\n",
            "vdup.16 q7, r8\n",
            "push {{r1, r2, r4, r6, r11}}\n",
        )
    };
}

/// Begins a tile: biases for both pixels.
macro_rules! begin {
    () => {
        concat!(
            "ldm r1, {{r0, r2, r4, r6}}\n",
            "ldm r1!, {{r8, r10, r12, lr}}\n",
        )
    };
}

/// One group of taps with pixel vectors `$x0` and `$x1`: 12 instructions for 128 products.
macro_rules! group {
    ($w:literal, $x0:literal, $x1:literal) => {
        concat!(
            "vldrb.u8 ",
            $w,
            ", [r1], #16\n",
            "vmlava.s8 r0, ",
            $w,
            ", ",
            $x0,
            "\n",
            "vmlava.s8 r8, ",
            $w,
            ", ",
            $x1,
            "\n",
            "vldrb.u8 ",
            $w,
            ", [r1], #16\n",
            "vmlava.s8 r2, ",
            $w,
            ", ",
            $x0,
            "\n",
            "vmlava.s8 r10, ",
            $w,
            ", ",
            $x1,
            "\n",
            "vldrb.u8 ",
            $w,
            ", [r1], #16\n",
            "vmlava.s8 r4, ",
            $w,
            ", ",
            $x0,
            "\n",
            "vmlava.s8 r12, ",
            $w,
            ", ",
            $x1,
            "\n",
            "vldrb.u8 ",
            $w,
            ", [r1], #16\n",
            "vmlava.s8 r6, ",
            $w,
            ", ",
            $x0,
            "\n",
            "vmlava.s8 lr, ",
            $w,
            ", ",
            $x1,
            "\n",
        )
    };
}

/// One group of taps whose pixels are loaded from `$at` bytes behind the windows' starts: 14 instructions.
macro_rules! group_at {
    ($at:literal) => {
        concat!(
            "vldrb.u8 q4, [r3, #",
            $at,
            "]\n",
            "vldrb.u8 q5, [r9, #",
            $at,
            "]\n",
            group!("q6", "q4", "q5"),
        )
    };
}

/// Requantises a tile: 12 instructions for eight results, which are then in the low bytes (first pixel) and the third bytes
/// (second pixel) of q4's words.
macro_rules! requantize {
    () => {
        concat!(
            "push {{r0, r2, r4, r6, r8, r10, r12, lr}}\n",
            "vpop {{d8-d11}}\n",
            "vldrw.u32 q6, [r1], #16\n",
            "vcvt.f32.s32 q4, q4\n",
            "vcvt.f32.s32 q5, q5\n",
            "vmul.f32 q4, q4, q6\n",
            "vmul.f32 q5, q5, q6\n",
            "vcvtn.s32.f32 q4, q4\n",
            "vcvtn.s32.f32 q5, q5\n",
            "vqmovnb.s32 q4, q4\n",
            "vqmovnt.s32 q4, q5\n",
            "vqadd.s16 q4, q4, q7\n",
            "vqmovnb.s16 q4, q4\n",
        )
    };
}

/// A function for windows of few groups.
macro_rules! tiles {
    ($(#[$doc:meta])* $name:ident, $second:expr, $groups:expr) => {
        $(#[$doc])*
        #[unsafe(naked)]
        unsafe extern "C" fn $name(tiles: &Tiles) {
            helium_asm!(
                concat!(
                    enter!(""),
                    "2:\n",
                    "vldrb.u8 q0, [r3]\n",
                    "vldrb.u8 q2, [r9]\n",
                    $second,
                    "3:\n",
                    begin!(),
                    $groups,
                    requantize!(),
                    "subs r11, #1\n",
                    "vstrb.32 q4, [r7], #-4\n",
                    "vshr.u32 q4, q4, #16\n",
                    "vstrb.32 q4, [r5], #-4\n",
                    "bne 3b\n",
                    // The next pair of pixels.
                    "ldrd r1, r0, [sp]\n",
                    "ldrd r2, r4, [sp, #8]\n",
                    "ldr r11, [sp, #16]\n",
                    "add r3, r2\n",
                    "add r9, r2\n",
                    "add r7, r4\n",
                    "add r5, r4\n",
                    "subs r0, #1\n",
                    "str r0, [sp, #4]\n",
                    "bne 2b\n",
                    "add sp, #20\n",
                    "vpop {{d8-d15}}\n",
                    "pop {{r4-r11, pc}}\n",
                )
            )
        }
    };
}

/// Loads the second group of both pixels.
macro_rules! second {
    () => {
        concat!("vldrb.u8 q1, [r3, #16]\n", "vldrb.u8 q3, [r9, #16]\n")
    };
}

/// The two groups that stay in registers.
macro_rules! kept {
    () => {
        concat!(group!("q6", "q0", "q2"), group!("q6", "q1", "q3"))
    };
}

tiles!(
    /// Budget: 32 instructions a tile of 8 results, 14 a pair of pixels.
    one_group, "", group!("q6", "q0", "q2")
);
tiles!(
    /// Budget: 44 instructions a tile of 8 results, 16 a pair of pixels.
    two_groups, second!(), kept!()
);
tiles!(
    /// Budget: 58 instructions a tile of 8 results, 16 a pair of pixels.
    three_groups, second!(), concat!(kept!(), group_at!("32"))
);
tiles!(
    /// Budget: 72 instructions a tile of 8 results, 16 a pair of pixels.
    four_groups, second!(), concat!(kept!(), group_at!("32"), group_at!("48"))
);
tiles!(
    /// Budget: 128 instructions a tile of 8 results, 16 a pair of pixels.
    eight_groups,
    second!(),
    concat!(
        kept!(),
        group_at!("32"),
        group_at!("48"),
        group_at!("64"),
        group_at!("80"),
        group_at!("96"),
        group_at!("112")
    )
);

/// A group of [`many_groups`], which goes through windows and weights: 14 instructions.
macro_rules! next_group {
    () => {
        concat!(
            "vldrb.u8 q0, [r3], #16\n",
            "vldrb.u8 q1, [r9], #16\n",
            group!("q2", "q0", "q1"),
        )
    };
}

/// Any number of groups. The loop's body is nine of them, and the first turn begins within it.
///
/// Budget: 14 instructions a group, 2 for nine groups, 29 a tile of 8 results.
#[unsafe(naked)]
unsafe extern "C" fn many_groups(tiles: &Tiles) {
    helium_asm!(concat!(
        // Above what `enter` keeps: turns, where to begin, bytes of a window, blocks left.
        enter!(concat!(
            "ldr r1, [r0, #40]\n",
            "ldr r2, [r0, #36]\n",
            "ldrd r3, r4, [r0, #44]\n",
            "mov r5, r4\n",
            "adr r4, 4f\n",
            "add r4, r5\n",
            "orr r4, #1\n",
            "mov r5, r2\n",
            "mov r6, r1\n",
            "push {{r3, r4, r5, r6}}\n",
        )),
        "2:\n",
        begin!(),
        "ldr r11, [sp, #20]\n",
        "ldr pc, [sp, #24]\n",
        ".p2align 2\n",
        "4:\n",
        next_group!(),
        next_group!(),
        next_group!(),
        next_group!(),
        next_group!(),
        next_group!(),
        next_group!(),
        next_group!(),
        next_group!(),
        "subs r11, #1\n",
        "bne 4b\n",
        requantize!(),
        "ldrd r0, r2, [sp, #28]\n",
        "vstrb.32 q4, [r7], #-4\n",
        "vshr.u32 q4, q4, #16\n",
        "sub r3, r0\n",
        "sub r9, r0\n",
        "subs r2, #1\n",
        "vstrb.32 q4, [r5], #-4\n",
        "str r2, [sp, #32]\n",
        "bne 2b\n",
        // The next pair of pixels.
        "ldrd r1, r0, [sp]\n",
        "ldrd r2, r4, [sp, #8]\n",
        "ldr r6, [sp, #16]\n",
        "add r3, r2\n",
        "add r9, r2\n",
        "add r7, r4\n",
        "add r5, r4\n",
        "str r6, [sp, #32]\n",
        "subs r0, #1\n",
        "str r0, [sp, #4]\n",
        "bne 2b\n",
        "add sp, #36\n",
        "vpop {{d8-d15}}\n",
        "pop {{r4-r11, pc}}\n",
    ))
}

const _: () = assert!(GROUP_CODE == 14 * 4 && UNROLLED == 9);
const _: () = assert!(core::mem::offset_of!(Tiles, turns) == 44 * size_of::<usize>() / 4);
