//! Runs an application on recordings in an emulated board: from the sensor's data to its decisions.
//!
//! The programs and the files that they exchange with the host are those of `boards/firmware/src/apps`.

use super::firmware::{Build, Program};
use super::report::{bytes, words};
use super::{Board, EmulateError, file_error, firmware, image, qemu};
use crate::host::AlignedBytes;
use kinglet::Plan;

/// An application of `boards/apps`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum App {
    /// Words in sound: 16-bit samples at 16 kHz.
    Keywords,
    /// What the wearer of an inertial sensor does: six 16-bit counts a measurement.
    Activity,
    /// The class of a camera's frame; see [`frame`].
    Images,
}

/// What to emulate.
#[derive(Clone, Copy, Debug)]
pub struct AppRequest<'a> {
    /// On which board.
    pub board: &'a Board,
    /// Which application.
    pub app: App,
    /// The plan's bytes.
    pub plan: &'a [u8],
    /// What the sensor gives, little-endian; the application starts anew with each item.
    pub recordings: &'a [Vec<u8>],
    /// For [`App::Images`]: a byte `b` of a frame stands for `b · factor + offset`.
    pub view: (f32, f32),
}

/// One look of the model.
#[derive(Clone, PartialEq, Debug)]
pub struct Look {
    /// At which recording.
    pub recording: usize,
    /// What it had taken by then: hops of 20 ms, measurements, frames.
    pub taken: usize,
    /// What was decided.
    pub decision: Option<usize>,
    /// The model's scores.
    pub scores: Vec<f32>,
}

/// Instructions of something that was done again and again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// All together.
    pub total: u64,
    /// The most that one took.
    pub most: u64,
    /// How often.
    pub times: u64,
}

impl Counts {
    /// The mean of one, rounded down.
    pub fn mean(&self) -> u64 {
        self.total / self.times.max(1)
    }
}

/// What the application did.
#[derive(Clone, PartialEq, Debug)]
pub struct AppRun {
    /// What the model saw and what was decided.
    pub looks: Vec<Look>,
    /// Work before the model: for each hop, measurement or frame.
    pub before: Counts,
    /// Looks of the model, the way into its input included (for images only the way out).
    pub model: Counts,
    /// Flash that the whole firmware takes, the plan included.
    pub flash_bytes: u64,
    /// The plan.
    pub plan_bytes: u64,
    /// The model's arena.
    pub arena_bytes: u64,
    /// Static RAM without the arena: the application's buffers, above all.
    pub static_ram_bytes: u64,
    /// Most stack in use, counted from the stack's start.
    pub stack_peak_bytes: u64,
    /// The firmware's log, one line a message.
    pub log: Vec<String>,
}

/// How a camera's bytes stand for colours, by the numbers of `boards/apps`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pixels {
    /// One byte.
    Grey8 = 0,
    /// Two bytes, the high one first.
    Rgb565 = 1,
    /// Three bytes.
    Rgb888 = 2,
}

/// A recording of one frame for [`App::Images`].
pub fn frame(width: u32, height: u32, pixels: Pixels, bytes: &[u8]) -> Vec<u8> {
    let header = [width, height, pixels as u32].map(u32::to_le_bytes);
    [header.as_flattened(), bytes].concat()
}

