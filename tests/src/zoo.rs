//! The model zoo: real trained models with golden outputs, and labelled data.
//!
//! It lies in the folder that `KINGLET_ZOO` names, `../shared` beside this source tree by default. Tests that need it
//! fail without it; they never pass by doing nothing.

use kinglet_export::compile::{CompileOptions, Target};
use kinglet_export::files::{self, Tensor};
use kinglet_export::graph::Data;
use kinglet_export::host::Runner;
use kinglet_export::model::Model;
use kinglet_export::onnx::LoadOptions;
use kinglet_export::samples;
use std::path::{Path, PathBuf};

/// Tests that need the model zoo, a name and a body each.
#[macro_export]
macro_rules! zoo_claims {
    ($($name:ident: $claim:expr;)*) => {
        $(
            #[test]
            #[ignore = "needs the model zoo"]
            fn $name() {
                $claim;
            }
        )*
    };
}

/// A model with what it is known to compute.
#[derive(Clone, Copy, Debug)]
pub struct Golden {
    /// The ONNX file, in the zoo's `models`.
    pub model: &'static str,
    /// Inputs with a leading sample axis.
    pub inputs: &'static str,
    /// ONNX Runtime's outputs for them.
    pub outputs: &'static str,
}

/// The int8 files `golden_int8_…` of a folder.
macro_rules! int8 {
    ($folder:literal) => {
        int8!($folder, "golden_int8_inputs.npy")
    };
    ($folder:literal, $inputs:literal) => {
        Golden {
            model: concat!($folder, "/model_int8.onnx"),
            inputs: concat!($folder, "/", $inputs),
            outputs: concat!($folder, "/golden_int8_outputs.npy"),
        }
    };
}

/// The float files `golden_…` of a folder.
macro_rules! float {
    ($folder:literal) => {
        Golden {
            model: concat!($folder, "/model.onnx"),
            inputs: concat!($folder, "/golden_inputs.npy"),
            outputs: concat!($folder, "/golden_outputs.npy"),
        }
    };
}

/// Keyword spotting, int8.
pub const KWS_INT8: Golden = int8!("kws_dscnn");
/// Keyword spotting, float: another training run than the int8 file.
pub const KWS_FLOAT: Golden = float!("kws_dscnn");
/// CIFAR-10, int8.
pub const RESNET_INT8: Golden = int8!("resnet8_cifar10");
/// CIFAR-10, float.
pub const RESNET_FLOAT: Golden = float!("resnet8_cifar10");
/// CIFAR-10, float, channels last, batch norms folded by the exporter.
pub const RESNET_NHWC: Golden = Golden {
    model: "resnet8_cifar10/model_nhwc.onnx",
    inputs: "resnet8_cifar10/golden_nhwc_inputs.npy",
    outputs: "resnet8_cifar10/golden_nhwc_outputs.npy",
};
/// Visual wake words, int8.
pub const VWW_INT8: Golden = int8!("vww_mobilenet_v1_025");
/// Visual wake words, float.
pub const VWW_FLOAT: Golden = float!("vww_mobilenet_v1_025");
/// Anomaly detection, int8.
pub const AD_INT8: Golden = int8!("ad_autoencoder");
/// Anomaly detection, float.
pub const AD_FLOAT: Golden = float!("ad_autoencoder");
/// A sine, int8.
pub const SINE_INT8: Golden = int8!("hello_sine");
/// A sine, float.
pub const SINE_FLOAT: Golden = float!("hello_sine");
/// Yes or no, int8.
pub const MICRO_SPEECH_INT8: Golden = int8!("micro_speech");
/// Person detection, int8.
pub const PERSON_INT8: Golden = int8!("person_detect");
/// Digits, int8 inside with float input and output.
pub const MNIST_INT8: Golden = int8!("mnist_cnn");
/// Digits, float.
pub const MNIST_FLOAT: Golden = float!("mnist_cnn");
/// ImageNet, int8; the host only.
pub const MOBILENET_V2_INT8: Golden = int8!("mobilenet_v2_int8", "golden_int8_inputs.npz");

/// The zoo's folder.
///
/// # Panics
/// There is none.
pub fn root() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let root = std::env::var_os("KINGLET_ZOO").map_or_else(beside, PathBuf::from);
    assert!(
        root.join("models").is_dir() && root.join("datasets").is_dir(),
        "no model zoo in {}: set KINGLET_ZOO to the folder that holds `models` and `datasets`",
        root.display()
    );
    root
}

impl Golden {
    /// The ONNX file.
    pub fn path(&self) -> PathBuf {
        root().join("models").join(self.model)
    }

    /// The file of inputs.
    pub fn inputs_path(&self) -> PathBuf {
        root().join("models").join(self.inputs)
    }

    /// The model, compiled for this machine.
    ///
    /// # Panics
    /// It is refused.
    pub fn open(&self) -> Model {
        self.open_for(Target::Host)
    }

    /// The model, compiled for `target`.
    ///
    /// # Panics
    /// It is refused.
    pub fn open_for(&self, target: Target) -> Model {
        let options = CompileOptions {
            target,
            ..CompileOptions::default()
        };
        let model = Model::open(&self.path(), &LoadOptions::default(), &options);
        model.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The golden inputs as the runtime takes them: one item a sample.
    ///
    /// # Panics
    /// They do not fit the model.
    pub fn samples(&self, model: &Model) -> Vec<Vec<u8>> {
        rows(model, &self.inputs_path())
    }

    /// The golden outputs.
    ///
    /// # Panics
    /// The file cannot be read.
    pub fn outputs(&self) -> Tensor {
        tensor(&root().join("models").join(self.outputs))
    }
}

/// The rows of an input file, checked and encoded as the commands do it.
///
/// # Panics
/// They do not fit the model.
pub fn rows(model: &Model, path: &Path) -> Vec<Vec<u8>> {
    let runner = model.runner().expect("a compiled plan is valid");
    let plan = runner.plan().expect("a compiled plan is valid");
    let argument = path.to_str().expect("a path in UTF-8").to_owned();
    samples::read(&plan, &[argument])
        .unwrap_or_else(|error| panic!("{error}"))
        .rows
}

/// A tensor file.
///
/// # Panics
/// It cannot be read.
pub fn tensor(path: &Path) -> Tensor {
    files::read_tensor(path).unwrap_or_else(|error| panic!("{error}"))
}

/// The host's outputs for each sample, all outputs back to back.
///
/// # Panics
/// A sample does not fit the model.
pub fn run_on_host(model: &Model, samples: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut runner: Runner = model.runner().expect("a compiled plan is valid");
    let outputs = runner
        .run_all(samples.iter().map(Vec::as_slice), &mut ())
        .expect("the samples fit");
    outputs.into_iter().map(|each| each.concat()).collect()
}

/// Elements as reals, whatever their type.
///
/// # Panics
/// They are of a type that no model puts out.
pub fn reals(data: &Data) -> Vec<f64> {
    match data {
        Data::I64(_) => panic!("no output has 64-bit integers"),
        other => other.reals(),
    }
}

/// Index of the greatest element, the first one of several.
pub fn class(scores: &[f64]) -> usize {
    let mut best = 0;
    for (i, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = i;
        }
    }
    best
}
