//! The arena: which buffer lives where, so that nothing that is needed at the same time shares a byte.
//!
//! A buffer need not be needed as a whole: the rows of a tensor that is read from top to bottom die one after another,
//! and another tensor may grow into their place. So a buffer is a set of pieces, each with its own lifetime.

/// A part of a buffer that is needed from step `first` to step `last`, both included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    /// First byte within the buffer.
    pub(super) start: usize,
    /// One past the last byte within the buffer.
    pub(super) end: usize,
    /// First step that touches it.
    pub(super) first: usize,
    /// Last step that touches it.
    pub(super) last: usize,
}

/// A run of bytes in the arena.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Buffer {
    /// Bytes.
    pub(super) len: usize,
    /// What is needed of it and when. Pieces may overlap: several values may live here.
    pub(super) pieces: Vec<Piece>,
}

impl Buffer {
    /// A buffer that is needed as a whole.
    pub(super) fn whole(len: usize, first: usize, last: usize) -> Buffer {
        let (start, end) = (0, len);
        Buffer {
            len,
            pieces: vec![Piece {
                start,
                end,
                first,
                last,
            }],
        }
    }

    fn first(&self) -> usize {
        self.pieces.iter().map(|p| p.first).min().unwrap_or(0)
    }

    fn last(&self) -> usize {
        self.pieces.iter().map(|p| p.last).max().unwrap_or(0)
    }

    /// Bytes in use at `step`.
    fn live(&self, step: usize) -> usize {
        let mut spans: Vec<(usize, usize)> = self
            .pieces
            .iter()
            .filter(|p| p.first <= step && step <= p.last)
            .map(|p| (p.start, p.end))
            .collect();
        spans.sort_unstable();
        let (mut bytes, mut covered) = (0, 0);
        for (start, end) in spans {
            bytes += end.saturating_sub(start.max(covered));
            covered = covered.max(end);
        }
        bytes
    }
}

/// Every buffer starts at a multiple of this.
pub(super) const ALIGN: usize = 4;

/// Where everything is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Placement {
    /// Offset of each buffer.
    pub(super) offsets: Vec<usize>,
    /// Bytes of the whole arena.
    pub(super) arena_len: usize,
}

/// Pairs of lifetimes that a search may compare: more make a compilation slow.
const SEARCH_WORK: usize = 4_000_000;

/// Places buffers: greedily in several orders, then in orders near the best one until nothing is wasted or enough was
/// tried. The same buffers always get the same places.
pub(super) fn place(buffers: &[Buffer]) -> Placement {
    search(buffers, SEARCH_WORK)
}

/// As [`place`], but sooner content.
pub(super) fn place_quickly(buffers: &[Buffer]) -> Placement {
    search(buffers, SEARCH_WORK / 10)
}

/// As [`place`], but greedily only.
pub(super) fn place_roughly(buffers: &[Buffer]) -> Placement {
    search(buffers, 0)
}

fn search(buffers: &[Buffer], work: usize) -> Placement {
    let conflicts = Conflicts::new(buffers);
    let steps = buffers.iter().map(|b| b.last() + 1).max().unwrap_or(0);
    let bound = peak(buffers, steps).1;
    let mut best = (Placement::default(), Vec::new());
    let mut consider = |order: Vec<usize>| {
        let placement = conflicts.first_fit(buffers, &order);
        if best.1.is_empty() || placement.arena_len < best.0.arena_len {
            best = (placement, order);
        }
        best.0.arena_len
    };
    for order in orders(buffers) {
        if consider(order) <= bound {
            break;
        }
    }
    // Some buffer that sticks out goes first of those that are in its way, or any buffer goes anywhere. Equal results are
    // kept, so that the search can cross plateaus.
    let (mut placement, mut order) = best;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..work / conflicts.work().max(1) {
        if placement.arena_len <= bound {
            break;
        }
        let top: Vec<usize> = (0..order.len())
            .filter(|&at| {
                let i = order[at];
                placement.offsets[i] + buffers[i].len == placement.arena_len
            })
            .collect();
        let from = if random.below(2) == 0 {
            top[random.below(top.len())]
        } else {
            random.below(order.len())
        };
        let to = if top.contains(&from) {
            random.below(from + 1)
        } else {
            random.below(order.len())
        };
        let mut other = order.clone();
        let moved = other.remove(from);
        other.insert(to, moved);
        let found = conflicts.first_fit(buffers, &other);
        if found.arena_len <= placement.arena_len {
            (placement, order) = (found, other);
        }
    }
    placement
}

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

