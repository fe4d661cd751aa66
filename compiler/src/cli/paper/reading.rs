//! Readings: what the paper leaves open about time, and the choices that are measured.
//!
//! A reading changes only what costs cycles, so one program serves all readings of a machine. None changes a count of
//! events, so energy is the same under all of them. The headlines are those of the machine file as it is.

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

/// The reading of the headlines: the machine file as it is.
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

/// A bus and a DRAM that nothing ever waits for.
const UNLIMITED_BUS: Option<u32> = Some(16);
const UNLIMITED_DRAM: Option<f64> = Some(100_000.0);

/// Steps and the barriers between them.
const STEPS: Reading = Reading {
    name: "steps",
    about: "steps alone, PEs run on by one group: no queues, FIFOs, drains, DRAM",
    timing: Timing::Fast,
    ..PRESET
};

/// All readings that the speed-ups are reported under: the preset, and what each choice of its decides.
pub const READINGS: &[Reading] = &[
    PRESET,
    Reading {
        name: "drift group",
        about: "a barrier at the end of every output-channel group, the one wait that the paper names (3.3)",
        drift: Drift::Group,
        ..PRESET
    },
    Reading {
        name: "unlimited DRAM",
        about: "DRAM is never late; five vectors a cycle on the bus",
        gigabytes_per_second: UNLIMITED_DRAM,
        ..PRESET
    },
    Reading {
        name: "unlimited delivery",
        about: "neither DRAM nor the bus is ever late",
        gigabytes_per_second: UNLIMITED_DRAM,
        bus_vectors_per_cycle: UNLIMITED_BUS,
        ..PRESET
    },
    Reading {
        name: "unlimited delivery, drift group",
        about: "the same, with the barrier",
        gigabytes_per_second: UNLIMITED_DRAM,
        bus_vectors_per_cycle: UNLIMITED_BUS,
        drift: Drift::Group,
        ..PRESET
    },
    Reading {
        name: "bus of 1",
        about: "one vector of weights a cycle on the bus instead of five",
        bus_vectors_per_cycle: Some(1),
        ..PRESET
    },
    Reading {
        name: "queues of 2",
        about: "two products wait before a bank instead of eight",
        queue_depth: Some(2),
        ..PRESET
    },
    Reading {
        name: "no queues",
        about: "a step waits until the banks that it needs are empty",
        queue_depth: Some(0),
        ..PRESET
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
    /// The preset with a DRAM of `gigabytes_per_second`; none, with one that is never late.
    pub const fn at_bandwidth(gigabytes_per_second: Option<f64>) -> Self {
        Self {
            name: "bandwidth",
            about: "the preset, but for DRAM",
            gigabytes_per_second: match gigabytes_per_second {
                None => UNLIMITED_DRAM,
                rate => rate,
            },
            ..PRESET
        }
    }

    /// Whether the short forms of tables have it: the extremes.
    pub fn is_extreme(&self) -> bool {
        ["preset", "unlimited delivery", "bus of 1", "steps"].contains(&self.name)
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
