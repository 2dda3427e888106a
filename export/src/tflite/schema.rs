//! TensorFlow Lite's file format, the tables of it that matter here. Numbers of fields, types and operators are those of
//! its published schema (version 3).

use super::TfliteError;
use super::flatbuffer::{Budget, Bytes, Table};
use std::rc::Rc;

/// More tensors, operators or operands than any model has.
const MAX_TABLES: usize = 1 << 16;
const MAX_OPERANDS: usize = 1 << 10;
const MAX_RANK: usize = 8;

/// Names of the built-in operators by number.
const OPERATORS: &str = "\
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR \
    FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC \
    LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH \
    SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN \
    GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM \
    STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM \
    CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN \
    TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN \
    FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV \
    REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE \
    MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG \
    QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND \
    SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO \
    RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL \
    CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE \
    RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX \
    UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT STABLEHLO_LOGISTIC \
    STABLEHLO_ADD STABLEHLO_DIVIDE STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP \
    STABLEHLO_CONCATENATE STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL \
    STABLEHLO_REDUCE STABLEHLO_ABS STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR \
    STABLEHLO_LOG STABLEHLO_MINIMUM STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER \
    STABLEHLO_RSQRT STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER STABLEHLO_COMPARE \
    STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD STABLEHLO_IOTA \
    STABLEHLO_DOT_GENERAL STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT STABLEHLO_WHILE STABLEHLO_GATHER \
    STABLEHLO_TRANSPOSE DILATE STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT \
    STABLEHLO_CBRT";

/// Element type of a tensor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Type {
    F32,
    F16,
    I32,
    U8,
    I64,
    Bool,
    I8,
    /// What does not run, by its name.
    Other(&'static str),
}

impl Type {
    fn new(code: i8) -> Type {
        match code {
            0 => Type::F32,
            1 => Type::F16,
            2 => Type::I32,
            3 => Type::U8,
            4 => Type::I64,
            5 => Type::Other("STRING"),
            6 => Type::Bool,
            7 => Type::Other("INT16"),
            8 => Type::Other("COMPLEX64"),
            9 => Type::I8,
            10 => Type::Other("FLOAT64"),
            17 => Type::Other("INT4"),
            _ => Type::Other("of an unknown type"),
        }
    }

    /// Bytes of an element.
    pub(super) fn width(self) -> usize {
        match self {
            Type::I8 | Type::U8 | Type::Bool => 1,
            Type::F16 => 2,
            Type::F32 | Type::I32 => 4,
            Type::I64 => 8,
            Type::Other(_) => 0,
        }
    }
}

/// How integers map to reals.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Quantization {
    /// One, or one for each index along `axis`.
    pub(super) scales: Vec<f32>,
    pub(super) zero_points: Vec<i64>,
    pub(super) axis: usize,
}

/// A tensor's table, read.
#[derive(Clone)]
pub(super) struct Tensor<'a> {
    pub(super) name: Rc<str>,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: Type,
    pub(super) quantization: Option<Quantization>,
    /// Dimensions that the file leaves open; its shape has 1 there.
    pub(super) open: Vec<bool>,
    /// Contents of a constant, as long as type and shape say.
    pub(super) data: Option<&'a [u8]>,
}

/// An operator's table, read.
pub(super) struct Operator<'a> {
    /// Number in the file.
    pub(super) index: usize,
    /// Its name in TensorFlow Lite; of a custom one, its own.
    pub(super) name: Rc<str>,
    /// Tensors by number; `None` for an operand that is left out.
    pub(super) inputs: Vec<Option<usize>>,
    pub(super) outputs: Vec<usize>,
    pub(super) options: Option<Table<'a>>,
    /// Name of the first result.
    pub(super) tensor: Rc<str>,
}

impl Operator<'_> {
    /// Why it does not run, and the way round.
    pub(super) fn refused(&self, message: impl Into<String>) -> TfliteError {
        TfliteError::Operator {
            index: self.index,
            op: self.name.to_string(),
            tensor: self.tensor.to_string(),
            message: message.into(),
        }
    }

    pub(super) fn int(&self, field: usize, default: i32) -> Result<i32, TfliteError> {
        let what = "an operator's option";
        self.options
            .map_or(Ok(default), |o| o.i32(field, default, what))
    }

    /// A short list, of axes or sizes.
    pub(super) fn ints(&self, field: usize) -> Result<Vec<i64>, TfliteError> {
        let what = "an operator's option";
        let list = self
            .options
            .map_or(Ok(Vec::new()), |o| o.i32s(field, what))?;
        Ok(list.into_iter().map(i64::from).collect())
    }

    pub(super) fn byte(&self, field: usize) -> Result<i8, TfliteError> {
        let what = "an operator's option";
        self.options.map_or(Ok(0), |o| o.i8(field, 0, what))
    }

    pub(super) fn flag(&self, field: usize) -> Result<bool, TfliteError> {
        let what = "an operator's option";
        self.options.map_or(Ok(false), |o| o.bool(field, what))
    }

    pub(super) fn float(&self, field: usize, default: f32) -> Result<f32, TfliteError> {
        let what = "an operator's option";
        self.options
            .map_or(Ok(default), |o| o.f32(field, default, what))
    }

    /// A positive option: a stride, a dilation, a size.
    pub(super) fn size(&self, field: usize, default: i32) -> Result<usize, TfliteError> {
        let value = self.int(field, default)?;
        match usize::try_from(value) {
            Ok(size) if size > 0 => Ok(size),
            _ => Err(self.refused(format!("a stride, dilation or size of {value}"))),
        }
    }
}

