//! The host's end of the line: requests that are sent again until a reply comes.

use kinglet::slots::{Decoder, MAX_PAYLOAD, Message, Reply, encode, reply_kind};
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// How long a read waits before it looks at the clock.
const TICK: Duration = Duration::from_millis(20);
/// How often a request is sent.
const TRIES: usize = 5;
/// Time for a reply to most requests.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time for a reply to the end of an image: checksum and signature of all of it.
const PATIENCE_TO_FINISH: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(10);
/// Of serial lines that are given no speed.
const BAUD: u32 = 115_200;

/// What carries bytes. Reads return after a moment with [`io::ErrorKind::TimedOut`] or
/// [`io::ErrorKind::WouldBlock`] when there are none.
pub trait Transport: Read + Write {}

impl<T: Read + Write> Transport for T {}

/// Why a device does not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The port could not be opened.
    #[error("cannot open {port}: {reason}")]
    Open {
        /// The port.
        port: String,
        /// What the system said.
        reason: String,
    },
    /// The line broke.
    #[error("the line to the device broke: {0}")]
    Line(#[from] io::Error),
    /// No reply came.
    #[error(
        "the device does not answer: {TRIES} requests were sent, {damaged} damaged replies came"
    )]
    Silent {
        /// Replies, or requests as the device saw them, that came damaged.
        damaged: usize,
    },
    /// A reply that this version does not know.
    #[error(
        "the device gave a reply of kind {kind:#04x} that this version of kinglet does not know"
    )]
    Unknown {
        /// Its kind.
        kind: u8,
    },
}

/// Opens `tcp:HOST:PORT`, or a serial line by its name, `NAME` or `NAME@BAUD`.
///
/// # Errors
/// [`LinkError::Open`].
pub fn open(port: &str) -> Result<Box<dyn Transport>, LinkError> {
    let failed = |reason: String| LinkError::Open {
        port: port.into(),
        reason,
    };
    let Some(address) = port.strip_prefix("tcp:") else {
        let (name, baud) = match port.rsplit_once('@') {
            Some((name, baud)) => (
                name,
                baud.parse()
                    .map_err(|_| failed(format!("{baud} is no speed")))?,
            ),
            None => (port, BAUD),
        };
        let line = serialport::new(name, baud).timeout(TICK).open();
        let line = line.map_err(|error| failed(error.to_string()))?;
        return Ok(Box::new(line));
    };
    let connect = || -> io::Result<TcpStream> {
        let mut last = io::Error::other("the name has no address");
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(TICK))?;
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    Ok(Box::new(
        connect().map_err(|error| failed(error.to_string()))?,
    ))
}

/// A conversation with a device.
pub struct Link<T> {
    transport: T,
    decoder: Decoder,
    sequence: u8,
}

impl<T: Transport> Link<T> {
    /// Over `transport`.
    pub fn new(transport: T) -> Self {
        Link {
            transport,
            decoder: Decoder::new(),
            sequence: 0,
        }
    }

    /// Sends a request, again where necessary; the reply.
    ///
    /// # Errors
    /// No reply comes.
    pub fn request(&mut self, message: Message<'_>) -> Result<Reply, LinkError> {
        let mut payload = [0; MAX_PAYLOAD];
        let (kind, len) = message.emit(&mut payload);
        let patience = match message {
            Message::Finish => PATIENCE_TO_FINISH,
            _ => PATIENCE,
        };
        let (kind, payload) = self.exchange(kind, &payload[..len], patience)?;
        Reply::parse(kind, &payload).ok_or(LinkError::Unknown { kind })
    }

    /// Sends a frame of an application; the payload of its reply.
    ///
    /// # Errors
    /// No reply comes.
    pub fn ask(&mut self, kind: u8, payload: &[u8]) -> Result<Vec<u8>, LinkError> {
        Ok(self.exchange(kind, payload, PATIENCE)?.1)
    }

