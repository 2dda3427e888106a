//! A project of the user's own: the smallest firmware around a model, outside of our workspaces.

use crate::emulate::{Board, EmulateError, Kind, Memory, firmware, plan_fits};
use crate::host::AlignedBytes;
use crate::setup;
use kinglet::format::DType;
use kinglet::{Plan, PlanError};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why a project was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// The folder is there already.
    #[error("{} exists already: choose another name, nothing is overwritten", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// No package can have this name.
    #[error(
        "`{name}` is no name for a package: letters, digits, `-` and `_`, beginning with a letter"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The plan is not one.
    #[error("the plan cannot be run: {0}")]
    Plan(#[from] PlanError),
    /// The model does not fit, or the board's sources are missing.
    #[error(transparent)]
    Board(#[from] EmulateError),
    /// The board's settings for cargo are not what they should be.
    #[error("{}: {reason}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes a project for `board` in `folder`, with `plan` in it; the names of its files. Kinglet's crates come from `kinglet`, a
/// folder or the URL of a git repository, by default from the sources of this crate.
///
/// The project is written into a folder beside it, which is renamed when it is whole.
///
/// # Errors
///
/// [`ProjectError`]; `folder` is as it was then.
pub fn create(
    folder: &Path,
    board: &Board,
    plan: &[u8],
    kinglet: Option<&str>,
) -> Result<Vec<String>, ProjectError> {
    if folder.exists() {
        return Err(ProjectError::Exists {
            path: folder.to_owned(),
        });
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if !is_name {
        return Err(ProjectError::Name { name: name.into() });
    }
    let aligned = AlignedBytes::from(plan);
    let parsed = Plan::parse(aligned.bytes())?;
    plan_fits(board, &parsed, Memory::Flash)?;

    let sources = firmware::sources(board)?;
    let settings = Settings::read(&sources.join(".cargo/config.toml"))?;
    let files = [
        ("Cargo.toml", manifest(&name, board, kinglet)?),
        ("build.rs", build_script(board)),
        (".cargo/config.toml", settings.for_project(board)),
        (
            "rust-toolchain.toml",
            format!(
                "[toolchain]\nchannel = \"stable\"\ntargets = [\"{}\"]\n",
                board.rust_target
            ),
        ),
        (".gitignore", "target/\n".to_owned()),
        ("src/main.rs", program(board, &parsed)),
    ];
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let work = tempfile::Builder::new()
        .prefix(".kinglet-new-")
        .tempdir_in(parent)
        .map_err(file("creating a folder in", parent))?;
    let staged = work.path().join("project");
    let write = |name: &str, bytes: &[u8]| {
        let path = staged.join(name);
        let above = path.parent().unwrap_or(&staged);
        fs::create_dir_all(above).map_err(file("creating", above))?;
        fs::write(&path, bytes).map_err(file("writing", &path))
    };
    write("model.kinglet", plan)?;
    for (name, text) in &files {
        write(name, text.as_bytes())?;
    }
    fs::rename(&staged, folder).map_err(file("creating", folder))?;
    let names = files.iter().map(|(name, _)| (*name).to_owned());
    Ok(std::iter::once("model.kinglet".to_owned())
        .chain(names)
        .collect())
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ProjectError + use<> {
    let path = path.to_owned();
    move |source| ProjectError::File {
        action,
        path,
        source,
    }
}

/// What the board's own settings for cargo say.
struct Settings {
    flags: toml::Value,
    runner: toml::Value,
}

impl Settings {
    fn read(path: &Path) -> Result<Settings, ProjectError> {
        let wrong = |reason: String| ProjectError::Settings {
            path: path.to_owned(),
            reason,
        };
        let text = fs::read_to_string(path).map_err(file("reading", path))?;
        let table: toml::Table = text.parse().map_err(|error| wrong(format!("{error}")))?;
        let target = table
            .get("target")
            .and_then(|targets| targets.get("cfg(target_os = \"none\")"))
            .ok_or_else(|| wrong("no settings for the board's target".to_owned()))?;
        let runner = target.get("runner").cloned();
        Ok(Settings {
            flags: target
                .get("rustflags")
                .cloned()
                .unwrap_or(toml::Value::Array(Vec::new())),
            runner: runner.ok_or_else(|| wrong("no runner".to_owned()))?,
        })
    }

    fn for_project(&self, board: &Board) -> String {
        let runner = match board.kind {
            Kind::Hardware(_) => self.runner.clone(),
            Kind::Emulated(_) => {
                let program = match setup::find("kinglet") {
                    Some(_) => "kinglet".to_owned(),
                    None => std::env::current_exe()
                        .map_or_else(|_| "kinglet".to_owned(), |path| path.display().to_string()),
                };
                let words = [&program, "image", "--board", board.name];
                toml::Value::Array(words.iter().map(|&word| word.into()).collect())
            }
        };
        format!(
            "[build]\ntarget = \"{}\"\n\n[env]\nDEFMT_LOG = \"info\"\n\n[target.'cfg(target_os = \"none\")']\nrustflags = {}\nrunner = {}\n",
            board.rust_target, self.flags, runner
        )
    }
}

fn manifest(name: &str, board: &Board, kinglet: Option<&str>) -> Result<String, ProjectError> {
    let own = firmware::root();
    let is_url = kinglet.is_some_and(|place| place.contains("://") || place.starts_with("git@"));
    let root = match kinglet {
        Some(place) if is_url => PathBuf::from(place),
        Some(place) => fs::canonicalize(place).map_err(file("finding", Path::new(place)))?,
        None => fs::canonicalize(&own).map_err(file("finding", &own))?,
    };
    let from = |folder: &str| {
        let (key, place) = if is_url {
            ("git", root.clone())
        } else {
            ("path", root.join(folder))
        };
        format!("{key} = {}", toml::Value::from(place.display().to_string()))
    };
    let (shared, folder) = match board.kind {
        Kind::Emulated(_) => (
            format!(
                "kinglet-firmware = {{ {}, features = [\"panics\"] }}",
                from("boards/firmware")
            ),
            "boards",
        ),
        Kind::Hardware(_) => (
            format!(
                "kinglet-hardware = {{ {} }}",
                from("boards/hardware/firmware")
            ),
            "boards/hardware",
        ),
    };
    Ok(format!(
        r#"[package]
name = "{name}"
version = "0.1.0"
edition = "2024"

# A workspace of its own, wherever it lies.
[workspace]

[dependencies]
defmt = "1"
embedded-hal = "1"
kinglet = {{ {runtime}, features = ["defmt"] }}
{shared}
{board} = {{ {board_crate} }}

[profile.release]
opt-level = "s"
lto = "fat"
codegen-units = 1
panic = "abort"
debug = true
"#,
        runtime = from("runtime"),
        board = board.name,
        board_crate = from(&format!("{folder}/{}", board.name)),
    ))
}

fn build_script(board: &Board) -> String {
    let scripts: &[&str] = match (&board.kind, board.rust_target.starts_with("thumb")) {
        // The HAL's own, with the chip's memory map.
        (Kind::Hardware(_), false) => &["-Tlinkall.x", "-Tdefmt.x"],
        (Kind::Emulated(_), false) => &["-Tmemory.x", "-Tlink.x", "-Tdefmt.x", "--nmagic"],
        (_, true) => &["-Tlink.x", "-Tdefmt.x", "--nmagic"],
    };
    format!(
        r#"//! Hands the linker its scripts; the board's crate brings the memory map.

fn main() {{
    for argument in {scripts:?} {{
        println!("cargo::rustc-link-arg-bins={{argument}}");
    }}
}}
"#
    )
}

/// What a program does with its model, as text.
struct Use {
    /// The inputs' values.
    given: String,
    /// What happens once, before the first run.
    prepare: &'static str,
    run: &'static str,
    /// What a run that succeeds hands out.
    done: &'static str,
    log: &'static str,
}

impl Use {
    /// One input of a type of Rust's: an array goes in, an array comes out.
    fn typed(kind: &str, zero: &str, values: usize) -> Use {
        Use {
            given: format!(
                "/// What the model is given.\nstatic INPUT: [{kind}; {values}] = [{zero}; {values}];"
            ),
            prepare: "",
            run: "model.run(&INPUT)",
            done: "output",
            log: "defmt::info!(\"output: {}\", output);",
        }
    }

    /// Any inputs, as bytes. States among them stay in the arena from run to run.
    fn bytes(plan: &Plan<'_>) -> Use {
        let inputs = (0..plan.input_count()).filter_map(|i| plan.input(i));
        let zeros: Vec<String> = inputs.map(|input| format!("&[0; {}]", input.len)).collect();
        Use {
            given: format!(
                "/// What the model is given: the bytes of each input.\nstatic INPUTS: [&[u8]; {}] = [{}];",
                zeros.len(),
                zeros.join(", ")
            ),
            prepare: "    let session = model.session();
    for (index, bytes) in INPUTS.iter().enumerate() {
        if let Some(input) = session.input_mut(index) {
            input.copy_from_slice(bytes);
        }
    }
",
            run: "session.run()",
            done: "()",
            log: "for index in 0..session.plan().output_count() {
                if let Some(output) = session.output(index) {
                    defmt::info!(\"output {=usize}: {=[u8]}\", index, output);
                }
            }",
        }
    }
}

/// `src/main.rs`.
fn program(board: &Board, plan: &Plan<'_>) -> String {
    let input = plan.input(0).filter(|_| plan.input_count() == 1);
    let uses = match input.map(|input| (input.dtype, input.len)) {
        Some((DType::F32, bytes)) => Use::typed("f32", "0.0", bytes / 4),
        Some((DType::I8, bytes)) => Use::typed("i8", "0", bytes),
        _ => Use::bytes(plan),
    };
    let text = match board.kind {
        Kind::Emulated(_) => include_str!("emulated.rs.in"),
        Kind::Hardware(_) => include_str!("hardware.rs.in"),
    };
    text.replace("BOARD_NAME", board.name)
        .replace("BOARD_CRATE", &board.name.replace('-', "_"))
        .replace("GIVEN", &uses.given)
        .replace("PREPARE", uses.prepare)
        .replace("RUN", uses.run)
        .replace("DONE", uses.done)
        .replace("LOG", uses.log)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulate::board;

    #[test]
    fn a_folder_that_exists_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let board = board("mps2-an386").unwrap();
        let error = create(folder.path(), board, &kinglet::doc_plan()[..], None).unwrap_err();
        assert!(error.to_string().contains("exists already"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn names_are_those_of_packages() {
        let folder = tempfile::tempdir().unwrap();
        let board = board("mps2-an386").unwrap();
        for name in ["1st", "a b", "ä"] {
            let path = folder.path().join(name);
            let error = create(&path, board, &kinglet::doc_plan()[..], None).unwrap_err();
            assert!(matches!(error, ProjectError::Name { .. }), "{error}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn programs_are_short() {
        for text in [
            include_str!("emulated.rs.in"),
            include_str!("hardware.rs.in"),
        ] {
            assert!(text.lines().count() < 60);
        }
    }
}
