//! A device's flash and line: images and marks of any bytes, frames in any order.

use ed25519_dalek::{Signer, SigningKey};
use embedded_io::{ErrorType as IoErrorType, Read, ReadReady, Write};
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use kinglet::format::CRC;
use kinglet::slots::{
    Device, Endpoint, Event, HEADER_LEN, ImageHeader, Layout, MAX_PAYLOAD, Message, Reply, Slots,
    Target, encode,
};
use kinglet_export::host::AlignedBytes;
use kinglet_export::slots::{ImageInfo, SecretKey, SignOptions, seal};
use std::collections::VecDeque;
use std::convert::Infallible;
use zerocopy::IntoBytes;

/// Of the key that the device trusts.
const SEED: [u8; 32] = [7; 32];
const BLOCK: usize = 256;
const LAYOUT: Layout = Layout {
    a: 0,
    b: SLOT as u32,
    len: SLOT as u32,
};
const SLOT: usize = 2 * 4096;
const PLAN: &[u8] = include_bytes!("../../../runtime/tests/fixtures/sparse.kinglet");

/// Memory that behaves as NOR flash: writes clear bits.
struct Flash(Vec<u8>);

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        check_read(self, offset, bytes.len())?;
        bytes.copy_from_slice(&self.0[offset as usize..][..bytes.len()]);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = BLOCK;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        check_erase(self, from, to)?;
        self.0[from as usize..to as usize].fill(0xff);
        Ok(())
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        check_write(self, offset, bytes.len())?;
        for (old, new) in self.0[offset as usize..].iter_mut().zip(bytes) {
            *old &= new;
        }
        Ok(())
    }
}

fn key() -> SecretKey {
    SecretKey::from_seed(&SEED)
}

fn device() -> Device {
    Device {
        key: key().public().0,
        target: Target::CortexM4f,
        arena_len: 1 << 16,
    }
}

fn image(version: u32) -> Vec<u8> {
    let options = SignOptions {
        version,
        target: kinglet_export::compile::Target::CortexM4f,
        allow_older: false,
    };
    seal(PLAN, options, &key()).expect("a plan")
}

fn slots(memory: &[u8]) -> Slots<Flash> {
    let mut flash = memory.to_vec();
    flash.resize(2 * SLOT, 0xff);
    Slots::new(Flash(flash), LAYOUT, device()).expect("a layout")
}

/// A device with this memory boots, as often as a device that goes wrong does; the host looks at the same bytes as an image.
/// Accepted is what starts a model.
pub fn boot(memory: &[u8]) -> bool {
    if let Ok(header) = ImageHeader::parse(memory) {
        let _refused = header.check(&device(), SLOT as u32);
    }
    let _no_image = ImageInfo::parse(memory);
    let mut slots = slots(memory);
    let mut started = false;
    let mut arena = AlignedBytes::zeroed(1 << 16);
    for _ in 0..3 {
        // As it is mapped into the address space.
        let mapped = AlignedBytes::from(slots.flash().0.as_slice());
        let bytes = mapped.bytes();
        let model = |_: &mut Flash, model: &kinglet::slots::Model| {
            let plan = model.plan_offset as usize..(model.plan_offset + model.plan_len) as usize;
            bytes.get(plan)
        };
        started |= slots.start(model, arena.bytes_mut()).is_some();
        let _not_running = slots.confirm();
    }
    started
}

/// Flash as devices have it: empty, with one image, with two.
pub fn flashes() -> Vec<Vec<u8>> {
    let mut all = vec![vec![0xff; 64], image(1)];
    let mut slots = slots(&[]);
    for version in [1, 2] {
        let image = image(version);
        let mut receiver =
            kinglet::slots::Receiver::begin(&mut slots, image.len() as u32).expect("it fits");
        receiver.write(&mut slots, &image).expect("written");
        receiver.finish(&mut slots).expect("good");
        all.push(slots.flash().0.clone());
        slots.boot();
        slots.confirm().expect("it runs");
        all.push(slots.flash().0.clone());
    }
    all
}

