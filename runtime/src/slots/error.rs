//! Why an image is refused, and why a model that ran was given up.

use core::fmt;

/// Why the slots cannot do what they were asked to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The flash could not be read, written or erased at this offset.
    Flash {
        /// Where in the flash.
        offset: u32,
    },
    /// Slots that overlap, leave the flash or do not begin and end at erase blocks; or a flash whose words are larger than 256
    /// bytes to write or 16 to read.
    Layout,
    /// The image is not taken.
    Refused(Refusal),
}

/// Why an image is not taken. The model that runs goes on running.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Refusal {
    /// Does not begin with [`IMAGE_MAGIC`](super::IMAGE_MAGIC).
    NotAnImage,
    /// The header is of another version.
    HeaderVersion {
        /// Of the image.
        found: u32,
        /// Of the device.
        supported: u32,
    },
    /// Signed with another key than the device's.
    WrongKey,
    /// Compiled for another core.
    WrongTarget {
        /// Code of the image's [`Target`](super::Target).
        found: u32,
        /// Code of the device's.
        device: u32,
    },
    /// Needs features of the target, or sets flags, that the device does not know.
    Features {
        /// The unknown bits.
        missing: u32,
    },
    /// The plan is of another format version.
    PlanFormat {
        /// Of the plan.
        found: u32,
        /// Of the device's runtime.
        supported: u32,
    },
    /// The image is longer than a slot.
    TooLong {
        /// Bytes of the image.
        len: u32,
        /// Bytes of the longest image.
        room: u32,
    },
    /// The model needs more arena than the device has.
    Arena {
        /// Bytes needed.
        needed: u32,
        /// Bytes there are.
        given: u32,
    },
    /// The model's version is not above that of the one that runs, and the image is not signed to allow that.
    NotNewer {
        /// Version of the image.
        offered: u32,
        /// Version that runs.
        running: u32,
    },
    /// Fewer or more bytes than announced.
    Length {
        /// Bytes announced.
        expected: u32,
        /// Bytes that came.
        found: u32,
    },
    /// A part that does not follow the one before it.
    OutOfOrder {
        /// Offset of the part that is awaited.
        expected: u32,
        /// Offset of the part that came.
        found: u32,
    },
    /// The checksum does not match: the image is damaged.
    Corrupt,
    /// The signature does not match: the image is forged or damaged.
    BadSignature,
    /// The model that runs is on trial: what is in the other slot is needed if it fails.
    OnTrial,
    /// No image is being received.
    NotReceiving,
    /// The flash could not be read, written or erased.
    Flash {
        /// Where.
        offset: u32,
    },
    /// A request that the device does not know.
    UnknownRequest,
}

/// Why a model was given up after it had been taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
#[repr(u8)]
pub enum Fault {
    /// The device was reset before the model was confirmed, or power failed.
    Unconfirmed = 1,
    /// The image is damaged, or was signed with another key.
    Damaged = 2,
    /// The plan does not parse.
    Plan = 3,
    /// The self-test's outputs are not those of the compiler's host.
    SelfTest = 4,
    /// The application gave it up.
    Rejected = 5,
    /// It is not known why.
    Unknown = 6,
}

impl Fault {
    /// The fault of this number; [`Fault::Unknown`] for others.
    pub fn from_code(code: u32) -> Self {
        match code {
            1 => Fault::Unconfirmed,
            2 => Fault::Damaged,
            3 => Fault::Plan,
            4 => Fault::SelfTest,
            5 => Fault::Rejected,
            _ => Fault::Unknown,
        }
    }
}

impl Refusal {
    /// Number and details, as they go over the wire.
    pub fn code(self) -> (u8, u32, u32) {
        match self {
            Refusal::NotAnImage => (1, 0, 0),
            Refusal::HeaderVersion { found, supported } => (2, found, supported),
            Refusal::WrongKey => (3, 0, 0),
            Refusal::WrongTarget { found, device } => (4, found, device),
            Refusal::Features { missing } => (5, missing, 0),
            Refusal::PlanFormat { found, supported } => (6, found, supported),
            Refusal::TooLong { len, room } => (7, len, room),
            Refusal::Arena { needed, given } => (8, needed, given),
            Refusal::NotNewer { offered, running } => (9, offered, running),
            Refusal::Length { expected, found } => (10, expected, found),
            Refusal::OutOfOrder { expected, found } => (11, expected, found),
            Refusal::Corrupt => (12, 0, 0),
            Refusal::BadSignature => (13, 0, 0),
            Refusal::OnTrial => (14, 0, 0),
            Refusal::NotReceiving => (15, 0, 0),
            Refusal::Flash { offset } => (16, offset, 0),
            Refusal::UnknownRequest => (17, 0, 0),
        }
    }

