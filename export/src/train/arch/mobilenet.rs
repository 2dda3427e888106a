//! MobileNetV1.

use super::builder::{Border, Builder};
use crate::graph::ValueId;

/// Output channels of each block at full width, and its stride.
const BLOCKS: [(usize, usize); 13] = [
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
];

/// MobileNetV1 with its channels divided by `divisor`.
pub(super) fn mobilenet_v1(
    b: &mut Builder,
    image: [usize; 3],
    classes: usize,
    divisor: usize,
) -> ValueId {
    let x = b.input(&image);
    let mut channels = 32 / divisor;
    let x = b.conv("stem.conv", x, channels, [3, 3], 2, Border::Same, 1, false);
    let x = b.batch_norm("stem.bn", x);
    let mut x = b.relu("stem.relu", x);
    for (block, (width, stride)) in BLOCKS.into_iter().enumerate() {
        let width = width / divisor;
        for (what, out, kernel, stride, groups) in [
            ("depthwise", channels, 3, stride, channels),
            ("pointwise", width, 1, 1, 1),
        ] {
            let layer = |part: &str| format!("block{}.{what}.{part}", block + 1);
            let kernel = [kernel; 2];
            x = b.conv(
                &layer("conv"),
                x,
                out,
                kernel,
                stride,
                Border::Same,
                groups,
                false,
            );
            x = b.batch_norm(&layer("bn"), x);
            x = b.relu(&layer("relu"), x);
        }
        channels = width;
    }
    let x = b.global_mean("pool", x);
    b.linear("fc", x, classes, 1.0)
}
