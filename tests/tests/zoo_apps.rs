//! The applications on real data with labels: the device's front end against the published features, accuracy from the sensor
//! to the answer, and boards that give this machine's bytes.

use kinglet_apps::image::Pixels;
use kinglet_apps::imu::{MILLI_DEGREES, MILLI_G};
use kinglet_apps::keywords::{FrontEnd, HOP, LABELS};
use kinglet_apps::mfcc::RATE;
use kinglet_export::compile::Target;
use kinglet_export::emulate::{App, DEFAULT_BOARD, Look, frame, recording};
use kinglet_export::graph::Data;
use kinglet_tests::apps::{self, Picture, best, bytes, file, numbers, on_board};
use kinglet_tests::command::script;
use kinglet_tests::{zoo, zoo_claims};
use ndarray::{Array1, Array2, Array4};
use ndarray_npy::{NpzReader, ReadNpyExt, WriteNpyExt};
use std::fs::File;
use std::path::{Path, PathBuf};

zoo_claims! {
    the_published_features_of_an_utterance_come_out: published_features();
    features_are_those_of_the_reference_on_speech: features_on_speech();
    keywords_are_as_right_with_the_devices_front_end: accuracy_of_keywords();
    words_are_heard_in_a_stream_on_the_device: words_in_a_stream();
    exercises_are_told_apart: exercises();
    pictures_are_recognised_in_a_cameras_frames: pictures();
}

fn dataset(path: &str) -> PathBuf {
    zoo::root().join("datasets").join(path)
}

fn keyword_model() -> PathBuf {
    zoo::KWS_INT8.path()
}

fn published() -> (Array4<i8>, Array1<u8>) {
    let path = dataset("mlperf_tiny_kws01/kws01_mfcc_int8.npz");
    let mut archive = NpzReader::new(File::open(path).unwrap()).unwrap();
    (archive.by_name("x").unwrap(), archive.by_name("y").unwrap())
}

fn wav(name: &str) -> Vec<i16> {
    let path = dataset("speech_wavs").join(name);
    numbers(&recording::read(App::Keywords, &path).unwrap())
}

/// What the model gets for one second: the published scale, zero point and rounding.
fn features(clip: &[i16]) -> Vec<i8> {
    let mut front_end = FrontEnd::new();
    for hop in clip.as_chunks::<HOP>().0 {
        front_end.push(hop);
    }
    assert!(front_end.is_full());
    let steps = front_end.features().map(|real| real / 0.584_702_9 + 83.0);
    steps.map(|steps| steps as i8).collect()
}

/// "No" is one of the thousand: its recording is here and its features are published.
fn published_features() {
    let (x, y) = published();
    let found = features(&wav("no_1000ms.wav"));
    let utterance = x
        .outer_iter()
        .position(|u| u.iter().copied().eq(found.iter().copied()));
    let utterance = utterance.expect("every byte is the published one");
    assert_eq!((utterance, LABELS[usize::from(y[utterance])]), (195, "no"));
}

/// `tests/keyword_sound.py`, with or without a count.
fn run_script(arguments: &[&Path]) {
    let status = script("keyword_sound.py").args(arguments).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "tests/keyword_sound.py needs numpy: set KINGLET_PYTHON to a Python that has it"
    );
}

/// The reference's features of the clips.
fn reference(clips: &Array2<i16>) -> Array4<i8> {
    let folder = tempfile::tempdir().unwrap();
    let [sound, features] = ["sound.npy", "features.npy"].map(|name| folder.path().join(name));
    clips.write_npy(File::create(&sound).unwrap()).unwrap();
    run_script(&["features".as_ref(), &sound, &features]);
    Array4::read_npy(File::open(features).unwrap()).unwrap()
}

/// Of so many bytes, those that differ and those that differ by more than one, as shares.
///
/// Reals are cut off to integers, so in silence, where most of them are zero but for rounding, one step says nothing.
fn compare(clips: &Array2<i16>, expected: &Array4<i8>) -> [f64; 2] {
    let (mut different, mut far) = (0, 0);
    for (clip, expected) in clips.outer_iter().zip(expected.outer_iter()) {
        let found = features(clip.as_slice().unwrap());
        for (found, expected) in found.iter().zip(expected) {
            let apart = (i32::from(*found) - i32::from(*expected)).abs();
            different += u32::from(apart > 0);
            far += u32::from(apart > 1);
        }
    }
    let shares = [different, far].map(|count| f64::from(count) / expected.len() as f64);
    println!("{shares:?} of the bytes differ, and by more than one");
    shares
}

