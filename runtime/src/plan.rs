//! A plan: bytes that have passed every check.

use crate::error::{PlanError, StepError};
use crate::format::{
    ALIGNMENT, CRC, CRC_START, DType, Header, IoRecord, MAGIC, MAX_RANK, OpCode, Span, StepHeader,
    VERSION,
};
use crate::step::{Limits, Step};
use zerocopy::{FromBytes, IntoBytes};

/// A checked plan. Copies are cheap: it is a few pointers into the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'p> {
    header: &'p Header,
    io: &'p [IoRecord],
    names: &'p [u8],
    steps: &'p [u8],
    data: &'p [u8],
}

/// An input or output of a plan.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TensorInfo<'p> {
    /// ONNX name.
    pub name: &'p str,
    /// Element type.
    pub dtype: DType,
    /// Number of dimensions.
    pub rank: usize,
    /// Dimensions; those behind `rank` are 0.
    pub dims: [usize; MAX_RANK],
    /// Size in bytes.
    pub len: usize,
    /// Quantisation scale; 0 for floats.
    pub scale: f32,
    /// Quantisation zero point; 0 for floats.
    pub zero_point: i32,
    /// Where in the arena.
    pub(crate) arena: Span,
}

impl<'p> TensorInfo<'p> {
    /// The dimensions.
    pub fn shape(&self) -> &[usize] {
        self.dims.get(..self.rank).unwrap_or(&[])
    }
}

