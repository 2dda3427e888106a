//! A plan: bytes that have passed every check.

use crate::error::{PlanError, StepError};
use crate::format::{
    ALIGNMENT, ALL_OPS, CRC, CRC_START, DType, Header, IoRecord, MAGIC, MAX_RANK, OpCode, Span,
    StepHeader, VERSION,
};
use crate::step::{Limits, Step};
use zerocopy::FromBytes;

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
    /// ONNX name; empty if the plan's bytes are not UTF-8.
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
    /// Of an input that keeps its value from one run to the next: 1 + the index of the output that this value is of; else 0.
    /// It is set before the first run only, to zeroes or whatever the model begins with.
    pub state: usize,
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
        Self::parse_for::<ALL_OPS>(bytes)
    }

    /// As [`parse`](Self::parse), for plans that use operators of the set `OPS` only; the checks of all others are dead code to
    /// the linker.
    ///
    /// # Errors
    /// As `parse`, and [`crate::StepError::NotLinked`] for another operator.
    pub fn parse_for<const OPS: u128>(bytes: &'p [u8]) -> Result<Plan<'p>, PlanError> {
        let plan = Self::linked(bytes)?;
        plan.check_io()?;
        plan.check_steps::<OPS>()?;
        Ok(plan)
    }

    /// A plan that is a part of the program, as [`model!`](crate::model) links it in: its lengths and its checksum are checked, so
    /// that flash which has lost a bit is found, but not its records. The compiler checked those when it made the plan, with
    /// [`parse`](Self::parse), and the code that checks them would be up to a fifth of a firmware.
    ///
    /// Kernels look at every access in any case: a forged record makes [`crate::Session::run`] return
    /// [`crate::RunError::Step`] (`tests/hostile_plans.rs` tries), or take long. Plans from elsewhere are for `parse`.
    ///
    /// # Errors
    /// [`PlanError`] names the first thing that is wrong.
    pub fn linked(bytes: &'p [u8]) -> Result<Plan<'p>, PlanError> {
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
        self.names.get(record.name.range()?)?;
        let ok = rest.iter().all(|d| d.get() == 0)
            && elements > 0
            && len == record.arena.len.get()
            && range.end <= self.arena_len()
            && range.start.is_multiple_of(dtype.size())
            && record.scale.get().is_finite()
            && record.state.get() <= self.header.output_count.get();
        ok.then_some(())
    }

    fn check_steps<const OPS: u128>(&self) -> Result<(), PlanError> {
        let limits = Limits {
            arena: self.arena_len(),
            data: self.data,
        };
        let (mut rest, mut ops) = (self.steps, 0);
        for index in 0..self.header.step_count.get() {
            let at = |error| PlanError::Step { index, error };
            let (step, tail) = split_step(rest).map_err(at)?;
            step.check::<OPS>(&limits).map_err(at)?;
            ops |= step.op_set();
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

    /// Target features that the plan needs, bit by bit.
    pub fn features(&self) -> u32 {
        self.header.features.get()
    }

    /// Bytes of the plan's core.
    pub fn core_len(&self) -> usize {
        self.header.core_len.get() as usize
    }

    /// The set of operators used.
    pub fn op_set(&self) -> u128 {
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
        self.tensor(self.input_record(index)?)
    }

    /// Output `index`, in ONNX order.
    pub fn output(&self, index: usize) -> Option<TensorInfo<'p>> {
        self.tensor(self.output_record(index)?)
    }

    pub(crate) fn input_record(&self, index: usize) -> Option<&'p IoRecord> {
        self.io.get(..self.input_count())?.get(index)
    }

    pub(crate) fn output_record(&self, index: usize) -> Option<&'p IoRecord> {
        self.io.get(self.input_count()..)?.get(index)
    }

    /// Operator of every step, in order, and its multiply-accumulates (padding counted).
    pub fn operators(&self) -> impl Iterator<Item = (OpCode, u64)> + use<'p> {
        self.steps().map(|step| (step.code, step.macs()))
    }

    /// Seed of the self-test's input and digest of its outputs.
    pub fn self_test(&self) -> (u32, u32) {
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
            name: core::str::from_utf8(self.names.get(record.name.range()?)?).unwrap_or(""),
            dtype: DType::from_code(record.dtype)?,
            rank: record.rank.into(),
            dims: record.dims.map(|d| d.get() as usize),
            len: record.arena.len.get() as usize,
            scale: record.scale.get(),
            zero_point: record.zero_point.get(),
            state: record.state.get().into(),
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
