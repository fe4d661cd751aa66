//! Channels whose shifts must agree, and the shifts that their limits and ties leave.

use crate::quantise::Tensor;
use petgraph::unionfind::UnionFind;
use scnn_isa::arith::table::MAX_TABLES;
use scnn_isa::layer::View;
use std::ops::Range;

/// Largest shift of a table's result: with all below it, there are as many as the PPU has tables.
const MOST_OF_TABLE: u8 = MAX_TABLES as u8 - 1;

/// Channels whose shifts must agree, and the tensors that decide together.
pub(super) struct Classes {
    /// By tensor: index of its first channel among the channels of all tensors.
    first: Vec<usize>,
    channels: UnionFind<usize>,
    groups: UnionFind<usize>,
    /// By channel: the largest shift by the limits so far, and whether none is allowed at all.
    limits: Vec<u8>,
    forbidden: Vec<bool>,
    /// By channel: whether a table writes it.
    of_tables: Vec<bool>,
}

impl Classes {
    pub(super) fn new(tensors: &[Tensor]) -> Self {
        let mut all = 0;
        let first = tensors.iter().map(|tensor| {
            let first = all;
            all += tensor.shape[1] as usize;
            first
        });
        let first = first.collect();
        Self {
            first,
            channels: UnionFind::new(all),
            groups: UnionFind::new(tensors.len()),
            limits: vec![0; all],
            forbidden: vec![false; all],
            of_tables: vec![false; all],
        }
    }

    fn of(&self, view: View) -> Range<usize> {
        let first = self.first[view.tensor.index()];
        first + view.channels.begin as usize..first + view.channels.end as usize
    }

    /// Raises the limits of a view's channels to `limits`: the parts of a nested concatenation allow more than the whole does.
    pub(super) fn limit(&mut self, view: View, limits: &[u8]) {
        let channels = self.of(view);
        for (limit, &other) in self.limits[channels].iter_mut().zip(limits) {
            *limit = other.max(*limit);
        }
    }

    pub(super) fn forbid(&mut self, view: View) {
        let channels = self.of(view);
        self.forbidden[channels].fill(true);
    }

    /// Records that a table writes a view.
    pub(super) fn of_table(&mut self, view: View) {
        let channels = self.of(view);
        self.of_tables[channels].fill(true);
    }

    /// Records that the channels of two views must agree.
    pub(super) fn tie(&mut self, a: View, b: View) {
        self.groups.union(a.tensor.index(), b.tensor.index());
        for (a, b) in self.of(a).zip(self.of(b)) {
            self.channels.union(a, b);
        }
    }

    pub(super) fn group(&mut self, tensor: usize) -> usize {
        self.groups.find_mut(tensor)
    }

    /// The shifts of every tensor's channels: the least that the limits of their class leave.
    pub(super) fn shifts(&mut self, tensors: &[Tensor]) -> Vec<Vec<u8>> {
        let classes = (0..self.limits.len()).map(|c| self.channels.find_mut(c));
        let classes: Vec<usize> = classes.collect();
        let mut least = vec![u8::MAX; classes.len()];
        for (channel, &class) in classes.iter().enumerate() {
            least[class] = least[class].min(self.allowed(channel));
        }
        let of_tensor = |(tensor, &first): (&Tensor, &usize)| {
            let channels = first..first + tensor.shape[1] as usize;
            channels.map(|channel| least[classes[channel]]).collect()
        };
        tensors.iter().zip(&self.first).map(of_tensor).collect()
    }

    /// The largest shift of a channel by its own limit.
    fn allowed(&self, channel: usize) -> u8 {
        match (self.forbidden[channel], self.of_tables[channel]) {
            (true, _) => 0,
            (false, true) => self.limits[channel].min(MOST_OF_TABLE),
            (false, false) => self.limits[channel],
        }
    }
}
