//! Hands the linker the scripts of the HAL, which knows the chip's memory map.

fn main() {
    for script in ["-Tlinkall.x", "-Tdefmt.x"] {
        println!("cargo::rustc-link-arg-bins={script}");
    }
}
