//! The device's end of the serial line.

use super::error::Refusal;
use super::frame::{Decoder, Frame, encode};
use super::message::{APPLICATION, Message, PROTOCOL, REPLY_LEN, Reply, Running, Status};
use super::receive::Receiver;
use super::signature::key_id;
use super::store::Slots;
use embedded_io::{Read, ReadReady, Write};
use embedded_storage::nor_flash::NorFlash;

/// Takes requests, and replies. The model goes on running between two bytes.
#[derive(Debug, Default)]
pub struct Endpoint {
    decoder: Decoder,
    receiver: Option<Receiver>,
    /// The last request's sequence number, and the reply to it.
    last: Option<(u8, Reply)>,
}

/// What an application has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// A new model of this version has come; it runs after the next boot.
    Received(u32),
    /// The host asks to boot.
    Restart,
    /// A frame for the application; [`Endpoint::reply`] answers.
    Application(Frame<'a>),
}

/// What a byte ended.
enum Taken {
    Nothing,
    Request {
        sequence: u8,
        reply: Reply,
        event: Option<Event<'static>>,
    },
    Application,
}

impl Endpoint {
    /// Before the first byte.
    pub fn new() -> Self {
        Endpoint::default()
    }

    /// Takes what `port` has, up to the first event, and replies.
    ///
    /// # Errors
    /// Those of the port.
    pub fn poll<F: NorFlash, P: Read + ReadReady + Write>(
        &mut self,
        port: &mut P,
        slots: &mut Slots<F>,
    ) -> Result<Option<Event<'_>>, P::Error> {
        let mut byte = [0];
        while port.read_ready()? && port.read(&mut byte)? > 0 {
            let [byte] = byte;
            match self.take(byte, slots) {
                Taken::Nothing => {}
                Taken::Request {
                    sequence,
                    reply,
                    event,
                } => {
                    let mut payload = [0; REPLY_LEN];
                    let (kind, len) = reply.emit(&mut payload);
                    send(port, kind, sequence, payload.get(..len).unwrap_or(&[]))?;
                    if event.is_some() {
                        return Ok(event);
                    }
                }
                Taken::Application => return Ok(self.decoder.frame().map(Event::Application)),
            }
        }
        Ok(None)
    }

    /// Replies to an application's frame: `payload` has at most [`MAX_PAYLOAD`](super::MAX_PAYLOAD) bytes.
    ///
    /// # Errors
    /// Those of the port.
    pub fn reply<P: Write>(
        port: &mut P,
        (kind, sequence): (u8, u8),
        payload: &[u8],
    ) -> Result<(), P::Error> {
        send(port, kind | 0x80, sequence, payload)
    }

    fn take<F: NorFlash>(&mut self, byte: u8, slots: &mut Slots<F>) -> Taken {
        let frame = match self.decoder.push(byte) {
            None => return Taken::Nothing,
            Some(Ok(frame)) => frame,
            Some(Err(_)) => {
                // The sequence number may be what is damaged.
                return Taken::Request {
                    sequence: 0,
                    reply: Reply::Again,
                    event: None,
                };
            }
        };
        let Frame { kind, sequence, .. } = frame;
        if (APPLICATION..0x80).contains(&kind) {
            return Taken::Application;
        }
        let message = Message::parse(kind, frame.payload);
        if let Some((last, reply)) = self.last
            && last == sequence
            && message != Some(Message::Status)
        {
            return Taken::Request {
                sequence,
                reply,
                event: None,
            };
        }
        let mut event = None;
        let result = match message {
            None => Err(Refusal::UnknownRequest),
            Some(Message::Status) => Ok(Reply::Status(status(slots, self.receiver.as_ref()))),
            Some(Message::Begin { len }) => {
                self.receiver = None;
                let begun = Receiver::begin(slots, len);
                begun.map_err(Refusal::from).map(|receiver| {
                    self.receiver = Some(receiver);
                    Reply::Done { value: 0 }
                })
            }
            Some(Message::Data { offset, bytes }) => {
                data(&mut self.receiver, slots, offset, bytes).map(|value| Reply::Done { value })
            }
            Some(Message::Finish) => {
                let receiver = self.receiver.take().ok_or(Refusal::NotReceiving);
                let finished = receiver.and_then(|receiver| Ok(receiver.finish(slots)?));
                finished.map(|version| {
                    event = Some(Event::Received(version));
                    Reply::Done { value: version }
                })
            }
            Some(Message::Restart) => {
                event = Some(Event::Restart);
                Ok(Reply::Done { value: 0 })
            }
        };
        let reply = result.unwrap_or_else(Reply::Refused);
        self.last = Some((sequence, reply));
        Taken::Request {
            sequence,
            reply,
            event,
        }
    }
}

/// A part of an image; bytes that have come. After an error the image is lost.
fn data<F: NorFlash>(
    place: &mut Option<Receiver>,
    slots: &mut Slots<F>,
    offset: u32,
    bytes: &[u8],
) -> Result<u32, Refusal> {
    let mut receiver = place.take().ok_or(Refusal::NotReceiving)?;
    let expected = receiver.received();
    if offset != expected {
        return Err(Refusal::OutOfOrder {
            expected,
            found: offset,
        });
    }
    receiver.write(slots, bytes)?;
    let received = receiver.received();
    *place = Some(receiver);
    Ok(received)
}

fn status<F: NorFlash>(slots: &Slots<F>, receiver: Option<&Receiver>) -> Status {
    let device = slots.device();
    Status {
        protocol: PROTOCOL,
        running: match slots.running() {
            None => Running::Nothing,
            Some(model) if model.on_trial => Running::OnTrial,
            Some(_) => Running::Confirmed,
        },
        version: slots.running().map_or(0, |model| model.version),
        failed: slots.failed(),
        target: device.target.code(),
        room: slots.room(),
        arena_len: device.arena_len,
        received: receiver.map(Receiver::received),
        key: key_id(&device.key),
    }
}

fn send<P: Write>(port: &mut P, kind: u8, sequence: u8, payload: &[u8]) -> Result<(), P::Error> {
    encode(kind, sequence, payload, |byte| {
        // Not `write_all`, which panics when nothing is written. A frame that loses a byte is asked for again.
        port.write(&[byte]).map(drop)
    })?;
    port.flush()
}
