//! Energies of events as functions of the machine's structure.
//!
//! An entry of the energy table is stated, or follows a [`Law`]: an energy at the sizes of the paper's machine, and how it
//! grows with the parameters that it depends on. A law gives ratios alone, so that at the paper's sizes every entry is the
//! calibrated one; where a parameter leaves the range in which a law was fitted, [`Machine::outside_fit`] says so. `isa/MACHINE.md`
//! has the fits and their residuals.

use super::area::PeArea;
use super::parameter::{ParameterValue, named_values};
use super::{Confidence, Energy, Machine};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Energy of one event, with its source.
#[derive(Clone, Debug, PartialEq)]
pub struct Picojoules {
    /// Energy on this machine, pJ.
    pub pj: f64,
    /// How it follows from the structure; none if it is stated.
    pub law: Option<Follows>,
    /// Least and most that the value may be, pJ on this machine; none if no band is stated.
    pub band: Option<[f64; 2]>,
    /// How far it can be trusted at the paper's sizes.
    pub confidence: Confidence,
    /// Where the number comes from.
    pub source: String,
}

/// A law, with the energy at the paper's sizes from which it scales.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Follows {
    /// The law.
    pub law: Law,
    /// Energy at the sizes of the paper's machine, pJ.
    pub paper_pj: f64,
    /// Band at those sizes.
    pub paper_band: Option<[f64; 2]>,
}

/// An entry as a machine file states it: its energy, or a law and the energy at the paper's sizes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatedEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pj: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    law: Option<Law>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paper_pj: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    band: Option<[f64; 2]>,
    #[serde(default, skip_serializing_if = "Confidence::is_stated")]
    confidence: Confidence,
    source: String,
}

impl<'de> Deserialize<'de> for Picojoules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stated = StatedEntry::deserialize(deserializer)?;
        let (pj, law) = match (stated.pj, stated.law, stated.paper_pj) {
            (Some(pj), None, None) => (pj, None),
            (None, Some(law), Some(paper_pj)) => {
                let follows = Follows {
                    law,
                    paper_pj,
                    paper_band: stated.band,
                };
                (paper_pj, Some(follows))
            }
            _ => {
                return Err(D::Error::custom(
                    "an energy has `pj`, or both `law` and `paper_pj`",
                ));
            }
        };
        let band = stated.band;
        if band.is_some_and(|[low, high]| !(0.0 <= low && low <= pj && pj <= high)) {
            return Err(D::Error::custom(
                "`band` is [least, most] around the energy",
            ));
        }
        Ok(Self {
            pj,
            law,
            band,
            confidence: stated.confidence,
            source: stated.source,
        })
    }
}

impl Serialize for Picojoules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stated = StatedEntry {
            pj: self.law.is_none().then_some(self.pj),
            law: self.law.map(|follows| follows.law),
            paper_pj: self.law.map(|follows| follows.paper_pj),
            band: self.law.map_or(self.band, |follows| follows.paper_band),
            confidence: self.confidence,
            source: self.source.clone(),
        };
        stated.serialize(serializer)
    }
}

named_values! {
    /// How the energy of an event grows with the structure of the machine.
    Law {
        Multiplier "multiplier",
        Adder "adder",
        AccumulatorBank "accumulator_bank",
        Crossbar "crossbar",
        Coordinate "coordinate",
        FifoRead "fifo_read",
        FifoWrite "fifo_write",
        RamRead "ram_read",
        RamWrite "ram_write",
        Ppu "ppu",
        HaloLink "halo_link",
        DenseRead "dense_read",
        DenseWrite "dense_write"
    }
}

/// A parameter outside the range in which a law was fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct OutsideFit {
    /// Entry of the table.
    pub entry: &'static str,
    /// Quantity that the law depends on.
    pub quantity: &'static str,
    /// Its value here.
    pub value: f64,
    /// Range of the fit.
    pub range: [f64; 2],
}

impl fmt::Display for OutsideFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high] = self.range;
        write!(
            f,
            "energy.{}: {} are {}, outside the {low} to {high} that its law was fitted to",
            self.entry,
            self.quantity,
            (self.value * 1e3).round() / 1e3
        )
    }
}

/// Quantities of a machine that laws depend on.
struct Structure {
    operand_bits: f64,
    accumulator_bits: f64,
    /// Bits of an address of the accumulators of a half.
    address_bits: f64,
    crossbar_ports: f64,
    /// A bank of both halves.
    bank: Sram,
    fifo: Sram,
    ram: Sram,
    dense: Sram,
    /// Side of a PE, mm.
    pitch: f64,
    cols: f64,
}

