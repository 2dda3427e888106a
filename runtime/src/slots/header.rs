//! The image, byte by byte: an [`ImageHeader`] and the plan's core behind it.
//!
//! ```text
//! 0     what the image is (60 bytes) | crc | signature (64 bytes) | plan
//!       `-------- crc covers --------'                            `- and this
//!       `----------- signature covers ----'                       `- and this
//! ```

use super::error::Refusal;
use super::signature::key_id;
use crate::error::PlanError;
use crate::format::{CRC, VERSION, record};
use crate::plan::Plan;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First bytes of every image.
pub const IMAGE_MAGIC: [u8; 8] = *b"KINGIMG\0";
/// Version of the header that this crate writes and reads. It grows with every change that an older device would misread.
pub const HEADER_VERSION: u16 = 1;
/// Bytes of the header; the plan follows, at a multiple of 16.
pub const HEADER_LEN: usize = size_of::<ImageHeader>();
/// Bytes that the signature covers, besides the plan; the checksum covers those before itself.
const SIGNED_LEN: usize = 64;
const CHECKED_LEN: usize = 60;

/// Bits of [`ImageHeader::flags`].
pub mod flags {
    /// The model may replace one with a higher version.
    pub const ALLOW_OLDER: u32 = 1;
    /// All that are defined; an image with others is refused.
    pub const ALL: u32 = ALLOW_OLDER;
}

record! {
    /// Begins every image.
    ImageHeader {
        /// [`IMAGE_MAGIC`].
        magic: [u8; 8],
        /// [`HEADER_VERSION`].
        version: U16,
        /// [`HEADER_LEN`].
        header_len: U16,
        /// Version of the model: each that is rolled out has a higher one.
        model_version: U32,
        /// [`Target`] code: the core that the plan is compiled for.
        target: U32,
        /// Target features that the plan needs, as in its own header.
        features: U32,
        /// See [`flags`].
        flags: U32,
        /// Bytes of the plan.
        plan_len: U32,
        /// Bytes of arena that the plan needs.
        arena_len: U32,
        /// The plan's format version.
        plan_format: U16,
        /// Zeroes.
        reserved: [u8; 2],
        /// [`key_id`] of the key that signed; tells a wrong key from a wrong signature, and proves nothing.
        key: [u8; 8],
        /// Zeroes.
        reserved_too: [u8; 12],
        /// CRC-32, as plans have it, over everything before this field and the plan.
        crc: U32,
        /// Ed25519 signature over everything before this field and the plan.
        signature: [u8; 64],
    }
}

/// The core that a plan is compiled for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
#[repr(u32)]
pub enum Target {
    /// Any: plans for the host have weights that every core reads.
    Any = 0,
    /// Cortex-M0, M0+ and M23.
    CortexM0 = 1,
    /// Cortex-M3.
    CortexM3 = 2,
    /// Cortex-M4 with FPU.
    CortexM4f = 3,
    /// Cortex-M7.
    CortexM7 = 4,
    /// Cortex-M33.
    CortexM33 = 5,
    /// Cortex-M55 and M85.
    CortexM55 = 6,
    /// RISC-V without floating point.
    Riscv32imc = 7,
}

impl Target {
    const ALL: [(Target, &'static str); 8] = [
        (Target::Any, "any core"),
        (Target::CortexM0, "cortex-m0"),
        (Target::CortexM3, "cortex-m3"),
        (Target::CortexM4f, "cortex-m4f"),
        (Target::CortexM7, "cortex-m7"),
        (Target::CortexM33, "cortex-m33"),
        (Target::CortexM55, "cortex-m55"),
        (Target::Riscv32imc, "riscv32imc"),
    ];

    /// The number in headers.
    pub fn code(self) -> u32 {
        self as u32
    }

    /// The name of a target's number.
    pub fn name_of(code: u32) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(target, _)| target.code() == code)
            .map_or("an unknown core", |(_, name)| name)
    }
}

/// What a device takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Device {
    /// The Ed25519 public key whose images it trusts.
    pub key: [u8; 32],
    /// Its core.
    pub target: Target,
    /// Bytes of arena that it has.
    pub arena_len: u32,
}

