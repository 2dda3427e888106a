//! Residual networks for small images.

use super::builder::{Border, Builder};
use crate::graph::ValueId;

/// MLPerf Tiny's ResNet-8: convolutions have biases, the shortcut is a convolution alone.
pub(super) fn resnet8(b: &mut Builder, image: [usize; 3], classes: usize) -> ValueId {
    let x = b.input(&image);
    let x = b.conv("stem.conv", x, 16, [3, 3], 1, Border::Same, 1, true);
    let x = b.batch_norm("stem.bn", x);
    let mut x = b.relu("stem.relu", x);
    for (i, (channels, stride)) in [(16, 1), (32, 2), (64, 2)].into_iter().enumerate() {
        let layer = |what: &str| format!("stack{}.{what}", i + 1);
        let mut y = x;
        for (conv, stride) in [(1, stride), (2, 1)] {
            let name = layer(&format!("conv{conv}"));
            y = b.conv(&name, y, channels, [3, 3], stride, Border::Same, 1, true);
            y = b.batch_norm(&layer(&format!("bn{conv}")), y);
            if conv == 1 {
                y = b.relu(&layer("relu1"), y);
            }
        }
        if stride > 1 {
            let name = layer("shortcut");
            x = b.conv(&name, x, channels, [1, 1], stride, Border::Same, 1, true);
        }
        x = b.add_relu(&layer("add"), x, y);
    }
    let x = b.global_mean("pool", x);
    b.linear("fc", x, classes, 1.0)
}

/// He et al.'s networks for CIFAR: three stages of `blocks` basic blocks.
pub(super) fn resnet(b: &mut Builder, image: [usize; 3], classes: usize, blocks: usize) -> ValueId {
    let norm_conv = |b: &mut Builder, name: &str, x, channels, kernel: usize, stride| {
        let name_of = |what: &str| format!("{name}.{what}");
        let kernel = [kernel; 2];
        let x = b.conv(
            &name_of("conv"),
            x,
            channels,
            kernel,
            stride,
            Border::Half,
            1,
            false,
        );
        b.batch_norm(&name_of("bn"), x)
    };
    let x = b.input(&image);
    let x = norm_conv(b, "stem", x, 16, 3, 1);
    let mut x = b.relu("stem.relu", x);
    for (stage, channels) in [16, 32, 64].into_iter().enumerate() {
        for block in 0..blocks {
            let layer = |what: &str| format!("stage{}.block{}.{what}", stage + 1, block + 1);
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let y = norm_conv(b, &layer("a"), x, channels, 3, stride);
            let y = b.relu(&layer("a.relu"), y);
            let y = norm_conv(b, &layer("b"), y, channels, 3, 1);
            if stride > 1 {
                x = norm_conv(b, &layer("shortcut"), x, channels, 1, stride);
            }
            x = b.add_relu(&layer("add"), x, y);
        }
    }
    let x = b.global_mean("pool", x);
    b.linear("fc", x, classes, 1.0)
}
