//! The proof that the firmware cannot panic, and what happens on a fault.
//!
//! In a release build the panic handler calls a function that nobody defines. If any panic is reachable, the linker
//! keeps the handler and stops with "undefined symbol: kinglet_panic_is_reachable"; if none is, handler and call are
//! dropped. To find the culprit, link with `-C link-arg=--defsym=kinglet_panic_is_reachable=0` and disassemble.

use crate::host;
use core::panic::PanicInfo;
use cortex_m_rt::{ExceptionFrame, exception};

/// The exit status after a fault or an unexpected exception.
const FAULT: u8 = 2;

#[cfg(not(debug_assertions))]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn kinglet_panic_is_reachable() -> !;
    }
    // SAFETY: never executed: a program in which this call remains does not link.
    unsafe { kinglet_panic_is_reachable() }
}

#[cfg(debug_assertions)]
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    defmt::error!("{}", defmt::Display2Format(info));
    host::exit(FAULT)
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
