//! Lanes of tracks: slices of one lane follow each other, or lie one inside the other.
//!
//! Units overlap with themselves: the next round's weights begin while the last of this one are on their way. A viewer
//! draws such slices wrongly on one track, so a track has **lanes**, and a slice goes to the first where it nests.

/// A span of cycles on a track, with its content.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice<T> {
    /// First cycle.
    pub begin: u64,
    /// One past the last.
    pub end: u64,
    /// The content.
    pub content: T,
}

/// A line of slices that nest.
#[derive(Clone, Debug, Default)]
struct Lane {
    /// Ends of the slices that are open, outermost first.
    open: Vec<u64>,
}

/// The lanes of a track.
#[derive(Clone, Debug, Default)]
pub struct Lanes {
    lanes: Vec<Lane>,
    /// By lane, the end of the slices of earlier calls.
    free: Vec<u64>,
}

impl Lane {
    /// Takes a slice if it begins where all others have ended, or inside the innermost and ends with it or before.
    fn takes(&mut self, begin: u64, end: u64) -> bool {
        while self.open.last().is_some_and(|&open| open <= begin) {
            self.open.pop();
        }
        let nests = self.open.last().is_none_or(|&open| end <= open);
        if nests {
            self.open.push(end);
        }
        nests
    }
}

impl Lanes {
    /// Distributes slices over lanes; none begins before the slices of earlier calls. Returns the slices of each lane in
    /// order, outer ones before inner ones.
    pub fn share_out<T>(&mut self, mut slices: Vec<Slice<T>>) -> Vec<Vec<Slice<T>>> {
        slices.sort_by_key(|slice| (slice.begin, std::cmp::Reverse(slice.end)));
        let mut shared: Vec<Vec<Slice<T>>> = Vec::new();
        for lane in &mut self.lanes {
            lane.open.clear();
        }
        for slice in slices {
            let (begin, end) = (slice.begin, slice.end);
            let mut lanes = self.lanes.iter_mut().zip(&self.free);
            let found = lanes.position(|(lane, &free)| free <= begin && lane.takes(begin, end));
            let at = found.unwrap_or_else(|| {
                self.lanes.push(Lane { open: vec![end] });
                self.free.push(0);
                self.lanes.len() - 1
            });
            shared.resize_with(shared.len().max(at + 1), Vec::new);
            shared[at].push(slice);
        }
        for (free, slices) in self.free.iter_mut().zip(&shared) {
            let ends = slices.iter().map(|slice| slice.end);
            *free = (*free).max(ends.max().unwrap_or(0));
        }
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slices(spans: &[(u64, u64)]) -> Vec<Slice<()>> {
        let spans = spans.iter();
        spans
            .map(|&(begin, end)| Slice {
                begin,
                end,
                content: (),
            })
            .collect()
    }

    fn spans(lanes: Vec<Vec<Slice<()>>>) -> Vec<Vec<(u64, u64)>> {
        let lane = |lane: Vec<Slice<()>>| {
            lane.into_iter()
                .map(|slice| (slice.begin, slice.end))
                .collect()
        };
        lanes.into_iter().map(lane).collect()
    }

    #[test]
    fn what_overlaps_without_nesting_goes_to_the_next_lane() {
        let mut lanes = Lanes::default();
        let shared = lanes.share_out(slices(&[(3, 8), (0, 5), (1, 2), (5, 6)]));
        assert_eq!(spans(shared), [vec![(0, 5), (1, 2), (5, 6)], vec![(3, 8)]]);
        // The second lane is taken until 8.
        let shared = lanes.share_out(slices(&[(6, 9), (7, 10), (8, 20)]));
        assert_eq!(spans(shared), [vec![(6, 9)], vec![(8, 20)], vec![(7, 10)]]);
    }

    proptest! {
        #[test]
        fn slices_of_a_lane_nest(spans in prop::collection::vec((0u64..40, 0u64..12), 0..60), cut in 0u64..40) {
            let all: Vec<(u64, u64)> = spans.iter().map(|&(begin, long)| (begin, begin + long)).collect();
            let (first, second): (Vec<_>, Vec<_>) = all.iter().partition(|span| span.0 < cut);
            let mut lanes = Lanes::default();
            let mut found: Vec<Vec<(u64, u64)>> = vec![Vec::new(); all.len() + 1];
            for part in [first, second] {
                for (lane, shared) in super::tests::spans(lanes.share_out(slices(&part))).into_iter().enumerate() {
                    found[lane].extend(shared);
                }
            }
            prop_assert_eq!(found.iter().map(Vec::len).sum::<usize>(), all.len());
            for lane in found {
                for (index, a) in lane.iter().enumerate() {
                    for b in &lane[index + 1..] {
                        let apart = a.1 <= b.0 || b.1 <= a.0;
                        let inside = (a.0 <= b.0 && b.1 <= a.1) || (b.0 <= a.0 && a.1 <= b.1);
                        prop_assert!(apart || inside, "{:?} and {:?}", a, b);
                    }
                }
            }
        }
    }
}