impl<'p> Plan<'p> {
    /// Checks all of `bytes`: lengths, checksum, every record, offset and parameter. A plan that parses cannot make a
    /// session read or write out of bounds. `bytes` may be longer than the plan; it starts at a multiple of 16.
    ///
    /// Takes time linear in the file's size.
    ///
    /// # Errors
    /// [`PlanError`] names the first thing that is wrong.
    pub fn parse(bytes: &'p [u8]) -> Result<Plan<'p>, PlanError> {
        let truncated = |expected: usize| PlanError::Truncated {
            expected: expected as u32,
            found: bytes.len() as u32,
        };
        if bytes.get(..MAGIC.len()).is_some_and(|magic| magic != MAGIC) {
            return Err(PlanError::NotAPlan);
        }
        let (header, _) =
            Header::ref_from_prefix(bytes).map_err(|_| truncated(size_of::<Header>()))?;
        if header.version.get() != VERSION
            || usize::from(header.header_len.get()) != size_of::<Header>()
        {
            return Err(PlanError::Version {
                found: header.version.get(),
                supported: VERSION,
            });
        }
        if header.features.get() != 0 {
            return Err(PlanError::Features {
                missing: header.features.get(),
            });
        }
        let core_len = header.core_len.get() as usize;
        let core = bytes.get(..core_len).ok_or_else(|| truncated(core_len))?;
        let crc = CRC.checksum(
            core.get(CRC_START..)
                .ok_or_else(|| truncated(size_of::<Header>()))?,
        );
        if crc != header.crc.get() {
            return Err(PlanError::Checksum {
                expected: header.crc.get(),
                found: crc,
            });
        }
        if !(bytes.as_ptr() as usize).is_multiple_of(ALIGNMENT) {
            return Err(PlanError::Section { offset: 0 });
        }
        let section = |span: Span| {
            let range = span.range().filter(|r| r.start >= size_of::<Header>());
            range.and_then(|r| core.get(r)).ok_or(PlanError::Section {
                offset: span.offset.get(),
            })
        };
        let io_count = u32::from(header.input_count.get()) + u32::from(header.output_count.get());
        let io_bytes = section(Span::new(
            header.io_offset.get(),
            io_count * size_of::<IoRecord>() as u32,
        ))?;
        let plan = Plan {
            header,
            io: <[IoRecord]>::ref_from_bytes(io_bytes).map_err(|_| PlanError::Section {
                offset: header.io_offset.get(),
            })?,
            names: section(header.names)?,
            steps: section(header.steps)?,
            data: section(header.data)?,
        };
        if !(header.data.offset.get() as usize).is_multiple_of(ALIGNMENT) {
            return Err(PlanError::Section {
                offset: header.data.offset.get(),
            });
        }
        plan.check_io()?;
        plan.check_steps()?;
        Ok(plan)
    }

    fn check_io(&self) -> Result<(), PlanError> {
        for (index, record) in self.io.iter().enumerate() {
            self.check_io_record(record).ok_or(PlanError::Io {
                index: index as u16,
            })?;
        }
        Ok(())
    }

    fn check_io_record(&self, record: &IoRecord) -> Option<()> {
        let dtype = DType::from_code(record.dtype)?;
        let (dims, rest) = record.dims.split_at_checked(record.rank.into())?;
        let elements = dims.iter().try_fold(1u32, |n, d| n.checked_mul(d.get()))?;
        let len = elements.checked_mul(dtype.size() as u32)?;
        let range = record.arena.range()?;
        let name = self.names.get(record.name.range()?)?;
        let ok = rest.iter().all(|d| d.get() == 0)
            && elements > 0
            && len == record.arena.len.get()
            && range.end <= self.arena_len()
            && range.start.is_multiple_of(dtype.size())
            && core::str::from_utf8(name).is_ok()
            && record.scale.get().is_finite();
        ok.then_some(())
    }

    fn check_steps(&self) -> Result<(), PlanError> {
        let limits = Limits {
            arena: self.arena_len(),
            data: self.data.len(),
        };
        let (mut rest, mut ops) = (self.steps, 0);
        for index in 0..self.header.step_count.get() {
            let at = |error| PlanError::Step { index, error };
            let (step, tail) = split_step(rest).map_err(at)?;
            step.check(&limits).map_err(at)?;
            ops |= step.code.bit();
            rest = tail;
        }
        if !rest.is_empty() || ops != self.header.op_set.get() {
            return Err(PlanError::OpSet);
        }
        Ok(())
    }

    /// Bytes of arena that a session needs, inputs and outputs included.
    pub fn arena_len(&self) -> usize {
        self.header.arena_len.get() as usize
    }

    /// Bytes of the plan's core.
    pub fn core_len(&self) -> usize {
        self.header.core_len.get() as usize
    }

    /// The set of operators used.
    pub fn op_set(&self) -> u64 {
        self.header.op_set.get()
    }

    /// Number of steps.
    pub fn step_count(&self) -> usize {
        self.header.step_count.get() as usize
    }

    /// Number of inputs.
    pub fn input_count(&self) -> usize {
        self.header.input_count.get().into()
    }

    /// Number of outputs.
    pub fn output_count(&self) -> usize {
        self.header.output_count.get().into()
    }

    /// Input `index`, in ONNX order.
    pub fn input(&self, index: usize) -> Option<TensorInfo<'p>> {
        self.tensor(self.io.get(..self.input_count())?.get(index)?)
    }

    /// Output `index`, in ONNX order.
    pub fn output(&self, index: usize) -> Option<TensorInfo<'p>> {
        self.tensor(self.io.get(self.input_count()..)?.get(index)?)
    }

    /// Operator of every step, in order.
    pub fn operators(&self) -> impl Iterator<Item = OpCode> + 'p {
        self.steps().map(|step| step.code)
    }

    /// Seed and digest of the self-test.
    pub(crate) fn self_test(&self) -> (u32, u32) {
        (
            self.header.self_test_seed.get(),
            self.header.self_test_digest.get(),
        )
    }

    pub(crate) fn steps(&self) -> impl Iterator<Item = Step<'p>> + use<'p> {
        let mut rest = self.steps;
        core::iter::from_fn(move || {
            let (step, tail) = split_step(rest).ok()?;
            rest = tail;
            Some(step)
        })
    }

    pub(crate) fn data(&self) -> &'p [u8] {
        self.data
    }

    fn tensor(&self, record: &IoRecord) -> Option<TensorInfo<'p>> {
        Some(TensorInfo {
            name: core::str::from_utf8(self.names.get(record.name.range()?)?).ok()?,
            dtype: DType::from_code(record.dtype)?,
            rank: record.rank.into(),
            dims: record.dims.map(|d| d.get() as usize),
            len: record.arena.len.get() as usize,
            scale: record.scale.get(),
            zero_point: record.zero_point.get(),
            arena: record.arena,
        })
    }
}

