//! rten, in a pool of one thread.

use crate::{Loaded, Tensor};
use rten::{Model, RunOptions, ThreadPool, Value};
use rten_tensor::prelude::*;
use std::sync::Arc;

pub(crate) fn load(path: &str, inputs: Vec<(String, Tensor)>) -> Loaded {
    let model = Model::load_file(path)?;
    let pool = Arc::new(ThreadPool::with_num_threads(1));
    let mut values: Vec<(rten::NodeId, Value)> = Vec::new();
    for (name, tensor) in inputs {
        let value = match tensor {
            Tensor::F32(shape, data) => Value::from_shape(&shape, data)?,
            Tensor::I8(shape, data) => Value::from_shape(&shape, data)?,
            Tensor::U8(shape, data) => Value::from_shape(&shape, data)?,
        };
        values.push((model.node_id(&name)?, value));
    }
    let outputs = model.output_ids().to_vec();
    let run = move || {
        let inputs = values
            .iter()
            .map(|(id, v)| (*id, v.as_view().into()))
            .collect();
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&pool)));
        let mut outputs = model.run(inputs, &outputs, Some(options))?;
        Ok(match outputs.swap_remove(0) {
            Value::FloatTensor(t) => t.iter().map(|&v| f64::from(v)).collect(),
            Value::Int8Tensor(t) => t.iter().map(|&v| f64::from(v)).collect(),
            Value::UInt8Tensor(t) => t.iter().map(|&v| f64::from(v)).collect(),
            _ => return Err("its first output is neither float nor bytes".into()),
        })
    };
    Ok(("0.27.0", Box::new(run)))
}
