//! Memory-mapped registers.

/// A 32-bit device register.
#[derive(Clone, Copy)]
pub struct Register(usize);

impl Register {
    /// The register at `address`.
    ///
    /// # Safety
    /// A device register that is aligned to 4 bytes, that reading does not change, and whose device writes no memory.
    pub const unsafe fn at(address: usize) -> Self {
        Register(address)
    }

    /// Its value.
    #[inline(always)]
    pub fn read(self) -> u32 {
        // SAFETY: an aligned device register, by the contract of `at`.
        unsafe { core::ptr::with_exposed_provenance::<u32>(self.0).read_volatile() }
    }

    /// Sets its value.
    #[inline(always)]
    pub fn write(self, value: u32) {
        // SAFETY: as for `read`; the device writes no memory.
        unsafe { core::ptr::with_exposed_provenance_mut::<u32>(self.0).write_volatile(value) }
    }
}