fn split_step(bytes: &[u8]) -> Result<(Step<'_>, &[u8]), StepError> {
    let (header, _) = StepHeader::ref_from_prefix(bytes).map_err(|_| StepError::Size)?;
    let code = OpCode::from_code(header.code.get())
        .ok_or(StepError::UnknownOperator(header.code.get()))?;
    let (record, tail) = bytes
        .split_at_checked(header.size.get().into())
        .ok_or(StepError::Size)?;
    let parameters = record
        .get(size_of::<StepHeader>()..)
        .ok_or(StepError::Size)?;
    Ok((
        Step {
            code,
            input: header.input,
            output: header.output,
            parameters,
        },
        tail,
    ))
}

/// Reading a plan's header in `const` context, for [`crate::model!`]. Wrong bytes are a compile error there; do not call
/// these at run time, where they panic.
pub mod header {
    use super::*;

    const fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    }

    const fn io_at(bytes: &[u8], index: usize) -> usize {
        u32_at(bytes, core::mem::offset_of!(Header, io_offset)) as usize
            + index * size_of::<IoRecord>()
    }

    /// The operator set.
    pub const fn op_set(bytes: &[u8]) -> u64 {
        let at = core::mem::offset_of!(Header, op_set);
        u32_at(bytes, at) as u64 | (u32_at(bytes, at + 4) as u64) << 32
    }

    /// Bytes of arena.
    pub const fn arena_len(bytes: &[u8]) -> usize {
        u32_at(bytes, core::mem::offset_of!(Header, arena_len)) as usize
    }

    /// Bytes of the core.
    pub const fn core_len(bytes: &[u8]) -> usize {
        u32_at(bytes, core::mem::offset_of!(Header, core_len)) as usize
    }

    /// Number of inputs.
    pub const fn input_count(bytes: &[u8]) -> usize {
        u32_at(bytes, core::mem::offset_of!(Header, input_count)) as usize & 0xffff
    }

    /// Number of outputs.
    pub const fn output_count(bytes: &[u8]) -> usize {
        u32_at(bytes, core::mem::offset_of!(Header, input_count)) as usize >> 16
    }

    /// [`DType`] code of input or output `index` (outputs follow the inputs).
    pub const fn dtype(bytes: &[u8], index: usize) -> u8 {
        bytes[io_at(bytes, index)]
    }

    /// Number of elements of input or output `index` (outputs follow the inputs).
    pub const fn elements(bytes: &[u8], index: usize) -> usize {
        let at = io_at(bytes, index);
        let size = match DType::from_code(bytes[at]) {
            Some(dtype) => dtype.size(),
            None => panic!("the plan has an unknown element type"),
        };
        u32_at(bytes, at + core::mem::offset_of!(IoRecord, arena) + 4) as usize / size
    }
}

/// The core of `bytes` as an array, its start checked at build time (magic, version, length). The rest is checked by
/// [`Plan::parse`] when the session starts.
pub const fn checked_plan<const N: usize>(bytes: &[u8]) -> [u8; N] {
    assert!(
        bytes.len() >= size_of::<Header>(),
        "not a Kinglet plan: too short"
    );
    let mut i = 0;
    while i < MAGIC.len() {
        assert!(bytes[i] == MAGIC[i], "not a Kinglet plan");
        i += 1;
    }
    let version = u16::from_le_bytes([bytes[MAGIC.len()], bytes[MAGIC.len() + 1]]);
    assert!(
        version == VERSION,
        "the plan has another format version: compile the model again"
    );
    assert!(bytes.len() >= N, "the plan is cut off");
    let mut core = [0; N];
    core.copy_from_slice(bytes.split_at(N).0);
    core
}

/// A plan of one step that copies four bytes, for the crate's example.
#[doc(hidden)]
pub fn doc_plan() -> impl core::ops::Deref<Target = [u8]> {
    struct Bytes(crate::Aligned<[u8; DOC_LEN]>);
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
        reserved: 0.into(),
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
    let mut bytes = crate::Aligned([0; DOC_LEN]);
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
