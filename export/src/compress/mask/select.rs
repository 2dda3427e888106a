//! What goes: rules from γ to channels.

use super::axes::{Axis, Channel, Channels};
use super::cut::macs_without;
use super::group::{Group, Member, gamma};
use crate::graph::{Data, Graph, ValueId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

/// Which groups may lose channels.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Channels inside of blocks only; the authors' first round.
    Inner,
    /// Residual streams only; their second.
    Residual,
    /// Both.
    #[default]
    All,
}

/// What bounds a selection.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Limits {
    /// Which groups.
    pub scope: Scope,
    /// Channels that every group keeps, at least 1.
    pub min_channels: usize,
    /// Of a selection by a budget: every group keeps a multiple of this, or all of its channels.
    pub multiple: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            scope: Scope::All,
            min_channels: 1,
            multiple: NonZeroUsize::MIN,
        }
    }
}

/// A threshold on `|γ|`, one normalisation at a time.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// `|γ| ≤ th` goes.
    Threshold(f32),
    /// See [`ot_threshold`]; the authors' share is 1e-4.
    Ot(f32),
}

/// Why no selection meets the budget.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// Too little can go.
    #[error(
        "no selection of channels leaves {budget} multiply-accumulates: {least} are left when all that may go is gone"
    )]
    Budget {
        /// Multiply-accumulates allowed.
        budget: u64,
        /// The fewest that can be left.
        least: u64,
    },
    /// Scores of another graph.
    #[error("{found} rows of scores for {groups} groups, or of different lengths")]
    Scores {
        /// Rows given.
        found: usize,
        /// Groups of the graph.
        groups: usize,
    },
}

/// How much each channel of each group is worth.
pub type Scores = Vec<Vec<f32>>;

/// Channels that are to go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    removed: BTreeSet<Channel>,
}

/// The OT threshold of a layer: with `γ²` in ascending order, the midpoint between the two magnitudes where their cumulative
/// share first exceeds `share`. A layer whose γ are all below 1e-3 goes altogether.
pub fn ot_threshold(gamma: &[f32], share: f32) -> f32 {
    let mut magnitudes: Vec<f32> = gamma.iter().map(|g| g.abs()).collect();
    magnitudes.sort_by(f32::total_cmp);
    let Some(&largest) = magnitudes.last() else {
        return 0.0;
    };
    if largest < 1e-3 {
        return largest;
    }
    let square = |g: f32| f64::from(g).powi(2);
    let total: f64 = magnitudes.iter().map(|&g| square(g)).sum();
    let mut sum = 0.0;
    let exceeds = |&g: &f32| {
        sum += square(g);
        sum / total > f64::from(share)
    };
    match magnitudes.iter().position(exceeds) {
        Some(0) | None => 0.0,
        Some(i) => f32::midpoint(magnitudes[i - 1], magnitudes[i]),
    }
}

/// The authors' vote of a residual group. Every member says which channels should go; `v_j` votes are for channel `j`, and
/// `q` is the smallest number of channels that a member wants to lose. From all members' agreement downwards, the first
/// quorum that at least `q` channels reach decides.
pub fn vote(members: &[Vec<bool>]) -> Vec<bool> {
    let channels = members.first().map_or(0, Vec::len);
    let votes: Vec<usize> = (0..channels)
        .map(|j| members.iter().filter(|m| m[j]).count())
        .collect();
    let fewest = members
        .iter()
        .map(|m| m.iter().filter(|&&p| p).count())
        .min()
        .unwrap_or(0);
    let quorum = (1..=members.len())
        .rev()
        .find(|&i| votes.iter().filter(|&&v| v >= i).count() >= fewest);
    votes
        .iter()
        .map(|&v| quorum.is_some_and(|i| v >= i))
        .collect()
}

impl Selection {
    /// Whether a channel goes.
    pub fn removes(&self, channel: Channel) -> bool {
        self.removed.contains(&channel)
    }

    /// Which indices of an axis go.
    pub(super) fn removed(&self, axis: &Axis) -> Vec<bool> {
        axis.channels.iter().map(|&c| self.removes(c)).collect()
    }

    /// Number of channels that go.
    pub fn len(&self) -> usize {
        self.removed.len()
    }