/// Size and port of a memory.
#[derive(Clone, Copy)]
struct Sram {
    bytes: f64,
    bits: f64,
}

impl Sram {
    /// Energy of a read over that of a memory of one byte and one bit: CACTI 7's five memories of SCNN at 22 nm, within 6 %.
    fn read(self) -> f64 {
        self.bytes.powf(0.537) * self.bits.powf(0.344)
    }

    /// Energy of a write, likewise, within 2 %.
    fn write(self) -> f64 {
        self.bytes.powf(0.383) * self.bits.powf(0.734)
    }
}

/// CACTI's energies of a read and a write of one byte and one bit at 22 nm, pJ: only their ratio matters.
const SRAM_READ_PJ: f64 = 0.002_97;
const SRAM_WRITE_PJ: f64 = 0.002_50;

/// Share of a FIFO write at the paper's sizes that is the memory's: .45 of .75 pJ; the rest is taken for the wires.
const FIFO_WRITE_MEMORY: f64 = 0.6;

/// Share of a post-processed value at the paper's sizes that is its multiplication: .12 of .2 pJ.
const PPU_MULTIPLIER: f64 = 0.6;

/// Operands of a vector of the dense machines.
const DENSE_VECTOR: f64 = 4.0;

/// An array multiplier, relative to one bit: .2 pJ at 8 and 3.1 pJ at 32 bits.
fn multiplier(bits: f64) -> f64 {
    bits.powf(1.977)
}

/// An adder, pJ at 45 nm: .03 at 8 and .1 at 32 bits.
fn adder(bits: f64) -> f64 {
    0.03 + (bits - 8.0) * 0.07 / 24.0
}

impl Structure {
    /// Structure of the paper's machine (SCNN table 2 and section 4).
    fn paper() -> Self {
        let memory = |bytes, bits| Sram { bytes, bits };
        Self {
            operand_bits: 16.0,
            accumulator_bits: 24.0,
            address_bits: 10.0,
            crossbar_ports: 48.0,
            bank: memory(192.0, 24.0),
            fifo: memory(500.0, 80.0),
            ram: memory(10240.0, 80.0),
            dense: memory(32768.0, 64.0),
            pitch: PeArea::PAPER.total().sqrt(),
            cols: 8.0,
        }
    }

    fn of(machine: &Machine) -> Self {
        let pe = &machine.pe;
        let element = f64::from(pe.operand_bits + machine.encoding.index_bits);
        let accumulator_bits = f64::from(pe.accumulator_bits);
        let weights = f64::from(pe.weights_per_vector);
        let activations = f64::from(pe.activations_per_vector);
        let rams =
            f64::from(machine.activation_ram.a_bytes) + f64::from(machine.activation_ram.b_bytes);
        Self {
            operand_bits: f64::from(pe.operand_bits),
            accumulator_bits,
            address_bits: (f64::from(pe.banks) * f64::from(pe.entries_per_bank)).log2(),
            crossbar_ports: weights * activations + f64::from(pe.banks),
            bank: Sram {
                bytes: 2.0 * f64::from(pe.entries_per_bank) * accumulator_bits / 8.0,
                bits: accumulator_bits,
            },
            fifo: Sram {
                bytes: f64::from(machine.weights.fifo_vectors) * weights * element / 8.0,
                bits: weights * element,
            },
            ram: Sram {
                bytes: rams / 2.0,
                bits: activations * element,
            },
            dense: Sram {
                bytes: f64::from(machine.dataflow.sram_bytes) / f64::from(machine.pe_count()),
                bits: DENSE_VECTOR * f64::from(pe.operand_bits),
            },
            pitch: machine.pe_area().total().sqrt(),
            cols: f64::from(machine.array.cols),
        }
    }

    /// The bus to one of many FIFOs: a trunk along the rows and a branch along each row, shared by all PEs.
    fn bus(&self) -> f64 {
        self.fifo.bits * self.pitch * (1.0 + 1.0 / self.cols)
    }
}

