//! Depthwise convolution, 3×3: a channel's window is a vector of four columns by four rows.
//!
//! Sixteen channels at a time, and four rows of the input and the two above and below, are rearranged by `VST4` so that the
//! four rows of a channel's column lie in a word. A gather of four words is then a 4×4 window; at stride 1 it holds the inputs
//! of 2×2 results, which are four `VMLAVA` with the kernel in each corner. At stride 2 it holds those of one.

use super::lanes::clamp;
use super::memory::fill;
use crate::kernels::helium::{self, COLUMN, Depthwise, LANES, TAPS};
use crate::kernels::{Geometry, Io};
use core::num::NonZeroUsize;

/// Rows of the input in a strip's working memory.
const ROWS: usize = 6;

/// Input rows of a strip, in the order of the registers r0 to r12 that [`rearrange`] loads it into.
#[repr(C)]
struct Rows {
    rows: [*const i8; ROWS],
    /// From a column to the next: 0 for a row of padding.
    steps: [usize; ROWS],
    to: *mut i8,
    columns: usize,
    /// Channels.
    lanes: usize,
}

/// What [`strip_1`] and [`strip_2`] take, in the order of the registers r1 to r12 that they load it into.
#[repr(C)]
struct Strip<'a> {
    weights: *const i8,
    /// Tiles whose columns are all wanted.
    tiles: usize,
    bias: *const i32,
    /// Which of a whole tile's results are wanted, as two bits each: those of rows inside the output.
    wanted: u32,
    y: *mut i8,
    /// As `wanted`, of the last tile if it has fewer columns; 0 when there is none.
    wanted_last: u32,
    columns: *const i8,
    multipliers: *const f32,
    zero_point: i32,
    /// From a tile's results to the next tile's.
    y_step: usize,
    /// Where a tile's results go.
    offsets: &'a [u16; 8],
    lanes: usize,
    /// From behind a channel's last tile to the next channel's first, backwards: in `columns` and in `y`.
    back: [usize; 2],
}