/// A file's only subgraph, read.
pub(super) struct Model<'a> {
    pub(super) tensors: Vec<Tensor<'a>>,
    pub(super) operators: Vec<Operator<'a>>,
    pub(super) inputs: Vec<usize>,
    pub(super) outputs: Vec<usize>,
}

fn model(message: impl Into<String>) -> TfliteError {
    TfliteError::Model {
        message: message.into(),
    }
}

/// Reads everything that a model's meaning depends on.
pub(super) fn read<'a>(file: &'a [u8], budget: &'a Budget) -> Result<Model<'a>, TfliteError> {
    let root = Bytes { file, budget }.root()?;
    let version = root.i32(0, 0, "the version")?;
    if version != 3 {
        return Err(model(format!(
            "schema version {version}; version 3 is read"
        )));
    }
    let codes = root
        .tables(1, MAX_TABLES, "operator codes")?
        .iter()
        .map(operator_name)
        .collect::<Result<Vec<_>, _>>()?;
    let graphs = root.tables(2, MAX_TABLES, "subgraphs")?;
    let [graph] = &graphs[..] else {
        return Err(model(format!(
            "it has {} subgraphs; one is read (control flow such as WHILE and IF does not run: convert the model unrolled)",
            graphs.len()
        )));
    };
    let buffers = root.tables(4, MAX_TABLES, "buffers")?;
    let tensors = graph
        .tables(0, MAX_TABLES, "tensors")?
        .iter()
        .enumerate()
        .map(|(i, t)| tensor(file, i, t, &buffers))
        .collect::<Result<Vec<_>, _>>()?;
    let operators = graph
        .tables(3, MAX_TABLES, "operators")?
        .iter()
        .enumerate()
        .map(|(i, t)| operator(i, t, &codes, &tensors))
        .collect::<Result<Vec<_>, _>>()?;
    let ends = |field, what| {
        let numbers = graph.i32s(field, what)?;
        let known = |i: &i32| usize::try_from(*i).ok().filter(|&i| i < tensors.len());
        let ends: Option<Vec<usize>> = numbers.iter().map(known).collect();
        match ends.filter(|ends| ends.len() <= MAX_OPERANDS) {
            Some(ends) => Ok(ends),
            None => Err(model(format!(
                "its list of {what} names tensors that it does not have"
            ))),
        }
    };
    let (inputs, outputs) = (ends(1, "inputs")?, ends(2, "outputs")?);
    Ok(Model {
        tensors,
        operators,
        inputs,
        outputs,
    })
}

fn operator_name(code: &Table<'_>) -> Result<Rc<str>, TfliteError> {
    let what = "an operator code";
    // Older files have the number in a byte, newer ones in both places.
    let number = i32::from(code.i8(0, 0, what)?).max(code.i32(3, 0, what)?);
    let name = usize::try_from(number)
        .ok()
        .and_then(|n| OPERATORS.split_whitespace().nth(n));
    Ok(match name {
        Some("CUSTOM") => format!("custom operator `{}`", code.text(1, what)?).into(),
        Some(name) => name.into(),
        None => format!("operator number {number}").into(),
    })
}

fn tensor<'a>(
    file: &'a [u8],
    index: usize,
    table: &Table<'a>,
    buffers: &[Table<'a>],
) -> Result<Tensor<'a>, TfliteError> {
    let name = table.text(3, "a tensor's name")?;
    let refused = |message: String| TfliteError::Tensor {
        index,
        name: name.to_string(),
        message,
    };
    let dims = table.vector(0, 4, "a tensor's shape")?.as_chunks().0;
    if dims.len() > MAX_RANK {
        return Err(refused(format!(
            "{} dimensions; at most {MAX_RANK} are read",
            dims.len()
        )));
    }
    let dims: Vec<i32> = dims.iter().map(|&d| i32::from_le_bytes(d)).collect();
    let shape: Option<Vec<usize>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let shape = shape.ok_or_else(|| refused(format!("its shape is {dims:?}")))?;
    let signature = table.vector(7, 4, "a tensor's shape")?.as_chunks().0;
    let mut open = vec![false; shape.len()];
    for (open, &dim) in open.iter_mut().zip(signature) {
        *open = i32::from_le_bytes(dim) < 0;
    }
    let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let elements = elements.filter(|&n| n <= 1 << 31);
    let elements = elements.ok_or_else(|| refused(format!("its shape {shape:?} is too large")))?;
    let dtype = Type::new(table.i8(1, 0, "a tensor's type")?);
    if table.table(6, "a tensor's sparsity")?.is_some() {
        return Err(refused(
            "it is stored sparse; convert the model with dense weights".into(),
        ));
    }
    let quantization = match table.table(4, "a tensor's quantisation")? {
        Some(q) => quantization(&q, &shape).map_err(|e| match e {
            Ok(message) => refused(message),
            Err(error) => error,
        })?,
        None => None,
    };
    let buffer = table.i32(2, 0, "a tensor's buffer")?;
    let buffer = usize::try_from(buffer).ok().and_then(|b| buffers.get(b));
    let buffer = buffer.ok_or_else(|| refused("its buffer is not in the file".into()))?;
    let data = match contents(file, buffer)? {
        [] => None,
        bytes => {
            let needed = elements.checked_mul(dtype.width());
            if dtype.width() > 0 && needed != Some(bytes.len()) {
                return Err(refused(format!(
                    "its {} bytes are not those of shape {shape:?}",
                    bytes.len()
                )));
            }
            Some(bytes)
        }
    };
    Ok(Tensor {
        name,
        shape,
        open,
        dtype,
        quantization,
        data,
    })
}

