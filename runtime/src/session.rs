//! A plan with its memory: sets inputs, runs, reads outputs.

use crate::arena::{copy, part, part_mut, parts};
use crate::error::{RunError, SessionError};
use crate::format::{self, ALIGNMENT, ALL_OPS, CRC, DType, OpCode, Operand};
use crate::kernels::{self, Float, Geometry, Int8};
use crate::observe::Observer;
use crate::plan::{Plan, TensorInfo};
use crate::requantize::Output;
use crate::step::Step;
use zerocopy::{FromBytes, IntoBytes};

/// A plan ready to run in an arena.
///
/// `OPS` is the set of operators that are linked in ([`OpCode::bit`]); code for others is dead to the linker.
/// [`crate::model!`] computes it from the plan, [`DynSession`] has all.
#[derive(Debug)]
pub struct Session<'p, 'a, const OPS: u64> {
    plan: Plan<'p>,
    arena: &'a mut [u8],
}

/// A session that runs any plan.
pub type DynSession<'p, 'a> = Session<'p, 'a, ALL_OPS>;

impl<'p, 'a, const OPS: u64> Session<'p, 'a, OPS> {
    /// Puts `plan` to work in `arena`, which may be longer than [`Plan::arena_len`].
    ///
    /// # Errors
    /// The arena is too small or misaligned, or the plan uses operators outside `OPS`.
    pub fn new(plan: Plan<'p>, arena: &'a mut [u8]) -> Result<Self, SessionError> {
        let needed = plan.arena_len();
        let given = arena.len();
        if !(arena.as_ptr() as usize).is_multiple_of(ALIGNMENT) {
            return Err(SessionError::ArenaMisaligned);
        }
        let arena = arena.get_mut(..needed).ok_or(SessionError::ArenaTooSmall {
            needed: needed as u32,
            given: given as u32,
        })?;
        match plan.op_set() & !OPS {
            0 => Ok(Session { plan, arena }),
            missing => Err(SessionError::OperatorNotLinked { missing }),
        }
    }

    /// The plan.
    pub fn plan(&self) -> &Plan<'p> {
        &self.plan
    }

    /// The bytes of input `index`, to be written before each [`run`](Self::run): a run may overwrite them.
    pub fn input_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        part_mut(self.arena, self.plan.input(index)?.arena)
    }

    /// The bytes of output `index`, valid after a run and until an input is written.
    pub fn output(&self, index: usize) -> Option<&[u8]> {
        part(self.arena, self.plan.output(index)?.arena)
    }

    /// Runs all steps.
    ///
    /// # Errors
    /// None for a parsed plan; see [`RunError::Step`].
    pub fn run(&mut self) -> Result<(), RunError> {
        self.run_observed(&mut ())
    }

    /// Runs all steps and shows each to `observer`.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_observed(&mut self, observer: &mut impl Observer) -> Result<(), RunError> {
        let data = self.plan.data();
        for (index, step) in self.plan.steps().enumerate() {
            observer.before(index);
            let failed = RunError::Step {
                index: index as u32,
            };
            execute::<OPS>(&step, data, self.arena).ok_or(failed)?;
            observer.after(index, part_mut(self.arena, step.output).ok_or(failed)?);
        }
        Ok(())
    }

    /// Runs the plan's power-on self-test: an input made from the seed in the plan, whose output digest the compiler
    /// recorded. Overwrites inputs and outputs.
    ///
    /// # Errors
    /// [`RunError::SelfTest`] when this target computes something else than the compiler's host did.
    pub fn self_test(&mut self) -> Result<(), RunError> {
        let (seed, expected) = self.plan.self_test();
        let found = self.self_test_digest(seed)?;
        if found == expected {
            Ok(())
        } else {
            Err(RunError::SelfTest { expected, found })
        }
    }

    /// The digest that [`self_test`](Self::self_test) compares: CRC-32 over all outputs for the input made from `seed`.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn self_test_digest(&mut self, seed: u32) -> Result<u32, RunError> {
        let mut random = XorShift(seed | 1);
        for index in 0..self.plan.input_count() {
            let missing = RunError::Input {
                index: index as u16,
            };
            let info = self.plan.input(index).ok_or(missing)?;
            random.fill(info.dtype, self.input_mut(index).ok_or(missing)?);
        }
        self.run()?;
        let mut digest = CRC.digest();
        for index in 0..self.plan.output_count() {
            digest.update(self.output(index).ok_or(RunError::Output {
                index: index as u16,
            })?);
        }
        Ok(digest.finalize())
    }

    pub(crate) fn input_info(&self, index: usize) -> Option<TensorInfo<'p>> {
        self.plan.input(index)
    }
}

