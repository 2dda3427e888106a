//! Classes of recorded frames. The first two recordings are factor and offset of the [`View`], an `f32` each; every other one is
//! a frame: `u32` width, height and pixels (0 grey, 1 RGB565, 2 RGB888), and the pixels.

use super::Results;
use super::recording::Recordings;
use crate::board::Board;
use crate::counter::Calibrated;
use crate::failure::Failure;
use crate::programs::finish;
use crate::stack;
use kinglet::{Session, SessionError};
use kinglet_apps::image::{self, Camera, Frame, FrameError, Pixels, View};
use kinglet_apps::model;

/// The program; see [`images!`](crate::images).
pub fn images<B: Board, const OPS: u128, const CLASSES: usize>(
    session: Result<&mut Session<'static, '_, OPS>, &mut SessionError>,
    buffer: &'static mut [u8],
) -> ! {
    let (counter, _) = B::start();
    let mut counter = Calibrated::new(counter);
    finish(session.map_err(|_| Failure::Start).and_then(|session| {
        let input = session.plan().input(0).ok_or(Failure::Tensor(0))?;
        let mut results = Results::new(&mut counter)?;
        let mut recordings = Recordings::open()?;
        let view = View {
            factor: recordings.number()?,
            offset: recordings.number()?,
            ..View::of_shape(input.shape()).ok_or(Failure::AnotherModel)?
        };
        let mut camera = Recorded { recordings, buffer };
        let mut taken = 0;
        while let Some(frame) = camera.capture()? {
            let paint = stack::paint();
            results.before(|| image::see(&frame, &view, session))?;
            let scores = results.look(|| {
                session.run()?;
                Ok::<_, Failure>(model::scores::<CLASSES>(session)?)
            })?;
            results.write(taken, 1, Some(model::best(&scores)), &scores)?;
            taken += 1;
            results.stack = results.stack.max(paint.peak()?);
        }
        results.finish()
    }))
}

/// A camera whose frames are files.
struct Recorded {
    recordings: Recordings,
    buffer: &'static mut [u8],
}

impl Camera for Recorded {
    type Error = Failure;

    fn capture(&mut self) -> Result<Option<Frame<'_>>, Failure> {
        let Some((_, mut recording)) = self.recordings.next()? else {
            return Ok(None);
        };
        let mut header = [[0; 4]; 3];
        if !recording.read(header.as_flattened_mut())? {
            return Err(Failure::SampleCutOff);
        }
        let [width, height, pixels] = header.map(|word| u32::from_le_bytes(word) as usize);
        let bytes = self
            .buffer
            .get_mut(..recording.rest())
            .ok_or(Failure::Frame)?;
        recording.read(bytes)?;
        Ok(Some(Frame {
            width,
            height,
            pixels: match pixels {
                0 => Pixels::Grey8,
                1 => Pixels::Rgb565,
                _ => Pixels::Rgb888,
            },
            bytes,
        }))
    }
}

impl From<FrameError> for Failure {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Model(error) => error.into(),
            _ => Failure::Frame,
        }
    }
}
