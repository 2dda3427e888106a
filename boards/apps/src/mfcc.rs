//! The front end of MLPerf Tiny's keyword spotter: from sound to mel-frequency cepstral coefficients, a frame at a time.
//!
//! What the reference computes (`get_dataset.py` of MLPerf Tiny, in TensorFlow), for a clip of one second at 16 kHz:
//!
//! ```text
//! x      = clip / max(clip)
//! m[t]   = | FFT512( hann480 · x[320 t .. 320 t + 480] ) |          t = 0 .. 48
//! l[t]   = ln( mel40(m[t]; 20 Hz … 4 kHz) + 10⁻⁶ )
//! c[t,k] = 1/√80 · Σ_b 2 · l[t,b] · cos(π k (2b + 1) / 80)          k = 0 .. 9
//! ```
//!
//! The division needs the whole clip; a stream has none. But only the logarithm sees it: `c[t,0]` falls by `√80 · ln max`, and
//! the other coefficients stay. So [`FrontEnd`] transforms each frame once, when its last sample has come, keeps the ten
//! coefficients and each hop's peak, and shifts the first coefficient when a window is read. The 10⁻⁶ is taken relative to the
//! peak known when the frame ends; a frame of zeros gets what the reference gives it.

mod tables;

use crate::window::Window;
use tables::{BINS, DCT, FALL_INTO, HANN, WEIGHT};

/// Samples a second.
pub const RATE: usize = 16_000;
/// Samples from one frame to the next: 20 ms.
pub const HOP: usize = 320;
/// Samples of a frame: 30 ms.
pub const FRAME: usize = 480;
/// Mel bands.
pub const BANDS: usize = 40;
/// Coefficients of a frame.
pub const COEFFICIENTS: usize = 10;
/// Frames of a window.
pub const FRAMES: usize = 49;
/// Hops of a window: the second, of which the frames leave out the last 10 ms.
const HOPS: usize = RATE / HOP;
/// Points of the transform.
const POINTS: usize = 512;
/// What the reference adds to a band's magnitude, of a clip whose peak is 1.
const FLOOR: f32 = 1e-6;
/// `ln(FLOOR)`.
const LN_FLOOR: f32 = -13.815_51;
/// What a constant under the logarithm adds to the first coefficient: √(2 · BANDS).
const FIRST: f32 = 8.944_272;

/// The coefficients of one frame, before the clip's peak is taken out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Frame {
    /// A frame of zeros.
    Silent,
    /// Any other.
    Sound([f32; COEFFICIENTS]),
}

/// Transforms one frame of samples whose clip has this peak so far.
pub fn frame(samples: impl Iterator<Item = i16>, peak: f32) -> Frame {
    let mut buffer = [0.0; POINTS];
    for ((to, sample), weight) in buffer.iter_mut().zip(samples).zip(&HANN) {
        *to = f32::from(sample) * weight;
    }
    let spectrum = microfft::real::rfft_512(&mut buffer);
    // A bin lies between the centres of two bands: a share of it belongs to the upper one, the rest to the lower one. The
    // first slope has no lower band, the last one no upper band: those are the two extra places.
    let mut bands = [0.0; BANDS + 2];
    let mut silent = true;
    for ((bin, weight), lower) in spectrum
        .iter()
        .skip(BINS.start)
        .zip(&WEIGHT)
        .zip(&FALL_INTO)
    {
        let magnitude = libm::sqrtf(bin.re * bin.re + bin.im * bin.im);
        silent &= magnitude == 0.0;
        let rising = magnitude * weight;
        if let Some([below, above]) = bands
            .get_mut(usize::from(*lower)..)
            .and_then(|bands| bands.first_chunk_mut())
        {
            *below += magnitude - rising;
            *above += rising;
        }
    }
    if silent {
        return Frame::Silent;
    }
    let floor = FLOOR * peak;
    let mut coefficients = [0.0; COEFFICIENTS];
    for (band, cosines) in bands.iter().skip(1).zip(&DCT) {
        let level = libm::logf(band + floor);
        for (coefficient, cosine) in coefficients.iter_mut().zip(cosines) {
            *coefficient += level * cosine;
        }
    }
    Frame::Sound(coefficients)
}

/// The stream's memory: the last samples, frames and peaks.
#[derive(Clone, Debug)]
pub struct FrontEnd {
    /// The hop before.
    previous: Option<[i16; HOP]>,
    peaks: Window<i16, HOPS>,
    frames: Window<Frame, FRAMES>,
}

impl Default for FrontEnd {
    fn default() -> Self {
        Self::new()
    }
}

impl FrontEnd {
    /// With no samples yet.
    pub const fn new() -> Self {
        FrontEnd {
            previous: None,
            peaks: Window::new(),
            frames: Window::new(),
        }
    }

    /// Forgets all samples.
    pub fn clear(&mut self) {
        self.previous = None;
        self.peaks.clear();
        self.frames.clear();
    }

    /// Takes the next 20 ms. The frame that began with the hop before ends 10 ms into this one.
    pub fn push(&mut self, hop: &[i16; HOP]) {
        let peak = hop.iter().fold(i16::MIN, |peak, &sample| peak.max(sample));
        self.peaks.push(peak);
        let whole = self.peak();
        if let Some(previous) = &self.previous {
            let samples = previous.iter().chain(hop).copied().take(FRAME);
            self.frames.push(frame(samples, whole));
        }
        self.previous = Some(*hop);
    }

    /// Whether there has been a whole second.
    pub fn is_full(&self) -> bool {
        self.frames.is_full() && self.peaks.is_full()
    }

    /// The greatest sample of the last second, at least 1. (The reference divides by it; a clip without a positive sample would
    /// be divided by zero or turned over.)
    fn peak(&self) -> f32 {
        f32::from(self.peaks.iter().fold(1, |peak, &hop| peak.max(hop)))
    }

    /// The coefficients of the last second, frame by frame: what the reference computes for these 16,000 samples.
    pub fn features(&self) -> impl Iterator<Item = f32> {
        let shift = FIRST * libm::logf(self.peak());
        self.frames.iter().flat_map(move |frame| {
            let (mut coefficients, shift) = match frame {
                Frame::Sound(coefficients) => (*coefficients, shift),
                Frame::Silent => ([0.0; COEFFICIENTS], -FIRST * LN_FLOOR),
            };
            if let Some(first) = coefficients.first_mut() {
                *first -= shift;
            }
            coefficients
        })
    }
}

#[cfg(test)]
mod tests;
