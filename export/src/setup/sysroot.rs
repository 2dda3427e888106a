//! `core` for a bare-metal target, built once from Debian's packaged Rust sources into a directory of our own.
//!
//! Nothing is downloaded but Debian packages: the crates that the standard library's lock file names are vendored in
//! `rust-web-src`. The result is a complete sysroot with a `bin/rustc` that uses it, so cargo needs nothing but `RUSTC`.

use super::packages::{Installer, output};
use super::{CACHE, SetupError};
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Debian's cargo: rustup's, earlier on the path, would look for a toolchain file.
pub(super) const CARGO: &str = "/usr/bin/cargo";
const RUSTC: &str = "/usr/bin/rustc";
const RUSTLIB: &str = "/usr/lib/rustlib";
const SOURCES: &str = "/usr/lib/rustlib/src/rust/library";
const STAMP: &str = "stamp";

/// The compiler of `sysroot`.
pub(super) fn wrapper(sysroot: &Path) -> PathBuf {
    sysroot.join("bin").join("rustc")
}

/// What `sysroot` was built from, and when: two sysroots of one compiler need not be interchangeable.
pub(super) fn stamp(sysroot: &Path) -> Option<String> {
    fs::read_to_string(sysroot.join(STAMP)).ok()
}

/// The sysroot with `target`, built when it is missing or of another compiler.
pub(super) fn ensure(target: &str, progress: &dyn Fn(&str)) -> Result<PathBuf, SetupError> {
    install_sources(progress)?;
    let compiler = Compiler::parse(&output(&mut Command::new(RUSTC), &["-vV"])?)?;
    let linker = install_linker(&compiler, progress)?;

    let cache = cache_directory()?;
    create(&cache)?;
    let sysroot = cache.join(format!("sysroot-{}-{target}", compiler.release));
    let lock_path = cache.join("sysroot.lock");
    let lock = File::create(&lock_path).map_err(file("creating", &lock_path))?;
    // Held until the end of this function, so that concurrent runs build it once.
    lock.lock().map_err(file("locking", &lock_path))?;
    if stamp(&sysroot).is_some_and(|stamp| stamp.starts_with(&compiler.version)) {
        return Ok(sysroot);
    }

    progress(&format!(
        "building core for {target} from source (once, under a minute)"
    ));
    let work = tempfile::Builder::new()
        .prefix("building-")
        .tempdir_in(&cache)
        .map_err(file("creating", &cache))?;
    let built = build_core(work.path(), target)?;
    let staged = work.path().join("sysroot");
    assemble(&staged, &sysroot, target, &compiler, &linker, &built)?;
    if sysroot.exists() {
        fs::remove_dir_all(&sysroot).map_err(file("removing", &sysroot))?;
    }
    fs::rename(&staged, &sysroot).map_err(file("creating", &sysroot))?;
    Ok(sysroot)
}

/// What `rustc -vV` says.
#[derive(Debug, PartialEq, Eq)]
struct Compiler {
    version: String,
    release: String,
    host: String,
    llvm_major: String,
}

impl Compiler {
    fn parse(verbose: &str) -> Result<Self, SetupError> {
        let field = |name: &str| {
            verbose
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|value| value.trim().to_owned())
                .ok_or_else(|| SetupError::Missing {
                    what: format!("`{name}` in the output of `{RUSTC} -vV`"),
                    advice: "reinstall the Debian package rustc-web".to_owned(),
                })
        };
        let llvm = field("LLVM version:")?;
        Ok(Compiler {
            version: verbose.trim().to_owned(),
            release: field("release:")?,
            host: field("host:")?,
            llvm_major: llvm.split('.').next().unwrap_or_default().to_owned(),
        })
    }
}

fn install_sources(progress: &dyn Fn(&str)) -> Result<(), SetupError> {
    let vendor = Path::new(SOURCES).join("vendor");
    if Path::new(RUSTC).exists() && Path::new(CARGO).exists() && vendor.exists() {
        return Ok(());
    }
    if Installer::of_this_machine() != Some(Installer::Apt) {
        return Err(SetupError::Missing {
            what: "Debian's Rust with its sources".to_owned(),
            advice: format!(
                "this machine has no apt-get; unset {} to use rustup",
                super::FROM_SOURCE
            ),
        });
    }
    Installer::Apt.install(&["rustc-web", "cargo-web", "rust-web-src"], progress)
}

/// Debian's `rust-lld` is a link to the lld of the compiler's LLVM, which nothing installs: the version comes from the
/// compiler, so that a newer one in the archive finds its own.
fn install_linker(compiler: &Compiler, progress: &dyn Fn(&str)) -> Result<PathBuf, SetupError> {
    let package = format!("lld-{}", compiler.llvm_major);
    let program = Path::new("/usr/bin").join(&package);
    if !program.exists() {
        Installer::Apt.install(&[&package], progress)?;
    }
    // The generic driver beside it is the one that understands `-flavor`.
    fs::canonicalize(&program).map_err(file("finding", &program))
}