/// Orders that usually serve well.
fn orders(buffers: &[Buffer]) -> impl Iterator<Item = Vec<usize>> {
    let duration = |b: &Buffer| b.last() - b.first() + 1;
    type Key = Box<dyn Fn(&Buffer) -> (i128, i128)>;
    let big = |n: usize| -(n as i128);
    let keys: [Key; 7] = [
        Box::new(move |b| (big(b.len), big(duration(b)))),
        Box::new(move |b| (big(duration(b)), big(b.len))),
        Box::new(move |b| (big(b.len * duration(b)), big(b.len))),
        Box::new(move |b| (b.first() as i128, big(b.len))),
        Box::new(move |b| (big(b.first()), big(b.len))),
        Box::new(move |b| (b.last() as i128, big(b.len))),
        Box::new(move |b| (big(b.last()), big(b.len))),
    ];
    keys.into_iter().map(|key| {
        let mut order: Vec<usize> = (0..buffers.len()).collect();
        order.sort_by_key(|&i| (key(&buffers[i]), i));
        order
    })
}

/// For each buffer, the others that it must keep away from.
struct Conflicts(Vec<Vec<Conflict>>);

/// Distances from the start of buffer `other` at which a buffer must not start: those strictly between the two numbers.
struct Conflict {
    other: usize,
    forbidden: Vec<(isize, isize)>,
}

impl Conflicts {
    fn new(buffers: &[Buffer]) -> Self {
        let with = |a: &Buffer| {
            let (first, last) = (a.first(), a.last());
            let together = |(_, b): &(usize, &Buffer)| b.first() <= last && first <= b.last();
            let pair = |(other, b): (usize, &Buffer)| Conflict {
                other,
                forbidden: forbidden(a, b),
            };
            buffers
                .iter()
                .enumerate()
                .filter(together)
                .map(pair)
                .filter(|c| !c.forbidden.is_empty())
                .collect()
        };
        Conflicts(buffers.iter().map(with).collect())
    }

    /// What one placement costs.
    fn work(&self) -> usize {
        let of = |c: &Conflict| 1 + c.forbidden.len();
        self.0
            .iter()
            .map(|all| 4 + all.iter().map(of).sum::<usize>())
            .sum()
    }

    /// Each buffer, in this order, at the lowest place that is free.
    fn first_fit(&self, buffers: &[Buffer], order: &[usize]) -> Placement {
        const UNPLACED: usize = usize::MAX;
        let mut offsets = vec![UNPLACED; buffers.len()];
        let mut arena_len = 0;
        let mut taken: Vec<(isize, isize)> = Vec::new();
        for &i in order {
            taken.clear();
            for conflict in &self.0[i] {
                let at = offsets[conflict.other];
                if at != UNPLACED {
                    let at = at as isize;
                    taken.extend(conflict.forbidden.iter().map(|(a, b)| (at + a, at + b)));
                }
            }
            taken.sort_unstable();
            let mut offset = 0;
            for &(low, high) in &taken {
                if offset as isize > low && (offset as isize) < high {
                    offset = (high as usize).next_multiple_of(ALIGN);
                }
            }
            offsets[i] = offset;
            arena_len = arena_len.max(offset + buffers[i].len);
        }
        Placement { offsets, arena_len }
    }
}

/// Distances of `a` from `b` at which bytes that live at the same time would meet, as disjoint open intervals.
fn forbidden(a: &Buffer, b: &Buffer) -> Vec<(isize, isize)> {
    let mut all = Vec::new();
    for p in &a.pieces {
        for q in &b.pieces {
            if p.first <= q.last && q.first <= p.last && p.start < p.end && q.start < q.end {
                let low = q.start as isize - p.end as isize;
                let high = q.end as isize - p.start as isize;
                all.push((low, high));
            }
        }
    }
    all.sort_unstable();
    let mut merged: Vec<(isize, isize)> = Vec::new();
    for (low, high) in all {
        match merged.last_mut() {
            Some(last) if low < last.1 => last.1 = last.1.max(high),
            _ => merged.push((low, high)),
        }
    }
    merged
}

