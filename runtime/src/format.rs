//! The plan file, byte by byte: the one definition that the compiler writes and the runtime reads.
//!
//! ```text
//! Header | io records (inputs, then outputs) | names | step records | data (16-byte aligned)
//! ```
//!
//! Everything up to [`Header::core_len`] is the *core*, covered by the CRC; it is what a device links in. Bytes behind
//! the core are symbols (node names) for people; the runtime ignores them. All integers are little-endian.
//!
//! Version policy: [`VERSION`] grows with every change that an older runtime would misread. A runtime reads exactly
//! its own version and refuses others by name ([`crate::PlanError::Version`]); plans are cheap to compile again.

use zerocopy::little_endian::{F32, I32, U16, U32, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First bytes of every plan.
pub const MAGIC: [u8; 8] = *b"KINGLET\0";
/// Format version written and read by this crate.
pub const VERSION: u16 = 5;
/// Most dimensions a tensor may have.
pub const MAX_RANK: usize = 6;
/// Alignment of the arena and of packed weights within the file.
pub const ALIGNMENT: usize = 16;
/// First byte of the file that the CRC covers: everything behind the CRC field itself.
pub const CRC_START: usize = 16;
/// CRC-32 (ISO-HDLC, as in zlib) over the core from [`CRC_START`]. Without a table, which would take flash.
#[cfg(not(feature = "std"))]
pub const CRC: crc::Crc<u32, crc::Table<0>> =
    crc::Crc::<u32, crc::Table<0>>::new(&crc::CRC_32_ISO_HDLC);
/// CRC-32 (ISO-HDLC, as in zlib) over the core from [`CRC_START`]. With tables, where memory is no matter.
#[cfg(feature = "std")]
pub static CRC: crc::Crc<u32, crc::Table<16>> =
    crc::Crc::<u32, crc::Table<16>>::new(&crc::CRC_32_ISO_HDLC);

macro_rules! record {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
        #[repr(C)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
    };
}
#[cfg(feature = "slots")]
pub(crate) use record;

record! {
    /// A range of bytes: in the arena, or in the data section, as the field that holds it says.
    Span {
        /// First byte.
        offset: U32,
        /// Number of bytes.
        len: U32,
    }
}

impl Span {
    /// A span from host integers.
    pub fn new(offset: u32, len: u32) -> Self {
        Span {
            offset: offset.into(),
            len: len.into(),
        }
    }

    /// The span as a range, or `None` when its end does not fit in `usize`.
    pub fn range(&self) -> Option<core::ops::Range<usize>> {
        let start = self.offset.get() as usize;
        Some(start..start.checked_add(self.len.get() as usize)?)
    }
}

record! {
    /// The first bytes of a plan.
    Header {
        /// [`MAGIC`].
        magic: [u8; 8],
        /// [`VERSION`].
        version: U16,
        /// Size of this header in bytes.
        header_len: U16,
        /// CRC-32 of the core behind this field.
        crc: U32,
        /// Bytes of the core (this header included).
        core_len: U32,
        /// Target features the plan needs; a bit that the runtime does not know is refused. None are defined yet.
        features: U32,
        /// Set of [`OpCode`] bits that the steps use, those of coded layers included.
        op_set: U128,
        /// Bytes of arena: inputs, outputs and all intermediate tensors.
        arena_len: U32,
        /// Number of [`IoRecord`]s that are inputs.
        input_count: U16,
        /// Number of [`IoRecord`]s that are outputs.
        output_count: U16,
        /// File offset of the io records, directly behind the header.
        io_offset: U32,
        /// Number of steps.
        step_count: U32,
        /// Step records, in the file.
        steps: Span,
        /// Names (UTF-8) of inputs and outputs, in the file.
        names: Span,
        /// Weights, biases, multipliers, tables; offset is a multiple of [`ALIGNMENT`].
        data: Span,
        /// Seed of the self-test input (see [`crate::Session::self_test`]).
        self_test_seed: U32,
        /// CRC-32 of all outputs for that input.
        self_test_digest: U32,
    }
}

record! {
    /// One input or output.
    IoRecord {
        /// [`DType`] code.
        dtype: u8,
        /// Number of dimensions, at most [`MAX_RANK`].
        rank: u8,
        /// Of an input that is a state: 1 + the index of the output whose value the last steps copy here; else 0.
        state: U16,
        /// Dimensions; those behind `rank` are zero.
        dims: [U32; MAX_RANK],
        /// Where in the arena.
        arena: Span,
        /// Quantisation scale; 0 for floats.
        scale: F32,
        /// Quantisation zero point.
        zero_point: I32,
        /// Name, in the names section.
        name: Span,
    }
}

