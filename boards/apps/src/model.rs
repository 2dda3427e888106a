//! What an application asks of a model: one input, one output, in whatever type the model has.

use core::fmt;
use kinglet::format::DType;
use kinglet::{RunError, Session, TensorInfo};

/// How a tensor's elements stand for reals: `(element − zero_point) · scale`; floats stand for themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Format {
    /// Element type.
    pub dtype: DType,
    /// Quantisation scale.
    pub scale: f32,
    /// Quantisation zero point.
    pub zero_point: i32,
}

/// How reals become integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest integer, ties to even: ONNX's QuantizeLinear.
    Nearest,
    /// Towards zero, as the features that MLPerf Tiny publishes were quantised.
    TowardsZero,
}

/// Why an application has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The model does not run.
    Run(RunError),
    /// The model's input is not of this many elements, as the application makes them.
    Input {
        /// Elements of the application.
        expected: usize,
    },
    /// The model's output is not of this many scores, as the application reads them.
    Output {
        /// Scores of the application.
        expected: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Run(error) => error.fmt(f),
            Error::Input { expected } => write!(
                f,
                "the model's input does not have the application's {expected} elements"
            ),
            Error::Output { expected } => write!(
                f,
                "the model's output does not have the application's {expected} scores"
            ),
        }
    }
}

impl core::error::Error for Error {}

impl From<RunError> for Error {
    fn from(error: RunError) -> Self {
        Error::Run(error)
    }
}

/// A classifier with one input and one output. Sessions are, whatever operators they link.
pub trait Model {
    /// The input's format, and its bytes to be filled before a run.
    fn input(&mut self) -> Option<(Format, &mut [u8])>;

    /// One inference.
    ///
    /// # Errors
    /// As [`Session::run`].
    fn infer(&mut self) -> Result<(), RunError>;

    /// The output's format and bytes, after a run.
    fn output(&self) -> Option<(Format, &[u8])>;
}

impl<const OPS: u128> Model for Session<'_, '_, OPS> {
    fn input(&mut self) -> Option<(Format, &mut [u8])> {
        let format = self.plan().input(0)?.into();
        Some((format, self.input_mut(0)?))
    }

    fn infer(&mut self) -> Result<(), RunError> {
        self.run()
    }

    fn output(&self) -> Option<(Format, &[u8])> {
        Some((self.plan().output(0)?.into(), Session::output(self, 0)?))
    }
}

impl From<TensorInfo<'_>> for Format {
    fn from(info: TensorInfo<'_>) -> Self {
        Format {
            dtype: info.dtype,
            scale: info.scale,
            zero_point: info.zero_point,
        }
    }
}

/// Fills the model's input with `values` in its format, without running it.
///
/// # Errors
/// [`Error::Input`] when there are more or fewer values than elements.
pub fn fill(
    model: &mut impl Model,
    mut values: impl Iterator<Item = f32>,
    rounding: Rounding,
) -> Result<(), Error> {
    let missing = Error::Run(RunError::Input { index: 0 });
    let (format, bytes) = model.input().ok_or(missing)?;
    let mut filled = 0usize;
    match format.dtype {
        DType::F32 | DType::I32 => {
            for word in bytes.as_chunks_mut().0 {
                let Some(value) = values.next() else { break };
                *word = match format.dtype {
                    DType::F32 => value.to_le_bytes(),
                    _ => (value as i32).to_le_bytes(),
                };
                filled += 4;
            }
        }
        DType::I8 | DType::U8 => {
            let (least, most) = match format.dtype {
                DType::I8 => (-128, 127),
                _ => (0, 255),
            };
            for byte in bytes.iter_mut() {
                let Some(value) = values.next() else { break };
                let steps = value / format.scale + format.zero_point as f32;
                let steps = match rounding {
                    Rounding::Nearest => libm::rintf(steps),
                    Rounding::TowardsZero => steps,
                };
                // The conversion is towards zero; what is not a number becomes 0. (`clamp` would check its bounds with a panic.)
                *byte = (steps as i32).max(least).min(most) as u8;
                filled += 1;
            }
        }
    }
    let element = format.dtype.size();
    match values.count() {
        0 if filled == bytes.len() => Ok(()),
        rest => Err(Error::Input {
            expected: filled / element + rest,
        }),
    }
}

