//! Readings: what the paper leaves open about time, and the choices that are measured.
//!
//! A reading changes only what costs cycles, so one program serves all readings of a machine. None changes a count of
//! events, so energy is the same under all of them.

use scnn_isa::machine::{Delivery, Drift, Machine};
use scnn_simulator::timing::Timing;

/// Choices about time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Name.
    pub name: &'static str,
    /// What it assumes.
    pub about: &'static str,
    /// What is counted.
    pub timing: Timing,
    /// How far PEs may run apart.
    pub drift: Drift,
    /// Vectors that a broadcast bus carries in a cycle; none leaves the machine's.
    pub bus_vectors_per_cycle: Option<u32>,
    /// DRAM bandwidth; none leaves the machine's.
    pub gigabytes_per_second: Option<f64>,
}

/// A bus and a DRAM that nothing ever waits for.
const HIDDEN_BUS: Option<u32> = Some(16);
const HIDDEN_DRAM: Option<f64> = Some(100_000.0);

/// The reading of the headlines.
///
/// The paper names one wait, that of PEs for the slowest at the end of an output-channel group (section 3.3), finds no
/// slow-down by DRAM down to 4 GB/s (6.5), and gives no width for the way from DRAM to the FIFOs.
pub const HEADLINE: Reading = Reading {
    name: "hidden",
    about: "bank queues, FIFOs of 50 vectors, drains, halos; barrier at groups; DRAM and weight bus never late",
    timing: Timing::Exact,
    drift: Drift::Group,
    bus_vectors_per_cycle: HIDDEN_BUS,
    gigabytes_per_second: HIDDEN_DRAM,
};

/// All readings that the speed-ups are reported under.
pub const READINGS: &[Reading] = &[
    HEADLINE,
    Reading {
        name: "hidden, drift fifo",
        about: "the same; PEs run on as far as the FIFOs hold",
        drift: Drift::Fifo,
        ..HEADLINE
    },
    Reading {
        name: "steps",
        about: "steps and barriers alone: no queues, FIFOs, drains, DRAM",
        timing: Timing::Fast,
        ..HEADLINE
    },
    Reading {
        name: "steps, drift fifo",
        about: "the same; PEs run on by one group",
        timing: Timing::Fast,
        drift: Drift::Fifo,
        ..HEADLINE
    },
    Reading {
        name: "DRAM's rate",
        about: "weights and activations at 50 GB/s: five vectors a cycle",
        bus_vectors_per_cycle: Some(5),
        gigabytes_per_second: None,
        ..HEADLINE
    },
    Reading {
        name: "DRAM's rate, drift fifo",
        about: "the same; PEs run on as far as the FIFOs hold",
        drift: Drift::Fifo,
        bus_vectors_per_cycle: Some(5),
        gigabytes_per_second: None,
        ..HEADLINE
    },
    Reading {
        drift: Drift::Group,
        name: "preset, drift group",
        about: "one vector a cycle on the bus, 50 GB/s",
        ..PRESET
    },
    PRESET,
];

/// The machine file as it is.
pub const PRESET: Reading = Reading {
    name: "preset",
    about: "the same; PEs run on as far as the FIFOs hold: the machine file as it is",
    timing: Timing::Exact,
    drift: Drift::Fifo,
    bus_vectors_per_cycle: None,
    gigabytes_per_second: None,
};

impl Reading {
    /// The headline's reading with a DRAM of `gigabytes_per_second`.
    pub const fn at_bandwidth(gigabytes_per_second: f64) -> Self {
        Self {
            name: "bandwidth",
            about: "the headline's, but for DRAM",
            gigabytes_per_second: Some(gigabytes_per_second),
            ..HEADLINE
        }
    }

    /// `machine` under this reading.
    pub fn applied(&self, machine: &Machine) -> Machine {
        let mut machine = machine.clone();
        machine.sync.drift = self.drift;
        if let (Some(vectors), Delivery::Broadcast) =
            (self.bus_vectors_per_cycle, machine.weights.delivery)
        {
            machine.weights.bus_vectors_per_cycle = vectors;
        }
        if let Some(rate) = self.gigabytes_per_second {
            machine.dram.gigabytes_per_second = rate;
        }
        machine
    }
}

#[cfg(test)]
mod tests {
    use super::{PRESET, READINGS};
    use scnn_isa::machine::Machine;

    #[test]
    fn no_reading_decides_a_program() {
        let machine = Machine::preset("scnn").unwrap();
        for reading in READINGS {
            let changed = reading.applied(&machine);
            assert_eq!(
                machine.fingerprint_differences(&changed),
                Vec::new(),
                "{}",
                reading.name
            );
        }
        assert_eq!(PRESET.applied(&machine), machine);
    }
}