/// Builds `core` in `work`; the directory of its libraries.
fn build_core(work: &Path, target: &str) -> Result<PathBuf, SetupError> {
    let package = work.join("package");
    let home = work.join("home");
    let target_directory = work.join("target");
    create(&package.join("src"))?;
    create(&home)?;
    write(
        &package.join("Cargo.toml"),
        "[package]\nname = \"sysroot\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n\n[profile.release]\ndebug = false\n",
    )?;
    write(&package.join("src/lib.rs"), "#![no_std]\n")?;
    write(
        &home.join("config.toml"),
        &format!(
            "[source.crates-io]\nreplace-with = \"vendored\"\n\n[source.vendored]\ndirectory = \"{SOURCES}/vendor\"\n"
        ),
    )?;
    let mut cargo = Command::new(CARGO);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(super::belongs_to_outer_cargo) {
            cargo.env_remove(name);
        }
    }
    cargo
        .current_dir(&package)
        .env("RUSTC", RUSTC)
        .env("CARGO_HOME", &home)
        .env("CARGO_TARGET_DIR", &target_directory)
        // Building the standard library is a nightly feature; the result is used from stable code only.
        .env("RUSTC_BOOTSTRAP", "1")
        // Cargo leaves the bitcode out, and then firmware cannot be optimised at link time.
        .env("RUSTFLAGS", "-Cembed-bitcode=yes");
    output(
        &mut cargo,
        &[
            "build",
            "--release",
            "--offline",
            "-Zbuild-std=core",
            "--target",
            target,
        ],
    )?;
    Ok(target_directory.join(target).join("release").join("deps"))
}

/// Lays the sysroot out in `staged`; it will be moved to `sysroot`.
fn assemble(
    staged: &Path,
    sysroot: &Path,
    target: &str,
    compiler: &Compiler,
    linker: &Path,
    built: &Path,
) -> Result<(), SetupError> {
    let libraries = staged.join("lib/rustlib").join(target).join("lib");
    create(&libraries)?;
    for entry in fs::read_dir(built)
        .map_err(file("reading", built))?
        .flatten()
    {
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if (text.starts_with("libcore-") || text.starts_with("libcompiler_builtins-"))
            && text.ends_with(".rlib")
        {
            let to = libraries.join(&name);
            fs::copy(entry.path(), &to).map_err(file("copying", &to))?;
        }
    }
    // Build scripts and procedural macros still need the host's standard library.
    let host = staged.join("lib/rustlib").join(&compiler.host);
    create(&host.join("bin"))?;
    link(
        &Path::new(RUSTLIB).join(&compiler.host).join("lib"),
        &host.join("lib"),
    )?;
    link(linker, &host.join("bin/rust-lld"))?;
    create(&staged.join("bin"))?;
    let program = wrapper(staged);
    write(
        &program,
        &format!(
            "#!/bin/sh\nexec {RUSTC} --sysroot '{}' \"$@\"\n",
            sysroot.display()
        ),
    )?;
    make_executable(&program)?;
    let made = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    write(
        &staged.join(STAMP),
        &format!("{}\ntarget: {target}\nmade: {made}\n", compiler.version),
    )
}

/// Where built targets are kept, and what else was made once.
pub(crate) fn cache_directory() -> Result<PathBuf, SetupError> {
    let set = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set(CACHE)
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("kinglet")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/kinglet")))
        .ok_or_else(|| SetupError::Missing {
            what: "a cache directory".to_owned(),
            advice: format!("set {CACHE} to a directory that may be written"),
        })
}

fn file<'p>(
    action: &'static str,
    path: &'p Path,
) -> impl FnOnce(std::io::Error) -> SetupError + use<'p> {
    move |source| SetupError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

fn create(path: &Path) -> Result<(), SetupError> {
    fs::create_dir_all(path).map_err(file("creating", path))
}

fn write(path: &Path, text: &str) -> Result<(), SetupError> {
    fs::write(path, text).map_err(file("writing", path))
}

#[cfg(unix)]
fn link(to: &Path, at: &Path) -> Result<(), SetupError> {
    std::os::unix::fs::symlink(to, at).map_err(file("linking", at))
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Result<(), SetupError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(file("making executable", path))
}

// Debian's packages exist on Unix only: `install_sources` has failed before these are reached.
#[cfg(not(unix))]
fn link(_to: &Path, at: &Path) -> Result<(), SetupError> {
    Err(file("linking", at)(std::io::ErrorKind::Unsupported.into()))
}

#[cfg(not(unix))]
fn make_executable(_path: &Path) -> Result<(), SetupError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_names_the_linker_that_belongs_to_it() {
        let compiler = Compiler::parse(
            "rustc 1.96.0 (ac68faa20 2026-05-25)\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8\n",
        )
        .unwrap();
        assert_eq!(
            (
                compiler.release.as_str(),
                compiler.host.as_str(),
                compiler.llvm_major.as_str()
            ),
            ("1.96.0", "x86_64-unknown-linux-gnu", "22")
        );
    }

    #[test]
    fn an_unreadable_compiler_version_is_an_error_that_names_the_field() {
        let error = Compiler::parse("rustc 1.0\nhost: x\nrelease: 1.0\n").unwrap_err();
        assert!(error.to_string().contains("LLVM version:"), "{error}");
    }
}
