//! 64-bit Arm, at exception level 1.

use super::FAULT;
use crate::host;
use aarch64_rt::{ExceptionHandlers, RegisterStateRef, exception_handlers};
use core::arch::asm;

/// One semihosting request with its parameter block.
///
/// # Safety
/// The block is the one of this operation, and all that it points to may be read and, if the operation does, written.
pub(crate) unsafe fn request(operation: usize, block: &[usize; 3]) -> usize {
    let mut result = operation;
    // SAFETY: by the caller's contract; the default clobbers tell the compiler that memory may change.
    unsafe {
        asm!("hlt #0xf000", inout("x0") result, in("x1") block.as_ptr(), options(nostack, preserves_flags));
    }
    result
}

/// The lowest address that the stack may reach: the linker puts it above everything static.
pub(crate) fn stack_limit() -> *mut u32 {
    unsafe extern "C" {
        static mut _stack_end: u32;
    }
    &raw mut _stack_end
}

/// Fills the free stack with `paint`, from `watched` bytes below the stack pointer but not below `limit`; where it began.
///
/// # Safety
/// The stack may reach down to `limit`, and nothing lives below the stack pointer.
#[inline(always)]
pub(crate) unsafe fn paint(paint: u32, watched: usize, limit: *mut u32) -> *mut u32 {
    let bottom: *mut u32;
    // SAFETY: as for 32-bit Arm: below the stack pointer nothing lives, and reading it and painting are one block.
    unsafe {
        asm!(
            "mov {top}, sp",
            "sub {bottom}, {top}, {watched}",
            "cmp {bottom}, {limit}",
            "csel {bottom}, {bottom}, {limit}, hs",
            "mov {limit}, {bottom}",
            "1:",
            "cmp {limit}, {top}",
            "b.hs 2f",
            "str {paint:w}, [{limit}], #4",
            "b 1b",
            "2:",
            bottom = out(reg) bottom,
            top = out(reg) _,
            watched = in(reg) watched,
            limit = inout(reg) limit => _,
            paint = in(reg) paint,
        );
    }
    bottom
}

/// Runs a loop of `TURNS` turns; the instructions that it took.
#[inline(always)]
pub(crate) fn spin<const TURNS: u32>() -> u64 {
    // SAFETY: counts a register of its own down to zero.
    unsafe {
        asm!(
            "movz {turns:w}, #{low}",
            "movk {turns:w}, #{high}, lsl #16",
            "0:",
            "subs {turns:w}, {turns:w}, #1",
            "b.ne 0b",
            low = const TURNS & 0xffff,
            high = const TURNS >> 16,
            turns = out(reg) _,
            options(nomem, nostack),
        );
    }
    2 + 2 * u64::from(TURNS)
}

/// Nothing is expected but the program's own course.
struct Unexpected;

exception_handlers!(Unexpected);

/// Logs and ends the program.
fn fault(state: RegisterStateRef<'_>) -> ! {
    // The kind of a synchronous exception, and more about it.
    let syndrome: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, esr_el1", out(reg) syndrome, options(nomem, nostack, preserves_flags)) };
    defmt::error!(
        "exception {=u64:#x} at {=u64:#x}",
        syndrome,
        state.elr as u64
    );
    host::exit(FAULT)
}

impl ExceptionHandlers for Unexpected {
    extern "C" fn sync_current(state: RegisterStateRef<'_>) {
        fault(state)
    }

    extern "C" fn irq_current(state: RegisterStateRef<'_>) {
        fault(state)
    }

    extern "C" fn fiq_current(state: RegisterStateRef<'_>) {
        fault(state)
    }

    extern "C" fn serror_current(state: RegisterStateRef<'_>) {
        fault(state)
    }

    extern "C" fn sync_lower(state: RegisterStateRef<'_>) {
        fault(state)
    }

    extern "C" fn irq_lower(state: RegisterStateRef<'_>) {
        fault(state)
    }

    extern "C" fn fiq_lower(state: RegisterStateRef<'_>) {
        fault(state)
    }

    extern "C" fn serror_lower(state: RegisterStateRef<'_>) {
        fault(state)
    }
}
