//! Random convolution shapes for the kernels' tests.

extern crate std;
use super::Geometry;
use crate::format::Window;
use proptest::prelude::*;
use std::vec::Vec;

/// A convolution or pooling.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) batch: usize,
    pub(super) in_size: [usize; 2],
    pub(super) in_c: usize,
    pub(super) out_c: usize,
    pub(super) groups: usize,
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    pub(super) pads: [usize; 4],
}

impl Case {
    /// A 1×1 convolution of one pixel and channel.
    pub(super) const POINT: Case = Case {
        batch: 1,
        in_size: [1, 1],
        in_c: 1,
        out_c: 1,
        groups: 1,
        kernel: [1, 1],
        stride: [1, 1],
        dilation: [1, 1],
        pads: [0; 4],
    };

    fn out_size(&self) -> Option<[usize; 2]> {
        let along = |axis: usize| {
            let padded = self.in_size[axis] + self.pads[axis] + self.pads[axis + 2];
            let extent = (self.kernel[axis] - 1) * self.dilation[axis] + 1;
            Some(padded.checked_sub(extent)? / self.stride[axis] + 1)
        };
        Some([along(0)?, along(1)?])
    }

    pub(super) fn geometry(&self) -> Geometry {
        let [out_h, out_w] = self.out_size().expect("only cases with an output are made");
        let three = |a: [usize; 3]| a.map(|v| (v as u32).into());
        let two = |a: [usize; 2]| a.map(|v| (v as u16).into());
        let window = Window {
            batch: (self.batch as u32).into(),
            input: three([self.in_size[0], self.in_size[1], self.in_c]),
            output: three([out_h, out_w, self.out_c]),
            kernel: two(self.kernel),
            stride: two(self.stride),
            dilation: two(self.dilation),
            pad: two([self.pads[0], self.pads[1]]),
        };
        Geometry::new(&window).expect("all dimensions are positive")
    }

    pub(super) fn input_len(&self) -> usize {
        self.batch * self.in_size[0] * self.in_size[1] * self.in_c
    }

    pub(super) fn output_len(&self) -> usize {
        let [h, w] = self.out_size().expect("only cases with an output are made");
        self.batch * h * w * self.out_c
    }

    pub(super) fn weight_len(&self) -> usize {
        self.out_c * self.kernel[0] * self.kernel[1] * (self.in_c / self.groups)
    }
}

/// Dense, grouped and depthwise cases with odd sizes, strides, dilations and lopsided padding.
pub(super) fn cases() -> impl Strategy<Value = Case> {
    let pair = |max: usize| [1..=max, 1..=max];
    let channels = (1usize..=3, 1usize..=7, 1usize..=3, proptest::bool::ANY);
    let pads = [0usize..3, 0..3, 0..3, 0..3];
    let parts = (
        1usize..=2,
        pair(9),
        channels,
        pair(4),
        pair(3),
        pair(3),
        pads,
    );
    parts
        .prop_map(
            |(
                batch,
                in_size,
                (groups, depth, per_group, depthwise),
                kernel,
                stride,
                dilation,
                pads,
            )| {
                let (groups, depth) = if depthwise {
                    (groups * depth * 3, 1)
                } else {
                    (groups, depth)
                };
                let (in_c, out_c) = (groups * depth, groups * per_group);
                Case {
                    batch,
                    in_size,
                    in_c,
                    out_c,
                    groups,
                    kernel,
                    stride,
                    dilation,
                    pads,
                }
            },
        )
        .prop_filter("the kernel fits", |case| case.out_size().is_some())
}

/// Seeded bytes.
pub(super) fn bytes(seed: u64, len: usize) -> Vec<i8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as i8
    };
    (0..len).map(|_| next()).collect()
}
