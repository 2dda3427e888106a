//! RISC-V with 32 bits, in machine mode.

use super::FAULT;
use crate::host;
use core::arch::asm;

/// One semihosting request with its parameter block.
///
/// # Safety
/// The block is the one of this operation, and all that it points to may be read and, if the operation does, written.
pub(crate) unsafe fn request(operation: usize, block: &[usize; 3]) -> usize {
    let mut result = operation;
    // SAFETY: by the caller's contract; the default clobbers tell the compiler that memory may change. The debugger knows
    // the request by the two instructions that do nothing, uncompressed and in one page with the break.
    unsafe {
        asm!(
            ".option push",
            ".option norvc",
            ".balign 16",
            "slli x0, x0, 0x1f",
            "ebreak",
            "srai x0, x0, 7",
            ".option pop",
            inout("a0") result,
            in("a1") block.as_ptr(),
            options(nostack),
        );
    }
    result
}

/// The lowest address that the stack may reach: the linker puts it above everything static.
pub(crate) fn stack_limit() -> *mut u32 {
    unsafe extern "C" {
        static mut __estack: u32;
    }
    &raw mut __estack
}

/// Fills the free stack with `paint`, from `watched` bytes below the stack pointer but not below `limit`; where it began.
///
/// # Safety
/// The stack may reach down to `limit`, and nothing lives below the stack pointer.
#[inline(always)]
pub(crate) unsafe fn paint(paint: u32, watched: usize, limit: *mut u32) -> *mut u32 {
    let bottom: *mut u32;
    // SAFETY: as for Arm: below the stack pointer nothing lives, and reading it and painting are one block.
    unsafe {
        asm!(
            "sub {bottom}, sp, {watched}",
            "bgeu {bottom}, {limit}, 0f",
            "mv {bottom}, {limit}",
            "0:",
            "mv {limit}, {bottom}",
            "1:",
            "bgeu {limit}, sp, 2f",
            "sw {paint}, 0({limit})",
            "addi {limit}, {limit}, 4",
            "j 1b",
            "2:",
            bottom = out(reg) bottom,
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
            "lui {turns}, %hi({count})",
            "addi {turns}, {turns}, %lo({count})",
            "0:",
            "addi {turns}, {turns}, -1",
            "bnez {turns}, 0b",
            count = const TURNS,
            turns = out(reg) _,
            options(nomem, nostack),
        );
    }
    2 + 2 * u64::from(TURNS)
}

// SAFETY: the start-up code calls this name with these parameters; it logs and ends the program, and touches no state of
// the interrupted code but the logger's, which is guarded.
#[unsafe(export_name = "_dispatch_exception")]
extern "C" fn exception(frame: &riscv_rt::TrapFrame, cause: usize) {
    defmt::error!(
        "exception {=usize}, return address {=usize:#x}",
        cause,
        frame.ra
    );
    host::exit(FAULT)
}

// SAFETY: as above.
#[unsafe(export_name = "_dispatch_core_interrupt")]
extern "C" fn interrupt(number: usize) {
    defmt::error!("unexpected interrupt {=usize}", number);
    host::exit(FAULT)
}
