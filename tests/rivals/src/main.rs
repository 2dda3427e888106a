//! `kinglet-rivals tract|rten MODEL.onnx NAME=INPUT.npy …`: speaks the lines of `export/src/rivals/mod.rs`.

mod rten_model;
mod tract_model;

use cpu_time::ProcessTime;
use ndarray_npy::ReadNpyExt;
use serde_json::json;
use std::error::Error;
use std::fs::File;
use std::io::BufRead;

/// A tensor of an input.
enum Tensor {
    F32(Vec<usize>, Vec<f32>),
    I8(Vec<usize>, Vec<i8>),
    U8(Vec<usize>, Vec<u8>),
}

/// What every rival is here: a run gives its first output.
type Run = Box<dyn FnMut() -> Result<Vec<f64>, Box<dyn Error>>>;

/// Its version, and how it runs.
type Loaded = Result<(&'static str, Run), Box<dyn Error>>;

fn read(path: &str) -> Result<Tensor, Box<dyn Error>> {
    let open = || File::open(path);
    if let Ok(array) = ndarray_npy_array::<f32>(open()?) {
        return Ok(Tensor::F32(array.0, array.1));
    }
    if let Ok(array) = ndarray_npy_array::<i8>(open()?) {
        return Ok(Tensor::I8(array.0, array.1));
    }
    let array = ndarray_npy_array::<u8>(open()?)?;
    Ok(Tensor::U8(array.0, array.1))
}

/// Shape and elements of a file with elements `T`.
fn ndarray_npy_array<T: ndarray_npy::ReadableElement + Clone>(
    file: File,
) -> Result<(Vec<usize>, Vec<T>), Box<dyn Error>> {
    let array = ndarray::ArrayD::<T>::read_npy(file)?;
    Ok((array.shape().to_vec(), array.iter().cloned().collect()))
}

fn load(arguments: &[String]) -> Loaded {
    let [rival, model, inputs @ ..] = arguments else {
        return Err("tract|rten MODEL.onnx NAME=INPUT.npy … is expected".into());
    };
    let mut tensors = Vec::new();
    for input in inputs {
        let (name, path) = input.split_once('=').ok_or("NAME=INPUT.npy is expected")?;
        tensors.push((name.to_owned(), read(path)?));
    }
    match rival.as_str() {
        "tract" => tract_model::load(model, tensors),
        "rten" => rten_model::load(model, tensors),
        other => Err(format!("`{other}` is neither tract nor rten").into()),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ready = load(&arguments).and_then(|(version, mut run)| Ok((version, run()?, run)));
    let mut run = match ready {
        Ok((version, output, run)) => {
            println!("{}", json!({ "version": version, "output": output }));
            run
        }
        Err(error) => {
            println!("{}", json!({ "failed": error.to_string() }));
            return;
        }
    };
    for line in std::io::stdin().lock().lines() {
        let count: u32 = line.ok().and_then(|l| l.trim().parse().ok()).unwrap_or(1);
        let start = ProcessTime::now();
        for _ in 0..count {
            if let Err(error) = run() {
                println!("{error}");
                return;
            }
        }
        println!("{}", start.elapsed().as_nanos());
    }
}
