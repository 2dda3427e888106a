//! The serial line: frames among noise, requests twice, an update.

use super::flash::Flash;
use super::images::{PLANS, aligned, device, image};
use embedded_io::{ErrorType, Read, ReadReady, Write};
use kinglet::slots::{
    CHUNK_LEN, Decoder, Endpoint, Event, Frame, FrameError, Layout, MAX_PAYLOAD, Message, Refusal,
    Reply, Running, Slots, encode,
};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::convert::Infallible;
use zerocopy::IntoBytes;

/// Both directions of a line.
#[derive(Default)]
struct Line {
    to_device: VecDeque<u8>,
    to_host: Vec<u8>,
}

impl ErrorType for Line {
    type Error = Infallible;
}

impl Read for Line {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
        Ok(std::io::Read::read(&mut self.to_device, bytes).unwrap())
    }
}

impl ReadReady for Line {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(!self.to_device.is_empty())
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.to_host.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

fn framed(kind: u8, sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let sent: Result<(), Infallible> = encode(kind, sequence, payload, |byte| {
        bytes.push(byte);
        Ok(())
    });
    sent.unwrap();
    bytes
}

fn request(sequence: u8, message: Message<'_>) -> Vec<u8> {
    let mut payload = [0; MAX_PAYLOAD];
    let (kind, len) = message.emit(&mut payload);
    framed(kind, sequence, &payload[..len])
}

/// Kind, sequence number and payload.
type Parts = (u8, u8, Vec<u8>);

/// All frames in `bytes`.
fn frames(bytes: &[u8]) -> Vec<Result<Parts, FrameError>> {
    let mut decoder = Decoder::new();
    let mut found = Vec::new();
    for byte in bytes {
        found.extend(
            decoder
                .push(*byte)
                .map(|frame| frame.map(|f: Frame<'_>| (f.kind, f.sequence, f.payload.to_vec()))),
        );
    }
    found
}

/// A device on a line.
struct Device {
    slots: Slots<Flash<4, 4096>>,
    endpoint: Endpoint,
    line: Line,
}

impl Device {
    fn new() -> Self {
        let layout = Layout {
            a: 0,
            b: 0x4000,
            len: 0x4000,
        };
        Device {
            slots: Slots::new(Flash::new(0x8000), layout, device()).unwrap(),
            endpoint: Endpoint::new(),
            line: Line::default(),
        }
    }

    fn boot(&mut self) -> Option<u32> {
        let mut arena = vec![0u128; 1 << 12];
        let bytes = |flash: &mut Flash<4, 4096>, model: &kinglet::slots::Model| {
            let plan = &flash.memory[model.plan_offset as usize..][..model.plan_len as usize];
            Some(aligned(plan))
        };
        let started = self.slots.start(bytes, arena.as_mut_bytes())?;
        Some(started.model.version)
    }

    /// Sends bytes; the reply to them.
    fn send(&mut self, bytes: &[u8]) -> Option<Reply> {
        self.line.to_device.extend(bytes);
        while self
            .endpoint
            .poll(&mut self.line, &mut self.slots)
            .unwrap()
            .is_some()
        {}
        let replies = frames(&std::mem::take(&mut self.line.to_host));
        assert!(replies.len() < 2, "{replies:?}");
        let (kind, _, payload) = replies.into_iter().next()?.unwrap();
        Some(Reply::parse(kind, &payload).unwrap())
    }
}

#[test]
fn an_image_comes_over_the_line_frame_by_frame() {
    let mut device = Device::new();
    let image = image(PLANS[1], 7);
    let mut sequence = 0u8;
    let mut next = || {
        sequence = sequence.wrapping_add(1);
        sequence
    };
    let Some(Reply::Status(status)) = device.send(&request(next(), Message::Status)) else {
        panic!("no status");
    };
    assert_eq!((status.running, status.failed), (Running::Nothing, None));
    assert_eq!(status.room, 0x4000 - 128);
    let early = device.send(&request(next(), Message::Finish));
    assert_eq!(early, Some(Reply::Refused(Refusal::NotReceiving)));
    let len = image.len() as u32;
    let begun = device.send(&request(next(), Message::Begin { len }));
    assert_eq!(begun, Some(Reply::Done { value: 0 }));
    for (index, bytes) in image.chunks(CHUNK_LEN).enumerate() {
        let offset = (index * CHUNK_LEN) as u32;
        let frame = request(next(), Message::Data { offset, bytes });
        let value = offset + bytes.len() as u32;
        // A damaged frame is asked for again; a frame that comes twice, for its reply was lost, is done once.
        if index % 3 == 1 {
            let mut damaged = frame.clone();
            damaged[frame.len() / 2] ^= 0x01;
            assert_eq!(device.send(&damaged), Some(Reply::Again));
        }
        assert_eq!(device.send(&frame), Some(Reply::Done { value }));
        assert_eq!(device.send(&frame), Some(Reply::Done { value }));
    }
    let finish = request(next(), Message::Finish);
    assert_eq!(device.send(&finish), Some(Reply::Done { value: 7 }));
    assert_eq!(device.send(&finish), Some(Reply::Done { value: 7 }));
    assert_eq!(device.boot(), Some(7));
    let Some(Reply::Status(status)) = device.send(&request(next(), Message::Status)) else {
        panic!("no status");
    };
    assert_eq!((status.running, status.version), (Running::OnTrial, 7));
    let begun = device.send(&request(next(), Message::Begin { len }));
    assert_eq!(begun, Some(Reply::Refused(Refusal::OnTrial)));
}

#[test]
fn a_part_that_does_not_follow_ends_the_image() {
    let mut device = Device::new();
    let bytes = &image(PLANS[1], 7)[..200];
    device.send(&request(1, Message::Begin { len: 4000 }));
    device.send(&request(2, Message::Data { offset: 0, bytes }));
    let gap = device.send(&request(3, Message::Data { offset: 201, bytes }));
    let expected = Refusal::OutOfOrder {
        expected: 200,
        found: 201,
    };
    assert_eq!(gap, Some(Reply::Refused(expected)));
    let after = device.send(&request(4, Message::Data { offset: 200, bytes }));
    assert_eq!(after, Some(Reply::Refused(Refusal::NotReceiving)));
}

#[test]
fn an_application_s_frames_reach_it() {
    let mut device = Device::new();
    device.line.to_device.extend(framed(0x41, 9, b"how?"));
    let event = device
        .endpoint
        .poll(&mut device.line, &mut device.slots)
        .unwrap();
    assert_eq!(
        event,
        Some(Event::Application(Frame {
            kind: 0x41,
            sequence: 9,
            payload: b"how?",
        }))
    );
    Endpoint::reply(&mut device.line, (0x41, 9), b"so").unwrap();
    assert_eq!(
        frames(&device.line.to_host),
        [Ok((0xc1, 9, b"so".to_vec()))]
    );
}

#[test]
fn refusals_survive_the_wire() {
    for code in 0..=255u8 {
        if let Some(refusal) = Refusal::from_code(code, 0x0102_0304, 0xfffe_fdfc) {
            let (again, first, second) = refusal.code();
            assert_eq!(again, code);
            assert_eq!(Refusal::from_code(again, first, second), Some(refusal));
            assert!(!refusal.to_string().is_empty() && !refusal.name().is_empty());
        }
    }
}

proptest! {
    /// A frame is found behind any noise that ends.
    #[test]
    fn frames_are_found_among_noise(
        kind in any::<u8>(),
        sequence in any::<u8>(),
        payload in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xc0), Just(0xdb)], 0..=MAX_PAYLOAD),
        noise in proptest::collection::vec(any::<u8>(), 0..700),
    ) {
        let bytes = [&noise[..], &[0xc0], &framed(kind, sequence, &payload)].concat();
        let found = frames(&bytes).pop();
        prop_assert_eq!(found, Some(Ok((kind, sequence, payload))));
    }

    /// A device takes any bytes, and frames of any contents.
    #[test]
    fn any_bytes_are_taken(
        noise in proptest::collection::vec(any::<u8>(), 0..900),
        payloads in proptest::collection::vec((0u8..8, any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..20),
    ) {
        let mut device = Device::new();
        device.line.to_device.extend(&noise);
        for (kind, sequence, payload) in &payloads {
            device.line.to_device.extend(framed(*kind, *sequence, payload));
        }
        while !device.line.to_device.is_empty() {
            device.endpoint.poll(&mut device.line, &mut device.slots).unwrap();
        }
        prop_assert_eq!(device.boot(), None);
    }
}
