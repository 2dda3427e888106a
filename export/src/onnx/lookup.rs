//! Constants that are looked up in a table: `Mul(Gather(table, Cast(codes)), scale)`, as [`super::write`] writes weights of
//! eight-bit float formats. tract folds them, too, unless something else in the model stops it.

use crate::graph::Data;
use tract_onnx::pb::tensor_proto::DataType;

/// Shape and contents of a constant.
pub(super) type Constant = (Vec<usize>, Data);

/// `Cast` of integers to `to`, a code of ONNX's types.
pub(super) fn cast((shape, data): &Constant, to: i64) -> Option<Constant> {
    let integers: Vec<i64> = match data {
        Data::U8(v) => v.iter().map(|&v| v.into()).collect(),
        Data::I8(v) => v.iter().map(|&v| v.into()).collect(),
        Data::I32(v) => v.iter().map(|&v| v.into()).collect(),
        Data::I64(v) => v.clone(),
        Data::F32(_) => return None,
    };
    let is = |t: DataType| to == i64::from(t as i32);
    let data = match () {
        () if is(DataType::Int64) => Data::I64(integers),
        () if is(DataType::Int32) => {
            let narrow = integers.into_iter().map(i32::try_from);
            Data::I32(narrow.collect::<Result<_, _>>().ok()?)
        }
        () => return None,
    };
    Some((shape.clone(), data))
}

/// `Gather` from a table of floats.
pub(super) fn gather(
    (table_shape, table): &Constant,
    (shape, index): &Constant,
) -> Option<Constant> {
    let (Data::F32(table), 1) = (table, table_shape.len()) else {
        return None;
    };
    let len = i64::try_from(table.len()).ok()?;
    let at = |i: i64| {
        let i = if i < 0 { i + len } else { i };
        table.get(usize::try_from(i).ok()?).copied()
    };
    let values: Option<Vec<f32>> = match index {
        Data::I32(v) => v.iter().map(|&i| at(i.into())).collect(),
        Data::I64(v) => v.iter().map(|&i| at(i)).collect(),
        _ => None,
    };
    Some((shape.clone(), Data::F32(values?)))
}

/// `Mul` by a scale, or by one for each index of the first axis.
pub(super) fn scaled(
    (shape, data): &Constant,
    (scale_shape, scale): &Constant,
) -> Option<Constant> {
    let (Data::F32(values), Data::F32(scale)) = (data, scale) else {
        return None;
    };
    let first = shape.first().copied().unwrap_or(1);
    let by_channel = scale_shape.len() == shape.len()
        && scale_shape.first() == Some(&first)
        && scale_shape.iter().skip(1).all(|&d| d == 1);
    if scale.len() != 1 && !by_channel || scale_shape.len() > shape.len() {
        return None;
    }
    let row = values.len().checked_div(scale.len())?.max(1);
    let rows = values.chunks(row).zip(scale);
    let product = rows.flat_map(|(row, scale)| row.iter().map(move |v| v * scale));
    Some((shape.clone(), Data::F32(product.collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_what_they_mean() {
        let codes = (vec![2, 2], Data::U8(vec![0, 1, 2, 1]));
        let index = cast(&codes, DataType::Int32 as i64).unwrap();
        let table = (vec![3], Data::F32(vec![0.0, 0.5, -4.0]));
        let values = gather(&table, &index).unwrap();
        let by_channel = (vec![2, 1], Data::F32(vec![2.0, 10.0]));
        let product = scaled(&values, &by_channel).unwrap();
        assert_eq!(product, (vec![2, 2], Data::F32(vec![0.0, 1.0, -40.0, 5.0])));
        let one = (vec![], Data::F32(vec![2.0]));
        assert_eq!(
            scaled(&values, &one).unwrap().1,
            Data::F32(vec![0.0, 1.0, -8.0, 1.0])
        );
    }

    #[test]
    fn what_is_no_lookup_is_left() {
        let index = |i| (vec![1], Data::I64(vec![i]));
        let table = (vec![2], Data::F32(vec![1.0, 2.0]));
        assert_eq!(gather(&table, &index(-1)).unwrap().1, Data::F32(vec![2.0]));
        assert_eq!(gather(&table, &index(2)), None);
        assert_eq!(gather(&table, &index(-3)), None);
        assert_eq!(cast(&table, DataType::Int32 as i64), None);
        assert_eq!(cast(&index(1 << 40), DataType::Int32 as i64), None);
        // By the last axis.
        let values = (vec![2, 2], Data::F32(vec![1.0; 4]));
        assert_eq!(scaled(&values, &(vec![2], Data::F32(vec![1.0; 2]))), None);
    }
}
