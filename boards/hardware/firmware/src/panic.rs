//! Panics and faults: logged, and then the core stands still.
//!
//! The model's code cannot panic, as the emulated boards' firmware proves; a vendor's HAL can.

use core::panic::PanicInfo;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    defmt::error!("{}", defmt::Display2Format(info));
    stop()
}

#[cfg(target_arch = "arm")]
#[cortex_m_rt::exception]
// SAFETY: logs and stands still; it touches no state of the interrupted code.
unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
    defmt::error!(
        "hard fault at {=u32:#x}, return address {=u32:#x}",
        frame.pc(),
        frame.lr()
    );
    stop()
}

/// Stands still, in a way that a debugger can leave.
pub(crate) fn stop() -> ! {
    loop {
        core::hint::spin_loop();
    }
}