impl Law {
    /// The formula, in proportion.
    pub const fn formula(self) -> &'static str {
        match self {
            Self::Multiplier => "operand_bits^1.977",
            Self::Adder => ".03 + (accumulator_bits - 8) x .07 / 24",
            Self::AccumulatorBank => {
                "SRAM read and write of 2 x entries_per_bank x accumulator_bits, accumulator_bits wide"
            }
            Self::Crossbar => "(F x I + banks) x accumulator_bits^2",
            Self::Coordinate => "an adder of log2(banks x entries_per_bank) bits",
            Self::FifoRead => "SRAM read of fifo_vectors x F x element bits, F x element bits wide",
            Self::FifoWrite => {
                ".6 of SRAM write as fifo_read's, .4 of F x element bits x PE side x (1 + 1 / cols)"
            }
            Self::RamRead => "SRAM read of (a_bytes + b_bytes) / 2, I x element bits wide",
            Self::RamWrite => "SRAM write of (a_bytes + b_bytes) / 2, I x element bits wide",
            Self::Ppu => ".6 of multiplier, .4 of adder",
            Self::HaloLink => "accumulator_bits x PE side",
            Self::DenseRead => "SRAM read of sram_bytes / PEs, four operands wide",
            Self::DenseWrite => "SRAM write of sram_bytes / PEs, four operands wide",
        }
    }

    /// Where the formula comes from.
    pub const fn source(self) -> &'static str {
        match self {
            Self::Multiplier => "Horowitz, ISSCC 2014: .2 pJ at 8, 3.1 pJ at 32 bits",
            Self::Adder | Self::Coordinate => "Horowitz, ISSCC 2014: .03 pJ at 8, .1 pJ at 32 bits",
            Self::Crossbar => {
                "wires of a matrix crossbar (Orion, Wang et al., MICRO 2002): a product crosses its length and height"
            }
            Self::FifoWrite => {
                "fit of CACTI 7, 22 nm; wires in proportion to width and length, side of a PE from the areas"
            }
            Self::Ppu => "Horowitz, ISSCC 2014",
            Self::HaloLink => {
                "wires in proportion to width and length, side of a PE from the areas"
            }
            Self::AccumulatorBank
            | Self::FifoRead
            | Self::RamRead
            | Self::RamWrite
            | Self::DenseRead
            | Self::DenseWrite => {
                "fit of CACTI 7, 22 nm: read bytes^.537 x bits^.344, write bytes^.383 x bits^.734"
            }
        }
    }

    /// Energy on this machine over the energy at the paper's sizes.
    pub fn ratio(self, machine: &Machine) -> f64 {
        let (here, paper) = (Structure::of(machine), Structure::paper());
        match self {
            Self::FifoWrite => {
                FIFO_WRITE_MEMORY * (here.fifo.write() / paper.fifo.write())
                    + (1.0 - FIFO_WRITE_MEMORY) * (here.bus() / paper.bus())
            }
            Self::Ppu => {
                PPU_MULTIPLIER * (Self::Multiplier.size(&here) / Self::Multiplier.size(&paper))
                    + (1.0 - PPU_MULTIPLIER) * (Self::Adder.size(&here) / Self::Adder.size(&paper))
            }
            law => law.size(&here) / law.size(&paper),
        }
    }

    /// Quantity that the energy is in proportion to, of a law of one term.
    fn size(self, of: &Structure) -> f64 {
        match self {
            Self::Multiplier | Self::Ppu => multiplier(of.operand_bits),
            Self::Adder => adder(of.accumulator_bits),
            Self::AccumulatorBank => {
                SRAM_READ_PJ * of.bank.read() + SRAM_WRITE_PJ * of.bank.write()
            }
            Self::Crossbar => of.crossbar_ports * of.accumulator_bits * of.accumulator_bits,
            Self::Coordinate => adder(of.address_bits),
            Self::FifoRead => of.fifo.read(),
            Self::FifoWrite => of.fifo.write(),
            Self::RamRead => of.ram.read(),
            Self::RamWrite => of.ram.write(),
            Self::HaloLink => of.accumulator_bits * of.pitch,
            Self::DenseRead => of.dense.read(),
            Self::DenseWrite => of.dense.write(),
        }
    }

    /// Quantities that the law depends on: name, value on this machine, range of the fit.
    fn quantities(self, machine: &Machine) -> Vec<(&'static str, f64, [f64; 2])> {
        const BITS: [f64; 2] = [8.0, 32.0];
        let here = Structure::of(machine);
        let memory = |memory: Sram| {
            vec![
                ("memory bytes", memory.bytes, [128.0, 32768.0]),
                ("port bits", memory.bits, [16.0, 80.0]),
            ]
        };
        match self {
            Self::Multiplier | Self::Ppu => vec![("operand bits", here.operand_bits, BITS)],
            Self::Adder => vec![("accumulator bits", here.accumulator_bits, BITS)],
            Self::Coordinate => vec![("address bits", here.address_bits, BITS)],
            Self::Crossbar => vec![("ports", here.crossbar_ports, [12.0, 192.0])],
            Self::HaloLink => vec![("millimetres of a PE's side", here.pitch, [0.1, 1.5])],
            Self::AccumulatorBank => memory(here.bank),
            Self::FifoRead | Self::FifoWrite => memory(here.fifo),
            Self::RamRead | Self::RamWrite => memory(here.ram),
            Self::DenseRead | Self::DenseWrite => memory(here.dense),
        }
    }
}

