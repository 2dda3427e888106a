//! Memory-mapped registers.

/// A 32-bit device register.
#[derive(Clone, Copy)]
pub(crate) struct Register(*mut u32);

impl Register {
    /// The register at `address`; this crate names only addresses of the AN386 memory map.
    pub(crate) const fn at(address: usize) -> Self {
        Register(core::ptr::with_exposed_provenance_mut(address))
    }

    #[inline(always)]
    pub(crate) fn read(self) -> u32 {
        // SAFETY: an aligned device register of the memory map; reading the ones named in this crate has no side effect.
        unsafe { self.0.read_volatile() }
    }

    #[inline(always)]
    pub(crate) fn write(self, value: u32) {
        // SAFETY: as for `read`; none of these devices writes memory.
        unsafe { self.0.write_volatile(value) }
    }
}