/// Marsaglia's xorshift32.
struct XorShift(u32);

impl XorShift {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// Bytes at random; floats in `0 .. 1`.
    fn fill(&mut self, dtype: DType, bytes: &mut [u8]) {
        match dtype {
            DType::I8 | DType::U8 => {
                for byte in bytes {
                    *byte = (self.next() >> 24) as u8;
                }
            }
            DType::F32 => {
                for word in bytes.as_chunks_mut().0 {
                    *word = ((self.next() >> 8) as f32 / 16_777_216.0).to_le_bytes();
                }
            }
        }
    }
}

fn i8s(bytes: &[u8]) -> Option<&[i8]> {
    <[i8]>::ref_from_bytes(bytes).ok()
}

fn i8s_mut(bytes: &mut [u8]) -> Option<&mut [i8]> {
    <[i8]>::mut_from_bytes(bytes).ok()
}

fn f32s(bytes: &[u8]) -> Option<&[f32]> {
    <[f32]>::ref_from_bytes(bytes).ok()
}

fn f32s_mut(bytes: &mut [u8]) -> Option<&mut [f32]> {
    <[f32]>::mut_from_bytes(bytes).ok()
}

fn u32s(bytes: &[u8]) -> Option<&[u32]> {
    <[u32]>::ref_from_bytes(bytes).ok()
}

fn u32s_mut(bytes: &mut [u8]) -> Option<&mut [u32]> {
    <[u32]>::mut_from_bytes(bytes).ok()
}

