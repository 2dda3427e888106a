//! A linked image in the formats that flashing tools and boot loaders take.

use crate::emulate::EmulateError;
use object::Endianness;
use object::elf::{FileHeader32, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};

/// What an erased flash holds, in gaps of an image.
const ERASED: u8 = 0xff;

/// A run of bytes in the flash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) address: u32,
    pub(super) bytes: Vec<u8>,
}

/// What a 32-bit ELF file puts into the flash, by address.
pub(super) fn runs(elf: &[u8]) -> Result<Vec<Run>, EmulateError> {
    let unreadable = |error: object::Error| EmulateError::Image(error.to_string());
    let header = FileHeader32::<Endianness>::parse(elf).map_err(unreadable)?;
    let endian = header.endian().map_err(unreadable)?;
    let segments = header.program_headers(endian, elf).map_err(unreadable)?;
    let mut runs = Vec::new();
    for segment in segments {
        if segment.p_type(endian) != PT_LOAD || segment.p_filesz(endian) == 0 {
            continue;
        }
        let bytes = segment
            .data(endian, elf)
            .map_err(|()| EmulateError::Image("a segment lies outside the file".to_owned()))?;
        runs.push(Run {
            address: segment.p_paddr(endian),
            bytes: bytes.to_vec(),
        });
    }
    runs.sort_by_key(|run| run.address);
    Ok(runs)
}

/// The flash from the first byte used to the last; gaps are as erased.
pub(super) fn bin(runs: &[Run]) -> Vec<u8> {
    let Some(start) = runs.first().map(|run| run.address) else {
        return Vec::new();
    };
    let mut image = Vec::new();
    for run in runs {
        image.resize((run.address - start) as usize, ERASED);
        image.extend_from_slice(&run.bytes);
    }
    image
}

/// Intel's hexadecimal text.
pub(super) fn hex(runs: &[Run]) -> String {
    const DATA: u8 = 0;
    const END: u8 = 1;
    const UPPER_ADDRESS: u8 = 4;
    let mut text = String::new();
    let mut record = |address: u32, kind: u8, data: &[u8]| {
        let address = (address as u16).to_be_bytes();
        let mut bytes = vec![data.len() as u8, address[0], address[1], kind];
        bytes.extend_from_slice(data);
        let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        bytes.push(sum.wrapping_neg());
        text.push(':');
        text.extend(bytes.iter().map(|byte| format!("{byte:02X}")));
        text.push('\n');
    };
    let mut upper = 0;
    for run in runs {
        let mut at = 0;
        while at < run.bytes.len() {
            let address = run.address + at as u32;
            if address >> 16 != upper {
                upper = address >> 16;
                record(0, UPPER_ADDRESS, &(upper as u16).to_be_bytes());
            }
            // A record does not cross a border of 64 KiB: it would wrap.
            let len = (run.bytes.len() - at).min(16 - address as usize % 16);
            record(address, DATA, &run.bytes[at..at + len]);
            at += len;
        }
    }
    record(0, END, &[]);
    text
}

/// Microsoft's UF2: blocks of 256 bytes for a boot loader that is a USB drive.
pub(super) fn uf2(runs: &[Run], family: u32) -> Vec<u8> {
    const PAYLOAD: u32 = 256;
    const HAS_FAMILY: u32 = 0x2000;
    // Each block writes a whole page: runs that share one must share a block.
    let mut pages = std::collections::BTreeMap::<u32, [u8; PAYLOAD as usize]>::new();
    for run in runs {
        for (address, byte) in (run.address..).zip(&run.bytes) {
            let page = pages
                .entry(address / PAYLOAD)
                .or_insert([ERASED; PAYLOAD as usize]);
            page[(address % PAYLOAD) as usize] = *byte;
        }
    }
    let count = pages.len() as u32;
    let mut file = Vec::with_capacity(pages.len() * 512);
    for (index, (page, bytes)) in (0..).zip(pages) {
        let words = [
            0x0a32_4655,
            0x9e5d_5157,
            HAS_FAMILY,
            page * PAYLOAD,
            PAYLOAD,
            index,
            count,
            family,
        ];
        file.extend(words.iter().flat_map(|word: &u32| word.to_le_bytes()));
        file.extend_from_slice(&bytes);
        file.resize(file.len() + 476 - PAYLOAD as usize, 0);
        file.extend(0x0ab1_6f30u32.to_le_bytes());
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(address: u32, bytes: &[u8]) -> Run {
        Run {
            address,
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn gaps_of_a_binary_are_as_erased() {
        assert_eq!(
            bin(&[run(16, &[1, 2]), run(20, &[3])]),
            [1, 2, 0xff, 0xff, 3]
        );
        assert!(bin(&[]).is_empty());
    }

    #[test]
    fn hexadecimal_records_carry_addresses_and_sums() {
        let text = hex(&[run(0x0800_fffe, &[0xde, 0xad, 0xbe])]);
        // Length, address, kind, data, and what makes the sum of all 0 modulo 256.
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                ":020000040800F2",
                ":02FFFE00DEAD76",
                ":020000040801F1",
                ":01000000BE41",
                ":00000001FF"
            ]
        );
        for line in text.lines() {
            let bytes = (1..line.len()).step_by(2);
            let sum = bytes
                .map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap())
                .fold(0u8, u8::wrapping_add);
            assert_eq!(sum, 0, "{line}");
        }
    }

    #[test]
    fn blocks_of_uf2_are_whole_pages_with_the_family() {
        let file = uf2(
            &[
                run(0x1000_0000, &[7; 10]),
                run(0x1000_000c, &[8; 2]),
                run(0x1000_0100, &[9; 256]),
            ],
            0xe48b_ff59,
        );
        assert_eq!(file.len(), 2 * 512);
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        for (block, address) in [(0, 0x1000_0000), (1, 0x1000_0100)] {
            let at = block * 512;
            assert_eq!(&file[at..at + 4], b"UF2\n");
            assert_eq!(word(at + 4), 0x9e5d_5157);
            assert_eq!(word(at + 8), 0x2000);
            assert_eq!(word(at + 12), address);
            assert_eq!(
                (word(at + 16), word(at + 20), word(at + 24)),
                (256, block as u32, 2)
            );
            assert_eq!(word(at + 28), 0xe48b_ff59);
            assert_eq!(word(at + 508), 0x0ab1_6f30);
        }
        assert_eq!(
            file[32..46],
            [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0xff, 0xff, 8, 8]
        );
        assert_eq!(file[512 + 32..512 + 288], [9; 256]);
    }

    #[test]
    fn what_is_no_elf_file_is_an_error() {
        assert!(runs(b"not an image").is_err());
    }
}