record! {
    /// Begins every step record; the parameters of the operator follow.
    StepHeader {
        /// [`OpCode`].
        code: U16,
        /// Bytes of the whole record: header and parameters.
        size: U16,
        /// First operand, in the arena.
        input: Span,
        /// Result, in the arena. Equal to `input` for a step that runs in place.
        output: Span,
    }
}

record! {
    /// Geometry of a convolution or pooling over `[batch, height, width, channels]`.
    Window {
        /// Batch.
        batch: U32,
        /// Input height, width, channels.
        input: [U32; 3],
        /// Output height, width, channels.
        output: [U32; 3],
        /// Kernel height and width.
        kernel: [U16; 2],
        /// Stride, vertical and horizontal.
        stride: [U16; 2],
        /// Dilation, vertical and horizontal.
        dilation: [U16; 2],
        /// Padding above and to the left; that below and to the right follows from the output size.
        pad: [U16; 2],
    }
}

record! {
    /// How int8 results are made from accumulators: see [`crate::requantize`].
    Int8 {
        /// Zero point of the input: what padding means.
        input_zero_point: I32,
        /// Zero point of the output.
        output_zero_point: I32,
        /// Least output value (fused activation).
        min: I32,
        /// Greatest output value (fused activation).
        max: I32,
    }
}

record! {
    /// Bounds of a float result.
    ClampF32 {
        /// Lower bound.
        min: F32,
        /// Upper bound.
        max: F32,
    }
}

record! {
    /// Int8 convolution, dense or grouped. Weights `[out_c][kh][kw][in_c/groups]`, or packed as the [`OpCode`] says.
    ConvI8 {
        /// Geometry.
        window: Window,
        /// Groups.
        groups: U32,
        /// Zero points and bounds.
        int8: Int8,
        /// `i8` (or `i16`) weights in the data section.
        weights: Span,
        /// `i32[out_c]`: bias − input zero point · Σ weights.
        bias: Span,
        /// `f32[out_c]`: `s_x·s_w/s_y`.
        multipliers: Span,
        /// Working memory in the arena, of the length that [`crate::kernels::scratch`] says; may be empty where the
        /// step does not run in place.
        scratch: Span,
    }
}

record! {
    /// Begins the parameters of a layer whose weights are stored otherwise than its kernel reads them; those of its operator
    /// follow. They are decoded a tile of output channels at a time; the scratch has the length that [`crate::kernels::coded`]
    /// says. Biases and multipliers are stored as ever.
    ///
    /// [`OpCode::Coded`]: the weights are entropy-coded bytes: `u32[tiles]`, where each tile's codes begin (in bytes from the first of these numbers), and the codes of all tiles, one
    /// behind the other, an even number of bytes each: the weights of a tile, packed as the operator says, two of them for each
    /// 16 bits (see [`crate::formats::levels`]).
    ///
    /// [`OpCode::Codebook`]: a byte for each 16-bit weight, packed as the operator says, which is looked up in a table.
    Coding {
        /// [`OpCode`] of the layer: an int8 convolution of one group or fully connected layer; its weights are bytes, or wide
        /// for a codebook.
        layer: U16,
        /// Order of the exp-Golomb codes, at most [`crate::formats::levels::MAX_ORDER`]; 0 for a codebook.
        order: U16,
        /// Output channels of a tile, a multiple of four; the last one may have fewer.
        tile: U32,
        /// `i16[256]` of a codebook, in the data section; empty otherwise.
        table: Span,
    }
}

record! {
    /// A second operand added to a layer's int8 results: `requantize(result·factor + b·factor_b + offset)`. That operand
    /// lies where the step writes.
    Residual {
        /// Fixed-point scale of the layer's results.
        factor: I32,
        /// Fixed-point scale of the second operand.
        factor_b: I32,
        /// Zero-point correction of both.
        offset: I32,
        /// From the fixed-point sum to the output's scale.
        multiplier: F32,
        /// Zero points and bounds of the sum.
        int8: Int8,
    }
}

record! {
    /// [`ConvI8`] whose results are added to what the output holds already.
    ConvAddI8 {
        /// The convolution.
        conv: ConvI8,
        /// The addition.
        residual: Residual,
    }
}

record! {
    /// [`ConvI8`] with coded weights.
    CodedConvI8 {
        /// How they are coded.
        coding: Coding,
        /// The layer.
        layer: ConvI8,
    }
}

record! {
    /// [`ConvAddI8`] with coded weights.
    CodedConvAddI8 {
        /// How they are coded.
        coding: Coding,
        /// The layer.
        layer: ConvAddI8,
    }
}

