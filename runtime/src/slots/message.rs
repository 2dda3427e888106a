//! What the frames say: requests of the host, replies of the device.
//!
//! The host waits for the reply to a request before it sends the next one. When none comes, or [`Reply::Again`], it sends the same
//! frame again; the device knows it by its sequence number, and repeats its reply without doing the thing twice.

use super::error::{Fault, Refusal};
use super::frame::MAX_PAYLOAD;
use crate::format::record;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Version of the protocol.
pub const PROTOCOL: u8 = 1;
/// Bytes of the image in one [`Message::Data`], at most.
pub const CHUNK_LEN: usize = 256;
/// Kinds from here to 0x7f are the application's; it replies with the kind and 0x80.
pub const APPLICATION: u8 = 0x40;

/// Kinds of requests.
pub mod kind {
    /// [`super::Message::Status`].
    pub const STATUS: u8 = 1;
    /// [`super::Message::Begin`].
    pub const BEGIN: u8 = 2;
    /// [`super::Message::Data`].
    pub const DATA: u8 = 3;
    /// [`super::Message::Finish`].
    pub const FINISH: u8 = 4;
    /// [`super::Message::Restart`].
    pub const RESTART: u8 = 5;
}

/// Kinds of replies.
pub mod reply_kind {
    /// [`super::Reply::Status`].
    pub const STATUS: u8 = 0x81;
    /// [`super::Reply::Done`].
    pub const DONE: u8 = 0x82;
    /// [`super::Reply::Refused`].
    pub const REFUSED: u8 = 0x83;
    /// [`super::Reply::Again`].
    pub const AGAIN: u8 = 0x84;
}

/// A request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// How the device is. Begins every conversation.
    Status,
    /// An image of so many bytes comes.
    Begin {
        /// Bytes.
        len: u32,
    },
    /// A part of the image.
    Data {
        /// Its place in the image.
        offset: u32,
        /// Its bytes, at most [`CHUNK_LEN`].
        bytes: &'a [u8],
    },
    /// The image is whole.
    Finish,
    /// Start anew, with the image that has come.
    Restart,
}

impl<'a> Message<'a> {
    /// The request of a frame; `None` for a kind that is none, or a payload that is not its.
    pub fn parse(kind: u8, payload: &'a [u8]) -> Option<Self> {
        let word = || payload.first_chunk().map(|word| u32::from_le_bytes(*word));
        let empty = payload.is_empty();
        match kind {
            kind::STATUS if empty => Some(Message::Status),
            kind::BEGIN if payload.len() == 4 => Some(Message::Begin { len: word()? }),
            kind::DATA if payload.len() <= 4 + CHUNK_LEN => Some(Message::Data {
                offset: word()?,
                bytes: payload.get(4..)?,
            }),
            kind::FINISH if empty => Some(Message::Finish),
            kind::RESTART if empty => Some(Message::Restart),
            _ => None,
        }
    }

    /// Writes the payload to `payload`; the frame's kind and the payload's length.
    pub fn emit(&self, payload: &mut [u8; MAX_PAYLOAD]) -> (u8, usize) {
        let mut put = |word: u32, bytes: &[u8]| {
            let all = word.to_le_bytes();
            let all = all.iter().chain(bytes);
            payload.iter_mut().zip(all).fold(0, |count, (to, from)| {
                *to = *from;
                count + 1
            })
        };
        match *self {
            Message::Status => (kind::STATUS, 0),
            Message::Begin { len } => (kind::BEGIN, put(len, &[])),
            Message::Data { offset, bytes } => (kind::DATA, put(offset, bytes)),
            Message::Finish => (kind::FINISH, 0),
            Message::Restart => (kind::RESTART, 0),
        }
    }
}

record! {
    /// How a device is, as it goes over the wire.
    StatusRecord {
        protocol: u8,
        running: u8,
        fault: u8,
        receiving: u8,
        version: U32,
        failed_version: U32,
        target: U32,
        room: U32,
        arena_len: U32,
        received: U32,
        key: [u8; 8],
    }
}

/// What runs on a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Running {
    /// No model.
    Nothing,
    /// A model that stays.
    Confirmed,
    /// A model that has not been confirmed yet.
    OnTrial,
}

