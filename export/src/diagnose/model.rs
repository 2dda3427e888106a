//! Models and plans that are refused.

use super::{Diagnosis, because, content};
use crate::compile::CompileError;
use crate::files::FileError;
use crate::graph::{DType, Data, Graph};
use crate::host::HostError;
use crate::model::ModelError;
use crate::onnx::OnnxError;
use crate::quantize::QuantizeError;
use crate::tflite::TfliteError;
use kinglet::PlanError;
use std::error::Error;
use std::io;
use std::path::Path;

pub(super) fn diagnose(error: &(dyn Error + 'static)) -> Option<Diagnosis> {
    if let Some(error) = error.downcast_ref::<ModelError>() {
        return match error {
            ModelError::Read { source, path } => unreadable(source, path),
            ModelError::Kind { path } => not_onnx(path),
            ModelError::Onnx { path, source } => onnx(path, source),
            ModelError::Compile { source, .. } => compile(source),
            ModelError::Plan { source, .. } => plan(source),
            ModelError::File(error) => file(error),
        };
    }
    if let Some(error) = error.downcast_ref::<OnnxError>() {
        return onnx(Path::new(""), error);
    }
    if let Some(error) = error.downcast_ref::<CompileError>() {
        return compile(error);
    }
    if let Some(error) = error.downcast_ref::<HostError>() {
        return plan(error);
    }
    if let Some(error) = error.downcast_ref::<FileError>() {
        return file(error);
    }
    match error.downcast_ref::<QuantizeError>()? {
        QuantizeError::AlreadyQuantized { .. } => because(
            "quantize::already",
            "compile it as it is: `kinglet compile MODEL -o model.kinglet --target TARGET`. To quantise anew, take the float model that it came from.",
        ),
        QuantizeError::NotFinite { value, .. } => because(
            "model::not-finite",
            format!(
                "a weight of `{value}`, or what the calibration data make of it, is no number: training diverged or the export is damaged. Look at the weights in Python with numpy.isfinite, and train again with a lower rate."
            ),
        ),
        QuantizeError::Compile(error) => compile(error),
        QuantizeError::Run(error) => plan(error),
        _ => None,
    }
}

/// A file that is not there, or that may not be read.
pub(super) fn unreadable(source: &io::Error, path: &Path) -> Option<Diagnosis> {
    if source.kind() != io::ErrorKind::NotFound {
        return None;
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let help = match folder.is_dir() {
        true => format!(
            "look at the name: `ls {}` lists what is there",
            folder.display()
        ),
        false => format!("the folder {} is not there either", folder.display()),
    };
    because("file::missing", help)
}

/// An array or result that cannot be read or written.
pub(super) fn file(error: &FileError) -> Option<Diagnosis> {
    match error {
        FileError::Read { path, source } => unreadable(source, path),
        FileError::Write { path, source } if source.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(Path::new("."));
            because(
                "file::folder",
                format!("make the folder first: mkdir -p {}", folder.display()),
            )
        }
        FileError::DType { .. } => because(
            "data::dtype",
            "convert it in Python: numpy.save(\"x.npy\", x.astype(\"float32\"))",
        ),
        _ => None,
    }
}

fn not_onnx(path: &Path) -> Option<Diagnosis> {
    let help = match content::recognise(path) {
        Some(found) => format!("by its contents it is {}: {}", found.what, found.advice),
        None => "export the model to ONNX and give the .onnx file".into(),
    };
    because("model::not-onnx", help)
}

fn onnx(path: &Path, error: &OnnxError) -> Option<Diagnosis> {
    match error {
        OnnxError::Read { path, source } => unreadable(source, path),
        OnnxError::Decode { .. } | OnnxError::Model { .. } if content::recognise(path).is_some() => {
            not_onnx(path)
        }
        OnnxError::Decode { .. } => because(
            "model::truncated",
            "the file begins like a model and does not end like one: compare its length with the original's and download or export it again",
        ),
        OnnxError::Opset { max, .. } => because(
            "model::opset",
            format!("export with opset_version={max} or less, or convert: onnx.version_converter.convert_version(model, {max})"),
        ),
        OnnxError::UnsupportedOperator { op, .. } => because(
            "model::operator",
            rewrite(op).map_or_else(
                || "replace the operator in the network or cut the graph before it (onnx.utils.extract_model); docs/operators.md lists what runs".into(),
                |rewrite| format!("{rewrite}; docs/operators.md lists what runs"),
            ),
        ),
        OnnxError::UnsupportedAttribute { .. } => because(
            "model::attribute",
            "change the layer in the network to a form that runs, which the message names, and export again; docs/operators.md lists what runs",
        ),
        OnnxError::Tensor { message, .. } if message.starts_with("its data") => because(
            "model::external-data",
            "put the data file into the model's folder, or load the model where both are and save it as one: onnx.save_model(onnx.load(\"model.onnx\"), \"one.onnx\", save_as_external_data=False)",
        ),
        OnnxError::Input { input, message } if message.contains("shape") => because(
            "model::shape",
            format!("say what its dimensions are: --shape {input}=1x3x32x32 (with the model's own numbers), or export with fixed shapes: no dynamic_axes, a batch of 1"),
        ),
        OnnxError::Tflite(error) => tflite(error),
        _ => None,
    }
}

fn tflite(error: &TfliteError) -> Option<Diagnosis> {
    match error {
        TfliteError::Damaged { .. } => because(
            "model::truncated",
            "compare the file's length with the original's, and download or convert it again",
        ),
        TfliteError::Operator { .. } => because(
            "model::operator",
            "replace the operator in the network; docs/import.md lists what runs of TensorFlow Lite",
        ),
        _ => None,
    }
}

/// How a network does without an operator.
fn rewrite(op: &str) -> Option<&'static str> {
    Some(match op {
        "TopK" | "NonMaxSuppression" | "NonZero" | "Unique" => {
            "cut the graph before it and do this step in your program: its result has no fixed size"
        }
        "Loop" | "If" | "Scan" => {
            "export without control flow: unroll the loop or fix the branch in the network"
        }
        "GridSample" | "RoiAlign" => "use Resize, or crop before the network",
        "Einsum" => "write it as MatMul with Transpose and Reshape",
        "RandomNormal" | "RandomUniform" | "RandomNormalLike" | "RandomUniformLike" => {
            "export in inference mode (model.eval()), where nothing is random"
        }
        _ => return None,
    })
}