record! {
    /// [`FullyConnectedI8`] with coded weights.
    CodedFullyConnectedI8 {
        /// How they are coded.
        coding: Coding,
        /// The layer.
        layer: FullyConnectedI8,
    }
}

record! {
    /// Float convolution, dense or grouped. Weights `[out_c][kh][kw][in_c/groups]`.
    ConvF32 {
        /// Geometry.
        window: Window,
        /// Groups.
        groups: U32,
        /// Fused activation.
        clamp: ClampF32,
        /// `f32` weights.
        weights: Span,
        /// `f32[out_c]`.
        bias: Span,
    }
}

record! {
    /// Int8 fully connected layer. Weights `[out][in]`.
    FullyConnectedI8 {
        /// Rows, inputs a row, outputs a row.
        shape: [U32; 3],
        /// Zero points and bounds.
        int8: Int8,
        /// `i8` (or `i16`) weights.
        weights: Span,
        /// `i32[out]`: bias − input zero point · Σ weights.
        bias: Span,
        /// `f32[out]`.
        multipliers: Span,
        /// Working memory in the arena, of the length that [`crate::kernels::scratch`] says.
        scratch: Span,
    }
}

record! {
    /// Float fully connected layer. Weights `[out][in]`.
    FullyConnectedF32 {
        /// Rows, inputs a row, outputs a row.
        shape: [U32; 3],
        /// Fused activation.
        clamp: ClampF32,
        /// `f32` weights.
        weights: Span,
        /// `f32[out]`.
        bias: Span,
    }
}

record! {
    /// Second operand of a binary step: element `i` of the first meets element `(i / repeat) % length` of it.
    Operand {
        /// 0: in the arena; 1: in the data section.
        constant: U32,
        /// Its bytes.
        span: Span,
        /// Consecutive elements of the first operand that share one element of the second.
        repeat: U32,
    }
}

record! {
    /// Int8 addition or subtraction: `requantize(a·factor_a + b·factor_b + offset)`.
    AddI8 {
        /// Second operand.
        b: Operand,
        /// Fixed-point scale of the first operand.
        factor_a: I32,
        /// Fixed-point scale of the second operand.
        factor_b: I32,
        /// Zero-point correction of both.
        offset: I32,
        /// From the fixed-point sum to the output's scale.
        multiplier: F32,
        /// Zero points and bounds.
        int8: Int8,
    }
}

record! {
    /// Int8 multiplication: `requantize((a − zero_a)·(b − zero_b))`.
    MulI8 {
        /// Second operand.
        b: Operand,
        /// Zero point of the second operand; that of the first is `int8.input_zero_point`.
        b_zero_point: I32,
        /// `s_a·s_b/s_y`.
        multiplier: F32,
        /// Zero points and bounds.
        int8: Int8,
    }
}

record! {
    /// Float addition, subtraction, multiplication, division; the [`OpCode`] says which.
    BinaryF32 {
        /// Second operand.
        b: Operand,
        /// Fused activation.
        clamp: ClampF32,
    }
}

record! {
    /// Pooling. For `AveragePoolI8` the four numbers say how bytes become reals and back; other poolings ignore them.
    Pool {
        /// Geometry; channels are equal on both sides.
        window: Window,
        /// Divisor of an average, or 0 for the number of elements under the window.
        divisor: U32,
        /// Input scale.
        input_scale: F32,
        /// Output scale.
        output_scale: F32,
        /// Zero points and bounds.
        int8: Int8,
    }
}

record! {
    /// Int8 function of one variable by table: output byte for each input byte.
    LookupI8 {
        /// 256 bytes in the data section, indexed by the input byte as unsigned.
        table: Span,
    }
}

record! {
    /// Float function of one variable; the [`OpCode`] says which, the two numbers are its parameters.
    UnaryF32 {
        /// `min` of a clamp, `alpha` of the others.
        alpha: F32,
        /// `max` of a clamp, `beta` of the others.
        beta: F32,
    }
}

record! {
    /// Int8 softmax over rows.
    SoftmaxI8 {
        /// Elements of a row.
        row: U32,
        /// `f32[256]`: `e^(−i·input scale)`.
        table: Span,
        /// Output scale.
        output_scale: F32,
        /// Output zero point.
        output_zero_point: I32,
    }
}

record! {
    /// A real multiplier in fixed point, `multiplier / 2³¹ · 2^shift`: see [`crate::requantize::tflite`].
    Rescale {
        /// Not negative.
        multiplier: I32,
        /// [`crate::requantize::tflite::LEAST_SHIFT`] to [`crate::requantize::tflite::MOST_SHIFT`].
        shift: I32,
    }
}

