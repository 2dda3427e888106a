//! Image classification: a camera's frame in, a class out. The middle of the frame is cut out, scaled to the model's input by the
//! mean of the pixels under each of its pixels, and written in the model's format.

use crate::model::{self, Error, Model, Rounding};
use core::num::NonZero;

/// How a camera's bytes stand for colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pixels {
    /// One byte: grey.
    Grey8,
    /// Two bytes, the high one first: five bits of red, six of green, five of blue. What OV2640 and OV7670 send.
    Rgb565,
    /// Three bytes: red, green, blue.
    Rgb888,
}

impl Pixels {
    /// Bytes of a pixel.
    pub const fn size(self) -> usize {
        match self {
            Pixels::Grey8 => 1,
            Pixels::Rgb565 => 2,
            Pixels::Rgb888 => 3,
        }
    }

    /// Red, green and blue of a pixel's bytes, 0 to 255.
    fn colour(self, bytes: &[u8]) -> [u8; 3] {
        match (self, bytes) {
            (Pixels::Grey8, &[grey]) => [grey; 3],
            (Pixels::Rgb565, &[high, low]) => {
                let word = u16::from_be_bytes([high, low]);
                let bits = |shift: u32, width: u32| {
                    let value = u32::from(word) >> shift & ((1 << width) - 1);
                    // The high bits again, so that the greatest value becomes 255.
                    (value << (8 - width) | value >> (2 * width - 8)) as u8
                };
                [bits(11, 5), bits(5, 6), bits(0, 5)]
            }
            (Pixels::Rgb888, &[red, green, blue]) => [red, green, blue],
            _ => [0; 3],
        }
    }
}

/// A frame in memory: rows from the top, pixels from the left.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// How its bytes stand for colours.
    pub pixels: Pixels,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// Where frames come from: a DCMI or SPI camera, for which `embedded-hal` has no trait, or a recording.
pub trait Camera {
    /// Why there is no frame.
    type Error;

    /// Waits for the next frame; `None` at the end of a recording.
    ///
    /// # Errors
    /// The device's.
    fn capture(&mut self) -> Result<Option<Frame<'_>>, Self::Error>;
}

/// The order of a model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Pixel by pixel, as TensorFlow's models have it.
    ChannelsLast,
    /// Plane by plane, as PyTorch's models have it.
    ChannelsFirst,
}

/// What a model's input is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 for grey, 3 for red, green, blue.
    pub channels: usize,
    /// In which order.
    pub layout: Layout,
    /// The real that the model was trained with for a byte `b` is `b · factor + offset`.
    pub factor: f32,
    /// See `factor`.
    pub offset: f32,
}

/// Why a frame has no class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The model.
    Model(Error),
    /// The frame has fewer bytes than its width, height and pixels say, or no pixel.
    CutOff,
    /// The middle of the frame has fewer pixels in a row or column than the model's input.
    Small,
}

impl From<Error> for FrameError {
    fn from(error: Error) -> Self {
        FrameError::Model(error)
    }
}

impl View {
    /// The view of a model whose input has this shape: `[1, channels, height, width]` or `[1, height, width, channels]`, with one or
    /// three channels. Bytes stand for themselves.
    pub fn of_shape(shape: &[usize]) -> Option<View> {
        let (layout, width, height, channels) = match *shape {
            [1, c @ (1 | 3), h, w] => (Layout::ChannelsFirst, w, h, c),
            [1, h, w, c @ (1 | 3)] => (Layout::ChannelsLast, w, h, c),
            _ => return None,
        };
        Some(View {
            width,
            height,
            channels,
            layout,
            factor: 1.0,
            offset: 0.0,
        })
    }

    /// The mean of each channel under each pixel of the model's input, in its order: of the largest rectangle in the middle of the
    /// frame that has the input's proportions.
    ///
    /// # Errors
    /// The frame is cut off, or smaller than the input.
    pub fn of<'a>(
        &self,
        frame: &Frame<'a>,
    ) -> Result<impl Iterator<Item = f32> + use<'a>, FrameError> {
        let sizes = [self.width, self.height, self.channels].map(NonZero::new);
        let [Some(width), Some(height), Some(channels)] = sizes else {
            return Err(FrameError::Small);
        };
        let plane = width.checked_mul(height).ok_or(FrameError::Small)?;
        let bytes = frame
            .width
            .checked_mul(frame.height)
            .and_then(|count| count.checked_mul(frame.pixels.size()));
        if bytes.is_none_or(|bytes| bytes == 0 || frame.bytes.len() < bytes) {
            return Err(FrameError::CutOff);
        }
        // As wide or as high as the frame.
        let cut_width = frame.width.min(frame.height * width.get() / height);
        let cut_height = frame.height.min(frame.width * height.get() / width);
        if cut_width < width.get() || cut_height < height.get() {
            return Err(FrameError::Small);
        }
        let (left, top) = (
            (frame.width - cut_width) / 2,
            (frame.height - cut_height) / 2,
        );
        let (frame, view) = (*frame, *self);
        let value = move |index: usize| {
            let (channel, place) = match view.layout {
                Layout::ChannelsFirst => (index / plane, index % plane),
                Layout::ChannelsLast => (index % channels, index / channels),
            };
            let (x, y) = (place % width, place / width);
            let columns = x * cut_width / width..(x + 1) * cut_width / width;
            let rows = y * cut_height / height..(y + 1) * cut_height / height;
            let count = columns.len() * rows.len();
            let mut sum = 0u32;
            for row in rows {
                let start = (top + row) * frame.width + left;
                for column in columns.clone() {
                    sum += frame.level(start + column, channel, view.channels);
                }
            }
            sum as f32 / count as f32 * view.factor + view.offset
        };
        Ok((0..plane.get() * view.channels).map(value))
    }
}

impl Frame<'_> {
    /// Channel `channel` of `channels` of pixel `index`: 0 to 255.
    fn level(&self, index: usize, channel: usize, channels: usize) -> u32 {
        let size = self.pixels.size();
        let bytes = self
            .bytes
            .get(index * size..)
            .and_then(|rest| rest.get(..size));
        let colour = self.pixels.colour(bytes.unwrap_or(&[]));
        if channels == 1 {
            // Luma of ITU-R BT.601, in 256ths.
            let [red, green, blue] = colour.map(u32::from);
            return (77 * red + 150 * green + 29 * blue + 128) >> 8;
        }
        colour.get(channel).copied().unwrap_or(0).into()
    }
}

/// The scores of a frame.
///
/// # Errors
/// The frame is cut off or too small, or the model is another than `view` says.
pub fn classify<const CLASSES: usize>(
    frame: &Frame<'_>,
    view: &View,
    model: &mut impl Model,
) -> Result<[f32; CLASSES], FrameError> {
    see(frame, view, model)?;
    model.infer().map_err(Error::Run)?;
    Ok(model::scores(model)?)
}

/// The first part of [`classify`]: the frame becomes the model's input.
///
/// # Errors
/// As there.
pub fn see(frame: &Frame<'_>, view: &View, model: &mut impl Model) -> Result<(), FrameError> {
    Ok(model::fill(model, view.of(frame)?, Rounding::Nearest)?)
}

#[cfg(test)]
mod tests;
