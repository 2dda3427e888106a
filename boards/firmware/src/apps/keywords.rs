//! Keywords in recorded sound: 16-bit samples at 16 kHz.

use super::Results;
use super::recording::Recordings;
use crate::board::Board;
use crate::counter::Calibrated;
use crate::failure::Failure;
use crate::programs::finish;
use crate::stack;
use kinglet::{Session, SessionError};
use kinglet_apps::keywords::{HOP, Keywords};

/// The program; see [`app!`](crate::app).
pub fn keywords<B: Board, const OPS: u128, const CLASSES: usize>(
    session: Result<&mut Session<'static, '_, OPS>, &mut SessionError>,
    state: &'static mut Keywords<CLASSES>,
) -> ! {
    let (counter, _) = B::start();
    let mut counter = Calibrated::new(counter);
    finish(session.map_err(|_| Failure::Start).and_then(|session| {
        let mut results = Results::new(&mut counter)?;
        let mut recordings = Recordings::open()?;
        let mut bytes = [0; 2 * HOP];
        let mut hop = [0; HOP];
        while let Some((number, mut recording)) = recordings.next()? {
            state.clear();
            let mut taken = 0u32;
            while recording.read(&mut bytes)? {
                for (sample, bytes) in hop.iter_mut().zip(bytes.as_chunks().0) {
                    *sample = i16::from_le_bytes(*bytes);
                }
                taken += 1;
                // Painting costs as much as the front end: at every tenth hop, which half of the looks are at.
                let paint = taken.is_multiple_of(10).then(stack::paint);
                let due = results.before(|| state.listen(&hop));
                if due {
                    let heard = results.look(|| state.look(session))?;
                    results.write(number, taken, heard.decision, &heard.scores)?;
                }
                if let Some(paint) = paint {
                    results.stack = results.stack.max(paint.peak()?);
                }
            }
        }
        results.finish()
    }))
}
