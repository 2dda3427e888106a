use super::*;
use crate::model::testing::Echo;
use kinglet::format::DType;
use std::vec::Vec;

extern crate std;

fn view(width: usize, height: usize, channels: usize, layout: Layout) -> View {
    View {
        width,
        height,
        channels,
        layout,
        factor: 1.0,
        offset: 0.0,
    }
}

fn seen(view: View, frame: &Frame<'_>) -> Result<Vec<f32>, FrameError> {
    view.of(frame).map(Iterator::collect)
}

#[test]
fn the_middle_is_cut_out_and_pixels_are_means() {
    // A border of two columns on each side, then four pixels of 2 × 2.
    let bytes = [
        9, 9, 0, 10, 20, 40, 9, 9, //
        9, 9, 20, 30, 20, 40, 9, 9, //
        9, 9, 1, 1, 255, 255, 9, 9, //
        9, 9, 1, 1, 255, 255, 9, 9,
    ];
    let frame = Frame {
        width: 8,
        height: 4,
        pixels: Pixels::Grey8,
        bytes: &bytes,
    };
    let grey = view(2, 2, 1, Layout::ChannelsFirst);
    assert_eq!(seen(grey, &frame), Ok(vec_of([15.0, 30.0, 1.0, 255.0])));
    let scaled = View {
        factor: 2.0,
        offset: -1.0,
        ..grey
    };
    assert_eq!(seen(scaled, &frame), Ok(vec_of([29.0, 59.0, 1.0, 509.0])));
    // One that is higher than wide.
    let turned = Frame {
        width: 4,
        height: 8,
        ..frame
    };
    // Rows 2 to 5: "9 9 20 30", "20 40 9 9", "9 9 1 1", "255 255 9 9".
    assert_eq!(seen(grey, &turned), Ok(vec_of([19.5, 17.0, 132.0, 5.0])));
}

fn vec_of<const N: usize>(values: [f32; N]) -> Vec<f32> {
    values.to_vec()
}

#[test]
fn colours_are_read_in_every_format_and_written_in_every_layout() {
    let pixels: [[u8; 3]; 2] = [[255, 0, 132], [8, 255, 0]];
    let rgb = Frame {
        width: 2,
        height: 1,
        pixels: Pixels::Rgb888,
        bytes: pixels.as_flattened(),
    };
    let words = pixels.map(|[r, g, b]| {
        let word = u16::from(r >> 3) << 11 | u16::from(g >> 2) << 5 | u16::from(b >> 3);
        word.to_be_bytes()
    });
    let packed = Frame {
        pixels: Pixels::Rgb565,
        bytes: words.as_flattened(),
        ..rgb
    };
    for frame in [rgb, packed] {
        let last = seen(view(2, 1, 3, Layout::ChannelsLast), &frame).unwrap();
        assert_eq!(last, [255.0, 0.0, 132.0, 8.0, 255.0, 0.0], "{frame:?}");
        let first = seen(view(2, 1, 3, Layout::ChannelsFirst), &frame).unwrap();
        assert_eq!(first, [255.0, 8.0, 0.0, 255.0, 132.0, 0.0]);
        // 0.299 red, 0.587 green, 0.114 blue.
        let grey = seen(view(2, 1, 1, Layout::ChannelsLast), &frame).unwrap();
        assert_eq!(grey, [92.0, 152.0]);
    }
}

#[test]
fn frames_that_are_cut_off_or_small_are_refused() {
    let frame = Frame {
        width: 4,
        height: 4,
        pixels: Pixels::Rgb565,
        bytes: &[0; 31],
    };
    let one = view(1, 1, 1, Layout::ChannelsLast);
    assert_eq!(seen(one, &frame), Err(FrameError::CutOff));
    let empty = Frame { width: 0, ..frame };
    assert_eq!(seen(one, &empty), Err(FrameError::CutOff));
    let huge = Frame {
        width: usize::MAX,
        ..frame
    };
    assert_eq!(seen(one, &huge), Err(FrameError::CutOff));
    let whole = Frame {
        bytes: &[0; 32],
        ..frame
    };
    assert_eq!(
        seen(view(5, 5, 1, Layout::ChannelsLast), &whole),
        Err(FrameError::Small)
    );
    assert_eq!(seen(one, &whole), Ok(vec_of([0.0])));
}

#[test]
fn a_frame_gets_the_models_scores() {
    let mut model = Echo::<4, 4>::new(DType::I8, 1.0, -128);
    let frame = Frame {
        width: 2,
        height: 2,
        pixels: Pixels::Grey8,
        bytes: &[0, 1, 128, 255],
    };
    let view = view(2, 2, 1, Layout::ChannelsLast);
    let scores = classify::<4>(&frame, &view, &mut model);
    assert_eq!(scores, Ok([0.0, 1.0, 128.0, 255.0]));
    let narrow = View { width: 1, ..view };
    let error = classify::<4>(&frame, &narrow, &mut model);
    assert_eq!(error, Err(FrameError::Model(Error::Input { expected: 2 })));
}