    /// The refusal of this number and these details.
    pub fn from_code(code: u8, first: u32, second: u32) -> Option<Self> {
        Some(match code {
            1 => Refusal::NotAnImage,
            2 => Refusal::HeaderVersion {
                found: first,
                supported: second,
            },
            3 => Refusal::WrongKey,
            4 => Refusal::WrongTarget {
                found: first,
                device: second,
            },
            5 => Refusal::Features { missing: first },
            6 => Refusal::PlanFormat {
                found: first,
                supported: second,
            },
            7 => Refusal::TooLong {
                len: first,
                room: second,
            },
            8 => Refusal::Arena {
                needed: first,
                given: second,
            },
            9 => Refusal::NotNewer {
                offered: first,
                running: second,
            },
            10 => Refusal::Length {
                expected: first,
                found: second,
            },
            11 => Refusal::OutOfOrder {
                expected: first,
                found: second,
            },
            12 => Refusal::Corrupt,
            13 => Refusal::BadSignature,
            14 => Refusal::OnTrial,
            15 => Refusal::NotReceiving,
            16 => Refusal::Flash { offset: first },
            17 => Refusal::UnknownRequest,
            _ => return None,
        })
    }

    /// A name for programs: `wrong-key`, `not-newer`, …
    pub fn name(self) -> &'static str {
        match self {
            Refusal::NotAnImage => "not-an-image",
            Refusal::HeaderVersion { .. } => "header-version",
            Refusal::WrongKey => "wrong-key",
            Refusal::WrongTarget { .. } => "wrong-target",
            Refusal::Features { .. } => "features",
            Refusal::PlanFormat { .. } => "plan-format",
            Refusal::TooLong { .. } => "too-long",
            Refusal::Arena { .. } => "arena",
            Refusal::NotNewer { .. } => "not-newer",
            Refusal::Length { .. } => "length",
            Refusal::OutOfOrder { .. } => "out-of-order",
            Refusal::Corrupt => "corrupt",
            Refusal::BadSignature => "bad-signature",
            Refusal::OnTrial => "on-trial",
            Refusal::NotReceiving => "not-receiving",
            Refusal::Flash { .. } => "flash",
            Refusal::UnknownRequest => "unknown-request",
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::Refused(refusal)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Flash { offset } => Refusal::Flash { offset },
            // Slots with a wrong layout are not made, so this is not reached.
            Error::Layout => Refusal::Flash { offset: 0 },
            Error::Refused(refusal) => refusal,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Flash { offset } => write!(f, "the flash failed at offset {offset:#x}"),
            Error::Layout => write!(f, "the slots' layout does not fit the flash"),
            Error::Refused(refusal) => write!(f, "{refusal}"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Refusal::NotAnImage => write!(f, "not a signed model image: `kinglet sign` makes one"),
            Refusal::HeaderVersion { found, supported } => write!(
                f,
                "the image's header has version {found}, the device reads version {supported}"
            ),
            Refusal::WrongKey => {
                write!(f, "the image is signed with another key than the device's")
            }
            Refusal::WrongTarget { found, device } => write!(
                f,
                "the model is compiled for {}, the device is {}",
                super::Target::name_of(found),
                super::Target::name_of(device)
            ),
            Refusal::Features { missing } => write!(
                f,
                "the image needs features or sets flags that the device does not know (bits {missing:#x})"
            ),
            Refusal::PlanFormat { found, supported } => write!(
                f,
                "the plan has format version {found}, the device's runtime reads version {supported}"
            ),
            Refusal::TooLong { len, room } => write!(
                f,
                "the image has {len} bytes, a slot of the device takes {room}"
            ),
            Refusal::Arena { needed, given } => write!(
                f,
                "the model needs an arena of {needed} bytes, the device has {given}"
            ),
            Refusal::NotNewer { offered, running } => write!(
                f,
                "version {offered} is not above version {running}, which runs: sign it with a higher version, or with \
                 --allow-older"
            ),
            Refusal::Length { expected, found } => {
                write!(f, "{expected} bytes were announced, {found} came")
            }
            Refusal::OutOfOrder { expected, found } => write!(
                f,
                "a part at offset {found} came, the one at {expected} was awaited"
            ),
            Refusal::Corrupt => write!(f, "the image is damaged: its checksum does not match"),
            Refusal::BadSignature => write!(f, "the image's signature does not match its contents"),
            Refusal::OnTrial => write!(
                f,
                "the model that runs has not been confirmed yet: the one before it is kept until then"
            ),
            Refusal::NotReceiving => write!(f, "the device is not receiving an image"),
            Refusal::Flash { offset } => {
                write!(f, "the device's flash failed at offset {offset:#x}")
            }
            Refusal::UnknownRequest => write!(f, "the device does not know this request"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Unconfirmed => "the device was reset before the model was confirmed",
            Fault::Damaged => "the image in flash is damaged",
            Fault::Plan => "the plan does not fit the device's runtime",
            Fault::SelfTest => "the self-test's outputs are not those of the host",
            Fault::Rejected => "the application gave it up",
            Fault::Unknown => "for a reason that was not recorded",
        })
    }
}

impl core::error::Error for Error {}
impl core::error::Error for Refusal {}
