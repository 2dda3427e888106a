//! Finds out which instructions the target has. `cfg(target_feature)` does not tell on stable Rust (it is never set for
//! `dsp` and `mve`), so the assembler is asked, with the flags that the crate will be compiled with.

use std::env;
use std::io::Write;
use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    for name in [
        "kinglet_dsp",
        "kinglet_mve",
        "kinglet_armv7m",
        "kinglet_rv32m",
        "kinglet_soft_float",
    ] {
        println!("cargo::rustc-check-cfg=cfg({name})");
    }
    let target = env::var("TARGET").unwrap_or_default();
    // Whether floats are computed by a library. Other processors all have them.
    let float = match () {
        () if target.starts_with("thumb") => "vadd.f32 s0, s0, s0",
        () if target.starts_with("riscv32") => "fadd.s fa0, fa0, fa0",
        () => "",
    };
    if !float.is_empty() && !assembles(&target, float) {
        println!("cargo::rustc-cfg=kinglet_soft_float");
    }
    // 31 registers and multiplication.
    if target.starts_with("riscv32") && assembles(&target, "mul x31, x31, x31") {
        println!("cargo::rustc-cfg=kinglet_rv32m");
    }
    if !target.starts_with("thumb") {
        return;
    }
    // Dual 16-bit multiplications and a single-precision FPU.
    let dsp = assembles(&target, "smlad r0, r1, r2, r3\nvcvtr.s32.f32 s0, s0");
    if dsp {
        println!("cargo::rustc-cfg=kinglet_dsp");
    }
    // Helium.
    if assembles(&target, "vmlava.s8 r0, q0, q1") {
        println!("cargo::rustc-cfg=kinglet_mve");
    }
    // Thumb-2 with multiply-accumulate, and not both of the above.
    if !dsp && assembles(&target, "mla r0, r1, r2, r3") {
        println!("cargo::rustc-cfg=kinglet_armv7m");
    }
}

/// Whether the target's assembler takes `code`.
fn assembles(target: &str, code: &str) -> bool {
    let Some(rustc) = env::var_os("RUSTC") else {
        return false;
    };
    let out = env::var_os("OUT_DIR").unwrap_or_default();
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let program = format!("#![no_std]\ncore::arch::global_asm!({code:?});");
    let child = Command::new(rustc)
        .args([
            "--crate-name",
            "probe",
            "--crate-type",
            "lib",
            "--edition",
            "2024",
        ])
        .args(["--emit", "obj", "--target", target, "--out-dir"])
        .arg(out)
        .args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()))
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        return false;
    };
    let written = child
        .stdin
        .take()
        .is_some_and(|mut stdin| stdin.write_all(program.as_bytes()).is_ok());
    written && child.wait().is_ok_and(|status| status.success())
}
