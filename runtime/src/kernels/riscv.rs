//! The inner loops of quad weights for 32-bit RISC-V with multiplication.
//!
//! They give the sums of the portable loops. With its 31 registers the core keeps 16 sums; compiled from Rust, half of them go
//! through memory in every round.
#![allow(unsafe_code)]

use core::arch::asm;

/// Adds the products of one line to the sums of each pixel and block of channels, pixels first, if there is a loop for as many;
/// slices are read as far as the shortest one goes.
#[inline(always)]
pub(super) fn multiply(sums: &mut [[i32; 4]], weights: &[&[[i8; 4]]], x: &[&[i8]]) -> bool {
    let &[w0, w1] = weights else {
        return false;
    };
    match *x {
        [x] => sums
            .first_chunk_mut()
            .map(|sums| one_pixel(sums, [w0, w1], x)),
        [x0, x1] => sums
            .first_chunk_mut()
            .map(|sums| two_pixels(sums, [w0, w1], [x0, x1])),
        _ => None,
    }
    .is_some()
}

/// Adds the products of one line to the sums of two pixels, two blocks of channels each. Slices are read as far as the
/// shortest one goes.
///
/// Budget: 47 instructions a tap, 2.9 a multiplication: 10 loads, 16 multiplications, 16 additions, four pointers, a branch.
#[inline(never)]
fn two_pixels(sums: &mut [[i32; 4]; 4], weights: [&[[i8; 4]]; 2], x: [&[i8]; 2]) {
    let [w0, w1] = weights;
    let [x0, x1] = x;
    let taps = w0.len().min(w1.len()).min(x0.len()).min(x1.len());
    if taps == 0 {
        return;
    }
    let [
        [s00, s01, s02, s03],
        [s04, s05, s06, s07],
        [s10, s11, s12, s13],
        [s14, s15, s16, s17],
    ] = sums;
    // SAFETY: the loop reads `taps` elements, at least one, of each of the four slices, which all have that many, and writes
    // registers only.
    unsafe {
        asm!(
            "1:",
            "lb {a0}, 0({x0})",
            "lb {a1}, 0({x1})",
            "addi {x0}, {x0}, 1",
            "addi {x1}, {x1}, 1",
            "lb {w}, 0({w0})",
            "mul {t}, {a0}, {w}",
            "mul {w}, {a1}, {w}",
            "add {s00}, {s00}, {t}",
            "add {s10}, {s10}, {w}",
            "lb {w}, 1({w0})",
            "mul {t}, {a0}, {w}",
            "mul {w}, {a1}, {w}",
            "add {s01}, {s01}, {t}",
            "add {s11}, {s11}, {w}",
            "lb {w}, 2({w0})",
            "mul {t}, {a0}, {w}",
            "mul {w}, {a1}, {w}",
            "add {s02}, {s02}, {t}",
            "add {s12}, {s12}, {w}",
            "lb {w}, 3({w0})",
            "addi {w0}, {w0}, 4",
            "mul {t}, {a0}, {w}",
            "mul {w}, {a1}, {w}",
            "add {s03}, {s03}, {t}",
            "add {s13}, {s13}, {w}",
            "lb {w}, 0({w1})",
            "mul {t}, {a0}, {w}",
            "mul {w}, {a1}, {w}",
            "add {s04}, {s04}, {t}",
            "add {s14}, {s14}, {w}",
            "lb {w}, 1({w1})",
            "mul {t}, {a0}, {w}",
            "mul {w}, {a1}, {w}",
            "add {s05}, {s05}, {t}",
            "add {s15}, {s15}, {w}",
            "lb {w}, 2({w1})",
            "mul {t}, {a0}, {w}",
            "mul {w}, {a1}, {w}",
            "add {s06}, {s06}, {t}",
            "add {s16}, {s16}, {w}",
            "lb {w}, 3({w1})",
            "addi {w1}, {w1}, 4",
            "mul {t}, {a0}, {w}",
            "mul {w}, {a1}, {w}",
            "add {s07}, {s07}, {t}",
            "add {s17}, {s17}, {w}",
            "bne {x0}, {end}, 1b",
            x0 = inout(reg) x0.as_ptr() => _,
            x1 = inout(reg) x1.as_ptr() => _,
            w0 = inout(reg) w0.as_ptr() => _,
            w1 = inout(reg) w1.as_ptr() => _,
            end = in(reg) x0.as_ptr().wrapping_add(taps),
            a0 = out(reg) _,
            a1 = out(reg) _,
            w = out(reg) _,
            t = out(reg) _,
            s00 = inout(reg) *s00,
            s01 = inout(reg) *s01,
            s02 = inout(reg) *s02,
            s03 = inout(reg) *s03,
            s04 = inout(reg) *s04,
            s05 = inout(reg) *s05,
            s06 = inout(reg) *s06,
            s07 = inout(reg) *s07,
            s10 = inout(reg) *s10,
            s11 = inout(reg) *s11,
            s12 = inout(reg) *s12,
            s13 = inout(reg) *s13,
            s14 = inout(reg) *s14,
            s15 = inout(reg) *s15,
            s16 = inout(reg) *s16,
            s17 = inout(reg) *s17,
            options(nostack, readonly),
        );
    }
}