fn compile(error: &CompileError) -> Option<Diagnosis> {
    match error {
        CompileError::ArenaLimit {
            limit, smallest, ..
        } => because(
            "compile::arena-limit",
            format!(
                "{} bytes are missing: allow --arena-limit {smallest}, make the input or the widest layers smaller, or cut channels with `kinglet compress`",
                smallest - limit
            ),
        ),
        CompileError::NoIntegers => because(
            "compile::int8-io",
            "quantise first: `kinglet quantize MODEL --calibration samples.npy -o model_int8.onnx`",
        ),
        CompileError::Unsupported { .. } => because(
            "compile::unsupported",
            "change that node in the network as the message says, and export again; docs/operators.md lists what runs in int8 and in float",
        ),
        CompileError::Refused(error) => plan(error),
        _ => None,
    }
}

fn plan(error: &HostError) -> Option<Diagnosis> {
    let HostError::Plan(error) = error else {
        return None;
    };
    match error {
        PlanError::Version { found, supported } => because(
            "plan::version",
            format!(
                "the plan has format {found}, this kinglet reads {supported}: compile the model again with this version, or take the kinglet that made it"
            ),
        ),
        PlanError::Features { .. } => because(
            "plan::version",
            "a newer kinglet made this plan: compile the model again with this version, or update",
        ),
        _ => because(
            "plan::damaged",
            "the file is not whole: copy or download it again, or compile the model again",
        ),
    }
}

/// Why a model that is compiled for a microcontroller should not be left as it is.
pub fn float_model(graph: &Graph) -> Option<Diagnosis> {
    let computed = graph.nodes.iter().map(|n| &graph[n.output]);
    let is_float =
        computed.clone().count() > 0 && computed.into_iter().all(|v| v.dtype == DType::F32);
    let layers = crate::passes::total_macs(graph) > 0;
    (is_float && layers).then(|| Diagnosis {
        code: "compile::float-model",
        help: "`kinglet quantize MODEL --calibration samples.npy -o model_int8.onnx` makes an int8 model: a quarter of the flash and RAM, and far fewer instructions".into(),
    })
}

/// A weight that is no number: the tensor's name and the next step.
pub fn weights(graph: &Graph) -> Option<(String, Diagnosis)> {
    let bad = |data: &Data| matches!(data, Data::F32(v) if v.iter().any(|w| w.is_nan()));
    let value = graph
        .values
        .iter()
        .find(|v| v.data.as_ref().is_some_and(bad))?;
    let help = "training diverged or the export is damaged: look at the weights in Python with numpy.isfinite, and train again with a lower rate";
    let diagnosis = because("model::not-finite", help)?;
    Some((value.name.clone(), diagnosis))
}
