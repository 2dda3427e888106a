//! The applications from recorded input to answer, on every emulated board that has the memory, against the same library on
//! this machine: the same scores and decisions, bit for bit.

use kinglet_apps::image::Pixels;
use kinglet_export::compile::Target;
use kinglet_export::emulate::{App, BOARDS, Look, frame};
use kinglet_tests::apps::{self, Picture, best, bytes, file, on_board};
use kinglet_tests::random::Random;
use kinglet_tests::zoo;
use std::f64::consts::TAU;
use std::path::PathBuf;

const VIEW_AS_IS: (f32, f32) = (1.0, 0.0);

/// Learnt from generated sound: a low tone, a high one, one that rises, noise.
fn tones_model() -> PathBuf {
    file("boards/apps/models/tones_int8.onnx")
}

/// `seconds` of a class of sound.
fn sound(class: usize, seconds: f64, random: &mut Random) -> Vec<i16> {
    let count = (seconds * 16_000.0) as usize;
    (0..count)
        .map(|n| {
            let t = n as f64 / 16_000.0;
            let noise = random.below(1 << 16) as f64 / 65536.0 - 0.5;
            let tone = |pitch: f64| 8000.0 * (TAU * pitch * t).sin() + 1500.0 * noise;
            let value = match class {
                0 => tone(400.0),
                1 => tone(2000.0),
                // As high at its end as the second.
                2 => tone(400.0 + 800.0 * t),
                _ => 5000.0 * noise,
            };
            value as i16
        })
        .collect()
}

/// One second of each class, then a low tone that turns into a high one.
fn sounds() -> Vec<Vec<u8>> {
    let mut random = Random::new(5);
    let mut recordings: Vec<_> = (0..4).map(|c| bytes(&sound(c, 1.0, &mut random))).collect();
    let turn = [sound(0, 1.25, &mut random), sound(1, 2.5, &mut random)].concat();
    recordings.push(bytes(&turn));
    recordings
}

fn sound_on_the_host() -> Vec<Look> {
    apps::keywords::<4>(&apps::plan(&tones_model(), Target::Host), &sounds())
}

#[test]
fn every_tone_is_heard_and_a_turn_is_noticed() {
    let looks = sound_on_the_host();
    assert_eq!(
        looks.len(),
        4 + 28,
        "four clips, and 137 hops after the first second by fives"
    );
    for (class, look) in looks[..4].iter().enumerate() {
        assert_eq!((look.recording, look.taken, best(look)), (class, 50, class));
        assert_eq!(look.decision, None, "one look decides nothing");
    }
    let decided: Vec<_> = looks[4..].iter().filter_map(|look| look.decision).collect();
    assert_eq!(
        (decided.first(), decided.last()),
        (Some(&0), Some(&1)),
        "{decided:?}"
    );
}

fn keywords(board: &str) {
    let run = on_board(board, App::Keywords, &tones_model(), &sounds(), VIEW_AS_IS);
    assert_eq!(run.looks, sound_on_the_host());
    assert_eq!((run.before.times, run.model.times), (4 * 50 + 187, 32));
}

/// Movements that the activity model has never seen: only that both machines see the same is known of them.
fn movements() -> Vec<Vec<u8>> {
    let movement = |speed: f64| {
        let counts = (0..420).flat_map(move |n| {
            let angle = speed * f64::from(n) * TAU / 52.0;
            let axes = [
                angle.sin(),
                angle.cos(),
                0.3,
                (2.0 * angle).sin(),
                -angle.sin(),
                0.1,
            ];
            axes.map(|axis| (axis * 9000.0) as i16)
        });
        bytes(&counts.collect::<Vec<_>>())
    };
    vec![movement(0.4), movement(1.1)]
}

fn activity_model() -> PathBuf {
    file("boards/apps/models/activity_int8.onnx")
}

fn activity(board: &str) {
    let run = on_board(
        board,
        App::Activity,
        &activity_model(),
        &movements(),
        VIEW_AS_IS,
    );
    let host = apps::activities::<7>(&apps::plan(&activity_model(), Target::Host), &movements());
    // Looks at 100, 150, … 400 measurements.
    assert_eq!(host.len(), 2 * 7);
    assert_eq!(
        host.iter().filter(|look| look.decision.is_some()).count(),
        2 * 5
    );
    assert_eq!(run.looks, host);
    assert_eq!(run.before.times, 2 * 420);
}

/// The digits as a camera sees them: each pixel four times, between borders that are cut off.
fn digits() -> (Vec<Picture>, Vec<u8>) {
    let images = zoo::reals(&zoo::tensor(&file("tests/models/digits_images.npy")).data);
    let labels = zoo::reals(&zoo::tensor(&file("tests/models/digits_labels.npy")).data);
    let pictures = images.chunks(64).map(|image| {
        let pixel = |x: usize, y: usize| match x {
            4..20 => (image[y / 2 * 8 + (x - 4) / 2] * 240.0) as u8,
            _ => 77,
        };
        let pixels = (0..16).flat_map(|y| (0..24).map(move |x| (x, y)));
        (24, 16, pixels.map(|(x, y)| pixel(x, y)).collect())
    });
    let labels = labels.iter().map(|&label| label as u8).collect();
    (pictures.collect(), labels)
}

/// A sixteenth, the step of the pictures, is 15.
const DIGITS_VIEW: (f32, f32) = (1.0 / 240.0, 0.0);

fn images(board: &str) {
    let model = file("tests/models/digits_int8.onnx");
    let (pictures, labels) = digits();
    let frames: Vec<_> = pictures
        .iter()
        .map(|(width, height, bytes)| {
            frame(
                *width as u32,
                *height as u32,
                kinglet_export::emulate::Pixels::Grey8,
                bytes,
            )
        })
        .collect();
    let run = on_board(board, App::Images, &model, &frames, DIGITS_VIEW);
    let plan = apps::plan(&model, Target::Host);
    let host = apps::images::<10>(&plan, Pixels::Grey8, &pictures, DIGITS_VIEW);
    assert_eq!(run.looks, host);
    let right = host.iter().zip(&labels);
    let right = right.filter(|(look, label)| look.decision == Some((**label).into()));
    assert_eq!(host.len(), 32);
    assert!(right.count() >= 31, "the digits are recognised");
}

macro_rules! on_boards {
    ($($module:ident: $name:literal: $($app:ident)*;)*) => {
        $(
            mod $module {
                $(
                    #[test]
                    fn $app() {
                        super::$app($name);
                    }
                )*
            }
        )*

        #[test]
        fn every_board_is_tested() {
            assert!(BOARDS.iter().map(|board| board.name).eq([$($name),*]));
        }
    };
}

on_boards! {
    m4f: "mps2-an386": keywords activity images;
    m7: "mps2-an500": keywords activity images;
    m33: "mps2-an505": keywords activity images;
    m55: "mps3-an547": keywords activity images;
    m3: "mps2-an385": keywords activity images;
    // 16 KiB of RAM: too little for a second of frames and the transform's stack.
    m0: "microbit": activity images;
    riscv: "riscv32-virt": keywords activity images;
    a53: "cortex-a53-virt": keywords activity images;
    a76: "cortex-a76-virt": images;
    i8mm: "aarch64-i8mm-virt": images;
}
