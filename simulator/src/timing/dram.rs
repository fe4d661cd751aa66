//! The DRAM channel: one rate, two queues.
//!
//! Weights have priority: the array waits for them, while tiles, results and operands move in bulk. A bulk transfer
//! under way pauses until all requested weights have crossed; each queue is first come, first served.

/// Parts of a cycle in which the channel's time is kept, so that small transfers do not round up to whole cycles.
const TICKS: u64 = 1 << 16;

/// A channel with a fixed rate.
#[derive(Clone, Debug)]
pub struct Dram {
    ticks_per_byte: f64,
    /// Ticks of small transfers, by bytes.
    ticks: Vec<u64>,
    /// Time (ticks) at which the last requested weights have crossed.
    weights: u64,
    /// Time (ticks) at which the last bulk transfer ends or ended, if no more weights are requested.
    bulk: u64,
    /// Whether it is still under way.
    busy: bool,
    /// Ticks of the bulk transfer that is under way.
    under_way: u64,
    /// End of each bulk transfer that has arrived, and the ticks that it took.
    arrived: Vec<(u64, u64)>,
}

/// Bytes up to which durations are tabulated: most parts of weight blocks.
const SMALL: u64 = 1024;

impl Dram {
    /// An idle channel of `bytes_per_cycle`.
    pub fn new(bytes_per_cycle: f64) -> Self {
        let ticks_per_byte = TICKS as f64 / bytes_per_cycle;
        Self {
            ticks_per_byte,
            ticks: (0..SMALL)
                .map(|bytes| ticks(bytes, ticks_per_byte))
                .collect(),
            weights: 0,
            bulk: 0,
            busy: false,
            under_way: 0,
            arrived: Vec::new(),
        }
    }

    /// Whether `bytes` of weights that are requested at cycle 0 have arrived by cycle `end`.
    pub fn carries_weights_by(&self, end: u64, bytes: u64) -> bool {
        self.weights + self.duration(bytes) <= end * TICKS
    }

    /// Whole cycles of the channel from `begin` to `end` that bulk transfers leave, if no weights cross then.
    pub fn idle_cycles(&self, begin: u64, end: u64) -> u64 {
        let (begin, end) = (begin * TICKS, end * TICKS);
        let since = |&(end, ticks): &(u64, u64)| ticks.min(end.saturating_sub(begin));
        let busy: u64 = self.arrived.iter().map(since).sum();
        end.saturating_sub(begin + busy) / TICKS
    }

    /// Serves weights requested at cycle `ready`, behind all weights that were requested before; returns the cycle at which
    /// the last byte has arrived. Requests come in order of time, also in respect to bulk transfers.
    pub fn weights(&mut self, ready: u64, bytes: u64) -> u64 {
        if bytes == 0 {
            return ready;
        }
        let duration = self.duration(bytes);
        self.weights = self.weights.max(ready * TICKS) + duration;
        if self.busy {
            self.bulk += duration;
        }
        self.weights.div_ceil(TICKS)
    }

    /// The cycle by whose begin the next bulk transfer, ready at cycle `ready`, is under way; only weights that are requested
    /// earlier cross before it begins.
    pub fn begin_of_bulk(&self, ready: u64) -> u64 {
        (ready * TICKS).max(self.bulk).div_ceil(TICKS)
    }

    /// Begins a bulk transfer, of some bytes.
    pub fn begin_bulk(&mut self, ready: u64, bytes: u64) {
        debug_assert!(!self.busy && bytes > 0, "one bulk transfer at a time");
        self.under_way = self.duration(bytes);
        self.bulk = self.bulk.max(ready * TICKS).max(self.weights) + self.under_way;
        self.busy = true;
    }

    /// The cycle at which the bulk transfer under way has arrived, if no weights are requested before.
    pub fn end_of_bulk(&self) -> Option<u64> {
        self.busy.then(|| self.bulk.div_ceil(TICKS))
    }

    /// The bulk transfer that is under way has arrived.
    pub fn end_bulk(&mut self) {
        self.busy = false;
        self.arrived.push((self.bulk, self.under_way));
    }

    fn duration(&self, bytes: u64) -> u64 {
        if bytes < SMALL {
            self.ticks[bytes as usize]
        } else {
            ticks(bytes, self.ticks_per_byte)
        }
    }
}

fn ticks(bytes: u64, ticks_per_byte: f64) -> u64 {
    (bytes as f64 * ticks_per_byte).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_share_the_rate() {
        let mut dram = Dram::new(50.0);
        assert_eq!(dram.weights(0, 100), 2);
        assert_eq!(dram.weights(0, 25), 3);
        // The half cycle that is left goes to the next one.
        assert_eq!(dram.weights(1, 25), 3);
        assert_eq!(dram.weights(10, 10), 11);
        assert_eq!(dram.weights(11, 0), 11);
    }

    #[test]
    fn weights_overtake_what_moves_in_bulk() {
        let mut dram = Dram::new(50.0);
        dram.begin_bulk(0, 500);
        assert_eq!(dram.end_of_bulk(), Some(10));
        assert_eq!(dram.weights(4, 75), 6);
        assert_eq!(dram.end_of_bulk(), Some(12));
        dram.end_bulk();
        // The next begins in the middle of the cycle in which that one ended.
        assert_eq!(dram.begin_of_bulk(3), 12);
        dram.begin_bulk(3, 75);
        assert_eq!(dram.end_of_bulk(), Some(13));
    }

    #[test]
    fn what_bulk_transfers_leave_is_counted_in_whole_cycles() {
        let mut dram = Dram::new(50.0);
        for bytes in [500, 75] {
            dram.begin_bulk(0, bytes);
            dram.end_bulk();
        }
        // They end with half of cycle 11.
        assert_eq!(dram.idle_cycles(0, 20), 8);
        assert_eq!(dram.idle_cycles(4, 20), 8);
        assert_eq!(dram.idle_cycles(11, 20), 8);
        assert_eq!(dram.idle_cycles(12, 20), 8);
        assert_eq!(dram.idle_cycles(0, 11), 0);
    }

    #[test]
    fn weights_arrive_in_time_behind_those_before() {
        let mut dram = Dram::new(50.0);
        dram.weights(0, 75);
        assert!(dram.carries_weights_by(2, 25));
        assert!(!dram.carries_weights_by(2, 26));
    }
}
