//! Running plans.

use crate::error::failure;
use crate::interrupt::Interrupt;
use kinglet::TensorInfo;
use kinglet::format::DType;
use kinglet_owned::{Model, ModelError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyByteArray;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A tensor: name, NumPy's name of its type, shape, scale, zero point, and the output of which it keeps the value.
type Described = (String, &'static str, Vec<usize>, f32, i32, Option<String>);

fn describe(info: &TensorInfo<'_>, outputs: &[String]) -> Described {
    let dtype = match info.dtype {
        DType::F32 => "float32",
        DType::I8 => "int8",
        DType::U8 => "uint8",
        DType::I32 => "int32",
    };
    let state = info.state.checked_sub(1).and_then(|i| outputs.get(i));
    (
        info.name.to_owned(),
        dtype,
        info.shape().to_vec(),
        info.scale,
        info.zero_point,
        state.cloned(),
    )
}

/// A plan with its memory.
#[pyclass(frozen, module = "kinglet._kinglet")]
pub(crate) struct Session {
    /// Threads take turns.
    model: Mutex<Model>,
}

impl Session {
    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Session {
    #[new]
    fn new(py: Python<'_>, plan: PyBackedBytes) -> PyResult<Self> {
        let model = py.detach(|| Model::open(&plan)).map_err(failure)?;
        Ok(Session {
            model: Mutex::new(model),
        })
    }

    fn inputs(&self, py: Python<'_>) -> Vec<Described> {
        py.detach(|| {
            let model = self.model();
            let outputs: Vec<String> = model.outputs().map(|o| o.name.to_owned()).collect();
            model.inputs().map(|i| describe(&i, &outputs)).collect()
        })
    }

    fn outputs(&self, py: Python<'_>) -> Vec<Described> {
        py.detach(|| self.model().outputs().map(|o| describe(&o, &[])).collect())
    }

    fn arena_bytes(&self, py: Python<'_>) -> usize {
        py.detach(|| self.model().plan().arena_len())
    }

    fn plan_bytes(&self, py: Python<'_>) -> usize {
        py.detach(|| self.model().plan().core_len())
    }

    fn reset(&self, py: Python<'_>) {
        py.detach(|| self.model().reset());
    }

    /// `count` inferences. `inputs` has for an index the bytes of all samples, back to back, `states` those that a state begins with.
    /// Gives the bytes of each output, back to back.
    fn run<'py>(
        &self,
        py: Python<'py>,
        count: usize,
        inputs: Vec<(usize, PyBackedBytes)>,
        states: Vec<(usize, PyBackedBytes)>,
    ) -> PyResult<Vec<Bound<'py, PyByteArray>>> {
        let outputs = py.detach(|| {
            let mut interrupt = Interrupt::new();
            let outputs = run(&mut self.model(), count, &inputs, &states, &mut interrupt);
            interrupt.check()?;
            outputs.map_err(failure)
        })?;
        Ok(outputs.iter().map(|o| PyByteArray::new(py, o)).collect())
    }
}

fn run(
    model: &mut Model,
    count: usize,
    inputs: &[(usize, PyBackedBytes)],
    states: &[(usize, PyBackedBytes)],
    interrupt: &mut Interrupt,
) -> Result<Vec<Vec<u8>>, ModelError> {
    for (index, bytes) in states {
        model.set_input(*index, bytes)?;
    }
    let mut outputs = vec![Vec::new(); model.plan().output_count()];
    for sample in 0..count {
        if interrupt.wanted() {
            break;
        }
        for (index, bytes) in inputs {
            let len = bytes.len() / count;
            let bytes = bytes.get(sample * len..(sample + 1) * len);
            model.set_input(*index, bytes.unwrap_or_default())?;
        }
        model.run()?;
        for (index, output) in outputs.iter_mut().enumerate() {
            output.extend_from_slice(model.output(index)?);
        }
    }
    Ok(outputs)
}