/// Depthwise convolution with Helium weights, in place where [`crate::kernels::scratch::depthwise_in_place`] says so.
/// `scratch` has the bytes that [`crate::kernels::scratch::depthwise`] says.
#[inline(never)]
pub fn depthwise_helium(
    g: &Geometry,
    layer: &Depthwise<'_>,
    io: &mut Io<'_>,
    scratch: &mut [i8],
) -> Option<()> {
    let [in_h, in_w, channels] = g.input.map(NonZeroUsize::get);
    let [out_h, out_w, _] = g.output.map(NonZeroUsize::get);
    let columns = helium::depthwise_columns(g)?;
    let (image_len, out_len) = (
        g.image_len(),
        out_h.checked_mul(out_w)?.checked_mul(channels)?,
    );
    let in_place = matches!(io, Io::InPlace(_));
    if !helium::is_depthwise(g)
        || (in_place && !(g.input == g.output && g.pad == [1, 1]))
        || scratch.len() < columns.checked_mul(COLUMN)?
        || layer.weights.len() != helium::depthwise_len(channels)?
        || layer.bias.len() != channels
        || layer.multipliers.len() != channels
        || io.input().len() < g.batch.checked_mul(image_len)?
        || io.output().len() < g.batch.checked_mul(out_len)?
    {
        return None;
    }
    let padding = layer.int8.input_zero_point.get() as i8;
    let padding_row = [padding; LANES];
    let [pad_y, pad_x] = g.pad;
    // Padding beside the rows; `rearrange` writes between.
    let copied = in_w.min(columns - pad_x);
    fill(scratch, padding);
    let unit = Unit::new(g)?;
    let offsets = unit.offsets(out_w, channels);
    for batch in 0..g.batch {
        for first in (0..channels).step_by(LANES) {
            let lanes = LANES.min(channels - first);
            for strip in 0..out_h.div_ceil(unit.rows) {
                // SAFETY: each row of the strip is one of the input's, of which `copied` columns are read, `lanes`
                // channels each; or it is read from sixteen bytes of padding, or from the last strip's columns, which are
                // as many. Columns behind those are padding. The columns are written from `pad_x` up to at most the last.
                unsafe {
                    let x = io.input().as_ptr().wrapping_add(batch * image_len + first);
                    let mut rows = Rows {
                        rows: [padding_row.as_ptr(); ROWS],
                        steps: [0; ROWS],
                        to: scratch.as_mut_ptr().wrapping_add(pad_x * COLUMN),
                        columns: copied,
                        lanes,
                    };
                    let top = (strip * unit.rows * g.stride[0].get()).wrapping_sub(pad_y);
                    let places = rows.rows.iter_mut().zip(&mut rows.steps).enumerate();
                    for (i, (row, step)) in places {
                        let iy = top.wrapping_add(i);
                        if in_place && i == 0 && strip > 0 {
                            *row = rows.to.wrapping_add(COLUMN - LANES);
                            *step = COLUMN;
                        } else if iy < in_h {
                            *row = x.wrapping_add(iy * in_w * channels);
                            *step = channels;
                        }
                    }
                    if copied > 0 {
                        rearrange(&rows);
                    }
                }
                let done = strip * unit.rows;
                let tiles = out_w / unit.columns;
                let all_tiles = out_w.div_ceil(unit.columns);
                let y_step = unit.columns * channels;
                let wanted = unit.wanted(unit.columns, out_h - done);
                let y = io.output().as_mut_ptr();
                let strip = Strip {
                    weights: layer.weights.as_ptr().wrapping_add(first * TAPS),
                    tiles,
                    bias: layer.bias.as_ptr().wrapping_add(first),
                    wanted,
                    y: y.wrapping_add(batch * out_len + done * out_w * channels + first),
                    wanted_last: unit.wanted(out_w % unit.columns, out_h - done),
                    columns: scratch.as_ptr(),
                    multipliers: layer.multipliers.as_ptr().wrapping_add(first),
                    zero_point: layer.int8.output_zero_point.get(),
                    y_step,
                    offsets: &offsets,
                    lanes,
                    back: [
                        all_tiles * unit.columns * g.stride[1].get() * COLUMN - 4,
                        (tiles * y_step).wrapping_sub(1),
                    ],
                };
                // SAFETY: weights, biases and multipliers of `lanes` channels from `first` on are inside their slices. The
                // last tile reads up to the last column. Results are stored where the masks tell that row and column are
                // inside the output, whose lengths were compared.
                unsafe {
                    match g.stride[1].get() {
                        1 => strip_1(&strip),
                        _ => strip_2(&strip),
                    }
                }
            }
        }
    }
    clamp(layer.int8, io.output().get_mut(..g.batch * out_len)?);
    Some(())
}

/// Eight results that are stored together.
struct Unit {
    rows: usize,
    columns: usize,
    /// Row and column of each.
    places: [[u8; 2]; 8],
}

impl Unit {
    fn new(g: &Geometry) -> Option<Unit> {
        // Results 0, 2, 4, 6 are those of the first four sums, the others those of the second four.
        Some(match g.stride[1].get() {
            1 => Unit {
                rows: 4,
                columns: 2,
                places: [
                    [0, 0],
                    [2, 0],
                    [1, 0],
                    [3, 0],
                    [0, 1],
                    [2, 1],
                    [1, 1],
                    [3, 1],
                ],
            },
            2 => Unit {
                rows: 2,
                columns: 4,
                places: [
                    [0, 0],
                    [0, 2],
                    [1, 0],
                    [1, 2],
                    [0, 1],
                    [0, 3],
                    [1, 1],
                    [1, 3],
                ],
            },
            _ => return None,
        })
    }

    /// Where the results go, in bytes from the first.
    fn offsets(&self, width: usize, channels: usize) -> [u16; 8] {
        let place = |[row, column]: [u8; 2]| usize::from(row) * width + usize::from(column);
        self.places.map(|p| (place(p) * channels) as u16)
    }