/// The entries of the energy table, which are the fields of [`Energy`].
macro_rules! energy_entries {
    ($($name:ident)*) => {
        impl Energy {
            /// Every entry by name, in the order of the table.
            pub fn entries(&self) -> Vec<(&'static str, &Picojoules)> {
                vec![$((stringify!($name), &self.$name)),*]
            }

            fn entries_mut(&mut self) -> Vec<&mut Picojoules> {
                vec![$(&mut self.$name),*]
            }
        }
    };
}

energy_entries! {
    multiply add accumulate crossbar_transfer coordinate fifo_read_vector fifo_write_vector iaram_read_vector
    oaram_write_vector ppu_element halo_sum dram_bit host_bit dense_operand_vector_read dense_add
    dense_sram_read_vector dense_sram_write_vector
}

impl Picojoules {
    /// The energy, and its band, of the law on this machine.
    fn follow(&mut self, machine: &Machine) {
        if let Some(follows) = self.law {
            let ratio = follows.law.ratio(machine);
            self.pj = follows.paper_pj * ratio;
            self.band = follows.paper_band.map(|band| band.map(|pj| pj * ratio));
        }
    }
}

impl Machine {
    /// The machine with the energies of its structure, to be called after fields have changed; machine files and settings
    /// are read so.
    #[must_use]
    pub fn with_energies(mut self) -> Self {
        let mut energy = self.energy.clone();
        for entry in energy.entries_mut() {
            entry.follow(&self);
        }
        self.energy = energy;
        self
    }