/// Makes the signature of an image in slot A good again, as far as its header says where it ends.
pub fn mend(memory: &mut [u8]) {
    let places = [0, 64];
    for at in places {
        let Some(bytes) = memory.get(at..) else {
            continue;
        };
        let Ok(mut header) = ImageHeader::parse(bytes) else {
            continue;
        };
        let len = header.plan_len.get() as usize;
        let Some(core) = bytes.get(HEADER_LEN..HEADER_LEN.saturating_add(len)) else {
            continue;
        };
        let mut digest = CRC.digest();
        digest.update(header.checked());
        digest.update(core);
        header.crc = digest.finalize().into();
        let signed = [header.signed(), core].concat();
        header.signature = SigningKey::from_bytes(&SEED).sign(&signed).to_bytes();
        memory[at..at + HEADER_LEN].copy_from_slice(header.as_bytes());
    }
}

/// Both directions of a line; what goes out is counted only.
struct Line {
    incoming: VecDeque<u8>,
    outgoing: usize,
}

impl IoErrorType for Line {
    type Error = Infallible;
}

impl Read for Line {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
        let count = bytes.len().min(self.incoming.len());
        for (byte, new) in bytes.iter_mut().zip(self.incoming.drain(..count)) {
            *byte = new;
        }
        Ok(count)
    }
}

impl ReadReady for Line {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(!self.incoming.is_empty())
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.outgoing += bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A device hears these bytes; a host reads them as replies. Accepted is what brings the device a new model.
pub fn serve(bytes: &[u8]) -> bool {
    let mut decoder = kinglet::slots::Decoder::new();
    for &byte in bytes {
        if let Some(Ok(frame)) = decoder.push(byte) {
            assert!(frame.payload.len() <= MAX_PAYLOAD);
            let _unknown = Reply::parse(frame.kind, frame.payload);
            let _unknown = Message::parse(frame.kind, frame.payload);
        }
    }
    let mut line = Line {
        incoming: bytes.iter().copied().collect(),
        outgoing: 0,
    };
    let (mut slots, mut endpoint) = (slots(&[]), Endpoint::new());
    let mut received = false;
    while !line.incoming.is_empty() {
        match endpoint.poll(&mut line, &mut slots) {
            Ok(Some(Event::Received(_))) => received = true,
            Ok(Some(Event::Restart)) => {
                slots.boot();
            }
            Ok(_) => {}
            Err(never) => match never {},
        }
    }
    // A reply is no longer than the longest frame, and a frame has at least four bytes.
    assert!(line.outgoing <= (bytes.len() + 1) * (MAX_PAYLOAD + 16));
    received
}

/// A whole update, and its parts.
pub fn conversations() -> Vec<Vec<u8>> {
    let image = image(3);
    let mut sequence = 0u8;
    let mut frame = |message: Message<'_>| {
        sequence = sequence.wrapping_add(1);
        let mut payload = [0; MAX_PAYLOAD];
        let (kind, len) = message.emit(&mut payload);
        let mut bytes = Vec::new();
        let sent: Result<(), Infallible> = encode(kind, sequence, &payload[..len], |byte| {
            bytes.push(byte);
            Ok(())
        });
        match sent {
            Ok(()) => bytes,
            Err(never) => match never {},
        }
    };
    let mut update = frame(Message::Begin {
        len: image.len() as u32,
    });
    for (i, chunk) in image.chunks(kinglet::slots::CHUNK_LEN).enumerate() {
        update.extend(frame(Message::Data {
            offset: (i * kinglet::slots::CHUNK_LEN) as u32,
            bytes: chunk,
        }));
    }
    update.extend(frame(Message::Finish));
    let parts = [frame(Message::Restart), update[..200].to_vec()].concat();
    vec![update, parts]
}
