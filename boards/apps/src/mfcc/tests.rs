//! The front end against its definition in double precision.

use super::*;
use core::f64::consts::{PI, TAU};
use std::vec::Vec;

extern crate std;

/// The formulas of the module's head, literally: no fast transform, no ring, no shift.
fn definition(clip: &[i16]) -> Vec<[f64; COEFFICIENTS]> {
    let peak = f64::from(*clip.iter().max().unwrap());
    let mel = |hertz: f64| 1127.0 * (hertz / 700.0).ln_1p();
    let edges: Vec<f64> = (0..BANDS + 2)
        .map(|i| mel(20.0) + (mel(4000.0) - mel(20.0)) * i as f64 / (BANDS + 1) as f64)
        .collect();
    let frames = (0..FRAMES).map(|t| &clip[HOP * t..][..FRAME]);
    frames
        .map(|frame| {
            let magnitudes: Vec<f64> = (0..=POINTS / 2)
                .map(|k| {
                    let (mut re, mut im) = (0.0, 0.0);
                    for (n, &sample) in frame.iter().enumerate() {
                        let hann = 0.5 - 0.5 * (TAU * n as f64 / FRAME as f64).cos();
                        let x = hann * f64::from(sample) / peak;
                        let angle = TAU * (k * n % POINTS) as f64 / POINTS as f64;
                        re += x * angle.cos();
                        im -= x * angle.sin();
                    }
                    re.hypot(im)
                })
                .collect();
            let level = |band: usize| {
                let [low, centre, high] = [edges[band], edges[band + 1], edges[band + 2]];
                let sum: f64 = (1..=POINTS / 2)
                    .map(|k| {
                        let at = mel(k as f64 * RATE as f64 / POINTS as f64);
                        let share =
                            ((at - low) / (centre - low)).min((high - at) / (high - centre));
                        share.max(0.0) * magnitudes[k]
                    })
                    .sum();
                (sum + 1e-6).ln()
            };
            let levels: Vec<f64> = (0..BANDS).map(level).collect();
            core::array::from_fn(|k| {
                let cosine = |b: usize| (PI * (k * (2 * b + 1)) as f64 / 80.0).cos();
                let sum: f64 = levels
                    .iter()
                    .enumerate()
                    .map(|(b, l)| 2.0 * l * cosine(b))
                    .sum();
                sum / 80f64.sqrt()
            })
        })
        .collect()
}

fn features(clip: &[i16]) -> Vec<f32> {
    let mut front_end = FrontEnd::new();
    for hop in clip.as_chunks().0 {
        assert!(!front_end.is_full());
        front_end.push(hop);
    }
    assert!(front_end.is_full());
    front_end.features().collect()
}

/// A hundredth of the step of the keyword model's input.
const HUNDREDTH: f64 = 0.005_8;

fn close(clip: &[i16], tolerance: f64) {
    let (found, expected) = (features(clip), definition(clip));
    assert_eq!(found.len(), FRAMES * COEFFICIENTS);
    for (i, (found, expected)) in found.iter().zip(expected.as_flattened()).enumerate() {
        assert!(
            (f64::from(*found) - expected).abs() < tolerance,
            "frame {}, coefficient {}: {found}, {expected}",
            i / COEFFICIENTS,
            i % COEFFICIENTS
        );
    }
}

/// One second whose sample `n` is `sound(n, noise)`.
fn clip(mut sound: impl FnMut(f64, f64) -> f64) -> Vec<i16> {
    let mut state = 1u32;
    let sample = |n: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = f64::from(state) / f64::from(u32::MAX) - 0.5;
        sound(f64::from(n) / RATE as f64, noise).round() as i16
    };
    (0..RATE as u32).map(sample).collect()
}

#[test]
fn noise_chirps_and_tones_are_transformed_as_defined() {
    close(&clip(|_, noise| 60_000.0 * noise), HUNDREDTH);
    let chirp = |t: f64, noise| 9000.0 * (TAU * (200.0 + 1500.0 * t) * t).sin() + 20.0 * noise;
    close(&clip(chirp), HUNDREDTH);
    // Barely a sound.
    close(&clip(|_, noise| 3.0 * noise), HUNDREDTH);
    // The peak comes last, so that it is not known yet when its share is added to the frames of noise.
    let crescendo = |t: f64, noise| 32_000.0 * t.powi(8) * (TAU * 440.0 * t).cos() + 8.0 * noise;
    close(&clip(crescendo), 2.0 * HUNDREDTH);
}

#[test]
fn frames_of_zeros_are_those_of_the_reference() {
    // Silence before and behind, as in short clips that were padded.
    let padded = |t, noise| {
        if (0.22..0.66).contains(&t) {
            5000.0 * noise
        } else {
            0.0
        }
    };
    close(&clip(padded), HUNDREDTH);
    let expected = -123.569_68;
    for (i, found) in features(&[0; RATE]).into_iter().enumerate() {
        let expected = if i % COEFFICIENTS == 0 { expected } else { 0.0 };
        assert!((found - expected).abs() < 1e-3, "{i}: {found}");
    }
}

#[test]
fn a_stream_gives_every_second_as_a_clip_does() {
    let stream: Vec<i16> = [
        clip(|t, noise| 2000.0 * (TAU * 700.0 * t * t).sin() + 50.0 * noise),
        clip(|t, noise| 9000.0 * (TAU * 300.0 * t).sin() + 50.0 * noise),
    ]
    .concat();
    let mut front_end = FrontEnd::new();
    for (i, hop) in stream.as_chunks().0.iter().enumerate() {
        front_end.push(hop);
        let heard = HOP * (i + 1);
        assert_eq!(front_end.is_full(), heard >= RATE);
        if heard >= RATE && i % 7 == 0 {
            let clip = features(&stream[heard - RATE..heard]);
            for (found, expected) in front_end.features().zip(clip) {
                // Only the peak under the floor may differ.
                assert!(
                    (found - expected).abs() < 1e-3,
                    "{heard}: {found}, {expected}"
                );
            }
        }
    }
    front_end.clear();
    assert!(!front_end.is_full() && front_end.features().next().is_none());
}
