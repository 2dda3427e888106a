//! Image files: PNG and WebP, to bytes with the channels last.

use super::DataError;
use crate::limits::{self, at_most};
use std::io::Cursor;
use std::path::Path;

/// A decoded image.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// 1 (grey) or 3 (colour).
    pub(crate) channels: usize,
    /// Row by row.
    pub(crate) pixels: Vec<u8>,
}

/// Whether the file's name is that of an image that can be read.
pub(super) fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str());
    extension.is_some_and(|e| ["png", "webp"].contains(&e.to_ascii_lowercase().as_str()))
}

/// Reads an image of at most `limit` pixels. Transparency is dropped, 16-bit samples become 8-bit ones.
pub(super) fn decode(bytes: &[u8], limit: u64) -> Result<Picture, String> {
    if bytes.starts_with(b"RIFF") {
        webp(bytes, limit)
    } else {
        png(bytes, limit)
    }
}

/// Refuses an image that is too large, before there is memory for it.
fn fits(width: u32, height: u32, limit: u64) -> Result<(), String> {
    let pixels = u64::from(width) * u64::from(height);
    at_most(|| "the image".to_owned(), pixels, "pixels", limit).map_err(|e| e.to_string())
}

/// What a decoder may take besides the pixels.
fn working_memory(limit: u64) -> usize {
    usize::try_from(limit.saturating_mul(8)).unwrap_or(usize::MAX)
}

pub(crate) fn read(path: &Path) -> Result<Picture, DataError> {
    decode(&super::read(path)?, limits::PICTURE_PIXELS).map_err(|reason| DataError::Malformed {
        path: path.into(),
        reason: format!("not an image that can be read: {reason}"),
    })
}

fn webp(bytes: &[u8], limit: u64) -> Result<Picture, String> {
    let text = |e: image_webp::DecodingError| e.to_string();
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(bytes)).map_err(text)?;
    let (width, height) = decoder.dimensions();
    fits(width, height, limit)?;
    decoder.set_memory_limit(working_memory(limit));
    let (width, height) = (width as usize, height as usize);
    let size = decoder.output_buffer_size();
    let mut pixels = vec![0; size.unwrap_or(0)];
    decoder.read_image(&mut pixels).map_err(text)?;
    if decoder.has_alpha() {
        pixels = without_alpha(&pixels, 4);
    }
    Ok(Picture {
        width,
        height,
        channels: 3,
        pixels,
    })
}

fn png(bytes: &[u8], limit: u64) -> Result<Picture, String> {
    let text = |e: png::DecodingError| e.to_string();
    let working = png::Limits {
        bytes: working_memory(limit),
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), working);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(text)?;
    let (width, height) = reader.info().size();
    fits(width, height, limit)?;
    let mut pixels = vec![0; reader.output_buffer_size().unwrap_or(0)];
    let info = reader.next_frame(&mut pixels).map_err(text)?;
    pixels.truncate(info.buffer_size());
    let channels = info.color_type.samples();
    if channels % 2 == 0 {
        pixels = without_alpha(&pixels, channels);
    }
    Ok(Picture {
        width: info.width as usize,
        height: info.height as usize,
        channels: channels - usize::from(channels % 2 == 0),
        pixels,
    })
}

fn without_alpha(pixels: &[u8], channels: usize) -> Vec<u8> {
    let colours = pixels.chunks_exact(channels);
    colours
        .flat_map(|p| p[..channels - 1].iter().copied())
        .collect()
}