/// Adds the products of one line to the sums of one pixel, two blocks of channels. Slices are read as far as the shortest
/// one goes.
///
/// Budget: 29 instructions a tap, 3.6 a multiplication.
#[inline(never)]
fn one_pixel(sums: &mut [[i32; 4]; 2], weights: [&[[i8; 4]]; 2], x: &[i8]) {
    let ([w0, w1], x0) = (weights, x);
    let taps = w0.len().min(w1.len()).min(x0.len());
    if taps == 0 {
        return;
    }
    let [[s00, s01, s02, s03], [s04, s05, s06, s07]] = sums;
    // SAFETY: as in `two_pixels`, of three slices.
    unsafe {
        asm!(
            "1:",
            "lb {a0}, 0({x0})",
            "addi {x0}, {x0}, 1",
            "lb {w}, 0({w0})",
            "mul {w}, {a0}, {w}",
            "add {s00}, {s00}, {w}",
            "lb {w}, 1({w0})",
            "mul {w}, {a0}, {w}",
            "add {s01}, {s01}, {w}",
            "lb {w}, 2({w0})",
            "mul {w}, {a0}, {w}",
            "add {s02}, {s02}, {w}",
            "lb {w}, 3({w0})",
            "addi {w0}, {w0}, 4",
            "mul {w}, {a0}, {w}",
            "add {s03}, {s03}, {w}",
            "lb {w}, 0({w1})",
            "mul {w}, {a0}, {w}",
            "add {s04}, {s04}, {w}",
            "lb {w}, 1({w1})",
            "mul {w}, {a0}, {w}",
            "add {s05}, {s05}, {w}",
            "lb {w}, 2({w1})",
            "mul {w}, {a0}, {w}",
            "add {s06}, {s06}, {w}",
            "lb {w}, 3({w1})",
            "addi {w1}, {w1}, 4",
            "mul {w}, {a0}, {w}",
            "add {s07}, {s07}, {w}",
            "bne {x0}, {end}, 1b",
            x0 = inout(reg) x0.as_ptr() => _,
            w0 = inout(reg) w0.as_ptr() => _,
            w1 = inout(reg) w1.as_ptr() => _,
            end = in(reg) x0.as_ptr().wrapping_add(taps),
            a0 = out(reg) _,
            w = out(reg) _,
            s00 = inout(reg) *s00,
            s01 = inout(reg) *s01,
            s02 = inout(reg) *s02,
            s03 = inout(reg) *s03,
            s04 = inout(reg) *s04,
            s05 = inout(reg) *s05,
            s06 = inout(reg) *s06,
            s07 = inout(reg) *s07,
            options(nostack, readonly),
        );
    }
}