/// Recordings of words, and of digits whose samples are doubled for the rate and which are padded with silence.
fn features_on_speech() {
    let mut clips: Vec<_> = ["yes", "no", "noise", "silence"]
        .iter()
        .map(|name| wav(&format!("{name}_1000ms.wav")))
        .collect();
    let path = dataset("free_spoken_digit/fsdd_8khz_s16.npz");
    let mut archive = NpzReader::new(File::open(path).unwrap()).unwrap();
    let audio: Array1<i16> = archive.by_name("audio").unwrap();
    let lengths: Array1<i32> = archive.by_name("lengths").unwrap();
    let mut start = 0;
    for (index, &length) in lengths.iter().enumerate() {
        let word = audio.iter().skip(start).take(length as usize);
        if index % 15 == 0 {
            clips.push(word.flat_map(|&sample| [sample; 2]).collect());
        }
        start += length as usize;
    }
    for clip in &mut clips {
        clip.resize(RATE, 0);
    }
    let clips = Array2::from_shape_vec((clips.len(), RATE), clips.concat()).unwrap();
    let expected = reference(&clips);
    let [different, far] = compare(&clips, &expected);
    assert_eq!(clips.nrows(), 104);
    assert!(different < 0.15 && far == 0.0);
}

/// Utterances whose sound is made from their features; the first of the thousand.
const UTTERANCES: usize = 200;

fn accuracy_of_keywords() {
    let (published, labels) = published();
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound.npy");
    let archive = dataset("mlperf_tiny_kws01/kws01_mfcc_int8.npz");
    let count = UTTERANCES.to_string();
    run_script(&["sound".as_ref(), &archive, count.as_ref(), &sound]);
    let clips = Array2::<i16>::read_npy(File::open(sound).unwrap()).unwrap();
    assert_eq!(clips.dim(), (UTTERANCES, RATE));

    let host_features = reference(&clips);
    let near = host_features.iter().zip(&published);
    let near = near
        .filter(|(a, b)| (i32::from(**a) - i32::from(**b)).abs() <= 1)
        .count();
    assert!(
        near * 100 > host_features.len() * 96,
        "the sound has the published features"
    );
    let [different, far] = compare(&clips, &host_features);
    assert!(different < 0.003 && far < 0.001);

    let recordings: Vec<_> = clips
        .outer_iter()
        .map(|clip| bytes(clip.as_slice().unwrap()))
        .collect();
    let model = keyword_model();
    let device = on_board(
        DEFAULT_BOARD,
        App::Keywords,
        &model,
        &recordings,
        (1.0, 0.0),
    );
    let host = apps::keywords::<12>(&apps::plan(&model, Target::Host), &recordings);
    assert_eq!(device.looks, host);
    assert_eq!(host.len(), UTTERANCES);

    // The model alone, with the reference's features of the same sound.
    let samples: Vec<Vec<u8>> = host_features
        .outer_iter()
        .map(|clip| clip.iter().map(|&value| value as u8).collect())
        .collect();
    let outputs = zoo::run_on_host(&zoo::KWS_INT8.open(), &samples);
    let right = |classes: &[usize]| {
        let right = classes
            .iter()
            .zip(&labels)
            .filter(|(class, label)| **class == usize::from(**label));
        right.count() as f64 / classes.len() as f64
    };
    let pipeline: Vec<_> = outputs
        .iter()
        .map(|scores| {
            zoo::class(
                &scores
                    .iter()
                    .map(|&s| f64::from(s as i8))
                    .collect::<Vec<_>>(),
            )
        })
        .collect();
    let (device, pipeline) = (
        right(&host.iter().map(best).collect::<Vec<_>>()),
        right(&pipeline),
    );
    println!("device {device}, host pipeline {pipeline}");
    assert!(
        (device - pipeline).abs() <= 0.01 && device > 0.85,
        "{device}, {pipeline}"
    );
}

/// "Yes" and "no" between noise. The model takes this "no" for "go", and its published features as well.
fn words_in_a_stream() {
    let parts = ["noise", "yes", "noise", "no", "noise"];
    let stream = parts
        .map(|name| wav(&format!("{name}_1000ms.wav")))
        .concat();
    let model = keyword_model();
    let recordings = [bytes(&stream)];
    let device = on_board(
        DEFAULT_BOARD,
        App::Keywords,
        &model,
        &recordings,
        (1.0, 0.0),
    );
    let host = apps::keywords::<12>(&apps::plan(&model, Target::Host), &recordings);
    assert_eq!(device.looks, host);
    let words: Vec<_> = host
        .iter()
        .filter_map(|look| look.decision)
        .map(|w| LABELS[w])
        .collect();
    println!("{words:?}");
    assert_eq!(words, ["yes", "go"]);
}

