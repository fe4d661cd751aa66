//! Channels whose shifts must agree, and the shifts that their limits and ties leave.

use crate::quantise::Tensor;
use petgraph::unionfind::UnionFind;
use scnn_isa::arith::table::MAX_TABLES;
use scnn_isa::layer::View;
use std::ops::Range;

/// Largest shift of a table's result: with all below it, there are as many as the PPU has tables.
const MOST_OF_TABLE: u8 = MAX_TABLES as u8 - 1;

/// How far apart the shifts of two views may be that must agree channel by channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Apart {
    /// The same number in all channels.
    AsTheyAllow,
    Not,
}

/// Two ranges of channels that must agree.
struct Tie {
    channels: [Range<usize>; 2],
    apart: Apart,
}

/// Channels whose shifts must agree, and the tensors that decide together.
pub(super) struct Classes {
    /// Of the first channel of every tensor among all channels of all tensors.
    first: Vec<usize>,
    channels: UnionFind<usize>,
    groups: UnionFind<usize>,
    /// By channel: what is known so far, and whether it may have a shift.
    limits: Vec<u8>,
    forbidden: Vec<bool>,
    /// By channel: whether a table writes it.
    of_tables: Vec<bool>,
    /// What was written as one.
    parts: Vec<Range<usize>>,
    ties: Vec<Tie>,
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
            parts: Vec::new(),
            ties: Vec::new(),
        }
    }

    fn of(&self, view: View) -> Range<usize> {
        let first = self.first[view.tensor.index()];
        first + view.channels.begin as usize..first + view.channels.end as usize
    }

    /// Notes what the channels of a view allow; of a concatenation in a concatenation, its parts say more.
    pub(super) fn limit(&mut self, view: View, limits: &[u8]) {
        let channels = self.of(view);
        for (limit, &other) in self.limits[channels.clone()].iter_mut().zip(limits) {
            *limit = other.max(*limit);
        }
        self.parts.push(channels);
    }

    pub(super) fn forbid(&mut self, view: View) {
        let channels = self.of(view);
        self.forbidden[channels].fill(true);
    }

    /// Notes that a table writes a view.
    pub(super) fn of_table(&mut self, view: View) {
        let channels = self.of(view);
        self.of_tables[channels].fill(true);
    }

    pub(super) fn tie(&mut self, a: View, b: View, apart: Apart) {
        self.groups.union(a.tensor.index(), b.tensor.index());
        let channels = [self.of(a), self.of(b)];
        for (a, b) in channels[0].clone().zip(channels[1].clone()) {
            self.channels.union(a, b);
        }
        self.ties.push(Tie { channels, apart });
    }

    pub(super) fn group(&mut self, tensor: usize) -> usize {
        self.groups.find_mut(tensor)
    }

    /// The shifts of every tensor's channels: their distance, and the least that the limits of their class leave beyond it.
    pub(super) fn shifts(&mut self, tensors: &[Tensor]) -> Vec<Vec<u8>> {
        let limits: Vec<u8> = (0..self.limits.len()).map(|c| self.allowed(c)).collect();
        let distances = self.distances(&limits);
        let classes: Vec<usize> = (0..limits.len())
            .map(|c| self.channels.find_mut(c))
            .collect();
        let mut least = vec![u8::MAX; limits.len()];
        for (channel, &class) in classes.iter().enumerate() {
            least[class] = least[class].min(limits[channel] - distances[channel]);
        }
        let of_tensor = |(tensor, &first): (&Tensor, &usize)| {
            let channels = first..first + tensor.shape[1] as usize;
            channels.map(|c| distances[c] + least[classes[c]]).collect()
        };
        tensors.iter().zip(&self.first).map(of_tensor).collect()
    }

    /// The largest shift of a channel that is asked alone.
    fn allowed(&self, channel: usize) -> u8 {
        match (self.forbidden[channel], self.of_tables[channel]) {
            (true, _) => 0,
            (false, true) => self.limits[channel].min(MOST_OF_TABLE),
            (false, false) => self.limits[channel],
        }
    }

    /// By channel, how much further than its class it is shifted: as far as all of what is written as one and of what is tied
    /// as one allow. The same within every view that is tied, so that one factor serves it.
    fn distances(&self, limits: &[u8]) -> Vec<u8> {
        let mut distances = limits.to_vec();
        let lower = |distances: &mut [u8], ranges: &[Range<usize>]| {
            let all = || ranges.iter().flat_map(Clone::clone);
            let least = all().map(|c| distances[c]).min().unwrap_or(0);
            let mut lowered = false;
            for channel in all() {
                lowered |= distances[channel] > least;
                distances[channel] = least;
            }
            lowered
        };
        // What is written in parts is not written as one.
        let inside = |part: &Range<usize>, other: &Range<usize>| {
            other.len() < part.len() && part.start <= other.start && other.end <= part.end
        };
        let whole = |part: &&Range<usize>| !self.parts.iter().any(|other| inside(part, other));
        for part in self.parts.iter().filter(whole) {
            lower(&mut distances, std::slice::from_ref(part));
        }
        // Each round lowers one or is the last.
        loop {
            let lowered = self
                .ties
                .iter()
                .fold(false, |lowered, tie| match tie.apart {
                    Apart::Not => lowered | lower(&mut distances, &tie.channels),
                    Apart::AsTheyAllow => {
                        let [a, b] = &tie.channels;
                        let a = lower(&mut distances, std::slice::from_ref(a));
                        lowered | a | lower(&mut distances, std::slice::from_ref(b))
                    }
                });
            if !lowered {
                return distances;
            }
        }
    }
}
