//! The DRAM channel: one server, first come, first served.

/// Parts of a cycle in which the channel's time is kept, so that small transfers do not round up to whole cycles.
const TICKS: u64 = 1 << 16;

/// A channel with a fixed rate.
#[derive(Clone, Debug)]
pub struct Dram {
    ticks_per_byte: f64,
    /// Ticks of small transfers, by bytes.
    ticks: Vec<u64>,
    free: u64,
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
            free: 0,
        }
    }

    /// Serves a request that is ready at cycle `ready`, behind all that were served before; the cycle at which its
    /// last byte has arrived.
    pub fn serve(&mut self, ready: u64, bytes: u64) -> u64 {
        if bytes == 0 {
            return ready;
        }
        let duration = if bytes < SMALL {
            self.ticks[bytes as usize]
        } else {
            ticks(bytes, self.ticks_per_byte)
        };
        self.free = self.free.max(ready * TICKS) + duration;
        self.free.div_ceil(TICKS)
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
        assert_eq!(dram.serve(0, 100), 2);
        assert_eq!(dram.serve(0, 25), 3);
        // The half cycle that is left goes to the next one.
        assert_eq!(dram.serve(1, 25), 3);
        assert_eq!(dram.serve(10, 10), 11);
        assert_eq!(dram.serve(11, 0), 11);
    }
}
