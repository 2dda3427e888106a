//! Puts the linker script where the boards' linker looks.

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=link.x");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    fs::copy("link.x", out.join("link.x"))?;
    println!("cargo::rustc-link-search={}", out.display());
    Ok(())
}
