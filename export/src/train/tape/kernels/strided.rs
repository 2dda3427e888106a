//! Moving elements between tensors whose axes lie differently in memory.

/// Part of a tensor: where it starts and how far apart its elements are along each axis.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct View {
    pub(crate) start: usize,
    pub(crate) strides: Vec<usize>,
}

/// Calls `f` with the places, in two tensors, of every element of a box of size `dims`.
///
/// The order is that of `to`'s memory as far as its strides tell.
pub(crate) fn pairs(dims: &[usize], from: &View, to: &View, mut f: impl FnMut(usize, usize)) {
    if dims.contains(&0) {
        return;
    }
    let mut axes: Vec<usize> = (0..dims.len()).filter(|&a| dims[a] > 1).collect();
    axes.sort_by_key(|&axis| std::cmp::Reverse(to.strides[axis]));
    let mut index = vec![0; axes.len()];
    let Some(&inner) = axes.last() else {
        return f(from.start, to.start);
    };
    let outer = axes.len() - 1;
    let (mut a, mut b) = (from.start, to.start);
    loop {
        for i in 0..dims[inner] {
            f(a + i * from.strides[inner], b + i * to.strides[inner]);
        }
        let mut level = outer;
        loop {
            if level == 0 {
                return;
            }
            level -= 1;
            let axis = axes[level];
            index[level] += 1;
            a += from.strides[axis];
            b += to.strides[axis];
            if index[level] < dims[axis] {
                break;
            }
            index[level] = 0;
            a -= dims[axis] * from.strides[axis];
            b -= dims[axis] * to.strides[axis];
        }
    }
}

/// For every element of a tensor of size `dims` with strides `to`, in memory order, its place under the view `from`.
pub(crate) fn places(dims: &[usize], from: &View, to: Vec<usize>) -> Vec<usize> {
    let mut places = vec![0; dims.iter().product()];
    let to = View {
        start: 0,
        strides: to,
    };
    pairs(dims, from, &to, |a, b| places[b] = a);
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_view_is_a_transposition() {
        let view = View {
            start: 7,
            strides: vec![3, 1],
        };
        assert_eq!(places(&[2, 3], &view, vec![1, 2]), [7, 10, 8, 11, 9, 12]);
        let scalar = View {
            start: 5,
            strides: vec![],
        };
        assert_eq!(places(&[], &scalar, vec![]), [5]);
    }
}
