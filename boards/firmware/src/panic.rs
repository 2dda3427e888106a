//! The proof that the firmware cannot panic.
//!
//! In a release build the panic handler calls a function that nobody defines. If any panic is reachable, the linker
//! keeps the handler and stops with "undefined symbol: kinglet_panic_is_reachable"; if none is, handler and call are
//! dropped. To find the culprit, link with `-C link-arg=--defsym=kinglet_panic_is_reachable=0` and disassemble.

use core::panic::PanicInfo;

#[cfg(not(any(debug_assertions, feature = "panics")))]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn kinglet_panic_is_reachable() -> !;
    }
    // SAFETY: never executed: a program in which this call remains does not link.
    unsafe { kinglet_panic_is_reachable() }
}

#[cfg(any(debug_assertions, feature = "panics"))]
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    defmt::error!("{}", defmt::Display2Format(info));
    crate::host::exit(crate::arch::FAULT)
}