/// Runs one step. The match arms of operators outside `OPS` vanish, and their kernels with them.
fn execute<const OPS: u64>(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    use OpCode as O;
    let linked = |op: OpCode| OPS & op.bit() != 0;
    match step.code {
        O::ConvI8 if linked(O::ConvI8) => conv_i8(step, data, arena, false),
        O::ConvF32 if linked(O::ConvF32) => conv_f32(step, data, arena, false),
        O::DepthwiseI8 if linked(O::DepthwiseI8) => conv_i8(step, data, arena, true),
        O::DepthwiseF32 if linked(O::DepthwiseF32) => conv_f32(step, data, arena, true),
        O::FullyConnectedI8 if linked(O::FullyConnectedI8) => dense_i8(step, data, arena),
        O::FullyConnectedF32 if linked(O::FullyConnectedF32) => dense_f32(step, data, arena),
        O::AddI8 if linked(O::AddI8) => add_i8(step, data, arena),
        O::MulI8 if linked(O::MulI8) => mul_i8(step, data, arena),
        O::AddF32 if linked(O::AddF32) => binary_f32(step, data, arena, |a, b| a + b),
        O::SubF32 if linked(O::SubF32) => binary_f32(step, data, arena, |a, b| a - b),
        O::MulF32 if linked(O::MulF32) => binary_f32(step, data, arena, |a, b| a * b),
        O::DivF32 if linked(O::DivF32) => binary_f32(step, data, arena, |a, b| a / b),
        O::AveragePoolI8 if linked(O::AveragePoolI8) => average_pool_i8(step, arena),
        O::AveragePoolF32 if linked(O::AveragePoolF32) => average_pool_f32(step, arena),
        O::MaxPoolI8 if linked(O::MaxPoolI8) => max_pool_i8(step, arena),
        O::MaxPoolF32 if linked(O::MaxPoolF32) => max_pool_f32(step, arena),
        O::LookupI8 if linked(O::LookupI8) => lookup_i8(step, data, arena),
        O::ClampF32 if linked(O::ClampF32) => unary_f32(step, arena, kernels::clamp),
        O::SigmoidF32 if linked(O::SigmoidF32) => {
            unary_f32(step, arena, |x, _, _| kernels::sigmoid(x))
        }
        O::TanhF32 if linked(O::TanhF32) => unary_f32(step, arena, |x, _, _| libm::tanhf(x)),
        O::LeakyReluF32 if linked(O::LeakyReluF32) => {
            unary_f32(step, arena, |x, a, _| kernels::leaky_relu(x, a))
        }
        O::HardSigmoidF32 if linked(O::HardSigmoidF32) => {
            unary_f32(step, arena, kernels::hard_sigmoid)
        }
        O::HardSwishF32 if linked(O::HardSwishF32) => {
            unary_f32(step, arena, |x, _, _| kernels::hard_swish(x))
        }
        O::SoftmaxI8 if linked(O::SoftmaxI8) => softmax_i8(step, arena),
        O::SoftmaxF32 if linked(O::SoftmaxF32) => softmax_f32(step, arena),
        O::TransposeI8 if linked(O::TransposeI8) => {
            let (x, y) = parts(arena, step.input, step.output)?;
            transpose(step, x, y)
        }
        O::TransposeF32 if linked(O::TransposeF32) => {
            let (x, y) = parts(arena, step.input, step.output)?;
            transpose(step, u32s(x)?, u32s_mut(y)?)
        }
        O::PadI8 if linked(O::PadI8) => {
            let (x, y) = parts(arena, step.input, step.output)?;
            pad(step, x, y, |[value, ..]| value)
        }
        O::PadF32 if linked(O::PadF32) => {
            let (x, y) = parts(arena, step.input, step.output)?;
            pad(step, u32s(x)?, u32s_mut(y)?, u32::from_le_bytes)
        }
        O::Place if linked(O::Place) => place(step, arena),
        O::Quantize if linked(O::Quantize) => quantize(step, arena),
        O::Dequantize if linked(O::Dequantize) => dequantize(step, arena),
        O::Copy if linked(O::Copy) => copy(arena, step.input, step.output),
        _ => None,
    }
}

#[inline(always)]
fn conv_i8(step: &Step<'_>, data: &[u8], arena: &mut [u8], depthwise: bool) -> Option<()> {
    let p = step.parameters::<format::ConvI8>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    let arithmetic = Int8 {
        input_zero_point: p.int8.input_zero_point.get(),
        bias: <[i32]>::ref_from_bytes(part(data, p.bias)?).ok()?,
        multipliers: f32s(part(data, p.multipliers)?)?,
        output: Output::from(&p.int8),
    };
    let g = Geometry::new(&p.window)?;
    let w = i8s(part(data, p.weights)?)?;
    if depthwise {
        kernels::depthwise(&g, &arithmetic, i8s(x)?, w, i8s_mut(y)?)
    } else {
        kernels::conv(
            &g,
            p.groups.get() as usize,
            &arithmetic,
            i8s(x)?,
            w,
            i8s_mut(y)?,
        )
    }
}

#[inline(always)]
fn conv_f32(step: &Step<'_>, data: &[u8], arena: &mut [u8], depthwise: bool) -> Option<()> {
    let p = step.parameters::<format::ConvF32>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    let arithmetic = Float {
        bias: f32s(part(data, p.bias)?)?,
        min: p.clamp.min.get(),
        max: p.clamp.max.get(),
    };
    let g = Geometry::new(&p.window)?;
    let w = f32s(part(data, p.weights)?)?;
    if depthwise {
        kernels::depthwise(&g, &arithmetic, f32s(x)?, w, f32s_mut(y)?)
    } else {
        kernels::conv(
            &g,
            p.groups.get() as usize,
            &arithmetic,
            f32s(x)?,
            w,
            f32s_mut(y)?,
        )
    }
}