    /// The mask of those within `columns` and `rows`, two bits each.
    fn wanted(&self, columns: usize, rows: usize) -> u32 {
        let inside =
            |[row, column]: [u8; 2]| usize::from(row) < rows && usize::from(column) < columns;
        let places = self.places.iter().rev();
        places.fold(0, |mask, p| mask << 2 | if inside(*p) { 3 } else { 0 })
    }
}

/// Rearranges the rows of a strip for one column after the other: see [`COLUMN`].
///
/// Budget: 24 instructions a column of 16 channels and, at stride 1, 4 results.
#[unsafe(naked)]
unsafe extern "C" fn rearrange(rows: &Rows) {
    helium_asm!(
        "push {{r4-r11, lr}}",
        "vpush {{d8-d11}}",
        "ldrd lr, r1, [r0, #52]",
        "vctp.8 r1",
        "ldm r0, {{r0-r12}}",
        "1:",
        "vpstttt",
        "vldrbt.u8 q0, [r0]",
        "vldrbt.u8 q1, [r1]",
        "vldrbt.u8 q2, [r2]",
        "vldrbt.u8 q3, [r3]",
        "vst40.8 {{q0, q1, q2, q3}}, [r12]",
        "vst41.8 {{q0, q1, q2, q3}}, [r12]",
        "vst42.8 {{q0, q1, q2, q3}}, [r12]",
        "vst43.8 {{q0, q1, q2, q3}}, [r12]!",
        "add r0, r6",
        "add r1, r7",
        "vpstt",
        "vldrbt.u8 q4, [r4]",
        "vldrbt.u8 q5, [r5]",
        "vst40.8 {{q2, q3, q4, q5}}, [r12]",
        "vst41.8 {{q2, q3, q4, q5}}, [r12]",
        "vst42.8 {{q2, q3, q4, q5}}, [r12]",
        "vst43.8 {{q2, q3, q4, q5}}, [r12]!",
        "add r2, r8",
        "add r3, r9",
        "add r4, r10",
        "add r5, r11",
        "vstrb.8 q4, [r12], #16",
        "le lr, 1b",
        "vpop {{d8-d11}}",
        "pop {{r4-r11, pc}}",
    )
}

/// A vector of the sums in r0, r2, r4, r6.
macro_rules! sums {
    ($low:literal, $high:literal) => {
        concat!("vmov ", $low, ", r0, r2\n", "vmov ", $high, ", r4, r6\n",)
    };
}

/// Requantises and stores eight results, whose sums are in `$first` and q5: 15 instructions.
macro_rules! store {
    ($first:literal) => {
        concat!(
            "vadd.i32 q4, ",
            $first,
            ", r7\n",
            "vadd.i32 q5, q5, r7\n",
            "vcvt.f32.s32 q4, q4\n",
            "vcvt.f32.s32 q5, q5\n",
            "vmul.f32 q4, q4, r8\n",
            "vmul.f32 q5, q5, r8\n",
            "vcvtn.s32.f32 q4, q4\n",
            "vcvtn.s32.f32 q5, q5\n",
            "vqmovnb.s32 q4, q4\n",
            "vqmovnt.s32 q4, q5\n",
            "vqadd.s16 q4, q4, r9\n",
            "vqmovnb.s16 q4, q4\n",
            "vpst\n",
            "vstrbt.16 q4, [r5, q6]\n",
            "add r5, r10\n",
        )
    };
}

/// 4 rows by 2 columns of results at stride 1: 29 instructions.
macro_rules! tile_1 {
    () => {
        concat!(
            "vldrw.u32 q4, [q7, #288]!\n",
            "vmlav.s8 r0, q0, q4\n",
            "vmlav.s8 r2, q1, q4\n",
            "vmlav.s8 r4, q2, q4\n",
            "vmlav.s8 r6, q3, q4\n",
            "vldrw.u32 q5, [q7, #64]\n",
            sums!("d8", "d9"),
            "vmlav.s8 r0, q0, q5\n",
            "vmlav.s8 r2, q1, q5\n",
            "vmlav.s8 r4, q2, q5\n",
            "vmlav.s8 r6, q3, q5\n",
            sums!("d10", "d11"),
            store!("q4"),
        )
    };
}