/// Emulates an application on its recordings. `progress` hears of everything that takes time.
///
/// # Errors
///
/// As [`super::emulate`].
pub fn emulate_app(
    request: &AppRequest<'_>,
    progress: &dyn Fn(&str),
) -> Result<AppRun, EmulateError> {
    let aligned = AlignedBytes::from(request.plan);
    let plan = Plan::parse(aligned.bytes())?;
    if request.recordings.is_empty() {
        return Err(EmulateError::NoSamples);
    }
    let classes = plan
        .output(0)
        .map_or(0, |output| output.shape().iter().product());
    let board = request.board;
    if request.app == App::Keywords && board.ram_len < KEYWORDS_RAM {
        return Err(EmulateError::TooLarge {
            board: board.name,
            what: "the keywords' application without its arena",
            needed: KEYWORDS_RAM as u64,
            memory: "RAM",
            available: board.ram_len as u64,
        });
    }
    let toolchain = board.toolchain(progress)?;
    let work =
        tempfile::tempdir().map_err(file_error("creating a folder in", std::env::temp_dir()))?;
    let image_path = work.path().join("firmware.elf");
    let plan_bytes = &aligned.bytes()[..plan.core_len()];
    let build = Build {
        board,
        program: Program::App(request.app),
        plan: Some(plan_bytes),
        key: None,
        steps: false,
    };
    firmware::build(&toolchain, &build, &image_path, progress)?;
    let elf = std::fs::read(&image_path).map_err(file_error("reading", &image_path))?;
    let image = image::Image::parse(&elf)?;

    let (factor, offset) = request.view;
    let view = [factor, offset].map(|number| number.to_le_bytes().to_vec());
    let view = (request.app == App::Images).then_some(view);
    let recordings = view.iter().flatten().chain(request.recordings);
    let input = recordings.flat_map(|recording| {
        let length = u32::try_from(recording.len()).unwrap_or(u32::MAX);
        length
            .to_le_bytes()
            .into_iter()
            .chain(recording.iter().copied())
    });
    let path = work.path().join("input.bin");
    std::fs::write(&path, input.collect::<Vec<u8>>()).map_err(file_error("writing", path))?;
    progress(&format!(
        "{} recordings on {}",
        request.recordings.len(),
        board.name
    ));
    let log = qemu::run(
        &toolchain,
        board,
        &elf,
        &image_path,
        work.path(),
        request.recordings.len(),
    )?;
    let looks = split_looks(&bytes(work.path(), "output.bin")?, classes)?;
    let (before, model, stack_peak_bytes) = split_report(&words(work.path())?)?;
    Ok(AppRun {
        looks,
        before,
        model,
        flash_bytes: image.flash,
        plan_bytes: plan_bytes.len() as u64,
        arena_bytes: image.arena,
        static_ram_bytes: image.ram.saturating_sub(image.arena),
        stack_peak_bytes,
        log,
    })
}

/// What the keywords' application needs at least: the second of frames, and the stack of the transform.
const KEYWORDS_RAM: usize = 20 << 10;

fn split_looks(bytes: &[u8], classes: usize) -> Result<Vec<Look>, EmulateError> {
    let (words, rest) = bytes.as_chunks::<4>();
    let len = 3 + classes;
    if !rest.is_empty() || !words.len().is_multiple_of(len) {
        return Err(EmulateError::Results(format!(
            "output.bin has {} bytes, which are no looks of {classes} scores",
            bytes.len()
        )));
    }
    let looks = words.chunks_exact(len).map(|look| Look {
        recording: u32::from_le_bytes(look[0]) as usize,
        taken: u32::from_le_bytes(look[1]) as usize,
        decision: usize::try_from(i32::from_le_bytes(look[2])).ok(),
        scores: look[3..]
            .iter()
            .map(|word| f32::from_le_bytes(*word))
            .collect(),
    });
    Ok(looks.collect())
}

fn split_report(words: &[u64]) -> Result<(Counts, Counts, u64), EmulateError> {
    let &[
        total,
        most,
        times,
        model_total,
        model_most,
        model_times,
        stack,
    ] = words
    else {
        return Err(EmulateError::Results(format!(
            "report.bin has {} words, an application writes 7",
            words.len()
        )));
    };
    let before = Counts { total, most, times };
    let model = Counts {
        total: model_total,
        most: model_most,
        times: model_times,
    };
    Ok((before, model, stack))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_read_word_by_word() {
        let mut bytes = Vec::new();
        for word in [1u32, 50, u32::MAX, 0.5f32.to_bits(), (-2f32).to_bits()] {
            bytes.extend(word.to_le_bytes());
        }
        let looks = split_looks(&bytes, 2).unwrap();
        assert_eq!(
            looks,
            [Look {
                recording: 1,
                taken: 50,
                decision: None,
                scores: vec![0.5, -2.0],
            }]
        );
        assert!(split_looks(&bytes, 3).is_err());
        assert!(split_looks(&bytes[1..], 2).is_err());
    }

    #[test]
    fn a_report_has_seven_words() {
        let (before, model, stack) = split_report(&[10, 6, 2, 7, 7, 1, 99]).unwrap();
        assert_eq!((before.mean(), model.most, stack), (5, 7, 99));
        assert!(split_report(&[1; 6]).is_err());
    }

    #[test]
    fn sound_is_too_much_for_the_smallest_board() {
        let plan = kinglet::doc_plan();
        let request = AppRequest {
            board: super::super::board("microbit").unwrap(),
            app: App::Keywords,
            plan: &plan,
            recordings: &[Vec::new()],
            view: (1.0, 0.0),
        };
        let error = emulate_app(&request, &|step| panic!("nothing is to be built: {step}"));
        let text = error.unwrap_err().to_string();
        assert!(
            text.starts_with("the model does not fit microbit: the keywords'"),
            "{text}"
        );
    }
}
