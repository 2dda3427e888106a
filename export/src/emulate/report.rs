//! The files that the firmware leaves; `boards/firmware/src/lib.rs` describes them.

use super::{EmulateError, Mode, file_error};
use kinglet::Plan;
use std::fs;
use std::path::Path;

/// Words of `report.bin` before the steps' counts, for each sample.
const WORDS_PER_SAMPLE: usize = 2;

/// What the firmware wrote.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Results {
    pub(super) outputs: Vec<Vec<u8>>,
    pub(super) instructions: Vec<u64>,
    pub(super) stack_peak: u64,
    pub(super) step_outputs: Vec<Vec<Vec<u8>>>,
    pub(super) step_instructions: Vec<Vec<u64>>,
}

/// Reads the results of `samples` samples from `folder`.
pub(super) fn read(
    folder: &Path,
    plan: &Plan<'_>,
    samples: usize,
    mode: Mode,
) -> Result<Results, EmulateError> {
    let output_len = (0..plan.output_count())
        .filter_map(|index| plan.output(index))
        .map(|output| output.len)
        .sum();
    let outputs = split_outputs(&bytes(folder, "output.bin")?, output_len, samples)?;
    let steps = if mode == Mode::Run {
        0
    } else {
        plan.step_count()
    };
    let (instructions, stack_peak, step_instructions) =
        split_report(&words(folder)?, steps, samples)?;
    let step_outputs = match mode {
        Mode::Steps => split_steps(&bytes(folder, "steps.bin")?, steps, samples)?,
        Mode::Run | Mode::Profile => Vec::new(),
    };
    Ok(Results {
        outputs,
        instructions,
        stack_peak,
        step_outputs,
        step_instructions,
    })
}

/// The words of `report.bin`.
pub(super) fn words(folder: &Path) -> Result<Vec<u64>, EmulateError> {
    let bytes = bytes(folder, "report.bin")?;
    match bytes.as_chunks() {
        (words, []) => Ok(words.iter().map(|word| u64::from_le_bytes(*word)).collect()),
        _ => Err(EmulateError::Results(format!(
            "report.bin has {} bytes, which are no words",
            bytes.len()
        ))),
    }
}

/// A file that the firmware wrote.
pub(super) fn bytes(folder: &Path, name: &str) -> Result<Vec<u8>, EmulateError> {
    let path = folder.join(name);
    fs::read(&path).map_err(file_error("reading", path))
}

fn split_outputs(bytes: &[u8], len: usize, samples: usize) -> Result<Vec<Vec<u8>>, EmulateError> {
    if bytes.len() != len * samples {
        let found = bytes.len();
        return Err(EmulateError::Results(format!(
            "{samples} outputs of {len} bytes expected, {found} bytes found"
        )));
    }
    if len == 0 {
        return Ok(vec![Vec::new(); samples]);
    }
    Ok(bytes.chunks_exact(len).map(<[u8]>::to_vec).collect())
}

/// Instructions of each sample, the highest stack, and the instructions of each step.
type Counts = (Vec<u64>, u64, Vec<Vec<u64>>);

fn split_report(words: &[u64], steps: usize, samples: usize) -> Result<Counts, EmulateError> {
    let per_sample = WORDS_PER_SAMPLE + steps;
    let (written_steps, rest) = words
        .split_first()
        .map_or((0, words), |(first, rest)| (*first, rest));
    if written_steps != steps as u64 || rest.len() != per_sample * samples {
        return Err(EmulateError::Results(format!(
            "report.bin has {} words for {written_steps} steps; {samples} samples of {steps} steps expected",
            words.len()
        )));
    }
    let mut counts: Counts = (Vec::new(), 0, Vec::new());
    for sample in rest.chunks_exact(per_sample) {
        let (totals, of_steps) = sample.split_at(WORDS_PER_SAMPLE);
        counts.0.push(totals[0]);
        counts.1 = counts.1.max(totals[1]);
        if steps > 0 {
            counts.2.push(of_steps.to_vec());
        }
    }
    Ok(counts)
}

fn split_steps(
    bytes: &[u8],
    steps: usize,
    samples: usize,
) -> Result<Vec<Vec<Vec<u8>>>, EmulateError> {
    let cut_off = || EmulateError::Results("steps.bin is cut off".to_owned());
    let mut rest = bytes;
    let mut of_samples = Vec::with_capacity(samples);
    for _ in 0..samples {
        let mut of_steps = Vec::with_capacity(steps);
        for _ in 0..steps {
            let (len, tail) = rest.split_first_chunk().ok_or_else(cut_off)?;
            let (output, tail) = tail
                .split_at_checked(u32::from_le_bytes(*len) as usize)
                .ok_or_else(cut_off)?;
            of_steps.push(output.to_vec());
            rest = tail;
        }
        of_samples.push(of_steps);
    }
    if rest.is_empty() {
        Ok(of_samples)
    } else {
        Err(EmulateError::Results(format!(
            "steps.bin has {} bytes too many",
            rest.len()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_belong_to_their_sample_and_step() {
        let (instructions, stack, steps) =
            split_report(&[2, 100, 48, 60, 39, 101, 56, 61, 40], 2, 2).unwrap();
        assert_eq!(
            (instructions, stack, steps),
            (vec![100, 101], 56, vec![vec![60, 39], vec![61, 40]])
        );
        let (instructions, _, steps) = split_report(&[0, 7, 8], 0, 1).unwrap();
        assert_eq!((instructions, steps), (vec![7], Vec::new()));
    }

    #[test]
    fn a_report_of_other_samples_or_steps_is_refused() {
        for words in [&[][..], &[0], &[0, 7], &[1, 7, 8, 9], &[0, 7, 8, 9, 10]] {
            assert!(
                matches!(split_report(words, 0, 1), Err(EmulateError::Results(_))),
                "{words:?}"
            );
        }
    }

    #[test]
    fn steps_are_read_by_their_lengths() {
        let bytes = [1, 0, 0, 0, 9, 2, 0, 0, 0, 8, 7];
        assert_eq!(
            split_steps(&bytes, 2, 1).unwrap(),
            vec![vec![vec![9], vec![8, 7]]]
        );
        assert!(split_steps(&bytes[..10], 2, 1).is_err());
        assert!(split_steps(&bytes, 1, 1).is_err());
        assert!(split_steps(&bytes, 3, 1).is_err());
    }

    #[test]
    fn outputs_must_be_complete() {
        assert_eq!(
            split_outputs(&[1, 2, 3, 4], 2, 2).unwrap(),
            vec![vec![1, 2], vec![3, 4]]
        );
        assert!(split_outputs(&[1, 2, 3], 2, 2).is_err());
    }
}