    /// The laws of the energy table that this dataflow uses outside the range of their fit.
    pub fn outside_fit(&self) -> Vec<OutsideFit> {
        let mut outside = Vec::new();
        for (entry, energy) in self.energy.entries() {
            let Some(follows) = energy.law else { continue };
            for (quantity, value, range) in follows.law.quantities(self) {
                if value < range[0] || value > range[1] {
                    outside.push(OutsideFit {
                        entry,
                        quantity,
                        value,
                        range,
                    });
                }
            }
        }
        outside
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn machine(settings: &str) -> Machine {
        Machine::from_yaml(&format!("extends: scnn\nname: m\n{settings}")).unwrap()
    }

    #[test]
    fn at_the_papers_sizes_every_law_gives_the_calibrated_table() {
        let scnn = machine("");
        let mut used = BTreeSet::new();
        for (name, energy) in scnn.energy.entries() {
            let Some(follows) = energy.law else {
                continue;
            };
            assert_eq!(follows.law.ratio(&scnn), 1.0, "{:?}", follows.law);
            assert_eq!(energy.pj, follows.paper_pj, "{name}");
            used.insert(follows.law.show());
        }
        let all = Law::describe(());
        assert_eq!(used, all.split(" or ").map(str::to_owned).collect());
        assert_eq!(scnn.outside_fit(), []);
    }

    #[test]
    fn the_entries_are_the_parameters_of_the_table() {
        let scnn = machine("");
        let parameters = scnn.parameters();
        let of_table = parameters
            .iter()
            .filter_map(|p| p.path.strip_prefix("energy."));
        let entries = scnn.energy.entries();
        assert!(of_table.eq(entries.iter().map(|(name, _)| *name)));
    }

    #[test]
    fn a_stated_energy_wins_and_stays() {
        let stated = "pe: {operand_bits: 8}\nenergy: {multiply: {pj: 0.5, source: mine}}";
        assert_eq!(machine(stated).energy.multiply.pj, 0.5);
        let law = machine("pe: {operand_bits: 8}").energy.multiply;
        assert!((law.pj / 0.12 - 0.5f64.powf(1.977)).abs() < 1e-12);
    }

    #[test]
    fn a_machine_is_read_back_with_the_energies_that_it_has() {
        let wide = machine("pe: {banks: 64, operand_bits: 9}\narray: {cols: 3}");
        assert_eq!(Machine::from_yaml(&wide.to_yaml()).unwrap(), wide);
    }

    #[test]
    fn an_energy_is_stated_or_follows_a_law() {
        for entry in [
            "{law: adder, source: x}",
            "{pj: 1, law: adder, paper_pj: 1, source: x}",
            "{pj: 1, band: [2, 3], source: x}",
        ] {
            let text = format!("extends: scnn\nenergy: {{add: {entry}}}");
            assert!(Machine::from_yaml(&text).is_err(), "{entry}");
        }
    }

    #[test]
    fn parameters_beyond_the_fit_are_named() {
        let few = machine("pe: {banks: 512}\nactivation_ram: {a_bytes: 163840, b_bytes: 163840}");
        let sentences: Vec<String> = few.outside_fit().iter().map(ToString::to_string).collect();
        assert_eq!(
            sentences,
            [
                "energy.crossbar_transfer: ports are 528, outside the 12 to 192 that its law was fitted to",
                "energy.iaram_read_vector: memory bytes are 163840, outside the 128 to 32768 that its law was fitted to",
                "energy.oaram_write_vector: memory bytes are 163840, outside the 128 to 32768 that its law was fitted to",
            ]
        );
    }

    /// CACTI 7 at 22 nm: bytes, bits, read and write in pJ (MACHINE.md).
    const CACTI: [(f64, f64, f64, f64); 5] = [
        (128.0, 32.0, 0.14, 0.20),
        (512.0, 64.0, 0.34, 0.59),
        (2048.0, 16.0, 0.45, 0.36),
        (8192.0, 64.0, 1.50, 1.69),
        (32768.0, 64.0, 3.5, 2.8),
    ];

    #[test]
    fn the_fit_of_the_memories_is_as_near_as_it_says() {
        for (bytes, bits, read, write) in CACTI {
            let memory = Sram { bytes, bits };
            assert!((SRAM_READ_PJ * memory.read() / read - 1.0).abs() < 0.065);
            assert!((SRAM_WRITE_PJ * memory.write() / write - 1.0).abs() < 0.025);
        }
    }

    /// Parameters by path, and a smaller and a larger value of each.
    fn settings() -> impl Strategy<Value = (&'static str, &'static str, u32, u32)> {
        let values = |least, most| (least..most).prop_flat_map(move |a| (Just(a), a + 1..=most));
        let of = |section, field, least, most| {
            values(least, most).prop_map(move |(a, b)| (section, field, a, b))
        };
        prop_oneof![
            of("pe", "weights_per_vector", 1, 64),
            of("pe", "activations_per_vector", 1, 64),
            of("pe", "operand_bits", 2, 16),
            of("pe", "accumulator_bits", 16, 32),
            of("pe", "banks", 1, 4096),
            of("pe", "entries_per_bank", 1, 4096),
            of("encoding", "index_bits", 1, 8),
            of("activation_ram", "a_bytes", 1024, 1 << 20),
            of("activation_ram", "b_bytes", 1024, 1 << 20),
            of("weights", "fifo_vectors", 1, 4096),
            of("dataflow", "sram_bytes", 1 << 16, 1 << 24),
        ]
    }

    proptest! {
        #[test]
        fn no_energy_falls_when_a_structure_grows((section, field, less, more) in settings()) {
            let of = |value: u32| machine(&format!("{section}: {{{field}: {value}}}"));
            let (small, large) = (of(less), of(more));
            let pairs = small.energy.entries().into_iter().zip(large.energy.entries());
            for ((name, small), (_, large)) in pairs {
                prop_assert!(small.pj <= large.pj, "{name}: {} at {less}, {} at {more} {field}", small.pj, large.pj);
            }
        }

        #[test]
        fn the_order_of_settings_does_not_matter(banks in 1u32..200, bits in 2u32..17, fifo in 1u32..500) {
            let read = || Machine::read("extends: scnn\nname: m").unwrap();
            let words = [format!("pe.banks={banks}"), format!("pe.operand_bits={bits}"), format!("weights.fifo_vectors={fifo}")];
            let back: Vec<String> = words.iter().rev().cloned().collect();
            let one = read().with_settings(&words).unwrap().machine;
            prop_assert_eq!(one.energy, read().with_settings(&back).unwrap().machine.energy);
        }
    }
}
