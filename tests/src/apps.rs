//! The applications on this machine: the library that the boards run, over the same recordings.

use crate::zoo;
use kinglet::{DynSession, Plan};
use kinglet_apps::activity::{self, Activity};
use kinglet_apps::image::{self, Frame, Pixels, View};
use kinglet_apps::imu::{ADDRESS, Error, Lsm6ds, OverI2c, Sample};
use kinglet_apps::keywords::{Keywords, Settings};
use kinglet_apps::model;
use kinglet_apps::recorded::{Imu, NoDelay};
use kinglet_export::compile::{CompileOptions, Target};
use kinglet_export::emulate::{App, AppRequest, AppRun, Look, board, emulate_app};
use kinglet_export::host::AlignedBytes;
use kinglet_export::model::Model;
use kinglet_export::onnx::LoadOptions;
use std::path::{Path, PathBuf};

/// A model of this source tree.
pub fn file(path: &str) -> PathBuf {
    crate::root().join(path)
}

/// The plan of a model.
///
/// # Panics
/// It is refused.
pub fn plan(path: &Path, target: Target) -> Vec<u8> {
    let options = CompileOptions {
        target,
        ..CompileOptions::default()
    };
    let model = Model::open(path, &LoadOptions::default(), &options);
    model.unwrap_or_else(|error| panic!("{error}")).plan
}

/// A session of the plan for `use_session`.
fn with_session<T>(plan: &[u8], use_session: impl FnOnce(&mut DynSession<'_, '_>) -> T) -> T {
    let bytes = AlignedBytes::from(plan);
    let plan = Plan::parse(bytes.bytes()).expect("a compiled plan");
    let mut arena = AlignedBytes::zeroed(plan.arena_len());
    use_session(&mut DynSession::new(plan, arena.bytes_mut()).expect("it starts"))
}

/// Little-endian 16-bit numbers.
pub fn numbers(bytes: &[u8]) -> Vec<i16> {
    let words = bytes.as_chunks().0.iter();
    words.map(|word| i16::from_le_bytes(*word)).collect()
}

/// Little-endian bytes.
pub fn bytes(numbers: &[i16]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

/// Keywords in recordings.
///
/// # Panics
/// The model is another.
pub fn keywords<const CLASSES: usize>(plan: &[u8], recordings: &[Vec<u8>]) -> Vec<Look> {
    with_session(plan, |session| {
        let mut state = Keywords::<CLASSES>::new(Settings::TINY);
        let mut looks = Vec::new();
        for (recording, sound) in recordings.iter().enumerate() {
            state.clear();
            for (index, hop) in numbers(sound).as_chunks().0.iter().enumerate() {
                let heard = state.hear(hop, session).expect("the model fits");
                looks.extend(heard.map(|heard| Look {
                    recording,
                    taken: index + 1,
                    decision: heard.decision,
                    scores: heard.scores.to_vec(),
                }));
            }
        }
        looks
    })
}

/// Activities in recordings, through the driver.
///
/// # Panics
/// The model is another, or the driver does not work.
pub fn activities<const CLASSES: usize>(plan: &[u8], recordings: &[Vec<u8>]) -> Vec<Look> {
    with_session(plan, |session| {
        let mut state = Activity::<CLASSES, { activity::LENGTH }>::new(activity::RULE);
        let mut looks = Vec::new();
        for (recording, counts) in recordings.iter().enumerate() {
            state.clear();
            let counts = numbers(counts);
            let samples = counts.as_chunks().0.iter();
            let samples = samples.map(|&[ax, ay, az, rx, ry, rz]| Sample {
                acceleration: [ax, ay, az],
                rotation: [rx, ry, rz],
            });
            let bus = OverI2c {
                bus: Imu::new(samples),
                address: ADDRESS,
            };
            let mut sensor = Lsm6ds::start(bus, &mut NoDelay).expect("it answers");
            for taken in 1.. {
                let sample = match sensor.wait(&mut NoDelay) {
                    Ok(sample) => sample,
                    Err(Error::NotReady) => break,
                    Err(error) => panic!("{error:?}"),
                };
                let seen = state.measure(sample, session).expect("the model fits");
                looks.extend(seen.map(|seen| Look {
                    recording,
                    taken,
                    decision: seen.decision,
                    scores: seen.scores.to_vec(),
                }));
            }
        }
        looks
    })
}

/// A camera's frame: width, height, bytes.
pub type Picture = (usize, usize, Vec<u8>);

/// Classes of frames.
///
/// # Panics
/// The model is another.
pub fn images<const CLASSES: usize>(
    plan: &[u8],
    pixels: Pixels,
    frames: &[Picture],
    (factor, offset): (f32, f32),
) -> Vec<Look> {
    with_session(plan, |session| {
        let view = session
            .plan()
            .input(0)
            .and_then(|input| View::of_shape(input.shape()));
        let view = View {
            factor,
            offset,
            ..view.expect("a model of images")
        };
        let looks = frames
            .iter()
            .enumerate()
            .map(|(recording, (width, height, bytes))| {
                let frame = Frame {
                    width: *width,
                    height: *height,
                    pixels,
                    bytes,
                };
                let scores =
                    image::classify::<CLASSES>(&frame, &view, session).expect("the frame fits");
                Look {
                    recording,
                    taken: 1,
                    decision: Some(model::best(&scores)),
                    scores: scores.to_vec(),
                }
            });
        looks.collect()
    })
}

/// The application on an emulated board.
///
/// # Panics
/// It does not run there.
pub fn on_board(
    name: &str,
    app: App,
    model: &Path,
    recordings: &[Vec<u8>],
    view: (f32, f32),
) -> AppRun {
    let board = board(name).expect("a board");
    let request = AppRequest {
        board,
        app,
        plan: &plan(model, board.plan_target),
        recordings,
        view,
    };
    let run = emulate_app(&request, &|_| {}).unwrap_or_else(|error| panic!("{name}: {error}"));
    println!(
        "{app:?} on {name}: before {:?}, looks {:?}, RAM {} + {} + {}, flash {}",
        run.before,
        run.model,
        run.arena_bytes,
        run.static_ram_bytes,
        run.stack_peak_bytes,
        run.flash_bytes
    );
    run
}

/// The class with the greatest score.
pub fn best(look: &Look) -> usize {
    let scores: Vec<f64> = look.scores.iter().map(|&s| s.into()).collect();
    zoo::class(&scores)
}
