//! Frames on a serial line: SLIP (RFC 1055) around a kind, a sequence number, a payload and a CRC-32.
//!
//! ```text
//! END | kind | sequence | payload | crc | END      with END and ESC escaped inside
//! ```
//!
//! The CRC covers kind, sequence and payload. A receiver that joins late, or that lost bytes, finds the next frame at its END.

use crate::format::CRC;
use core::fmt;

const END: u8 = 0xc0;
const ESC: u8 = 0xdb;
const ESC_END: u8 = 0xdc;
const ESC_ESC: u8 = 0xdd;

/// Bytes of the longest payload.
pub const MAX_PAYLOAD: usize = 260;
const HEAD: usize = 2;
const TAIL: usize = 4;
const MAX_LEN: usize = HEAD + MAX_PAYLOAD + TAIL;

/// A frame that has come whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: u8,
    /// Which one; a reply has that of its request.
    pub sequence: u8,
    /// Its contents.
    pub payload: &'a [u8],
}

/// A frame that has not come whole: to be sent again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FrameError;

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a frame is damaged")
    }
}

impl core::error::Error for FrameError {}

/// Gives the bytes of a frame to `send`, in order.
///
/// # Errors
/// Those of `send`.
pub fn encode<E>(
    kind: u8,
    sequence: u8,
    payload: &[u8],
    mut send: impl FnMut(u8) -> Result<(), E>,
) -> Result<(), E> {
    let mut crc = CRC.digest();
    crc.update(&[kind, sequence]);
    crc.update(payload);
    let crc = crc.finalize().to_le_bytes();
    send(END)?;
    for byte in [kind, sequence].iter().chain(payload).chain(&crc) {
        match *byte {
            END => [ESC, ESC_END].into_iter().try_for_each(&mut send)?,
            ESC => [ESC, ESC_ESC].into_iter().try_for_each(&mut send)?,
            byte => send(byte)?,
        }
    }
    send(END)
}

/// Finds frames in bytes.
#[derive(Clone, Debug)]
pub struct Decoder {
    bytes: [u8; MAX_LEN],
    len: usize,
    escaped: bool,
    /// Whether this frame is damaged or too long.
    broken: bool,
    /// Whether the bytes are those of a frame that has been given out.
    done: bool,
}

impl Decoder {
    /// Before the first byte.
    pub fn new() -> Self {
        Decoder {
            bytes: [0; MAX_LEN],
            len: 0,
            escaped: false,
            broken: false,
            done: false,
        }
    }

    /// Takes the next byte; a frame, or that one was damaged, when it ends one.
    pub fn push(&mut self, byte: u8) -> Option<Result<Frame<'_>, FrameError>> {
        if self.done {
            *self = Decoder::new();
        }
        match byte {
            END if self.len == 0 && !self.broken && !self.escaped => return None,
            END => {
                self.done = true;
                return Some(self.frame().ok_or(FrameError));
            }
            ESC if !self.escaped => {
                self.escaped = true;
                return None;
            }
            _ => {}
        }
        let byte = match (self.escaped, byte) {
            (false, byte) => byte,
            (true, ESC_END) => END,
            (true, ESC_ESC) => ESC,
            (true, _) => {
                self.broken = true;
                byte
            }
        };
        self.escaped = false;
        match self.bytes.get_mut(self.len) {
            Some(place) => {
                *place = byte;
                self.len += 1;
            }
            None => self.broken = true,
        }
        None
    }

    /// The frame that the last byte ended.
    pub(super) fn frame(&self) -> Option<Frame<'_>> {
        if !self.done || self.broken || self.escaped {
            return None;
        }
        let (body, crc) = self.bytes.get(..self.len)?.split_last_chunk::<TAIL>()?;
        if CRC.checksum(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        let (&[kind, sequence], payload) = body.split_first_chunk::<HEAD>()?;
        Some(Frame {
            kind,
            sequence,
            payload,
        })
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new()
    }
}
