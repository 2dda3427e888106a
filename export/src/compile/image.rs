//! Writing the plan file.

use kinglet::format::{
    self, CRC, CRC_START, DType, Header, IoRecord, MAGIC, OpCode, Span, StepHeader, VERSION,
};
use std::collections::HashMap;
use std::ops::Range;
use zerocopy::{Immutable, IntoBytes};

/// Begins the symbols that follow a plan's core.
const SYMBOLS: &[u8; 4] = b"KSYM";

/// Collects a plan's parts, then lays them out.
#[derive(Default)]
pub(super) struct Image {
    steps: Vec<u8>,
    step_count: u32,
    ops: u128,
    data: Vec<u8>,
    seen: HashMap<Vec<u8>, Span>,
    io: Vec<IoRecord>,
    inputs: u16,
    names: Vec<u8>,
}

/// An input or output as the plan describes it.
pub(super) struct Tensor<'a> {
    pub(super) name: &'a str,
    pub(super) dtype: DType,
    pub(super) shape: &'a [usize],
    pub(super) arena: Span,
    pub(super) scale: f32,
    pub(super) zero_point: i32,
    /// Of an input that is a state: 1 + the index of its output; else 0.
    pub(super) state: u16,
}

impl Image {
    /// Appends a step.
    pub(super) fn step(
        &mut self,
        code: OpCode,
        input: Span,
        output: Span,
        parameters: &(impl IntoBytes + Immutable),
    ) {
        let parameters = parameters.as_bytes();
        let size = (size_of::<StepHeader>() + parameters.len()) as u16;
        let header = StepHeader {
            code: (code as u16).into(),
            size: size.into(),
            input,
            output,
        };
        self.steps.extend_from_slice(header.as_bytes());
        self.steps.extend_from_slice(parameters);
        self.step_count += 1;
        self.ops |= code.bit();
    }

    /// The last step takes this operator, too.
    pub(super) fn uses(&mut self, code: OpCode) {
        self.ops |= code.bit();
    }

    /// Puts constants into the data section, 16-byte aligned; equal ones share their place.
    pub(super) fn data<T: IntoBytes + Immutable>(&mut self, items: &[T]) -> Span {
        let bytes = items.as_bytes();
        if let Some(&span) = self.seen.get(bytes) {
            return span;
        }
        self.data
            .resize(self.data.len().next_multiple_of(format::ALIGNMENT), 0);
        let span = Span::new(self.data.len() as u32, bytes.len() as u32);
        self.data.extend_from_slice(bytes);
        self.seen.insert(bytes.to_vec(), span);
        span
    }

    /// Appends an input (all inputs come before all outputs).
    pub(super) fn input(&mut self, tensor: &Tensor<'_>) {
        self.inputs += 1;
        self.output(tensor);
    }

    /// Appends an output.
    pub(super) fn output(&mut self, tensor: &Tensor<'_>) {
        let mut dims = [0.into(); format::MAX_RANK];
        for (to, &from) in dims.iter_mut().zip(tensor.shape) {
            *to = (from as u32).into();
        }
        let name = Span::new(self.names.len() as u32, tensor.name.len() as u32);
        self.names.extend_from_slice(tensor.name.as_bytes());
        self.io.push(IoRecord {
            dtype: tensor.dtype as u8,
            rank: tensor.shape.len() as u8,
            state: tensor.state.into(),
            dims,
            arena: tensor.arena,
            scale: tensor.scale.into(),
            zero_point: tensor.zero_point.into(),
            name,
        });
    }

    /// Bytes of constants.
    pub(super) fn data_len(&self) -> usize {
        self.data.len()
    }

    /// The core of the plan. `self_test` is the seed and the digest.
    pub(super) fn finish(&self, arena_len: u32, self_test: (u32, u32)) -> Vec<u8> {
        let mut core = vec![0; size_of::<Header>()];
        let io = append(&mut core, self.io.as_bytes());
        let names = append(&mut core, &self.names);
        let steps = append(&mut core, &self.steps);
        core.resize(core.len().next_multiple_of(format::ALIGNMENT), 0);
        let data = append(&mut core, &self.data);
        let header = Header {
            magic: MAGIC,
            version: VERSION.into(),
            header_len: (size_of::<Header>() as u16).into(),
            crc: 0.into(),
            core_len: (core.len() as u32).into(),
            features: 0.into(),
            op_set: self.ops.into(),
            arena_len: arena_len.into(),
            input_count: self.inputs.into(),
            output_count: (self.io.len() as u16 - self.inputs).into(),
            io_offset: (io.start as u32).into(),
            step_count: self.step_count.into(),
            steps: span(steps),
            names: span(names),
            data: span(data),
            self_test_seed: self_test.0.into(),
            self_test_digest: self_test.1.into(),
        };
        core[..size_of::<Header>()].copy_from_slice(header.as_bytes());
        let crc = CRC.checksum(&core[CRC_START..]);
        core[CRC_START - 4..CRC_START].copy_from_slice(&crc.to_le_bytes());
        core
    }
}

fn append(file: &mut Vec<u8>, bytes: &[u8]) -> Range<usize> {
    let start = file.len();
    file.extend_from_slice(bytes);
    start..file.len()
}

fn span(range: Range<usize>) -> Span {
    Span::new(range.start as u32, range.len() as u32)
}

/// The step names that follow a plan's core: ignored by the runtime, shown to people.
pub(super) fn symbols(names: impl ExactSizeIterator<Item = impl AsRef<str>>) -> Vec<u8> {
    let mut bytes = SYMBOLS.to_vec();
    bytes.extend((names.len() as u32).to_le_bytes());
    for name in names {
        let name = name.as_ref();
        let mut end = name.len().min(usize::from(u16::MAX));
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        bytes.extend((end as u16).to_le_bytes());
        bytes.extend_from_slice(&name.as_bytes()[..end]);
    }
    bytes
}

/// Step names behind the core of a plan file; empty when there are none.
pub fn step_names(file: &[u8], core_len: usize) -> Vec<String> {
    fn read(mut rest: &[u8]) -> Option<Vec<String>> {
        rest = rest.strip_prefix(SYMBOLS)?;
        let (count, mut rest) = rest.split_first_chunk::<4>()?;
        let mut names = Vec::new();
        for _ in 0..u32::from_le_bytes(*count) {
            let (len, tail) = rest.split_first_chunk::<2>()?;
            let (name, tail) = tail.split_at_checked(u16::from_le_bytes(*len).into())?;
            names.push(String::from_utf8_lossy(name).into_owned());
            rest = tail;
        }
        Some(names)
    }
    file.get(core_len..).and_then(read).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_survive_and_damaged_ones_are_ignored() {
        let names = ["conv/1", "", "softmax"];
        let bytes = symbols(names.iter());
        assert_eq!(step_names(&bytes, 0), names);
        for len in 0..bytes.len() {
            assert!(step_names(&bytes[..len], 0).is_empty(), "{len}");
        }
    }
}
