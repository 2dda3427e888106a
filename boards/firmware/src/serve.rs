//! The sample loop.

use crate::counter::InstructionCounter;
use crate::failure::Failure;
use crate::host::{File, Name};
use crate::stack;
use embedded_hal::digital::OutputPin;
use kinglet::{RunError, Session};

/// Runs every sample of `input.bin`; without that file, one sample of zeros.
///
/// `busy` is high during each inference, for a logic analyser or an energy meter; it is switched outside the counted
/// interval.
///
/// `report.bin` receives the number of steps (0 without the feature `steps`), then for each sample: instructions of
/// the inference, peak stack in bytes, and the instructions of each step.
///
/// # Errors
/// [`Failure`] says which file, sample or step is wrong.
pub(crate) fn serve<const OPS: u128>(
    session: &mut Session<'_, '_, OPS>,
    counter: &mut impl InstructionCounter,
    busy: &mut impl OutputPin,
) -> Result<(), Failure> {
    let plan = session.plan();
    defmt::info!(
        "plan: {=usize} steps, arena {=usize} bytes",
        plan.step_count(),
        plan.arena_len()
    );
    let output = File::create(Name::Output)?;
    let report = File::create(Name::Report)?;
    let step_count = if cfg!(feature = "steps") {
        plan.step_count()
    } else {
        0
    };
    write_word(&report, step_count as u64)?;
    #[cfg(feature = "steps")]
    let (steps, mut position) = (File::create(Name::Steps)?, 0);

    let input = File::open(Name::Input).ok();
    if input.is_none() {
        defmt::warn!("no input.bin: one inference on zeros");
    }
    let mut samples = 0usize;
    while let Some(length) = read_sample(session, input.as_ref(), samples)? {
        let paint = stack::paint();
        let _ = busy.set_high();
        counter.start();
        let result = infer(session);
        let instructions = counter.stop();
        let _ = busy.set_low();
        let peak = paint.peak()?;
        result?;

        for index in 0..session.plan().output_count() {
            output.write(session.output(index).ok_or(Failure::Tensor(index))?)?;
        }
        write_word(&report, instructions)?;
        write_word(&report, peak as u64)?;
        #[cfg(feature = "steps")]
        {
            if let Some(input) = &input {
                input.seek(position)?;
            }
            read_sample(session, input.as_ref(), 0)?;
            crate::steps::observe(session, counter, &steps, &report)?;
            position += length;
        }
        #[cfg(not(feature = "steps"))]
        let _ = length;
        samples += 1;
    }
    defmt::info!("{=usize} samples done", samples);
    Ok(())
}

/// The counted part. A call of its own, so that nothing else moves into the interval.
#[inline(never)]
fn infer<const OPS: u128>(session: &mut Session<'_, '_, OPS>) -> Result<(), RunError> {
    session.run()
}

/// Fills all inputs with the next sample; its length, or `None` after the last.
fn read_sample<const OPS: u128>(
    session: &mut Session<'_, '_, OPS>,
    file: Option<&File>,
    samples: usize,
) -> Result<Option<usize>, Failure> {
    let mut length = 0;
    for index in 0..session.plan().input_count() {
        let bytes = session.input_mut(index).ok_or(Failure::Tensor(index))?;
        let Some(file) = file else {
            if samples > 0 {
                return Ok(None);
            }
            bytes.fill(0);
            continue;
        };
        let read = file.read(bytes)?;
        if read == 0 && length == 0 {
            return Ok(None);
        }
        if read != bytes.len() {
            return Err(Failure::SampleCutOff);
        }
        length += read;
    }
    Ok(Some(length))
}

pub(crate) fn write_word(file: &File, word: u64) -> Result<(), Failure> {
    file.write(&word.to_le_bytes())
}
