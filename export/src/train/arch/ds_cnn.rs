//! Depthwise-separable convolutions for keyword spotting.

use super::builder::{Border, Builder};
use crate::graph::ValueId;

/// MLPerf Tiny's DS-CNN.
pub(super) fn ds_cnn(b: &mut Builder, features: [usize; 3], classes: usize) -> ValueId {
    const CHANNELS: usize = 64;
    let x = b.input(&features);
    let x = b.conv("stem.conv", x, CHANNELS, [10, 4], 2, Border::Same, 1, true);
    let x = b.batch_norm("stem.bn", x);
    let mut x = b.relu("stem.relu", x);
    for block in 1..=4 {
        for (what, kernel, groups) in [("depthwise", 3, CHANNELS), ("pointwise", 1, 1)] {
            let layer = |part: &str| format!("block{block}.{what}.{part}");
            let kernel = [kernel; 2];
            x = b.conv(
                &layer("conv"),
                x,
                CHANNELS,
                kernel,
                1,
                Border::Same,
                groups,
                true,
            );
            x = b.batch_norm(&layer("bn"), x);
            x = b.relu(&layer("relu"), x);
        }
    }
    let x = b.global_mean("pool", x);
    b.linear("fc", x, classes, 1.0)
}