/// Two columns of two results at stride 2: 8 instructions.
macro_rules! columns_2 {
    () => {
        concat!(
            "vldrw.u32 q4, [q7, #288]!\n",
            "vmlav.s8 r0, q0, q4\n",
            "vldrw.u32 q5, [q7, #64]\n",
            "vmlav.s8 r2, q0, q5\n",
            "vldrw.u32 q4, [q7, #288]!\n",
            "vmlav.s8 r4, q0, q4\n",
            "vldrw.u32 q5, [q7, #64]\n",
            "vmlav.s8 r6, q0, q5\n",
        )
    };
}

/// 2 rows by 4 columns of results at stride 2: 35 instructions.
macro_rules! tile_2 {
    () => {
        concat!(
            columns_2!(),
            sums!("d4", "d5"),
            columns_2!(),
            sums!("d10", "d11"),
            store!("q2")
        )
    };
}

/// A function for strips, channel by channel.
macro_rules! strip {
    ($(#[$doc:meta])* $name:ident, $first_column:literal, $weights:expr, $tile:expr) => {
        $(#[$doc])*
        #[unsafe(naked)]
        unsafe extern "C" fn $name(strip: &Strip<'_>) {
            helium_asm!(
                concat!(
                    "push {{r4-r11, lr}}\n",
                    "vpush {{d8-d15}}\n",
                    "ldrd r4, r6, [r0, #48]\n",
                    "push {{r4, r6}}\n",
                    "ldm r0, {{r1-r12}}\n",
                    // Tiles, wanted, wanted_last, a word for alignment, back.
                    "push {{r2, r4, r6, r7}}\n",
                    "vldrh.u16 q6, [r11]\n",
                    // The words of four columns, before the first tile.
                    "adr r11, 5f\n",
                    "vldrw.u32 q7, [r11]\n",
                    "vadd.i32 q7, q7, r7\n",
                    "mov r11, r12\n",
                    "mov r12, r8\n",
                    "3:\n",
                    $weights,
                    "ldrd r0, r2, [sp]\n",
                    "ldr r7, [r3], #4\n",
                    "ldr r8, [r12], #4\n",
                    "vmsr p0, r2\n",
                    "wls lr, r0, 2f\n",
                    "1:\n",
                    $tile,
                    "le lr, 1b\n",
                    "2:\n",
                    "ldr r0, [sp, #8]\n",
                    "cmp r0, #0\n",
                    "beq 4f\n",
                    "vmsr p0, r0\n",
                    $tile,
                    "sub r5, r10\n",
                    "4:\n",
                    "ldrd r0, r2, [sp, #16]\n",
                    "vsub.i32 q7, q7, r0\n",
                    "sub r5, r2\n",
                    "subs r11, #1\n",
                    "bne 3b\n",
                    "add sp, #24\n",
                    "vpop {{d8-d15}}\n",
                    "pop {{r4-r11, pc}}\n",
                    ".p2align 2\n",
                    "5:\n",
                    ".word ", $first_column, ", ", $first_column, " + 144, ", $first_column, " + 288, ",
                    $first_column, " + 432\n",
                )
            )
        }
    };
}

strip!(
    /// Budget: 30 instructions for 8 results, 16 more a channel.
    strip_1,
    "-288",
    concat!(
        "vldrb.u8 q0, [r1, #4]\n",
        "vldrb.u8 q2, [r1], #16\n",
        "vshl.i32 q1, q0, #8\n",
        "vshl.i32 q3, q2, #8\n",
    ),
    tile_1!()
);
strip!(
    /// Budget: 36 instructions for 8 results, 13 more a channel.
    strip_2,
    "-288",
    concat!("vldrb.u8 q0, [r1, #4]\n", "add r1, #16\n"),
    tile_2!()
);

const _: () = assert!(COLUMN == 144 && LANES == 16 && TAPS == 16);
