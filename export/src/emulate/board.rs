//! The boards that can be emulated.

use super::EmulateError;

/// An emulated board.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Board {
    /// Its name, which is also that of its folder in `boards`.
    pub name: &'static str,
    /// The processor core.
    pub core: &'static str,
    /// The Rust target of the firmware.
    pub target: &'static str,
    /// QEMU's name of the machine.
    pub machine: &'static str,
    /// QEMU's `-icount shift`: 2 to this power nanoseconds of virtual time an instruction. The firmware's counter
    /// depends on it.
    pub icount_shift: u32,
    /// Bytes of flash.
    pub flash_len: usize,
    /// Bytes of RAM, for static data, the arena and the stack.
    pub ram_len: usize,
    /// Bytes of memory for plans that are loaded at run time.
    pub load_len: usize,
}

/// All boards.
pub const BOARDS: &[Board] = &[Board {
    name: "mps2-an386",
    core: "Cortex-M4F",
    target: crate::setup::TARGET,
    machine: "mps2-an386",
    icount_shift: 7,
    flash_len: 4 << 20,
    ram_len: 4 << 20,
    load_len: 16 << 20,
}];

/// The board of this name.
///
/// # Errors
///
/// [`EmulateError::UnknownBoard`] lists the names there are.
pub fn board(name: &str) -> Result<&'static Board, EmulateError> {
    BOARDS
        .iter()
        .find(|board| board.name == name)
        .ok_or_else(|| EmulateError::UnknownBoard {
            name: name.to_owned(),
            known: BOARDS
                .iter()
                .map(|board| board.name)
                .collect::<Vec<_>>()
                .join(", "),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_is_found_by_its_name() {
        assert_eq!(board("mps2-an386").unwrap().core, "Cortex-M4F");
    }

    #[test]
    fn an_unknown_board_lists_the_known_ones() {
        let error = board("mps2").unwrap_err().to_string();
        assert_eq!(error, "no board is named `mps2`; known boards: mps2-an386");
    }
}