/// A buffer's bytes, in its table or (in files beyond 2 GiB) behind all tables.
fn contents<'a>(file: &'a [u8], buffer: &Table<'a>) -> Result<&'a [u8], TfliteError> {
    let what = "a buffer";
    let (offset, size) = (buffer.u64(1, what)?, buffer.u64(2, what)?);
    if offset <= 1 {
        return buffer.vector(0, 1, what);
    }
    let range = usize::try_from(offset).ok().zip(usize::try_from(size).ok());
    range
        .and_then(|(offset, size)| file.get(offset..)?.get(..size))
        .ok_or(TfliteError::Damaged {
            what,
            at: file.len(),
        })
}

/// `Err(Ok(message))` says what is wrong with the numbers.
fn quantization(
    table: &Table<'_>,
    shape: &[usize],
) -> Result<Option<Quantization>, Result<String, TfliteError>> {
    let what = "a quantisation";
    let most = shape.iter().copied().max().unwrap_or(1).max(1);
    if table.vector(2, 4, what).map_err(Err)?.len() / 4 > most {
        return Err(Ok("it has more scales than elements along any axis".into()));
    }
    let scales = table.f32s(2, what).map_err(Err)?;
    if scales.is_empty() {
        return Ok(None);
    }
    if table.vector(3, 8, what).map_err(Err)?.len() / 8 > most {
        return Err(Ok(
            "it has more zero points than elements along any axis".into()
        ));
    }
    let mut zero_points = table.i64s(3, what).map_err(Err)?;
    if zero_points.len() < scales.len() {
        // One for all, or none.
        let fill = zero_points.first().copied().unwrap_or(0);
        zero_points = vec![fill; scales.len()];
    }
    let axis = table.i32(6, 0, what).map_err(Err)?;
    let axis = match (scales.len(), shape.len()) {
        // Some files give a bias, which has one axis, the axis of its layer's weights.
        (1, _) | (_, 1) => 0,
        _ => usize::try_from(axis).unwrap_or(usize::MAX),
    };
    if scales.len() > 1 && shape.get(axis) != Some(&scales.len()) {
        return Err(Ok(format!(
            "{} scales along axis {axis} of shape {shape:?}",
            scales.len()
        )));
    }
    if let Some(bad) = scales.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
        return Err(Ok(format!("its scale {bad} is not a positive number")));
    }
    Ok(Some(Quantization {
        scales,
        zero_points,
        axis,
    }))
}

fn operator<'a>(
    index: usize,
    table: &Table<'a>,
    codes: &[Rc<str>],
    tensors: &[Tensor<'a>],
) -> Result<Operator<'a>, TfliteError> {
    let code = usize::try_from(table.i32(0, 0, "an operator's code")?).ok();
    let name = code.and_then(|c| codes.get(c));
    let name =
        name.ok_or_else(|| model(format!("operator {index} has a code that is not listed")))?;
    let operands = |field| -> Result<Vec<i32>, TfliteError> {
        let what = "an operator's operands";
        let count = table.vector(field, 4, what)?.len() / 4;
        if count > MAX_OPERANDS {
            return Err(TfliteError::Limit {
                what,
                count,
                limit: MAX_OPERANDS,
            });
        }
        table.i32s(field, what)
    };
    let unknown = |i: i32| {
        model(format!(
            "operator {index} ({name}) names tensor {i}, which there is not"
        ))
    };
    let mut inputs = Vec::new();
    for i in operands(1)? {
        inputs.push(match usize::try_from(i) {
            Ok(i) if i < tensors.len() => Some(i),
            Err(_) if i == -1 => None,
            _ => return Err(unknown(i)),
        });
    }
    let mut outputs = Vec::new();
    for i in operands(2)? {
        match usize::try_from(i) {
            Ok(i) if i < tensors.len() => outputs.push(i),
            _ => return Err(unknown(i)),
        }
    }
    let Some(&first) = outputs.first() else {
        return Err(model(format!("operator {index} ({name}) makes no tensor")));
    };
    Ok(Operator {
        index,
        name: name.clone(),
        inputs,
        tensor: tensors[first].name.clone(),
        outputs,
        options: table.table(4, "an operator's options")?,
    })
}
