//! A tiny plan for the crate's example.

use crate::Aligned;
use crate::format::{
    ALIGNMENT, CRC, CRC_START, DType, Header, IoRecord, MAGIC, OpCode, Span, StepHeader, VERSION,
};
use zerocopy::IntoBytes;

/// A plan of one step that copies four bytes, for the crate's example.
#[doc(hidden)]
pub fn plan() -> impl core::ops::Deref<Target = [u8]> {
    struct Bytes(Aligned<[u8; DOC_LEN]>);
    impl core::ops::Deref for Bytes {
        type Target = [u8];
        fn deref(&self) -> &[u8] {
            &self.0.0
        }
    }
    const IO: usize = size_of::<Header>();
    const STEPS: usize = IO + 2 * size_of::<IoRecord>();
    const DATA: usize = (STEPS + size_of::<StepHeader>()).next_multiple_of(ALIGNMENT);
    const DOC_LEN: usize = DATA;
    let io = |arena| IoRecord {
        dtype: DType::I8 as u8,
        rank: 1,
        state: 0.into(),
        dims: [4.into(), 0.into(), 0.into(), 0.into(), 0.into(), 0.into()],
        arena,
        scale: 1.0.into(),
        zero_point: 0.into(),
        name: Span::new(0, 0),
    };
    let step = StepHeader {
        code: (OpCode::Copy as u16).into(),
        size: (size_of::<StepHeader>() as u16).into(),
        input: Span::new(0, 4),
        output: Span::new(16, 4),
    };
    let header = Header {
        magic: MAGIC,
        version: VERSION.into(),
        header_len: (size_of::<Header>() as u16).into(),
        crc: 0.into(),
        core_len: (DOC_LEN as u32).into(),
        features: 0.into(),
        op_set: OpCode::Copy.bit().into(),
        arena_len: 20.into(),
        input_count: 1.into(),
        output_count: 1.into(),
        io_offset: (IO as u32).into(),
        step_count: 1.into(),
        steps: Span::new(STEPS as u32, size_of::<StepHeader>() as u32),
        names: Span::new(IO as u32, 0),
        data: Span::new(DATA as u32, 0),
        self_test_seed: 0.into(),
        self_test_digest: 0.into(),
    };
    let mut bytes = Aligned([0; DOC_LEN]);
    let mut put = |at: usize, record: &[u8]| {
        for (to, from) in bytes.0.iter_mut().skip(at).zip(record) {
            *to = *from;
        }
    };
    put(0, header.as_bytes());
    put(IO, io(Span::new(0, 4)).as_bytes());
    put(IO + size_of::<IoRecord>(), io(Span::new(16, 4)).as_bytes());
    put(STEPS, step.as_bytes());
    let crc = CRC.checksum(&bytes.0[CRC_START..]);
    bytes.0[core::mem::offset_of!(Header, crc)..CRC_START].copy_from_slice(&crc.to_le_bytes());
    Bytes(bytes)
}
