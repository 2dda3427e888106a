//! tract, on the calling thread.

use crate::{Loaded, Tensor};
use tract_onnx::prelude::*;

pub(crate) fn load(path: &str, inputs: Vec<(String, Tensor)>) -> Loaded {
    let mut model = tract_onnx::onnx().model_for_path(path)?;
    let mut values: TVec<TValue> = tvec!();
    for (index, (_, tensor)) in inputs.iter().enumerate() {
        let tensor = match tensor {
            Tensor::F32(shape, data) => tract_onnx::prelude::Tensor::from_shape(shape, data)?,
            Tensor::I8(shape, data) => tract_onnx::prelude::Tensor::from_shape(shape, data)?,
            Tensor::U8(shape, data) => tract_onnx::prelude::Tensor::from_shape(shape, data)?,
        };
        let fact = InferenceFact::dt_shape(tensor.datum_type(), tensor.shape());
        model.set_input_fact(index, fact)?;
        values.push(tensor.into());
    }
    let model = model.into_optimized()?.into_runnable()?;
    let run = move || {
        let outputs = model.run(values.clone())?;
        let first = outputs[0].cast_to::<f64>()?;
        Ok(first
            .to_plain_array_view::<f64>()?
            .iter()
            .copied()
            .collect())
    };
    Ok(("0.23.9", Box::new(run)))
}