/// The scores of the model's last run, as reals.
///
/// # Errors
/// [`Error::Output`] when the model has another number of scores.
pub fn scores<const CLASSES: usize>(model: &impl Model) -> Result<[f32; CLASSES], Error> {
    let missing = Error::Run(RunError::Output { index: 0 });
    let (format, bytes) = model.output().ok_or(missing)?;
    let mut scores = [0.0; CLASSES];
    let element = format.dtype.size();
    if bytes.len() != CLASSES * element {
        return Err(Error::Output { expected: CLASSES });
    }
    for (score, element) in scores.iter_mut().zip(bytes.chunks_exact(element)) {
        *score = match (format.dtype, element) {
            (DType::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            (DType::I32, &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]) as f32,
            (DType::I8, &[a]) => (i32::from(a as i8) - format.zero_point) as f32 * format.scale,
            (_, &[a, ..]) => (i32::from(a) - format.zero_point) as f32 * format.scale,
            (_, []) => 0.0,
        };
    }
    Ok(scores)
}

/// Index of the greatest score, the first one of several; 0 without scores.
pub fn best(scores: &[f32]) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (index, &score) in scores.iter().enumerate() {
        if score > best.1 {
            best = (index, score);
        }
    }
    best.0
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A model that puts out the first bytes of its input.
    pub(crate) struct Echo<const INPUT: usize, const OUTPUT: usize> {
        pub(crate) format: Format,
        pub(crate) input: [u8; INPUT],
        pub(crate) output: [u8; OUTPUT],
    }

    impl<const INPUT: usize, const OUTPUT: usize> Echo<INPUT, OUTPUT> {
        pub(crate) fn new(dtype: DType, scale: f32, zero_point: i32) -> Self {
            let format = Format {
                dtype,
                scale,
                zero_point,
            };
            Echo {
                format,
                input: [0; INPUT],
                output: [0; OUTPUT],
            }
        }
    }

    impl<const INPUT: usize, const OUTPUT: usize> Model for Echo<INPUT, OUTPUT> {
        fn input(&mut self) -> Option<(Format, &mut [u8])> {
            Some((self.format, &mut self.input))
        }

        fn infer(&mut self) -> Result<(), RunError> {
            for (to, from) in self.output.iter_mut().zip(&self.input) {
                *to = *from;
            }
            Ok(())
        }

        fn output(&self) -> Option<(Format, &[u8])> {
            Some((self.format, &self.output))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Echo;
    use super::*;

    #[test]
    fn reals_become_the_models_elements_and_scores_reals() {
        let mut model = Echo::<6, 3>::new(DType::I8, 0.5, 10);
        let values = [0.24, -0.26, 100.0, -100.0, f32::NAN, 0.75];
        fill(&mut model, values.into_iter(), Rounding::Nearest).unwrap();
        // 0.75 is 11.5 steps: the even one.
        assert_eq!(model.input.map(|b| b as i8), [10, 9, 127, -128, 0, 12]);
        fill(&mut model, values.into_iter(), Rounding::TowardsZero).unwrap();
        assert_eq!(model.input.map(|b| b as i8), [10, 9, 127, -128, 0, 11]);
        model.infer().unwrap();
        assert_eq!(scores::<3>(&model), Ok([0.0, -0.5, 58.5]));
        assert_eq!(scores::<2>(&model), Err(Error::Output { expected: 2 }));

        let mut model = Echo::<2, 2>::new(DType::U8, 2.0, 128);
        fill(&mut model, [-256.0, 400.0].into_iter(), Rounding::Nearest).unwrap();
        assert_eq!(model.input, [0, 255]);
        model.infer().unwrap();
        assert_eq!(scores::<2>(&model), Ok([-256.0, 254.0]));

        let mut model = Echo::<8, 4>::new(DType::F32, 0.0, 0);
        fill(&mut model, [1.5, -2.0].into_iter(), Rounding::Nearest).unwrap();
        model.infer().unwrap();
        assert_eq!(scores::<1>(&model), Ok([1.5]));
    }

    #[test]
    fn another_number_of_values_is_refused() {
        let mut model = Echo::<2, 1>::new(DType::I8, 1.0, 0);
        for count in [1, 3, 7] {
            assert_eq!(
                fill(
                    &mut model,
                    core::iter::repeat_n(0.0, count),
                    Rounding::Nearest
                ),
                Err(Error::Input { expected: count })
            );
        }
    }

    #[test]
    fn the_first_of_the_greatest_is_the_best() {
        assert_eq!(best(&[0.0, 2.0, f32::NAN, 2.0, 1.0]), 1);
        assert_eq!(best(&[]), 0);
    }
}
