//! Inputs and outputs as C sees them.

use kinglet::TensorInfo;
use kinglet::format::DType;

/// Type of a tensor's elements.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KingletDtype {
    /// `float`.
    F32 = 0,
    /// `int8_t`.
    I8 = 1,
    /// `uint8_t`.
    U8 = 2,
    /// `int32_t`.
    I32 = 3,
}

/// An input or output.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct KingletTensor {
    /// Type of the elements.
    pub dtype: KingletDtype,
    /// Number of dimensions.
    pub rank: usize,
    /// Dimensions; those behind `rank` are 0.
    pub shape: [usize; 8],
    /// Bytes.
    pub len: usize,
    /// Quantisation: a real is `scale * (q - zero_point)`. 0 for floats.
    pub scale: f32,
    /// Zero point; 0 for floats.
    pub zero_point: i32,
    /// Of an input that keeps its value from run to run: 1 + the index of the output that becomes it. Else 0.
    pub state: usize,
    /// The ONNX name in UTF-8, not ended by a zero; as long as the model is open.
    pub name: *const u8,
    /// Bytes of the name.
    pub name_len: usize,
}

impl KingletTensor {
    pub(crate) fn of(info: &TensorInfo<'_>) -> KingletTensor {
        let mut shape = [0; 8];
        for (to, from) in shape.iter_mut().zip(info.shape()) {
            *to = *from;
        }
        KingletTensor {
            dtype: match info.dtype {
                DType::F32 => KingletDtype::F32,
                DType::I8 => KingletDtype::I8,
                DType::U8 => KingletDtype::U8,
                DType::I32 => KingletDtype::I32,
            },
            rank: info.rank,
            shape,
            len: info.len,
            scale: info.scale,
            zero_point: info.zero_point,
            state: info.state,
            name: info.name.as_ptr(),
            name_len: info.name.len(),
        }
    }
}