/// How a device is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// [`PROTOCOL`] of the device.
    pub protocol: u8,
    /// What runs.
    pub running: Running,
    /// Version of what runs.
    pub version: u32,
    /// Version of the model that was given up last, if it was newer than the one that runs, and why.
    pub failed: Option<(u32, Fault)>,
    /// Code of its [`Target`](super::Target).
    pub target: u32,
    /// Bytes of the longest image.
    pub room: u32,
    /// Bytes of arena.
    pub arena_len: u32,
    /// Bytes of an image that have come, when one is being received.
    pub received: Option<u32>,
    /// [`key_id`](super::key_id) of the key that it trusts.
    pub key: [u8; 8],
}

/// A reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// To [`Message::Status`].
    Status(Status),
    /// Done.
    Done {
        /// Bytes of the image that have come; of a finished image its version.
        value: u32,
    },
    /// Not done.
    Refused(Refusal),
    /// The frame came damaged: send it again.
    Again,
}

/// Bytes of the longest reply's payload.
pub(super) const REPLY_LEN: usize = size_of::<StatusRecord>();

impl Reply {
    /// The reply of a frame; `None` when it is none.
    pub fn parse(kind: u8, payload: &[u8]) -> Option<Self> {
        match kind {
            reply_kind::STATUS => {
                let record = StatusRecord::ref_from_bytes(payload).ok()?;
                let failed = (record.fault != 0).then(|| {
                    let fault = Fault::from_code(record.fault.into());
                    (record.failed_version.get(), fault)
                });
                Some(Reply::Status(Status {
                    protocol: record.protocol,
                    running: match record.running {
                        0 => Running::Nothing,
                        1 => Running::Confirmed,
                        _ => Running::OnTrial,
                    },
                    version: record.version.get(),
                    failed,
                    target: record.target.get(),
                    room: record.room.get(),
                    arena_len: record.arena_len.get(),
                    received: (record.receiving != 0).then(|| record.received.get()),
                    key: record.key,
                }))
            }
            reply_kind::DONE => {
                let value = u32::from_le_bytes(payload.try_into().ok()?);
                Some(Reply::Done { value })
            }
            reply_kind::REFUSED => {
                let (&code, details) = payload.split_first()?;
                let &[first, second] = details.as_chunks::<4>().0 else {
                    return None;
                };
                let [first, second] = [first, second].map(u32::from_le_bytes);
                Refusal::from_code(code, first, second).map(Reply::Refused)
            }
            reply_kind::AGAIN => Some(Reply::Again),
            _ => None,
        }
    }

    /// Writes the payload to `payload`; the frame's kind and the payload's length.
    pub(super) fn emit(&self, payload: &mut [u8; REPLY_LEN]) -> (u8, usize) {
        let mut put = |bytes: &[u8]| {
            payload.iter_mut().zip(bytes).fold(0, |count, (to, from)| {
                *to = *from;
                count + 1
            })
        };
        match *self {
            Reply::Status(status) => {
                let (failed_version, fault) = match status.failed {
                    Some((version, fault)) => (version, fault as u8),
                    None => (0, 0),
                };
                let record = StatusRecord {
                    protocol: status.protocol,
                    running: match status.running {
                        Running::Nothing => 0,
                        Running::Confirmed => 1,
                        Running::OnTrial => 2,
                    },
                    fault,
                    receiving: status.received.is_some().into(),
                    version: status.version.into(),
                    failed_version: failed_version.into(),
                    target: status.target.into(),
                    room: status.room.into(),
                    arena_len: status.arena_len.into(),
                    received: status.received.unwrap_or(0).into(),
                    key: status.key,
                };
                (reply_kind::STATUS, put(record.as_bytes()))
            }
            Reply::Done { value } => (reply_kind::DONE, put(&value.to_le_bytes())),
            Reply::Refused(refusal) => {
                let (code, first, second) = refusal.code();
                let [a, b, c, d] = first.to_le_bytes();
                let [e, f, g, h] = second.to_le_bytes();
                (reply_kind::REFUSED, put(&[code, a, b, c, d, e, f, g, h]))
            }
            Reply::Again => (reply_kind::AGAIN, 0),
        }
    }
}