impl ImageHeader {
    /// The header of an image of `plan`, signed by nobody yet; `key` is [`key_id`] of the key that will.
    ///
    /// The signature is over [`signed`](Self::signed) and the plan's [`core_len`](crate::Plan::core_len) bytes.
    ///
    /// # Errors
    /// The plan is none.
    pub fn unsigned(
        plan: &[u8],
        model_version: u32,
        target: Target,
        flags: u32,
        key: [u8; 8],
    ) -> Result<ImageHeader, PlanError> {
        let parsed = Plan::parse(plan)?;
        let mut header = ImageHeader {
            magic: IMAGE_MAGIC,
            version: HEADER_VERSION.into(),
            header_len: (HEADER_LEN as u16).into(),
            model_version: model_version.into(),
            target: target.code().into(),
            features: parsed.features().into(),
            flags: flags.into(),
            plan_len: (parsed.core_len() as u32).into(),
            arena_len: (parsed.arena_len() as u32).into(),
            plan_format: VERSION.into(),
            reserved: [0; 2],
            key,
            reserved_too: [0; 12],
            crc: 0.into(),
            signature: [0; 64],
        };
        let mut crc = CRC.digest();
        crc.update(header.checked());
        crc.update(plan.get(..parsed.core_len()).unwrap_or(&[]));
        header.crc = crc.finalize().into();
        Ok(header)
    }

    /// The header at the start of `bytes`, after magic, version and length have been looked at.
    ///
    /// # Errors
    /// [`Refusal::NotAnImage`], [`Refusal::HeaderVersion`].
    pub fn parse(bytes: &[u8]) -> Result<ImageHeader, Refusal> {
        let (header, _) = ImageHeader::read_from_prefix(bytes).map_err(|_| Refusal::NotAnImage)?;
        if header.magic != IMAGE_MAGIC {
            return Err(Refusal::NotAnImage);
        }
        if header.version.get() != HEADER_VERSION
            || usize::from(header.header_len.get()) != HEADER_LEN
        {
            return Err(Refusal::HeaderVersion {
                found: header.version.get().into(),
                supported: HEADER_VERSION.into(),
            });
        }
        Ok(header)
    }

    /// Bytes of the whole image; `None` when that is more than 32 bits hold.
    pub fn image_len(&self) -> Option<u32> {
        self.plan_len.get().checked_add(HEADER_LEN as u32)
    }

    /// Whether the model may replace one with a higher version.
    pub fn allows_older(&self) -> bool {
        self.flags.get() & flags::ALLOW_OLDER != 0
    }

    /// Whether `device` can run the model in a slot that takes `room` bytes, as far as the header tells.
    ///
    /// # Errors
    /// [`Refusal`] names the first thing that does not fit.
    pub fn check(&self, device: &Device, room: u32) -> Result<(), Refusal> {
        if self.key != key_id(&device.key) {
            return Err(Refusal::WrongKey);
        }
        let (found, target) = (self.target.get(), device.target.code());
        if found != target && found != Target::Any.code() {
            return Err(Refusal::WrongTarget {
                found,
                device: target,
            });
        }
        // Plans have no features yet: every bit is unknown.
        let missing = self.features.get() | (self.flags.get() & !flags::ALL);
        if missing != 0 {
            return Err(Refusal::Features { missing });
        }
        if self.plan_format.get() != VERSION {
            return Err(Refusal::PlanFormat {
                found: self.plan_format.get().into(),
                supported: VERSION.into(),
            });
        }
        if self.image_len().is_none_or(|len| len > room) {
            return Err(Refusal::TooLong {
                len: self.image_len().unwrap_or(u32::MAX),
                room,
            });
        }
        if self.arena_len.get() > device.arena_len {
            return Err(Refusal::Arena {
                needed: self.arena_len.get(),
                given: device.arena_len,
            });
        }
        Ok(())
    }

    /// The bytes before the plan that the checksum covers.
    pub fn checked(&self) -> &[u8] {
        self.as_bytes().get(..CHECKED_LEN).unwrap_or(&[])
    }

    /// The bytes before the plan that the signature covers: those that the checksum covers, and the checksum.
    pub fn signed(&self) -> &[u8] {
        self.as_bytes().get(..SIGNED_LEN).unwrap_or(&[])
    }
}
