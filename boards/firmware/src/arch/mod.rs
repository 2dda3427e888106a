//! What only assembly can say, for each architecture: requests to the host, the stack pointer, loops of known length, and
//! faults.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::{paint, request, spin, stack_limit};

#[cfg(target_arch = "arm")]
mod arm;
#[cfg(all(target_arch = "arm", feature = "slots"))]
pub(crate) use arm::reset;
#[cfg(target_arch = "arm")]
pub(crate) use arm::{paint, request, spin, stack_limit};

// Armv6-M, which has no compare-and-swap, has no words at any address either.
#[cfg(all(target_arch = "arm", target_has_atomic = "32"))]
mod memory;

#[cfg(target_arch = "riscv32")]
mod riscv;
#[cfg(target_arch = "riscv32")]
pub(crate) use riscv::{paint, request, spin, stack_limit};

/// The exit status after a fault or an unexpected exception.
pub(crate) const FAULT: u8 = 2;