    /// Sends a frame that has no reply.
    ///
    /// # Errors
    /// The line broke.
    pub fn tell(&mut self, kind: u8, payload: &[u8]) -> Result<(), LinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        Ok(self
            .transport
            .write_all(&framed(kind, self.sequence, payload))?)
    }

    fn exchange(
        &mut self,
        kind: u8,
        payload: &[u8],
        patience: Duration,
    ) -> Result<(u8, Vec<u8>), LinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let frame = framed(kind, self.sequence, payload);
        let mut damaged = 0;
        // A damaged frame is sent again at once, and does not count as silence; but not for ever.
        let mut silent = 0;
        while silent < TRIES && damaged < 20 * TRIES {
            self.transport.write_all(&frame)?;
            self.transport.flush()?;
            match self.reply(Instant::now() + patience)? {
                Answer::Silence => silent += 1,
                Answer::Damaged => damaged += 1,
                Answer::Reply(kind, payload) => return Ok((kind, payload)),
            }
        }
        Err(LinkError::Silent { damaged })
    }

    /// The reply to the last request.
    fn reply(&mut self, until: Instant) -> Result<Answer, LinkError> {
        let mut bytes = [0; 64];
        while Instant::now() < until {
            let count = match self.transport.read(&mut bytes) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(count) => count,
                Err(error) => match error.kind() {
                    io::ErrorKind::TimedOut
                    | io::ErrorKind::WouldBlock
                    | io::ErrorKind::Interrupted => continue,
                    _ => return Err(error.into()),
                },
            };
            for byte in &bytes[..count] {
                match self.decoder.push(*byte) {
                    None => {}
                    Some(Err(_)) => return Ok(Answer::Damaged),
                    Some(Ok(frame)) if frame.kind == reply_kind::AGAIN => {
                        return Ok(Answer::Damaged);
                    }
                    Some(Ok(frame)) if frame.sequence == self.sequence => {
                        return Ok(Answer::Reply(frame.kind, frame.payload.to_vec()));
                    }
                    // The reply to a request that was repeated.
                    Some(Ok(_)) => {}
                }
            }
        }
        Ok(Answer::Silence)
    }
}

enum Answer {
    Reply(u8, Vec<u8>),
    Damaged,
    Silence,
}

fn framed(kind: u8, sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 16);
    let Ok(()) = encode(kind, sequence, payload, |byte| {
        bytes.push(byte);
        Ok::<(), Infallible>(())
    });
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinglet::slots::Refusal;
    use std::collections::VecDeque;

    /// A device that has heard `seen` requests, and answers each with what the test says.
    struct Device<F> {
        heard: Decoder,
        seen: usize,
        answer: F,
        to_host: VecDeque<u8>,
    }

    impl<F: FnMut(usize, u8) -> Vec<u8>> Write for Device<F> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            for byte in bytes {
                if let Some(Ok(frame)) = self.heard.push(*byte) {
                    let answer = (self.answer)(self.seen, frame.sequence);
                    self.seen += 1;
                    self.to_host.extend(answer);
                }
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<F> Read for Device<F> {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            match self.to_host.read(bytes)? {
                0 => Err(io::ErrorKind::TimedOut.into()),
                count => Ok(count),
            }
        }
    }

    fn link<F: FnMut(usize, u8) -> Vec<u8>>(answer: F) -> Link<Device<F>> {
        Link::new(Device {
            heard: Decoder::new(),
            seen: 0,
            answer,
            to_host: VecDeque::new(),
        })
    }

    #[test]
    fn requests_are_repeated_until_a_whole_reply_comes() {
        let mut link = link(|seen, sequence| {
            let reply = framed(reply_kind::DONE, sequence, &5u32.to_le_bytes());
            let mut damaged = reply.clone();
            damaged[4] ^= 4;
            match seen {
                0 => framed(reply_kind::AGAIN, 0, &[]),
                1 => damaged,
                // One that is late comes first.
                _ => [framed(reply_kind::DONE, sequence ^ 1, &[0; 4]), reply].concat(),
            }
        });
        let reply = link.request(Message::Begin { len: 9 }).unwrap();
        assert_eq!((reply, link.transport.seen), (Reply::Done { value: 5 }, 3));
    }

    #[test]
    fn a_line_of_noise_ends() {
        let mut link = link(|_, _| framed(reply_kind::AGAIN, 0, &[]));
        let error = link.request(Message::Finish).unwrap_err();
        assert!(
            matches!(error, LinkError::Silent { damaged: 100 }),
            "{error}"
        );
    }

    #[test]
    fn refusals_come_as_they_are() {
        let mut link = link(|_, sequence| {
            let mut payload = vec![9];
            payload.extend(3u32.to_le_bytes());
            payload.extend(4u32.to_le_bytes());
            framed(reply_kind::REFUSED, sequence, &payload)
        });
        let refusal = Refusal::NotNewer {
            offered: 3,
            running: 4,
        };
        assert_eq!(
            link.request(Message::Finish).unwrap(),
            Reply::Refused(refusal)
        );
    }

    #[test]
    fn ports_that_cannot_be_opened_are_named() {
        for port in [
            "/dev/no-such-line",
            "tcp:127.0.0.1:1",
            "tcp:nowhere",
            "x@fast",
        ] {
            let error = open(port).err().unwrap().to_string();
            assert!(
                error.starts_with(&format!("cannot open {port}: ")),
                "{error}"
            );
        }
    }
}
