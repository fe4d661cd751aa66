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
    /// Products that wait before a bank; none leaves the machine's.
    pub queue_depth: Option<u32>,
    /// DRAM bandwidth; none leaves the machine's.
    pub gigabytes_per_second: Option<f64>,
}

/// The machine file as it is.
pub const PRESET: Reading = Reading {
    name: "preset",
    about: "the machine file as it is: bank queues of 8, FIFOs of 50 vectors, drains, halos, 50 GB/s, a bus as fast as that; PEs run on \
            as far as the FIFOs hold",
    timing: Timing::Exact,
    drift: Drift::Fifo,
    bus_vectors_per_cycle: None,
    queue_depth: None,
    gigabytes_per_second: None,
};

/// The reading of the headlines: the paper finds that DRAM slows nothing down as long as it has more than 4 GB/s (6.5).
pub const HEADLINE: Reading = Reading {
    name: "DRAM never late",
    about: "the preset, but for DRAM, which is never late; weights still come at most five vectors a cycle",
    gigabytes_per_second: UNLIMITED_DRAM,
    ..PRESET
};

/// A bus and a DRAM that nothing ever waits for.
const UNLIMITED_BUS: Option<u32> = Some(16);
const UNLIMITED_DRAM: Option<f64> = Some(100_000.0);

/// Steps and the barriers between them.
const STEPS: Reading = Reading {
    name: "steps",
    about: "steps alone, PEs run on by one group: no queues, FIFOs, drains, DRAM",
    timing: Timing::Fast,
    ..HEADLINE
};

/// All readings that the speed-ups are reported under: the headline's, the preset, and what each choice of the headline's
/// decides.
pub const READINGS: &[Reading] = &[
    HEADLINE,
    PRESET,
    Reading {
        name: "drift group",
        about: "the headline's, with a barrier at the end of every output-channel group, the one wait that the paper names (3.3)",
        drift: Drift::Group,
        ..HEADLINE
    },
    Reading {
        name: "bus never late",
        about: "the headline's, with a bus that nothing waits for either",
        bus_vectors_per_cycle: UNLIMITED_BUS,
        ..HEADLINE
    },
    Reading {
        name: "bus of 1",
        about: "the headline's, with one vector of weights a cycle on the bus instead of five",
        bus_vectors_per_cycle: Some(1),
        ..HEADLINE
    },
    Reading {
        name: "queues of 2",
        about: "the headline's, where two products wait before a bank instead of eight",
        queue_depth: Some(2),
        ..HEADLINE
    },
    Reading {
        name: "no queues",
        about: "the headline's, where a step waits until the banks that it needs are empty",
        queue_depth: Some(0),
        ..HEADLINE
    },
    STEPS,
    Reading {
        name: "steps, drift group",
        about: "the same, with the barrier",
        drift: Drift::Group,
        ..STEPS
    },
];

impl Reading {
    /// The preset with a DRAM of `gigabytes_per_second`.
    pub const fn at_bandwidth(gigabytes_per_second: f64) -> Self {
        Self {
            name: "bandwidth",
            about: "the preset, but for DRAM",
            gigabytes_per_second: Some(gigabytes_per_second),
            ..PRESET
        }
    }

    /// Whether the short forms of tables have it.
    pub fn is_telling(&self) -> bool {
        [HEADLINE.name, PRESET.name, "bus of 1", STEPS.name].contains(&self.name)
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
        if let Some(depth) = self.queue_depth {
            machine.pe.queue_depth = depth;
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
