//! The interrupt vectors of this device: 32, and not the 240 that the core could have.

unsafe extern "C" {
    fn DefaultHandler();
}

/// The firmware enables no interrupt; one that comes all the same ends the program.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
static __INTERRUPTS: [unsafe extern "C" fn(); 32] = [DefaultHandler; 32];