    /// Whether nothing goes.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty()
    }

    /// These channels of these groups.
    pub fn of(channels: impl IntoIterator<Item = Channel>) -> Selection {
        Selection {
            removed: channels.into_iter().collect(),
        }
    }

    /// Every channel that may go. Not to be cut: as a mask (see [`Selection::keep_masks`]) it is that of the first sparse
    /// training, which penalises all candidates.
    pub fn candidates(channels: &Channels, scope: Scope) -> Selection {
        let groups = channels.groups().iter().filter(|g| may_go(g, scope));
        Selection::of(groups.flat_map(|g| g.channels.iter().copied()))
    }

    /// By a rule on γ. Normalisations decide alone, residual groups vote; groups without normalisations stay.
    pub fn by_rule(graph: &Graph, channels: &Channels, rule: Rule, limits: Limits) -> Selection {
        let mut removed = BTreeSet::new();
        for group in eligible(channels, limits.scope) {
            let gammas = group.gammas(graph);
            let votes: Vec<Vec<bool>> = gammas
                .iter()
                .map(|gamma| {
                    let threshold = match rule {
                        Rule::Threshold(th) => th,
                        Rule::Ot(share) => ot_threshold(gamma, share),
                    };
                    gamma.iter().map(|g| g.abs() <= threshold).collect()
                })
                .collect();
            let goes = vote(&votes);
            let candidates = (0..group.channels.len())
                .filter(|&j| goes.get(j) == Some(&true))
                .collect();
            removed.extend(guarded(
                group,
                candidates,
                &mean_magnitudes(&gammas),
                limits.min_channels,
            ));
        }
        Selection { removed }
    }

    /// The channels of least score, the same share of every group; the uniform mask that others are compared with.
    ///
    /// # Errors
    /// The scores belong to another graph.
    pub fn uniform(
        channels: &Channels,
        scores: &Scores,
        keep: f64,
        limits: Limits,
    ) -> Result<Selection, SelectError> {
        check(channels, scores)?;
        let mut removed = BTreeSet::new();
        for (group, scores) in channels.groups().iter().zip(scores) {
            if !may_go(group, limits.scope) || scores.is_empty() {
                continue;
            }
            let len = group.channels.len();
            let kept = ((keep * len as f64).round() as usize)
                .clamp(limits.min_channels.max(1).min(len), len);
            let order = ascending(scores);
            removed.extend(order[..len - kept].iter().map(|&j| group.channels[j]));
        }
        Ok(Selection { removed })
    }

    /// The channels of least score, over all groups together, until `budget` multiply-accumulates are left, and as few of them as
    /// that takes.
    ///
    /// # Errors
    /// The budget is out of reach, or the scores belong to another graph.
    pub fn by_budget(
        graph: &Graph,
        channels: &Channels,
        scores: &Scores,
        budget: u64,
        limits: Limits,
    ) -> Result<Selection, SelectError> {
        check(channels, scores)?;
        // What goes at once, by the mean of its scores, and its group.
        let mut order: Vec<(f32, usize, Vec<Channel>)> = Vec::new();
        for (index, (group, scores)) in channels.groups().iter().zip(scores).enumerate() {
            if may_go(group, limits.scope) && !scores.is_empty() {
                let worst = ascending(scores);
                for part in parts(&worst, limits) {
                    let sum: f32 = part.iter().map(|&j| scores[j]).sum();
                    let goes = part.iter().map(|&j| group.channels[j]).collect();
                    order.push((sum / part.len() as f32, index, goes));
                }
            }
        }
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        let first = |count: usize| {
            let parts = order[..count].iter().flat_map(|(_, _, channels)| channels);
            Selection::of(parts.copied())
        };
        let left = |count: usize| macs_without(graph, channels, &first(count));
        let least = left(order.len());
        if least > budget {
            return Err(SelectError::Budget { budget, least });
        }
        let (mut low, mut high) = (0, order.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if left(middle) <= budget {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        // The last parts may have been large: what would fit comes back, the best of each group first.
        let mut selection = first(low);
        let mut settled = BTreeSet::new();
        for (_, group, part) in order[..low].iter().rev() {
            if settled.contains(group) {
                continue;
            }
            let mut more = selection.clone();
            part.iter().for_each(|channel| {
                more.removed.remove(channel);
            });
            if macs_without(graph, channels, &more) <= budget {
                selection = more;
            } else {
                settled.insert(*group);
            }
        }
        Ok(selection)
    }

    /// For the γ of every normalisation over groups that may go: which entries stay. This is the mask of
    /// [`super::add_penalty`].
    pub fn keep_masks(&self, graph: &Graph, channels: &Channels) -> BTreeMap<ValueId, Vec<bool>> {
        let mut masks = BTreeMap::new();
        for group in channels.groups().iter().filter(|g| g.pinned.is_none()) {
            for norm in &group.norms {
                let Some((id, values)) = gamma(graph, norm.output) else {
                    continue;
                };
                let mask: &mut Vec<bool> =
                    masks.entry(id).or_insert_with(|| vec![true; values.len()]);
                for (channel, indices) in group.channels.iter().zip(&norm.indices) {
                    for &i in indices {
                        mask[i] &= !self.removes(*channel);
                    }
                }
            }
        }
        masks
    }
}

impl Channels {
    /// Mean magnitude of the weights that make each channel, relative to its layer's, the mean over all producers: scores
    /// for groups without normalisations.
    pub fn weight_scores(&self, graph: &Graph) -> Scores {
        let of = |group: &Group| {
            let layers: Vec<Vec<f32>> = group
                .producers
                .iter()
                .filter_map(|member| relative_rows(graph, member))
                .collect();
            mean_magnitudes(&layers)
        };
        self.groups().iter().map(of).collect()
    }

    /// `|γ|` of every channel, the mean over its normalisations; a row is empty for groups without any.
    pub fn gamma_scores(&self, graph: &Graph) -> Scores {
        self.groups()
            .iter()
            .map(|g| mean_magnitudes(&g.gammas(graph)))
            .collect()
    }
}

/// For each channel of a member the mean magnitude of its rows, over that of all the layer's rows.
fn relative_rows(graph: &Graph, member: &Member) -> Option<Vec<f32>> {
    let node = &graph.nodes[graph.producer(member.output)?];
    let weight = &graph[*node.inputs.get(1)?];
    let Some(Data::F32(data)) = &weight.data else {
        return None;
    };
    let row = (data.len() / weight.shape.first()?).max(1);
    let mean = |w: &[f32]| w.iter().map(|w| w.abs()).sum::<f32>() / w.len().max(1) as f32;
    let layer = mean(data).max(f32::MIN_POSITIVE);
    let of = |indices: &Vec<usize>| {
        let rows = indices.iter().map(|&i| mean(&data[i * row..(i + 1) * row]));
        rows.sum::<f32>() / indices.len().max(1) as f32 / layer
    };
    Some(member.indices.iter().map(of).collect())
}

/// A group's channels that may go, the worst ones first, in parts after each of which as many stay as `limits` want. The best
/// are out of reach.
fn parts(worst: &[usize], limits: Limits) -> impl Iterator<Item = &[usize]> {
    let multiple = limits.multiple.get();
    let least = limits.min_channels.max(1).next_multiple_of(multiple);
    let goes = &worst[..worst.len().saturating_sub(least)];
    let (uneven, even) = goes.split_at(goes.len() % multiple);
    let uneven = (!uneven.is_empty()).then_some(uneven);
    uneven.into_iter().chain(even.chunks(multiple))
}

fn mean_magnitudes(gammas: &[Vec<f32>]) -> Vec<f32> {
    let len = gammas.first().map_or(0, Vec::len);
    let mean = |j: usize| gammas.iter().map(|g| g[j].abs()).sum::<f32>() / gammas.len() as f32;
    (0..len).map(mean).collect()
}

fn may_go(group: &Group, scope: Scope) -> bool {
    let in_scope = match scope {
        Scope::All => true,
        Scope::Inner => !group.is_residual(),
        Scope::Residual => group.is_residual(),
    };
    in_scope && group.pinned.is_none()
}

fn eligible(channels: &Channels, scope: Scope) -> impl Iterator<Item = &Group> {
    channels
        .groups()
        .iter()
        .filter(move |g| may_go(g, scope) && !g.norms.is_empty())
}

/// Indices by score, lowest first.
fn ascending(scores: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    order
}

/// Keeps the best of the candidates where too few would be left.
fn guarded(group: &Group, mut goes: Vec<usize>, scores: &[f32], min: usize) -> Vec<Channel> {
    goes.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    goes.truncate(group.channels.len().saturating_sub(min.max(1)));
    goes.into_iter().map(|j| group.channels[j]).collect()
}

fn check(channels: &Channels, scores: &Scores) -> Result<(), SelectError> {
    let groups = channels.groups();
    let fits = scores.len() == groups.len()
        && groups
            .iter()
            .zip(scores)
            .all(|(g, s)| s.is_empty() || s.len() == g.channels.len());
    let error = SelectError::Scores {
        found: scores.len(),
        groups: groups.len(),
    };
    if fits { Ok(()) } else { Err(error) }
}
