//! Activities in recorded measurements, through the driver and a recorded sensor on I²C: six 16-bit counts each, acceleration
//! along x, y, z and rotation about x, y, z.

use super::Results;
use super::recording::{Recording, Recordings};
use crate::board::Board;
use crate::counter::Calibrated;
use crate::failure::Failure;
use crate::programs::finish;
use crate::stack;
use core::cell::Cell;
use kinglet::{Session, SessionError};
use kinglet_apps::activity::{Activity, LENGTH};
use kinglet_apps::imu::{self, Lsm6ds, OverI2c, Sample};
use kinglet_apps::recorded::{Imu, NoDelay};

/// The program; see [`app!`](crate::app).
pub fn activity<B: Board, const OPS: u128, const CLASSES: usize>(
    session: Result<&mut Session<'static, '_, OPS>, &mut SessionError>,
    state: &'static mut Activity<CLASSES, LENGTH>,
) -> ! {
    let (counter, _) = B::start();
    let mut counter = Calibrated::new(counter);
    finish(session.map_err(|_| Failure::Start).and_then(|session| {
        let mut results = Results::new(&mut counter)?;
        let mut recordings = Recordings::open()?;
        while let Some((number, mut recording)) = recordings.next()? {
            state.clear();
            let mut taken = 0;
            // The first error of the file ends the recording, and is looked at behind it.
            let failed = Cell::new(None);
            let samples = core::iter::from_fn(|| {
                sample(&mut recording).unwrap_or_else(|failure| {
                    failed.set(Some(failure));
                    None
                })
            });
            let bus = OverI2c {
                bus: Imu::new(samples),
                address: imu::ADDRESS,
            };
            let mut sensor = Lsm6ds::start(bus, &mut NoDelay).map_err(|_| Failure::Sensor)?;
            loop {
                let sample = match sensor.wait(&mut NoDelay) {
                    Ok(sample) => sample,
                    Err(imu::Error::NotReady) => break,
                    Err(_) => return Err(Failure::Sensor),
                };
                taken += 1;
                if results.before(|| state.collect(sample)) {
                    let paint = stack::paint();
                    let seen = results.look(|| state.look(session))?;
                    results.stack = results.stack.max(paint.peak()?);
                    results.write(number, taken, seen.decision, &seen.scores)?;
                }
            }
            if let Some(failure) = failed.get() {
                return Err(failure);
            }
        }
        results.finish()
    }))
}

/// The next measurement of a recording.
fn sample(recording: &mut Recording) -> Result<Option<Sample>, Failure> {
    let mut bytes = [0; 12];
    if !recording.read(&mut bytes)? {
        return Ok(None);
    }
    let mut sample = Sample::default();
    let axes = sample.acceleration.iter_mut().chain(&mut sample.rotation);
    for (axis, bytes) in axes.zip(bytes.as_chunks().0) {
        *axis = i16::from_le_bytes(*bytes);
    }
    Ok(Some(sample))
}
