//! The stack's high-water mark: paint the free stack, run, look how far the paint is gone.

use crate::failure::Failure;
use core::arch::asm;
use core::ptr;

const PAINT: u32 = 0xa5a5_5a5a;
/// Bytes below the caller that are painted. Painting all free memory would cost more than most inferences.
const WATCHED: usize = 64 * 1024;

unsafe extern "C" {
    static _stack_start: u32;
    static _stack_end: u32;
}

/// The painted part of the stack.
pub(crate) struct Paint {
    bottom: *mut u32,
}

/// Paints the free stack below the caller.
#[inline(never)]
pub(crate) fn paint() -> Paint {
    // The linker puts the stack's limit above everything static.
    let limit = ptr::addr_of!(_stack_end).cast_mut();
    let bottom: *mut u32;
    // SAFETY: writes between the stack's limit and the stack pointer, where nothing lives: the architecture has no red
    // zone and no interrupt is enabled. Reading the stack pointer and painting are one block, so that the compiler
    // cannot save a register below a pointer that was read before.
    unsafe {
        asm!(
            "sub {bottom}, sp, {watched}",
            "cmp {bottom}, {limit}",
            "it lo",
            "movlo {bottom}, {limit}",
            "mov {word}, {bottom}",
            "0:",
            "cmp {word}, sp",
            "bhs 1f",
            "str {paint}, [{word}], #4",
            "b 0b",
            "1:",
            bottom = out(reg) bottom,
            word = out(reg) _,
            watched = in(reg) WATCHED,
            limit = in(reg) limit,
            paint = in(reg) PAINT,
        );
    }
    Paint { bottom }
}

impl Paint {
    /// Bytes of stack, counted from its start, that were used since the painting.
    #[inline(never)]
    pub(crate) fn peak(&self) -> Result<usize, Failure> {
        let start = ptr::addr_of!(_stack_start).cast_mut();
        let mut word = self.bottom;
        // SAFETY: from `bottom` up to the stack's start everything is stack memory.
        while word < start && unsafe { word.read_volatile() } == PAINT {
            word = word.wrapping_add(1);
        }
        if word == self.bottom {
            Err(Failure::StackUnbounded)
        } else {
            Ok(start.addr() - word.addr())
        }
    }
}
