//! What a linked firmware image takes of the board's memories.

use super::EmulateError;
use object::elf::{FileHeader32, FileHeader64, PT_LOAD, SHF_ALLOC, SHF_WRITE};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, Sym};
use object::{Endianness, FileKind, SectionIndex};

/// The name, within the mangled symbol, of the firmware's arena.
const ARENA_SYMBOL: &str = "KINGLET_ARENA";

/// Sizes of an image, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// What is written to the flash: the loaded segments' bytes in the file.
    pub(crate) flash: u64,
    /// Static RAM: every writable section that is allocated, but the stack.
    pub(crate) ram: u64,
    /// The part of `ram` that is the arena, as reserved.
    pub(crate) arena: u64,
}

impl Image {
    /// Measures an ELF file.
    pub(crate) fn parse(elf: &[u8]) -> Result<Image, EmulateError> {
        let measured = match FileKind::parse(elf) {
            Ok(FileKind::Elf64) => Self::measure::<FileHeader64<Endianness>>(elf),
            _ => Self::measure::<FileHeader32<Endianness>>(elf),
        };
        measured.map_err(|error| EmulateError::Image(error.to_string()))
    }

    fn measure<H: FileHeader<Endian = Endianness>>(elf: &[u8]) -> Result<Image, object::Error> {
        let header = H::parse(elf)?;
        let endian = header.endian()?;
        let segments = header.program_headers(endian, elf)?;
        let flash = segments
            .iter()
            .filter(|segment| segment.p_type(endian) == PT_LOAD)
            .map(|segment| segment.p_filesz(endian).into())
            .sum();
        let sections = header.sections(endian, elf)?;
        let ram = sections
            .iter()
            .filter(|section| {
                let flags: u64 = section.sh_flags(endian).into();
                // RISC-V's linker script gives all the RAM that is left to a section of this name.
                let is_stack = sections.section_name(endian, section) == Ok(b".stack");
                flags & u64::from(SHF_ALLOC) != 0 && flags & u64::from(SHF_WRITE) != 0 && !is_stack
            })
            .map(|section| section.sh_size(endian).into())
            .sum();
        let symbols = sections.symbols(endian, elf, object::elf::SHT_SYMTAB)?;
        let arena = symbols
            .iter()
            // Symbols of the log's strings have sizes and names of their own, in a section that is not loaded.
            .filter(|symbol| {
                let section = sections.section(SectionIndex(symbol.st_shndx(endian).into()));
                section.is_ok_and(|section| {
                    section.sh_flags(endian).into() & u64::from(SHF_WRITE) != 0
                })
            })
            .filter(|symbol| {
                let name = symbol.name(endian, symbols.strings()).unwrap_or_default();
                String::from_utf8_lossy(name).contains(ARENA_SYMBOL)
            })
            .map(|symbol| symbol.st_size(endian).into())
            .sum();
        Ok(Image { flash, ram, arena })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOC: u32 = 2;
    const WRITE: u32 = 1;

    /// A little-endian ELF file with these segments (type, file size, memory size) and sections (flags, size); the last
    /// section, if there is one, holds an arena of 32 bytes.
    fn elf(segments: &[(u32, u32, u32)], sections: &[(u32, u32)]) -> Vec<u8> {
        let (headers, section_count) = (52 + 32 * segments.len(), sections.len() + 3);
        let (symbols, strings) = (headers + 40 * section_count, b"\0_ZN13KINGLET_ARENA17E\0");
        let mut bytes = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        let half = |bytes: &mut Vec<u8>, value: usize| bytes.extend((value as u16).to_le_bytes());
        let words = |bytes: &mut Vec<u8>, values: &[u32]| {
            bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()))
        };
        half(&mut bytes, 2);
        half(&mut bytes, 40);
        words(&mut bytes, &[1, 0, 52, headers as u32, 0]);
        for value in [52, 32, segments.len(), 40, section_count, section_count - 1] {
            half(&mut bytes, value);
        }
        for &(kind, file, memory) in segments {
            words(&mut bytes, &[kind, 0, 0, 0, file, memory, 0, 4]);
        }
        words(&mut bytes, &[0; 10]);
        for &(flags, size) in sections {
            words(&mut bytes, &[0, 8, flags, 0, 0, size, 0, 0, 4, 0]);
        }
        let link = section_count as u32 - 1;
        words(
            &mut bytes,
            &[0, 2, 0, 0, symbols as u32, 32, link, 0, 4, 16],
        );
        words(
            &mut bytes,
            &[
                0,
                3,
                0,
                0,
                symbols as u32 + 32,
                strings.len() as u32,
                0,
                0,
                1,
                0,
            ],
        );
        words(&mut bytes, &[0, 0, 0, 0, 1, 0x2000_0000, 32]);
        half(&mut bytes, 1);
        half(&mut bytes, sections.len());
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn flash_is_what_is_loaded_from_the_file_and_ram_what_is_writable() {
        let segments = [
            (1, 1000, 1000),
            (1, 24, 500),
            (1, 0, 64),
            (0x6474_e551, 7, 7),
        ];
        let sections = [
            (ALLOC, 1000),
            (ALLOC | WRITE, 24),
            (0, 5000),
            (ALLOC | WRITE, 476),
        ];
        let image = Image::parse(&elf(&segments, &sections)).unwrap();
        assert_eq!(
            image,
            Image {
                flash: 1024,
                ram: 500,
                arena: 32
            }
        );
    }

    #[test]
    fn what_is_no_elf_file_is_an_error() {
        assert!(matches!(
            Image::parse(b"not an image"),
            Err(EmulateError::Image(_))
        ));
        assert!(Image::parse(&[]).is_err());
    }
}