/// The recordings of the two people that the committed model was not trained with, as the sensor's counts.
fn exercises() {
    let path = dataset("imu_watch_shoulder/watch.npz");
    let mut archive = NpzReader::new(File::open(path).unwrap()).unwrap();
    let x: Array2<i16> = archive.by_name("x_i16").unwrap();
    let scale: Array1<f32> = archive.by_name("scale").unwrap();
    let lengths: Array1<i32> = archive.by_name("lengths").unwrap();
    let labels: Array1<u8> = archive.by_name("y").unwrap();
    let people: Array1<u8> = archive.by_name("subject").unwrap();
    let counts = |(axis, value): (usize, &i16)| {
        let value = f32::from(*value) * scale[axis];
        let per_count = match axis {
            0..3 => MILLI_G / 1000.0,
            _ => (MILLI_DEGREES / 1000.0).to_radians(),
        };
        (value / per_count).round() as i16
    };
    let (mut recordings, mut expected) = (Vec::new(), Vec::new());
    let mut start = 0;
    for (index, &length) in lengths.iter().enumerate() {
        let rows = x.outer_iter().skip(start).take(length as usize);
        if people[index] >= 9 {
            let row = rows.flat_map(|row| row.iter().enumerate().map(counts).collect::<Vec<_>>());
            recordings.push(bytes(&row.collect::<Vec<_>>()));
            expected.push(usize::from(labels[index]));
        }
        start += length as usize;
    }
    let model = file("boards/apps/models/activity_int8.onnx");
    let host = apps::activities::<7>(&apps::plan(&model, Target::Host), &recordings);
    let share = |of: &dyn Fn(&Look) -> Option<usize>| {
        let all: Vec<_> = host
            .iter()
            .filter_map(|look| Some((of(look)?, look.recording)))
            .collect();
        let right = all
            .iter()
            .filter(|(class, recording)| *class == expected[*recording]);
        (right.count() as f64 / all.len() as f64, all.len())
    };
    let looks = share(&|look| Some(best(look)));
    let decisions = share(&|look| look.decision);
    println!(
        "{} recordings, right: looks {looks:?}, decisions {decisions:?}",
        recordings.len()
    );
    assert_eq!(recordings.len(), 28);
    assert!(looks.0 > 0.78 && decisions.0 > looks.0);
    let device = on_board(
        DEFAULT_BOARD,
        App::Activity,
        &model,
        &recordings[..4],
        (1.0, 0.0),
    );
    let first: Vec<_> = host
        .iter()
        .filter(|look| look.recording < 4)
        .cloned()
        .collect();
    assert_eq!(device.looks, first);
}

/// CIFAR-10's first test images, three times as large, in the middle of a camera's frame.
fn pictures() {
    const COUNT: usize = 40;
    let folder = dataset("cifar10");
    let archive = std::io::BufReader::new(File::open(folder.join("test.webp")).unwrap());
    let mut decoder = image_webp::WebPDecoder::new(archive).unwrap();
    let mut grid = vec![0; decoder.output_buffer_size().unwrap()];
    decoder.read_image(&mut grid).unwrap();
    let labels = std::fs::read(folder.join("test.labels.u8")).unwrap();
    let picture = |k: usize| -> Picture {
        let pixel = |x: usize, y: usize| {
            let at = (y / 3 * 3200 + k * 32 + (x - 16) / 3) * 3;
            [grid[at], grid[at + 1], grid[at + 2]]
        };
        let pixels = (0..96).flat_map(|y| (0..128).map(move |x| (x, y)));
        let pixels = pixels.flat_map(|(x, y)| match x {
            16..112 => pixel(x, y),
            _ => [200, 0, 99],
        });
        (128, 96, pixels.collect())
    };
    let pictures: Vec<_> = (0..COUNT).map(picture).collect();
    let model = file("export/zoo/resnet8-cifar10-small.onnx");
    let plan = apps::plan(&model, Target::Host);
    let host = apps::images::<10>(&plan, Pixels::Rgb888, &pictures, (1.0, 0.0));
    let frames: Vec<_> = pictures
        .iter()
        .map(|(_, _, bytes)| frame(128, 96, kinglet_export::emulate::Pixels::Rgb888, bytes))
        .collect();
    let device = on_board(DEFAULT_BOARD, App::Images, &model, &frames, (1.0, 0.0));
    assert_eq!(device.looks, host);

    // The images themselves, plane by plane: the frame's middle is exactly that.
    let planes: Vec<_> = (0..COUNT)
        .map(|k| {
            let places =
                (0..3).flat_map(|c| (0..32).flat_map(move |y| (0..32).map(move |x| (c, y, x))));
            let pixels = places.map(|(c, y, x)| grid[(y * 3200 + k * 32 + x) * 3 + c]);
            pixels
                .flat_map(|pixel| f32::from(pixel).to_le_bytes())
                .collect::<Vec<u8>>()
        })
        .collect();
    let mut runner = kinglet_export::host::Runner::new(&plan).unwrap();
    for (look, sample) in host.iter().zip(&planes) {
        let output = runner.run(sample, &mut ()).unwrap().concat();
        let scores = kinglet_export::samples::decode(kinglet::format::DType::F32, &output);
        assert_eq!(scores, Data::F32(look.scores.clone()));
    }
    let right = host.iter().zip(&labels);
    let right = right
        .filter(|(look, label)| look.decision == Some((**label).into()))
        .count();
    println!("{right} of {COUNT} right");
    assert!(right >= 30);
}
