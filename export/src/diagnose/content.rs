//! What a file is by its first bytes, when it is not what it should be.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Enough for every signature, and for the names of an archive's first members.
const HEAD: u64 = 4096;

/// A kind of file, and what to do to get a model out of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Content {
    /// What it is.
    pub what: &'static str,
    /// What to do.
    pub advice: &'static str,
}

const TORCH: &str = "load it in Python and export it: torch.onnx.export(model.eval(), example_input, \"model.onnx\")";
const KERAS: &str = "convert it with tf2onnx: load it with keras.models.load_model and call tf2onnx.convert.from_keras(model, output_path=\"model.onnx\")";

/// What the file begins with; `None` where that says nothing, or it cannot be read.
pub fn recognise(path: &Path) -> Option<Content> {
    let mut head = Vec::new();
    let file = File::open(path).ok()?;
    file.take(HEAD).read_to_end(&mut head).ok()?;
    of(&head)
}

fn of(head: &[u8]) -> Option<Content> {
    let content = |what, advice| Some(Content { what, advice });
    let text = head.trim_ascii_start();
    let begins = |word: &str| {
        text.get(..word.len())
            .is_some_and(|t| t.eq_ignore_ascii_case(word.as_bytes()))
    };
    let holds = |word: &[u8]| head.windows(word.len()).any(|w| w == word);
    if head.is_empty() {
        return content("an empty file", "download or export it again");
    }
    if begins("<!doctype") || begins("<html") || begins("<?xml") {
        return content(
            "a web page",
            "the download gave a page instead of the file (a login, an error, or a viewer): fetch the raw file",
        );
    }
    if begins("version https://git-lfs") {
        return content(
            "a Git LFS pointer",
            "the model itself was not fetched: run `git lfs pull` in the repository",
        );
    }
    if head.starts_with(b"PK\x03\x04") {
        return if holds(b"data.pkl") || holds(b"/version") && holds(b"/data") {
            content("a PyTorch file", TORCH)
        } else if holds(b"model.weights.h5") || holds(b"config.json") {
            content("a Keras archive", KERAS)
        } else {
            content(
                "a zip archive",
                "unpack it and give the .onnx file that is in it",
            )
        };
    }
    if head.starts_with(b"\x89HDF\r\n") {
        return content("an HDF5 file, as older Keras writes", KERAS);
    }
    if head.starts_with(b"\x80\x02") || head.starts_with(b"\x80\x04") {
        return content("a Python pickle, as older PyTorch writes", TORCH);
    }
    if head.starts_with(b"\x1f\x8b") {
        return content("a gzip archive", "unpack it first: gunzip or tar xzf");
    }
    if head.starts_with(b"GGUF") {
        return content(
            "a GGUF language model",
            "Kinglet runs ONNX networks that fit a microcontroller; this format is for llama.cpp",
        );
    }
    if head.starts_with(b"\x93NUMPY") {
        return content(
            "a numpy array",
            "this is data: give it with --input, and the model first",
        );
    }
    if head.get(8) == Some(&b'{') && head.get(..8).is_some_and(|n| n[4..] == [0; 4]) {
        return content(
            "a safetensors file",
            "it holds weights but no network: load them into the model in Python and export that to ONNX",
        );
    }
    if head.starts_with(&kinglet::format::MAGIC) {
        return content("a Kinglet plan", "name it .kinglet");
    }
    let readable = |b: &u8| b.is_ascii_graphic() || b.is_ascii_whitespace();
    if head.iter().all(readable) {
        return content("a text file", "a model is a binary .onnx file");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_their_first_bytes() {
        let cases: [(&[u8], &str); 12] = [
            (b"", "empty"),
            (b"\n<!DOCTYPE html><html>", "web page"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid",
                "Git LFS",
            ),
            (b"PK\x03\x04....archive/data.pkl", "PyTorch"),
            (b"PK\x03\x04....config.json", "Keras"),
            (b"PK\x03\x04....model.onnx", "zip"),
            (b"\x89HDF\r\n\x1a\n", "HDF5"),
            (b"\x80\x02}q", "pickle"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"\x93NUMPY\x01", "numpy"),
            (b"\x40\0\0\0\0\0\0\0{\"a\"", "safetensors"),
            (b"Not found", "text"),
        ];
        for (head, what) in cases {
            let found = of(head).expect(what);
            assert!(found.what.contains(what), "{what}: {found:?}");
        }
        // An ONNX file begins with its version of the format.
        assert_eq!(of(b"\x08\x08\x12\x07pytorch:"), None);
    }
}