record! {
    /// Int8 addition or subtraction in TensorFlow Lite's rounding: both operands, less their zero points and times 2²⁰, are
    /// rescaled and summed, and the sum is rescaled.
    AddI8Tflite {
        /// Second operand.
        b: Operand,
        /// Zero point of the second operand; that of the first is `int8.input_zero_point`.
        b_zero_point: I32,
        /// 1 or −1: what the two rescaled operands count.
        signs: [I32; 2],
        /// Of the first and of the second operand.
        scales: [Rescale; 2],
        /// Of the sum.
        rescale: Rescale,
        /// Zero points and bounds.
        int8: Int8,
    }
}

record! {
    /// As [`MulI8`], in TensorFlow Lite's rounding.
    MulI8Tflite {
        /// Second operand.
        b: Operand,
        /// Zero point of the second operand; that of the first is `int8.input_zero_point`.
        b_zero_point: I32,
        /// `s_a·s_b/s_y`.
        rescale: Rescale,
        /// Zero points and bounds.
        int8: Int8,
    }
}

record! {
    /// Mean in TensorFlow Lite's rounding: the rescaled sum of all elements under the window, less their zero points.
    MeanI8Tflite {
        /// Geometry; channels are equal on both sides.
        window: Window,
        /// `s_x/s_y`, divided by the number of elements.
        rescale: Rescale,
        /// Zero points and bounds.
        int8: Int8,
    }
}

record! {
    /// Int8 softmax over rows in TensorFlow Lite's rounding, to zero point −128 and scale 1/256.
    SoftmaxI8Tflite {
        /// Elements of a row.
        row: U32,
        /// `i32[256]`, none of them negative: `e^(−i·input scale)`, times 2³¹.
        table: Span,
    }
}

record! {
    /// Float softmax over rows.
    SoftmaxF32 {
        /// Elements of a row.
        row: U32,
    }
}

record! {
    /// Transposition: `output[i0, i1, …] = input[Σ i_k·stride_k]`.
    Transpose {
        /// Output dimensions; leading ones are 1.
        dims: [U32; MAX_RANK],
        /// Input stride in elements for each output dimension.
        strides: [U32; MAX_RANK],
    }
}

record! {
    /// Constant padding.
    Pad {
        /// Input dimensions; leading ones are 1.
        dims: [U32; MAX_RANK],
        /// Elements before, for each dimension.
        before: [U32; MAX_RANK],
        /// Elements after, for each dimension.
        after: [U32; MAX_RANK],
        /// The padding's bytes; the first one for int8, all four for f32.
        value: [u8; 4],
    }
}

record! {
    /// Blocks of bytes at equal distances in one operand, and back to back in the other one.
    Blocks {
        /// Bytes of a block.
        block: U32,
        /// Bytes from one block to the next.
        stride: U32,
        /// First byte of the first block.
        offset: U32,
    }
}

record! {
    /// Strided movement: `output[i0, i1, …] = input[offset + Σ i_k·stride_k]`. Strides of 0 repeat, negative ones go backwards.
    Strided {
        /// Output dimensions; leading ones are 1.
        dims: [U32; MAX_RANK],
        /// Input stride in elements for each output dimension.
        strides: [I32; MAX_RANK],
        /// Input element of the output's first one.
        offset: U32,
    }
}

record! {
    /// Blocks by constant indices: `[outer, length, block]` → `[outer, indices, block]`.
    Pick {
        /// Bytes of a block.
        block: U32,
        /// Blocks of the input for each index of the outer axes.
        length: U32,
        /// `u32` indices below `length`, in the data section.
        indices: Span,
    }
}

record! {
    /// Rows of a table by computed indices: the input's floats, towards zero; negative ones count from the end, others are
    /// bounded. `[outer, length, inner]` → `[outer, indices, inner]`.
    GatherF32 {
        /// 0: the table is in the arena; 1: in the data section.
        constant: U32,
        /// `f32` table.
        table: Span,
        /// Product of the axes outside of the indexed one.
        outer: U32,
        /// Elements of the indexed axis.
        length: U32,
        /// Product of the axes inside of it.
        inner: U32,
    }
}

record! {
    /// Weighted sums of a few elements along one axis: interpolation. `[outer, length, inner]` → `[outer, results, inner]`.
    ResampleF32 {
        /// Elements of the axis in the input.
        length: U32,
        /// Product of the axes inside of it.
        inner: U32,
        /// Elements that each result takes.
        taps: U32,
        /// `u32[results][taps]` indices below `length`, in the data section.
        indices: Span,
        /// `f32[results][taps]`, in the data section.
        weights: Span,
    }
}

