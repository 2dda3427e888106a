//! Cortex-M, with instructions that the smallest of them has.

use super::FAULT;
use crate::host;
use core::arch::asm;
use cortex_m_rt::{ExceptionFrame, exception};

/// One semihosting request with its parameter block.
///
/// # Safety
/// The block is the one of this operation, and all that it points to may be read and, if the operation does, written.
pub(crate) unsafe fn request(operation: usize, block: &[usize; 3]) -> usize {
    let mut result = operation;
    // SAFETY: by the caller's contract; the default clobbers tell the compiler that memory may change.
    unsafe {
        asm!("bkpt 0xab", inout("r0") result, in("r1") block.as_ptr(), options(nostack, preserves_flags));
    }
    result
}

/// Resets the processor and its devices; RAM that the linker places nothing in keeps its contents.
#[cfg(feature = "slots")]
pub(crate) fn reset() -> ! {
    // AIRCR, with its key and SYSRESETREQ.
    // SAFETY: the register is that of every Cortex-M.
    let register = unsafe { crate::register::Register::at(0xe000_ed0c) };
    loop {
        register.write(0x05fa_0004);
    }
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
    // SAFETY: writes between the limit and the stack pointer, where nothing lives: the architecture has no red zone and no
    // interrupt is enabled. Reading the stack pointer and painting are one block, so that the compiler cannot save a
    // register below a pointer that was read before.
    unsafe {
        asm!(
            "mov {top}, sp",
            "mov {bottom}, {top}",
            "subs {bottom}, {bottom}, {watched}",
            "cmp {bottom}, {limit}",
            "bhs 0f",
            "mov {bottom}, {limit}",
            "0:",
            "mov {limit}, {bottom}",
            "1:",
            "cmp {limit}, {top}",
            "bhs 2f",
            "str {paint}, [{limit}]",
            "adds {limit}, #4",
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
            "movs {turns}, #{a}",
            "lsls {turns}, {turns}, #8",
            "adds {turns}, #{b}",
            "lsls {turns}, {turns}, #8",
            "adds {turns}, #{c}",
            "lsls {turns}, {turns}, #8",
            "adds {turns}, #{d}",
            "0:",
            "subs {turns}, #1",
            "bne 0b",
            a = const TURNS >> 24,
            b = const TURNS >> 16 & 0xff,
            c = const TURNS >> 8 & 0xff,
            d = const TURNS & 0xff,
            turns = out(reg) _,
            options(nomem, nostack),
        );
    }
    7 + 2 * u64::from(TURNS)
}

// SAFETY: logs and ends the program; it touches no state of the interrupted code but the logger's, which is guarded.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    defmt::error!(
        "hard fault at {=u32:#x}, return address {=u32:#x}",
        frame.pc(),
        frame.lr()
    );
    host::exit(FAULT)
}

// SAFETY: as above.
#[exception]
unsafe fn DefaultHandler(number: i16) {
    defmt::error!("unexpected exception {=i16}", number);
    host::exit(FAULT)
}
