//! The stack's high-water mark: paint the free stack, run, look how far the paint is gone.

use crate::arch;
use crate::failure::Failure;

const PAINT: u32 = 0xa5a5_5a5a;
/// Bytes below the caller that are painted. Painting all free memory would cost more than most inferences.
const WATCHED: usize = 64 * 1024;

/// The painted part of the stack.
pub(crate) struct Paint {
    bottom: *mut u32,
}

/// Paints the free stack below the caller.
#[inline(never)]
pub(crate) fn paint() -> Paint {
    // SAFETY: the stack may reach down to its limit, and a stack has nothing below its pointer.
    let bottom = unsafe { arch::paint(PAINT, WATCHED, arch::stack_limit()) };
    Paint { bottom }
}

impl Paint {
    /// Bytes of stack, counted from its start, that were used since the painting.
    #[inline(never)]
    pub(crate) fn peak(&self) -> Result<usize, Failure> {
        unsafe extern "C" {
            static mut _stack_start: u32;
        }
        let start = &raw mut _stack_start;
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
