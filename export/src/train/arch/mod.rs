//! Networks to train from scratch, as graphs with random weights.
//!
//! | name | network | for |
//! |---|---|---|
//! | `resnet8` | MLPerf Tiny's: 16, 32, 64 channels, one block each, 1×1 convolutions as shortcuts | 32×32 images |
//! | `resnet20`, `resnet32`, `resnet56` | He et al.'s basic blocks, 1×1 convolutions with batch-norm as shortcuts | 32×32 images |
//! | `ds_cnn` | MLPerf Tiny's keyword spotter: a 10×4 convolution and four depthwise-separable blocks of 64 | 49×10 features |
//! | `mobilenet_v1_025` | MobileNetV1, a quarter of the channels | images |
//! | `mlp` | two hidden layers, of 256 and 128 | anything |

mod builder;
mod ds_cnn;
mod mlp;
mod mobilenet;
mod resnet;

pub use builder::{Border, Builder};

use crate::graph::Graph;
use clap::ValueEnum;

/// A network of the zoo.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Arch {
    /// ResNet-8.
    #[value(name = "resnet8")]
    ResNet8,
    /// ResNet-20.
    #[value(name = "resnet20")]
    ResNet20,
    /// ResNet-32.
    #[value(name = "resnet32")]
    ResNet32,
    /// ResNet-56.
    #[value(name = "resnet56")]
    ResNet56,
    /// DS-CNN.
    #[value(name = "ds_cnn")]
    DsCnn,
    /// MobileNetV1 × 0.25.
    #[value(name = "mobilenet_v1_025")]
    MobileNetV1,
    /// A multilayer perceptron.
    #[value(name = "mlp")]
    Mlp,
}

/// Why a network cannot be built.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchError {
    /// The samples do not fit the network.
    #[error("{arch} takes samples of shape [channels, height, width]; these have shape {shape:?}")]
    Shape {
        /// The network.
        arch: &'static str,
        /// Shape of a sample.
        shape: Vec<usize>,
    },
}

impl Arch {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Arch::ResNet8 => "resnet8",
            Arch::ResNet20 => "resnet20",
            Arch::ResNet32 => "resnet32",
            Arch::ResNet56 => "resnet56",
            Arch::DsCnn => "ds_cnn",
            Arch::MobileNetV1 => "mobilenet_v1_025",
            Arch::Mlp => "mlp",
        }
    }

    /// The network with random weights: input `[1, sample…]`, output `[1, classes]`, no Softmax.
    ///
    /// # Errors
    /// The samples are no images, for a network that needs some.
    pub fn build(self, sample: &[usize], classes: usize, seed: u64) -> Result<Graph, ArchError> {
        let image = || match *sample {
            [c, h, w] if c * h * w > 0 => Ok([c, h, w]),
            _ => Err(ArchError::Shape {
                arch: self.name(),
                shape: sample.to_vec(),
            }),
        };
        let mut builder = Builder::new(self.name(), seed);
        let logits = match self {
            Arch::ResNet8 => resnet::resnet8(&mut builder, image()?, classes),
            Arch::ResNet20 => resnet::resnet(&mut builder, image()?, classes, 3),
            Arch::ResNet32 => resnet::resnet(&mut builder, image()?, classes, 5),
            Arch::ResNet56 => resnet::resnet(&mut builder, image()?, classes, 9),
            Arch::DsCnn => ds_cnn::ds_cnn(&mut builder, image()?, classes),
            Arch::MobileNetV1 => mobilenet::mobilenet_v1(&mut builder, image()?, classes, 4),
            Arch::Mlp => mlp::mlp(&mut builder, sample, classes, &[256, 128]),
        };
        Ok(builder.finish(logits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::{total_macs, total_parameters};
    use crate::train::tape::{Mode, Program, Tensor, stored_shape};

    #[test]
    fn networks_have_their_published_sizes() {
        let size = |arch: Arch, shape: &[usize], classes| {
            let graph = arch.build(shape, classes, 1).expect("fits");
            (total_parameters(&graph), total_macs(&graph))
        };
        let cifar = [3, 32, 32];
        // The three of MLPerf Tiny have the sizes of its reference models; batch-norm's four vectors count.
        assert_eq!(size(Arch::ResNet8, &cifar, 10), (78_666, 12_501_632));
        assert_eq!(size(Arch::DsCnn, &[1, 49, 10], 12), (24_908, 2_656_768));
        assert_eq!(size(Arch::MobileNetV1, &[3, 96, 96], 2).1, 7_489_664);
        // He et al.: 0.27 million parameters; the shortcuts' convolutions come on top.
        assert_eq!(size(Arch::ResNet20, &cifar, 10), (274_042, 40_813_184));
    }

    #[test]
    fn every_network_runs_on_a_batch() {
        for &arch in Arch::value_variants() {
            let shape = match arch {
                Arch::DsCnn => [1, 49, 10],
                _ => [3, 32, 32],
            };
            let graph = arch.build(&shape, 7, 3).expect("fits");
            let mut program = Program::<f32>::new(&graph).expect("can be trained");
            let stored = stored_shape(&[2, shape[0], shape[1], shape[2]]);
            program.forward(Tensor::zeros(stored), Mode::Train);
            assert_eq!(
                program.logits().map(|l| l.shape.clone()),
                Some(vec![2, 7]),
                "{arch:?}"
            );
        }
    }

    #[test]
    fn images_are_asked_for() {
        assert!(Arch::ResNet8.build(&[64], 10, 1).is_err());
        assert!(Arch::Mlp.build(&[64], 10, 1).is_ok());
    }
}
