//! The arena: which buffer lives where and when.

/// A piece of arena that is needed from step `first` to step `last`, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Buffer {
    /// Bytes.
    pub(super) len: usize,
    /// First step that touches it.
    pub(super) first: usize,
    /// Last step that touches it.
    pub(super) last: usize,
}

/// Every buffer starts at a multiple of this.
pub(super) const ALIGN: usize = 4;

/// Where everything is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Placement {
    /// Offset of each buffer.
    pub(super) offsets: Vec<usize>,
    /// Bytes of the whole arena.
    pub(super) arena_len: usize,
}

/// Places buffers so that those alive at the same time do not overlap. Greedy in several orders; the smallest wins.
pub(super) fn place(buffers: &[Buffer]) -> Placement {
    let duration = |b: &Buffer| b.last - b.first + 1;
    type Key = Box<dyn Fn(&Buffer) -> (i128, i128)>;
    let big = |n: usize| -(n as i128);
    let orders: [Key; 5] = [
        Box::new(move |b| (big(b.len), big(duration(b)))),
        Box::new(move |b| (big(duration(b)), big(b.len))),
        Box::new(move |b| (big(b.len * duration(b)), big(b.len))),
        Box::new(move |b| (b.first as i128, big(b.len))),
        Box::new(move |b| (big(b.last), big(b.len))),
    ];
    let placements = orders.iter().map(|key| {
        let mut order: Vec<usize> = (0..buffers.len()).collect();
        order.sort_by_key(|&i| (key(&buffers[i]), i));
        first_fit(buffers, &order)
    });
    placements.min_by_key(|p| p.arena_len).unwrap_or(Placement {
        offsets: Vec::new(),
        arena_len: 0,
    })
}

fn first_fit(buffers: &[Buffer], order: &[usize]) -> Placement {
    let mut offsets = vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut arena_len = 0;
    for &i in order {
        let b = &buffers[i];
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|&&j| buffers[j].first <= b.last && b.first <= buffers[j].last)
            .map(|&j| (offsets[j], offsets[j] + buffers[j].len))
            .collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (start, end) in taken {
            if offset + b.len <= start {
                break;
            }
            offset = offset.max(end.next_multiple_of(ALIGN));
        }
        offsets[i] = offset;
        arena_len = arena_len.max(offset + b.len);
        placed.push(i);
    }
    Placement { offsets, arena_len }
}

/// The step at which most bytes are alive, and how many; no placement can take less.
pub(super) fn peak(buffers: &[Buffer], steps: usize) -> (usize, usize) {
    (0..steps)
        .map(|step| {
            let live = buffers.iter().filter(|b| b.first <= step && step <= b.last);
            (step, live.map(|b| b.len).sum())
        })
        .max_by_key(|&(step, bytes)| (bytes, std::cmp::Reverse(step)))
        .unwrap_or((0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn buffers() -> impl Strategy<Value = Vec<Buffer>> {
        let buffer = (1usize..500, 0usize..20, 0usize..6).prop_map(|(len, first, more)| Buffer {
            len,
            first,
            last: first + more,
        });
        proptest::collection::vec(buffer, 1..30)
    }

    proptest! {
        #[test]
        fn buffers_alive_together_never_overlap(buffers in buffers()) {
            let p = place(&buffers);
            for (i, a) in buffers.iter().enumerate() {
                prop_assert!(p.offsets[i] + a.len <= p.arena_len);
                prop_assert_eq!(p.offsets[i] % ALIGN, 0);
                for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                    let together = a.first <= b.last && b.first <= a.last;
                    let overlap = p.offsets[i] < p.offsets[j] + b.len && p.offsets[j] < p.offsets[i] + a.len;
                    prop_assert!(!(together && overlap), "{} and {}", i, j);
                }
            }
            prop_assert!(p.arena_len >= peak(&buffers, 30).1);
        }
    }

    #[test]
    fn a_chain_takes_its_two_largest_neighbours() {
        let chain = [(100, 0, 1), (200, 1, 2), (40, 2, 3), (80, 3, 4)];
        let chain = chain.map(|(len, first, last)| Buffer { len, first, last });
        assert_eq!(place(&chain).arena_len, 300);
        assert_eq!(peak(&chain, 5), (1, 300));
    }
}