fn dense_i8(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::FullyConnectedI8>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    let arithmetic = Int8 {
        input_zero_point: p.int8.input_zero_point.get(),
        bias: <[i32]>::ref_from_bytes(part(data, p.bias)?).ok()?,
        multipliers: f32s(part(data, p.multipliers)?)?,
        output: Output::from(&p.int8),
    };
    let [_, inputs, outputs] = p.shape.map(|d| d.get() as usize);
    kernels::dense(
        inputs,
        outputs,
        &arithmetic,
        i8s(x)?,
        i8s(part(data, p.weights)?)?,
        i8s_mut(y)?,
    )
}

fn dense_f32(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::FullyConnectedF32>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    let arithmetic = Float {
        bias: f32s(part(data, p.bias)?)?,
        min: p.clamp.min.get(),
        max: p.clamp.max.get(),
    };
    let [_, inputs, outputs] = p.shape.map(|d| d.get() as usize);
    kernels::dense(
        inputs,
        outputs,
        &arithmetic,
        f32s(x)?,
        f32s(part(data, p.weights)?)?,
        f32s_mut(y)?,
    )
}

/// Brings the first operand to the output's place and returns the output and the second operand.
fn binary<'m>(
    step: &Step<'_>,
    b: &Operand,
    data: &'m [u8],
    arena: &'m mut [u8],
) -> Option<(&'m mut [u8], &'m [u8])> {
    copy(arena, step.input, step.output)?;
    if b.constant.get() != 0 {
        return Some((part_mut(arena, step.output)?, part(data, b.span)?));
    }
    let (b, y) = parts(arena, b.span, step.output)?;
    Some((y, b))
}

fn add_i8(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::AddI8>()?;
    let (y, b) = binary(step, &p.b, data, arena)?;
    let factors = (p.factor_a.get(), p.factor_b.get());
    let repeat = p.b.repeat.get() as usize;
    let (y, b, output) = (i8s_mut(y)?, i8s(b)?, Output::from(&p.int8));
    kernels::add_i8(
        y,
        b,
        repeat,
        factors,
        p.offset.get(),
        p.multiplier.get(),
        output,
    )
}

fn mul_i8(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::MulI8>()?;
    let (y, b) = binary(step, &p.b, data, arena)?;
    let zero_points = (p.int8.input_zero_point.get(), p.b_zero_point.get());
    let repeat = p.b.repeat.get() as usize;
    kernels::mul_i8(
        i8s_mut(y)?,
        i8s(b)?,
        repeat,
        zero_points,
        p.multiplier.get(),
        Output::from(&p.int8),
    )
}

fn binary_f32(
    step: &Step<'_>,
    data: &[u8],
    arena: &mut [u8],
    f: impl Fn(f32, f32) -> f32,
) -> Option<()> {
    let p = step.parameters::<format::BinaryF32>()?;
    let (y, b) = binary(step, &p.b, data, arena)?;
    let bounds = (p.clamp.min.get(), p.clamp.max.get());
    kernels::binary_f32(f32s_mut(y)?, f32s(b)?, p.b.repeat.get() as usize, bounds, f)
}

fn average_pool_i8(step: &Step<'_>, arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::Pool>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    let (zero_point, scale, output_scale) = (
        p.int8.input_zero_point.get(),
        p.input_scale.get(),
        p.output_scale.get(),
    );
    let output = Output::from(&p.int8);
    kernels::average_pool(
        &Geometry::new(&p.window)?,
        p.divisor.get() as usize,
        i8s(x)?,
        i8s_mut(y)?,
        |x| i32::from(x).wrapping_sub(zero_point) as f32 * scale,
        |mean| output.quantize(mean / output_scale),
    )
}