record! {
    /// Reduction: `[outer, length, inner]` → `[outer, inner]`.
    Reduce {
        /// Elements that are reduced to one.
        length: U32,
        /// Product of the axes inside.
        inner: U32,
    }
}

record! {
    /// Products of matrices `[batch, rows, inner] · [batch or 1, inner, columns]`.
    MatMulF32 {
        /// Batch, rows, inner dimension, columns.
        shape: [U32; 4],
        /// Matrices of the second operand: the batch, or 1 for all.
        matrices: U32,
        /// 0: the second operand is in the arena; 1: in the data section.
        constant: U32,
        /// Its bytes.
        b: Span,
    }
}

record! {
    /// A recurrent layer over `[steps, batch, gates·hidden]`, the gates' sums of inputs and biases, in ONNX's order of gates.
    /// The result is `[steps + 1, batch, hidden]`: the hidden states, and an LSTM's last cell state (working memory of the others).
    RecurrentF32 {
        /// Steps, batch, hidden size.
        shape: [U32; 3],
        /// 1: from the last step to the first.
        reverse: U32,
        /// `f32[gates·hidden][hidden]`, in the data section.
        weights: Span,
        /// `f32[hidden]` in the data section: a GRU's bias within its reset gate, and that gate is applied behind the product; empty
        /// for one that resets before it, and for other layers.
        bias: Span,
        /// 0: the initial state is in the arena; 1: in the data section.
        constant: U32,
        /// `f32[states][batch][hidden]`: hidden state and, of an LSTM, cell state.
        initial: Span,
    }
}

record! {
    /// Constant bytes to the output, which the step names as its input, too: for what is read from the arena only.
    Load {
        /// In the data section.
        data: Span,
    }
}

record! {
    /// `input ≠ 0 ? a : b`, element by element.
    SelectF32 {
        /// Chosen where the input is not 0.
        a: Operand,
        /// Chosen where it is.
        b: Operand,
    }
}

record! {
    /// Between floats and int8.
    Affine {
        /// Scale.
        scale: F32,
        /// Zero point.
        zero_point: I32,
    }
}

record! {
    /// A step without parameters.
    Nothing {}
}

/// Element types of inputs and outputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum DType {
    /// IEEE-754 single.
    F32 = 1,
    /// Signed byte.
    I8 = 2,
    /// Unsigned byte.
    U8 = 3,
    /// 32-bit integer, only at the border: see [`OpCode::IntegersToF32`].
    I32 = 4,
}

impl DType {
    /// The type with this code.
    pub const fn from_code(code: u8) -> Option<DType> {
        match code {
            1 => Some(DType::F32),
            2 => Some(DType::I8),
            3 => Some(DType::U8),
            4 => Some(DType::I32),
            _ => None,
        }
    }

    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            DType::F32 | DType::I32 => 4,
            DType::I8 | DType::U8 => 1,
        }
    }
}

macro_rules! op_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Operators of the runtime. The number is the code in a step record and the bit in an operator set.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[repr(u16)]
        pub enum OpCode { $($(#[$doc])* $name = $code,)* }

        impl OpCode {
            /// Every operator.
            pub const ALL: &'static [OpCode] = &[$(OpCode::$name),*];

            /// The operator with this code.
            pub const fn from_code(code: u16) -> Option<OpCode> {
                match code { $($code => Some(OpCode::$name),)* _ => None }
            }

            /// Name for tables and logs.
            pub const fn name(self) -> &'static str {
                match self { $(OpCode::$name => $text,)* }
            }
        }

        /// The set of all operators.
        pub const ALL_OPS: u128 = 0 $(| (1u128 << $code))*;
    };
}

