//! Plans on web pages: the runtime as WebAssembly, built from `runtime/web`, and a page to draw on.

use crate::files::{FileError, write_atomic};
use crate::host::{HostError, Runner};
use crate::report::escape;
use crate::setup::{self, SetupError};
use base64ct::{Base64, Encoding};
use kinglet::format::DType;
use serde_json::json;
use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Rust's name of the target.
const TARGET: &str = "wasm32-unknown-unknown";

/// The page's parts between which model and scripts are put.
const PAGE: &str = include_str!("page.html");

/// What drives the module from JavaScript.
const SCRIPT: &str = include_str!("../../../runtime/web/kinglet.js");
/// Its types.
const TYPES: &str = include_str!("../../../runtime/web/kinglet.d.ts");

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebError {
    /// The target is missing, or the module does not compile.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// There are no sources to build.
    #[error(
        "{} has no Cargo.toml: the runtime for the web is built from Kinglet's source tree", path.display()
    )]
    NoSources {
        /// Where they should be.
        path: PathBuf,
    },
    /// The module was not built.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The module.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nobody can draw this model's input.
    #[error(
        "the page is for models of one grey picture in and classes out, and {found}: name a folder, such as `-o site`, to get the \
         files for a page of your own"
    )]
    NoDrawing {
        /// What the model takes or gives.
        found: String,
    },
    /// The plan was refused.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Builds the runtime as a WebAssembly module. `progress` hears of everything that takes time.
///
/// # Errors
/// The target cannot be set up, or there are no sources.
pub fn module(progress: &dyn Fn(&str)) -> Result<Vec<u8>, WebError> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/web");
    if !sources.join("Cargo.toml").is_file() {
        return Err(WebError::NoSources { path: sources });
    }
    let toolchain = setup::ensure(TARGET, None, progress)?;
    // Beside the host's target folder, so that `cargo clean` removes it. Another compiler's objects do not mix: each has its folder.
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
        PathBuf::from,
    );
    let target = target.join("web");
    let target = std::path::absolute(&target).unwrap_or(target);
    progress("building the runtime for the web");
    let mut cargo = toolchain.cargo();
    cargo
        .current_dir(&sources)
        .args(["build", "--release", "--locked", "--target", TARGET])
        .arg("--target-dir")
        .arg(&target);
    setup::run(&mut cargo)?;
    let path = target.join(TARGET).join("release/kinglet_web.wasm");
    std::fs::read(&path).map_err(|source| WebError::Read { path, source })
}

/// Height and width of the picture that a plan takes, and how many classes it has.
fn picture(plan: &[u8]) -> Result<(usize, usize, usize), WebError> {
    let runner = Runner::new(plan)?;
    let plan = runner.plan()?;
    let refuse = |found: String| WebError::NoDrawing { found };
    let (inputs, outputs) = (plan.input_count(), plan.output_count());
    let (Some(input), Some(output), 1, 1) = (plan.input(0), plan.output(0), inputs, outputs) else {
        let found = format!("this one has {inputs} inputs and {outputs} outputs");
        return Err(refuse(found));
    };
    let (height, width) = match *input.shape() {
        [1, 1, h, w] | [1, h, w, 1] | [1, h, w] | [h, w] if h > 1 && w > 1 => (h, w),
        ref other => return Err(refuse(format!("this one's input has shape {other:?}"))),
    };
    if height.max(width) > 160 {
        return Err(refuse(format!(
            "this one's picture has {height} × {width} pixels"
        )));
    }
    if input.dtype == DType::I32 {
        return Err(refuse("this one's input is int32".into()));
    }
    let classes = output.len / output.dtype.size();
    if classes < 2 {
        return Err(refuse("this one has a single number for output".into()));
    }
    Ok((height, width, classes))
}

/// One page that needs nothing else: a field to draw in, and the class that the plan gives. `range` is what blank and full ink are to
/// the model.
///
/// # Errors
/// The plan takes something else than one grey picture.
pub fn page(
    name: &str,
    plan: &[u8],
    module: &[u8],
    range: [f32; 2],
    labels: &[String],
) -> Result<String, WebError> {
    let (height, width, classes) = picture(plan)?;
    if !labels.is_empty() && labels.len() != classes {
        let found = format!("this one has {classes} classes for {} labels", labels.len());
        return Err(WebError::NoDrawing { found });
    }
    let settings = json!({
        "plan": Base64::encode_string(plan),
        "wasm": Base64::encode_string(module),
        "height": height,
        "width": width,
        "range": range,
        "labels": labels,
    });
    // A label could end the script.
    let settings = settings.to_string().replace('<', "\\u003c");
    Ok(PAGE
        .replace("@name@", &escape(name))
        .replace("@settings@", &settings)
        .replace("@kinglet@", SCRIPT))
}

/// Writes what a page of one's own needs into `folder`; their names.
///
/// # Errors
/// A file cannot be written.
pub fn files(folder: &Path, plan: &[u8], module: &[u8]) -> Result<Vec<PathBuf>, WebError> {
    let failed = |source| FileError::Write {
        path: folder.into(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let all: [(&str, &[u8]); 4] = [
        ("kinglet.js", SCRIPT.as_bytes()),
        ("kinglet.d.ts", TYPES.as_bytes()),
        ("kinglet.wasm", module),
        ("model.kinglet", plan),
    ];
    let mut written = Vec::new();
    for (name, bytes) in all {
        let path = folder.join(name);
        write_atomic(&path, |file| file.write_all(bytes))?;
        written.push(path);
    }
    Ok(written)
}
