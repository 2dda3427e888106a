//! Files as recordings for the applications: sound, measurements, pictures.

use super::app::{App, Pixels, frame};
use crate::data;
use crate::files::{self, FileError};
use crate::graph::Data;
use std::path::{Path, PathBuf};

/// Why a file is no recording.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// It is no WAV file that can be read.
    #[error("{}: {source}", path.display())]
    Sound {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: hound::Error,
    },
    /// It is no array that can be read.
    #[error(transparent)]
    Array(#[from] FileError),
    /// It is no image that can be read.
    #[error(transparent)]
    Picture(#[from] data::DataError),
    /// It is another kind of sound, array or picture than the application takes.
    #[error("{}: {found}; the application takes {expected}", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// Reads a file as what the application's sensor gives: a WAV file for keywords (16 kHz, 16 bits, of several channels the first),
/// a `.npy` array `[measurements, 6]` of integers for activities (counts: acceleration, then rotation), a PNG or WebP image for
/// images.
///
/// # Errors
///
/// [`RecordingError`] says what the file is and what it should be.
pub fn read(app: App, path: &Path) -> Result<Vec<u8>, RecordingError> {
    let kind = |found: String, expected| RecordingError::Kind {
        path: path.into(),
        found,
        expected,
    };
    match app {
        App::Keywords => {
            let wrong = |source| RecordingError::Sound {
                path: path.into(),
                source,
            };
            let mut file = hound::WavReader::open(path).map_err(wrong)?;
            let spec = file.spec();
            if (spec.sample_rate, spec.bits_per_sample) != (16_000, 16) {
                let found = format!("{} Hz, {} bits", spec.sample_rate, spec.bits_per_sample);
                return Err(kind(found, "16,000 Hz, 16 bits"));
            }
            let samples = file.samples::<i16>().step_by(spec.channels.into());
            let samples = samples.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
            Ok(samples.into_iter().flat_map(i16::to_le_bytes).collect())
        }
        App::Activity => {
            const COUNTS: &str = "an array [measurements, 6] of 16-bit counts, as int32";
            let array = files::read_tensor(path)?;
            let (&[_, 6], Data::I32(counts)) = (&array.shape[..], &array.data) else {
                let found = format!("an array {:?} of {:?}", array.shape, array.data.dtype());
                return Err(kind(found, COUNTS));
            };
            let counts = counts.iter().map(|&count| i16::try_from(count));
            let counts = counts.collect::<Result<Vec<_>, _>>();
            let counts = counts.map_err(|_| kind("a count of more bits".into(), COUNTS))?;
            Ok(counts.into_iter().flat_map(i16::to_le_bytes).collect())
        }
        App::Images => {
            let picture = data::picture::read(path)?;
            let pixels = match picture.channels {
                1 => Pixels::Grey8,
                _ => Pixels::Rgb888,
            };
            let size = |pixels: usize| {
                let large = |_| {
                    kind(
                        format!("{pixels} pixels in a row or column"),
                        "fewer pixels",
                    )
                };
                u32::try_from(pixels).map_err(large)
            };
            let (width, height) = (size(picture.width)?, size(picture.height)?);
            Ok(frame(width, height, pixels, &picture.pixels))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Tensor;
    use std::fs;

    fn wav(folder: &Path, rate: u32, channels: u16) -> PathBuf {
        let path = folder.join(format!("{rate}-{channels}.wav"));
        let spec = hound::WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut file = hound::WavWriter::create(&path, spec).unwrap();
        for sample in [1i16, -2, 300, 4] {
            file.write_sample(sample).unwrap();
        }
        file.finalize().unwrap();
        path
    }

    #[test]
    fn the_first_channel_of_sound_is_taken_at_the_one_rate_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let mono = read(App::Keywords, &wav(folder.path(), 16_000, 1)).unwrap();
        assert_eq!(mono, [1, 0, 0xfe, 0xff, 44, 1, 4, 0]);
        let stereo = read(App::Keywords, &wav(folder.path(), 16_000, 2)).unwrap();
        assert_eq!(stereo, [1, 0, 44, 1]);
        let error = read(App::Keywords, &wav(folder.path(), 8000, 1)).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("8000 Hz, 16 bits; the application takes 16,000")
        );
        let none = folder.path().join("none.wav");
        fs::write(&none, b"no sound").unwrap();
        assert!(matches!(
            read(App::Keywords, &none),
            Err(RecordingError::Sound { .. })
        ));
    }

    #[test]
    fn measurements_are_six_counts_each() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counts.npy");
        let write = |shape: &[usize], counts: Vec<i32>| {
            let tensor = Tensor {
                shape: shape.to_vec(),
                data: Data::I32(counts),
            };
            files::write_tensor(&path, &tensor).unwrap();
            read(App::Activity, &path)
        };
        let bytes = write(&[1, 6], vec![1, -1, 256, 0, 0, 32767]).unwrap();
        assert_eq!(bytes, [1, 0, 0xff, 0xff, 0, 1, 0, 0, 0, 0, 0xff, 0x7f]);
        assert!(
            write(&[2, 3], vec![0; 6])
                .unwrap_err()
                .to_string()
                .contains("[2, 3]")
        );
        assert!(
            write(&[1, 6], vec![32768; 6])
                .unwrap_err()
                .to_string()
                .contains("more bits")
        );
    }
}