fn average_pool_f32(step: &Step<'_>, arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::Pool>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    let divisor = p.divisor.get() as usize;
    kernels::average_pool(
        &Geometry::new(&p.window)?,
        divisor,
        f32s(x)?,
        f32s_mut(y)?,
        |x| x,
        |mean| mean,
    )
}

fn max_pool_i8(step: &Step<'_>, arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::Pool>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    kernels::max_pool(&Geometry::new(&p.window)?, i8::MIN, i8s(x)?, i8s_mut(y)?)
}

fn max_pool_f32(step: &Step<'_>, arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::Pool>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    kernels::max_pool(
        &Geometry::new(&p.window)?,
        f32::NEG_INFINITY,
        f32s(x)?,
        f32s_mut(y)?,
    )
}

fn lookup_i8(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::LookupI8>()?;
    copy(arena, step.input, step.output)?;
    kernels::lookup_i8(
        part_mut(arena, step.output)?,
        part(data, p.table)?.try_into().ok()?,
    );
    Some(())
}

fn unary_f32(step: &Step<'_>, arena: &mut [u8], f: impl Fn(f32, f32, f32) -> f32) -> Option<()> {
    let p = step.parameters::<format::UnaryF32>()?;
    let (alpha, beta) = (p.alpha.get(), p.beta.get());
    copy(arena, step.input, step.output)?;
    kernels::unary_f32(f32s_mut(part_mut(arena, step.output)?)?, |x| {
        f(x, alpha, beta)
    });
    Some(())
}

fn softmax_i8(step: &Step<'_>, arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::Softmax>()?;
    copy(arena, step.input, step.output)?;
    let y = i8s_mut(part_mut(arena, step.output)?)?;
    let input = (p.input_scale.get(), p.input_zero_point.get());
    let output = Output::saturating(p.output_zero_point.get());
    kernels::softmax_i8(y, p.row.get() as usize, input, p.output_scale.get(), output)
}

fn softmax_f32(step: &Step<'_>, arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::Softmax>()?;
    copy(arena, step.input, step.output)?;
    kernels::softmax_f32(
        f32s_mut(part_mut(arena, step.output)?)?,
        p.row.get() as usize,
    )
}

fn transpose<T: Copy>(step: &Step<'_>, x: &[T], y: &mut [T]) -> Option<()> {
    let p = step.parameters::<format::Transpose>()?;
    kernels::transpose(
        p.dims.map(|d| d.get() as usize),
        p.strides.map(|s| s.get() as usize),
        x,
        y,
    )
}

fn pad<T: Copy>(step: &Step<'_>, x: &[T], y: &mut [T], value: impl Fn([u8; 4]) -> T) -> Option<()> {
    let p = step.parameters::<format::Pad>()?;
    let [dims, before, after] = [p.dims, p.before, p.after].map(|a| a.map(|d| d.get() as usize));
    kernels::pad(dims, before, after, value(p.value), x, y)
}

fn place(step: &Step<'_>, arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::Place>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    kernels::place(
        p.block.get() as usize,
        p.stride.get() as usize,
        p.offset.get() as usize,
        x,
        y,
    )
}

fn quantize(step: &Step<'_>, arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::Affine>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    kernels::quantize(
        f32s(x)?,
        p.scale.get(),
        Output::saturating(p.zero_point.get()),
        i8s_mut(y)?,
    );
    Some(())
}

fn dequantize(step: &Step<'_>, arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::Affine>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    kernels::dequantize(i8s(x)?, p.scale.get(), p.zero_point.get(), f32s_mut(y)?);
    Some(())
}

/// Copies typed elements into an input, or out of an output.
pub(crate) fn bytes_of<T: IntoBytes + zerocopy::Immutable>(elements: &[T]) -> &[u8] {
    elements.as_bytes()
}
