//! The interrupt vectors of this board.

unsafe extern "C" {
    fn DefaultHandler();
}

/// The firmware enables no interrupt, so none has a handler of its own; one that comes all the same ends the program.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
static __INTERRUPTS: [unsafe extern "C" fn(); 32] = [DefaultHandler; 32];