op_codes! {
    /// [`ConvI8`].
    ConvI8 = 0, "conv2d int8";
    /// [`ConvF32`].
    ConvF32 = 1, "conv2d f32";
    /// [`ConvI8`] with one input channel a group. Weights `[kh][kw][out_c]`.
    DepthwiseI8 = 2, "depthwise int8";
    /// [`ConvF32`] with one input channel a group. Weights `[kh][kw][out_c]`.
    DepthwiseF32 = 3, "depthwise f32";
    /// [`FullyConnectedI8`].
    FullyConnectedI8 = 4, "fully connected int8";
    /// [`FullyConnectedF32`].
    FullyConnectedF32 = 5, "fully connected f32";
    /// [`AddI8`].
    AddI8 = 6, "add int8";
    /// [`MulI8`].
    MulI8 = 7, "mul int8";
    /// [`BinaryF32`], `a + b`.
    AddF32 = 8, "add f32";
    /// [`BinaryF32`], `a − b`.
    SubF32 = 9, "sub f32";
    /// [`BinaryF32`], `a · b`.
    MulF32 = 10, "mul f32";
    /// [`BinaryF32`], `a / b`.
    DivF32 = 11, "div f32";
    /// [`Pool`].
    AveragePoolI8 = 12, "average pool int8";
    /// [`Pool`].
    AveragePoolF32 = 13, "average pool f32";
    /// [`Pool`].
    MaxPoolI8 = 14, "max pool int8";
    /// [`Pool`].
    MaxPoolF32 = 15, "max pool f32";
    /// [`LookupI8`].
    LookupI8 = 16, "lookup int8";
    /// [`UnaryF32`]: `clamp(x, alpha, beta)`.
    ClampF32 = 17, "clamp f32";
    /// [`UnaryF32`].
    SigmoidF32 = 18, "sigmoid f32";
    /// [`UnaryF32`].
    TanhF32 = 19, "tanh f32";
    /// [`UnaryF32`]: `x < 0 ? alpha·x : x`.
    LeakyReluF32 = 20, "leaky relu f32";
    /// [`UnaryF32`]: `clamp(alpha·x + beta, 0, 1)`.
    HardSigmoidF32 = 21, "hard sigmoid f32";
    /// [`UnaryF32`]: `x·clamp(x/6 + 1/2, 0, 1)`.
    HardSwishF32 = 22, "hard swish f32";
    /// [`SoftmaxI8`].
    SoftmaxI8 = 23, "softmax int8";
    /// [`SoftmaxF32`].
    SoftmaxF32 = 24, "softmax f32";
    /// [`Transpose`] of bytes.
    TransposeI8 = 25, "transpose int8";
    /// [`Transpose`] of words.
    TransposeF32 = 26, "transpose f32";
    /// [`Pad`] of bytes.
    PadI8 = 27, "pad int8";
    /// [`Pad`] of words.
    PadF32 = 28, "pad f32";
    /// [`Blocks`]: the input's blocks to their distances in the output, one operand of a concatenation.
    Place = 29, "place";
    /// [`Affine`]: f32 to int8.
    Quantize = 30, "quantize";
    /// [`Affine`]: int8 to f32.
    Dequantize = 31, "dequantize";
    /// [`Nothing`]: same bytes elsewhere.
    Copy = 32, "copy";
    /// As `ConvI8` with `i16` weights.
    ConvI8W16 = 33, "conv2d int8, weights int16";
    /// As `DepthwiseI8` with `i16` weights.
    DepthwiseI8W16 = 34, "depthwise int8, weights int16";
    /// As `FullyConnectedI8` with `i16` weights.
    FullyConnectedI8W16 = 35, "fully connected int8, weights int16";
    /// As `ConvI8`, one group, weights packed for dual 16-bit multiplications: see [`crate::kernels::split`].
    ConvI8Split = 36, "conv2d int8, split weights";
    /// As `FullyConnectedI8`, weights packed as for `ConvI8Split`.
    FullyConnectedI8Split = 37, "fully connected int8, split weights";
    /// As `ConvI8`, one group, weights interleaved by four channels: see [`crate::kernels::quad`].
    ConvI8Quad = 38, "conv2d int8, quad weights";
    /// As `FullyConnectedI8`, weights packed as for `ConvI8Quad`.
    FullyConnectedI8Quad = 39, "fully connected int8, quad weights";
    /// [`ConvAddI8`], weights as for `ConvI8`.
    ConvAddI8 = 40, "conv2d and add int8";
    /// [`ConvAddI8`], weights as for `ConvI8Split`.
    ConvAddI8Split = 41, "conv2d and add int8, split weights";
    /// [`ConvAddI8`], weights as for `ConvI8Quad`.
    ConvAddI8Quad = 42, "conv2d and add int8, quad weights";
    /// As `DepthwiseI8`, in place if need be: see [`crate::kernels::planes`].
    DepthwiseI8Planes = 46, "depthwise int8 by planes";
    /// As `DepthwiseI8Planes`, for what has loops of its own: see [`crate::kernels::planes::is_small`].
    DepthwiseI8Small = 48, "depthwise 3x3 int8 by planes";
    /// As `ConvI8`, one group, weights, biases and multipliers in blocks for Helium: see [`crate::kernels::helium`].
    ConvI8Helium = 43, "conv2d int8, Helium weights";
    /// [`ConvAddI8`], weights as for `ConvI8Helium`.
    ConvAddI8Helium = 44, "conv2d and add int8, Helium weights";
    /// As `FullyConnectedI8`, weights, biases and multipliers as for `ConvI8Helium`.
    FullyConnectedI8Helium = 45, "fully connected int8, Helium weights";
    /// As `DepthwiseI8`, 3×3, weights as [`crate::kernels::helium`] says.
    DepthwiseI8Helium = 47, "depthwise int8, Helium weights";
    /// [`Blocks`]: blocks at their distances in the input to the output, a slice of a tensor.
    Take = 49, "take";
    /// [`Coding`]: a layer with entropy-coded weights. Sets of operators have both this one and the layer's.
    Coded = 50, "coded layer";
    /// As `ConvI8`, one group, 16-bit weights in pairs: see [`crate::kernels::wide`].
    ConvI8Wide = 51, "conv2d int8, wide weights";
    /// [`ConvAddI8`], weights as for `ConvI8Wide`.
    ConvAddI8Wide = 52, "conv2d and add int8, wide weights";
    /// As `FullyConnectedI8`, weights as for `ConvI8Wide`.
    FullyConnectedI8Wide = 53, "fully connected int8, wide weights";
    /// [`Coding`]: a layer whose weights are looked up in a table. Sets of operators have both this one and the layer's.
    Codebook = 54, "codebook layer";
    /// As `ConvI8`, one group, weights that are not zero only: see [`crate::kernels::sparse`].
    ConvI8Sparse = 61, "conv2d int8, sparse weights";
    /// [`ConvAddI8`], weights as for `ConvI8Sparse`.
    ConvAddI8Sparse = 62, "conv2d and add int8, sparse weights";
    /// As `FullyConnectedI8`, weights as for `ConvI8Sparse`.
    FullyConnectedI8Sparse = 63, "fully connected int8, sparse weights";
    /// [`UnaryF32`]: `√x`.
    SqrtF32 = 64, "sqrt f32";
    /// [`UnaryF32`]: `e^x`.
    ExpF32 = 65, "exp f32";
    /// [`UnaryF32`]: natural logarithm.
    LogF32 = 66, "log f32";
    /// [`UnaryF32`]: `|x|`.
    AbsF32 = 67, "abs f32";
    /// [`UnaryF32`]: the error function.
    ErfF32 = 68, "erf f32";
    /// [`UnaryF32`]: the greatest integer up to `x`.
    FloorF32 = 69, "floor f32";
    /// [`UnaryF32`]: the least integer from `x` on.
    CeilF32 = 70, "ceil f32";
    /// [`UnaryF32`]: the nearest integer, the even one of two.
    RoundF32 = 71, "round f32";
    /// [`UnaryF32`]: −1, 0 or 1.
    SignF32 = 72, "sign f32";
    /// [`UnaryF32`]: sine.
    SinF32 = 73, "sin f32";
    /// [`UnaryF32`]: cosine.
    CosF32 = 74, "cos f32";
    /// [`BinaryF32`], the lesser; NaN if one is.
    MinF32 = 75, "min f32";
    /// [`BinaryF32`], the greater; NaN if one is.
    MaxF32 = 76, "max f32";
    /// [`BinaryF32`], `a ^ b`.
    PowF32 = 77, "pow f32";
    /// [`BinaryF32`], `b ^ a`.
    PowOfF32 = 78, "pow f32, exponent first";
    /// [`BinaryF32`], `b / a`.
    DivOfF32 = 79, "div f32, divisor first";
    /// [`Load`].
    Load = 80, "load";
    /// [`BinaryF32`], `a = b`: 1 or 0.
    EqualF32 = 81, "equal f32";
    /// [`BinaryF32`], `a < b`: 1 or 0.
    LessF32 = 82, "less f32";
    /// [`BinaryF32`], `a ≤ b`: 1 or 0.
    LessOrEqualF32 = 83, "less or equal f32";
    /// [`BinaryF32`], `a > b`: 1 or 0.
    GreaterF32 = 84, "greater f32";
    /// [`BinaryF32`], `a ≥ b`: 1 or 0.
    GreaterOrEqualF32 = 85, "greater or equal f32";
    /// [`SelectF32`].
    SelectF32 = 86, "select f32";
    /// [`Strided`] movement of words.
    StridedF32 = 87, "strided f32";
    /// [`Strided`] movement of bytes.
    StridedI8 = 88, "strided int8";
    /// [`Pick`].
    Pick = 89, "pick";
    /// [`GatherF32`].
    GatherF32 = 90, "gather f32";
    /// [`ResampleF32`].
    ResampleF32 = 91, "resample f32";
    /// [`Reduce`]: the sum, in memory order.
    SumF32 = 92, "reduce sum f32";
    /// [`Reduce`]: the product.
    ProductF32 = 93, "reduce product f32";
    /// [`Reduce`]: the least element; NaN if one is.
    LeastF32 = 94, "reduce min f32";
    /// [`Reduce`]: the greatest element; NaN if one is.
    GreatestF32 = 95, "reduce max f32";
    /// [`Reduce`]: index of the first of the least elements.
    IndexOfLeastF32 = 96, "argmin f32";
    /// [`Reduce`]: index of the first of the greatest elements.
    IndexOfGreatestF32 = 97, "argmax f32";
    /// [`MatMulF32`].
    MatMulF32 = 98, "matmul f32";
    /// [`RecurrentF32`] of four gates.
    LstmF32 = 99, "lstm f32";
    /// [`RecurrentF32`] of three gates.
    GruF32 = 100, "gru f32";
    /// [`RecurrentF32`] of one gate: tanh.
    RnnF32 = 101, "rnn f32";
    /// [`Nothing`]: 32-bit integers to floats, rounded where they are larger than 2²⁴.
    IntegersToF32 = 102, "int32 to f32";
    /// [`Nothing`]: floats to 32-bit integers, towards zero, saturated.
    F32ToIntegers = 103, "f32 to int32";
    /// [`Nothing`]: unsigned bytes to floats.
    BytesToF32 = 104, "uint8 to f32";
    /// [`Nothing`]: floats to unsigned bytes, towards zero, saturated.
    F32ToBytes = 105, "f32 to uint8";
    /// As `ConvI8`, one group, weights in blocks of eight channels by four taps: see [`crate::kernels::octet`].
    ConvI8Octet = 55, "conv2d int8, octet weights";
    /// [`ConvAddI8`], weights as for `ConvI8Octet`.
    ConvAddI8Octet = 56, "conv2d and add int8, octet weights";
    /// As `FullyConnectedI8`, weights as for `ConvI8Octet`.
    FullyConnectedI8Octet = 57, "fully connected int8, octet weights";
    /// As `DepthwiseI8`, weights as [`crate::kernels::octet`] says.
    DepthwiseI8Octet = 58, "depthwise int8, octet weights";
    /// As `ConvF32`, one group, weights and biases in panels: see [`crate::kernels::panel`].
    ConvF32Panel = 106, "conv2d f32, panels";
    /// As `FullyConnectedF32`, weights and biases in panels.
    FullyConnectedF32Panel = 107, "fully connected f32, panels";
    /// [`ConvI8`] in TensorFlow Lite's rounding: its multipliers are [`Rescale`] records, and it has no scratch.
    ConvI8Tflite = 108, "conv2d int8, TFLite rounding";
    /// As `DepthwiseI8`, multipliers as for `ConvI8Tflite`.
    DepthwiseI8Tflite = 109, "depthwise int8, TFLite rounding";
    /// [`FullyConnectedI8`] in TensorFlow Lite's rounding: its multipliers are `f64[out]`, and it has no scratch.
    FullyConnectedI8Tflite = 110, "fully connected int8, TFLite rounding";
    /// As `ConvI8Tflite` with `i16` weights.
    ConvI8W16Tflite = 111, "conv2d int8, weights int16, TFLite rounding";
    /// As `DepthwiseI8Tflite` with `i16` weights.
    DepthwiseI8W16Tflite = 112, "depthwise int8, weights int16, TFLite rounding";
    /// As `FullyConnectedI8Tflite` with `i16` weights.
    FullyConnectedI8W16Tflite = 113, "fully connected int8, weights int16, TFLite rounding";
    /// [`AddI8Tflite`].
    AddI8Tflite = 114, "add int8, TFLite rounding";
    /// [`MulI8Tflite`].
    MulI8Tflite = 115, "mul int8, TFLite rounding";
    /// [`Pool`] of one scale and zero point: the integer mean, ties away from zero.
    AveragePoolI8Tflite = 116, "average pool int8, TFLite rounding";
    /// [`MeanI8Tflite`].
    MeanI8Tflite = 117, "mean int8, TFLite rounding";
    /// [`SoftmaxI8Tflite`].
    SoftmaxI8Tflite = 118, "softmax int8, TFLite rounding";
    /// [`Affine`]: f32 to int8, ties away from zero.
    QuantizeTflite = 59, "quantize, TFLite rounding";
}

/// The operators in TensorFlow Lite's rounding.
pub const TFLITE_OPS: u128 = OpCode::QuantizeTflite.bit()
    | ((1 << (OpCode::SoftmaxI8Tflite as u16 + 1)) - (1 << OpCode::ConvI8Tflite as u16));

impl OpCode {
    /// The operator as a set of one.
    pub const fn bit(self) -> u128 {
        1 << self as u16
    }
}