/// Bytes that are alive at each of `steps` steps.
pub(super) fn live(buffers: &[Buffer], steps: usize) -> Vec<usize> {
    let mut bytes = vec![0; steps];
    for b in buffers {
        for (step, bytes) in bytes
            .iter_mut()
            .enumerate()
            .take(b.last() + 1)
            .skip(b.first())
        {
            *bytes += b.live(step);
        }
    }
    bytes
}

/// The step at which most bytes are alive, and how many; no placement can take less.
pub(super) fn peak(buffers: &[Buffer], steps: usize) -> (usize, usize) {
    live(buffers, steps)
        .into_iter()
        .enumerate()
        .max_by_key(|&(step, bytes)| (bytes, std::cmp::Reverse(step)))
        .unwrap_or((0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Buffers of up to four pieces that die or come alive at different steps.
    fn buffers() -> impl Strategy<Value = Vec<Buffer>> {
        let piece = (1usize..200, 0usize..20, 0usize..6);
        let buffer = proptest::collection::vec(piece, 1..4).prop_map(|pieces| {
            let mut buffer = Buffer::default();
            for (len, first, more) in pieces {
                let (start, end) = (buffer.len, buffer.len + len);
                let last = first + more;
                buffer.pieces.push(Piece {
                    start,
                    end,
                    first,
                    last,
                });
                buffer.len = end;
            }
            buffer
        });
        proptest::collection::vec(buffer, 1..20)
    }

    proptest! {
        #[test]
        fn pieces_alive_together_never_overlap(buffers in buffers()) {
            let p = search(&buffers, 50_000);
            for (i, a) in buffers.iter().enumerate() {
                prop_assert!(p.offsets[i] + a.len <= p.arena_len);
                prop_assert_eq!(p.offsets[i] % ALIGN, 0);
                for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                    for (a, b) in a.pieces.iter().flat_map(|a| b.pieces.iter().map(move |b| (a, b))) {
                        let together = a.first <= b.last && b.first <= a.last;
                        let overlap = p.offsets[i] + a.start < p.offsets[j] + b.end
                            && p.offsets[j] + b.start < p.offsets[i] + a.end;
                        prop_assert!(!(together && overlap), "{} and {}", i, j);
                    }
                }
            }
            prop_assert!(p.arena_len >= peak(&buffers, 30).1);
            prop_assert!(p.arena_len <= place_roughly(&buffers).arena_len);
            prop_assert_eq!(&p, &search(&buffers, 50_000));
        }
    }

    #[test]
    fn a_chain_takes_its_two_largest_neighbours() {
        let chain = [(100, 0, 1), (200, 1, 2), (40, 2, 3), (80, 3, 4)];
        let chain = chain.map(|(len, first, last)| Buffer::whole(len, first, last));
        assert_eq!(place(&chain).arena_len, 300);
        assert_eq!(peak(&chain, 5), (1, 300));
    }

    #[test]
    fn a_tensor_grows_into_the_dead_rows_of_another() {
        // Four rows of eight bytes each: row `i` of the second is written at step `i`, the last that reads row `i` of the first.
        let rows = |first: fn(usize) -> usize, last: fn(usize) -> usize| Buffer {
            len: 32,
            pieces: (0..4)
                .map(|i| Piece {
                    start: 8 * i,
                    end: 8 * i + 8,
                    first: first(i),
                    last: last(i),
                })
                .collect(),
        };
        let read = rows(|_| 0, |i| i);
        let written = rows(|i| i, |_| 4);
        let placement = place(&[read, written]);
        assert_eq!(placement.arena_len, 40);
        assert_eq!(placement.offsets, [8, 0]);
    }

    #[test]
    fn greedy_orders_are_improved() {
        // A case where each order by size, length of life or start leaves a hole.
        let buffers: Vec<Buffer> = [
            (40, 0, 2),
            (24, 1, 4),
            (32, 3, 6),
            (40, 5, 8),
            (24, 3, 3),
            (48, 7, 9),
            (16, 0, 9),
        ]
        .map(|(len, first, last)| Buffer::whole(len, first, last))
        .to_vec();
        let bound = peak(&buffers, 10).1;
        assert_eq!(place(&buffers).arena_len, bound);
    }
}
