//! The machine description: one table of every parameter, its unit, range and meaning, and what follows from it.
//!
//! A machine file is YAML. It states every parameter, or `extends` a preset or another file and states what differs; an unknown key,
//! a wrong type or a value outside its range is refused with line, column and the allowed range. The presets are
//! such files themselves (`isa/machines/*.yaml`), where each number stands beside its source.

mod area;
mod confidence;
mod energy;
mod parameter;
mod presets;
mod read;
#[cfg(test)]
mod tests;

use crate::codec::Format;
use crate::layout::Grid;
use crate::memory::Memory;
pub use area::{PeArea, Sizes};
pub use confidence::Confidence;
pub use energy::{Follows, Law, OutsideFit, Picojoules};
pub(crate) use parameter::ParameterValue;
use parameter::{Keyed, named_values};
pub use read::{MachineError, MachineFile, Origin, Read};
use serde::{Deserialize, Serialize};

/// An area with its source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SquareMillimetres {
    /// Area, mm2.
    pub mm2: f64,
    /// How far it can be trusted.
    #[serde(default, skip_serializing_if = "Confidence::is_stated")]
    pub confidence: Confidence,
    /// Where the number comes from.
    pub source: String,
}

named_values! {
    /// How an accumulator address chooses its bank.
    BankMap { Modulo "modulo", Xor "xor" }
    /// Who receives a weight vector from the bus.
    Delivery { Broadcast "broadcast", Multicast "multicast" }
    /// How far PEs may run apart.
    Drift { Group "group", Fifo "fifo" }
    /// When the loader goes on to the next layer.
    LayerSync = Barrier { Barrier "barrier", Overlap "overlap" }
    /// By what the PPU can multiply its values: nothing, one value per image and channel, or any tensor.
    Multiply { None "none", Gate "gate", Full "full" }
    /// What the array computes.
    Dataflow { CartesianSparse "cartesian_sparse", DotProductDense "dot_product_dense" }
}

/// What a parameter decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What a program may say or what its bytes mean: it runs only on machines that agree.
    Program,
    /// Cycles, energy or area alone: a program runs and computes the same whatever the value.
    Cost,
}

/// A parameter with its value, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Path in the file, such as `array.rows`.
    pub path: String,
    /// Value.
    pub value: String,
    /// Unit, or empty.
    pub unit: &'static str,
    /// Allowed values.
    pub range: String,
    /// Meaning.
    pub meaning: &'static str,
    /// What it decides.
    pub scope: Scope,
}

/// A parameter on which a program and a machine disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Path in the file.
    pub path: String,
    /// The program's value.
    pub program: String,
    /// The machine's value.
    pub machine: String,
}

macro_rules! machine_parameters {
    ($(
        $(#[doc = $section_doc:literal])*
        $section:ident: $Section:ident {$(
            $(#[doc = $doc:literal])*
            $field:ident: $type:ty, $range:expr, $unit:literal, $scope:ident;
        )*}
    )*) => {
        /// A machine.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        pub struct Machine {
            /// Name, of no consequence.
            pub name: String,
            $( $(#[doc = $section_doc])* pub $section: $Section, )*
        }

        $(
            $(#[doc = $section_doc])*
            #[derive(Clone, Debug, PartialEq, Serialize)]
            pub struct $Section {
                $(
                    $(#[doc = $doc])*
                    #[serde(skip_serializing_if = "ParameterValue::is_unstated")]
                    pub $field: $type,
                )*
            }
        )*

        impl Machine {
            /// Every parameter in the order of the table.
            pub fn parameters(&self) -> Vec<Parameter> {
                vec![$($(
                    Parameter {
                        path: concat!(stringify!($section), ".", stringify!($field)).to_owned(),
                        value: self.$section.$field.show(),
                        unit: $unit,
                        range: <$type as ParameterValue>::describe($range),
                        meaning: concat!($($doc),*).trim_ascii(),
                        scope: Scope::$scope,
                    },
                )*)*]
            }
        }

        /// A machine file: what it states.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Stated {
            pub(crate) name: Option<String>,
            pub(crate) extends: Option<String>,
            $( $section: partial::$Section, )*
        }

        mod partial {
            use super::*;
            $(
                #[derive(Clone, Debug, Default)]
                pub(crate) struct $Section { $( pub(crate) $field: Option<$type>, )* }

                impl<'de> Keyed<'de> for $Section {
                    const KEYS: &'static [&'static str] = &[$(stringify!($field)),*];

                    fn read<A: serde::de::MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
                        $(if key == stringify!($field) {
                            self.$field = Some(map.next_value_seed(parameter::InRange::new($range))?);
                        })*
                        Ok(())
                    }
                }

                impl<'de> Deserialize<'de> for $Section {
                    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                        parameter::read_map(deserializer)
                    }
                }
            )*
        }

        impl<'de> Keyed<'de> for Stated {
            const KEYS: &'static [&'static str] = &["name", "extends", $(stringify!($section)),*];

            fn read<A: serde::de::MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
                if key == "name" {
                    self.name = Some(map.next_value()?);
                }
                if key == "extends" {
                    self.extends = Some(map.next_value()?);
                }
                $(if key == stringify!($section) {
                    self.$section = map.next_value()?;
                })*
                Ok(())
            }
        }

        impl<'de> Deserialize<'de> for Stated {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                parameter::read_map(deserializer)
            }
        }

        impl Stated {
            /// The machine, with what is not stated taken from `base`; lists what neither has.
            pub(crate) fn complete(self, base: Option<&Machine>) -> Result<Machine, Vec<&'static str>> {
                let mut missing = Vec::new();
                $($(
                    if self.$section.$field.is_none() && base.is_none() && <$type>::unstated().is_none() {
                        missing.push(concat!(stringify!($section), ".", stringify!($field)));
                    }
                )*)*
                if !missing.is_empty() {
                    return Err(missing);
                }
                let machine = Machine {
                    name: self.name.or_else(|| base.map(|b| b.name.clone())).unwrap_or_else(|| "unnamed".to_owned()),
                    $($section: $Section {
                        $($field: match (self.$section.$field, base) {
                            (Some(value), _) => value,
                            (None, Some(base)) => base.$section.$field.clone(),
                            (None, None) => <$type>::unstated().ok_or_else(|| vec![stringify!($field)])?,
                        },)*
                    },)*
                };
                Ok(machine.with_energies())
            }

            /// Whether the file states the parameter at `path`.
            pub(crate) fn states(&self, path: &str) -> bool {
                $($(
                    if path == concat!(stringify!($section), ".", stringify!($field)) {
                        return self.$section.$field.is_some();
                    }
                )*)*
                false
            }
        }
    };
}

machine_parameters! {
    /// The PE array.
    array: Array {
        /// Rows of PEs; the y axis of the plane is cut over them.
        rows: u32, (1, 64), "PEs", Program;
        /// Columns of PEs; the x axis of the plane is cut over them.
        cols: u32, (1, 64), "PEs", Program;
    }
    /// A processing element.
    pe: Pe {
        /// Weights of a vector, F.
        weights_per_vector: u32, (1, 64), "elements", Cost;
        /// Activations of a vector, I.
        activations_per_vector: u32, (1, 64), "elements", Cost;
        /// Width of weights and activations.
        operand_bits: u32, (2, 16), "bits", Program;
        /// Width of an accumulator.
        accumulator_bits: u32, (8, 32), "bits", Program;
        /// Accumulator banks, A.
        banks: u32, (1, 4096), "banks", Program;
        /// Entries of a bank in each of the two halves.
        entries_per_bank: u32, (1, 65536), "entries", Program;
        /// Products that wait in front of a bank.
        queue_depth: u32, (0, 64), "products", Cost;
        /// How an accumulator address chooses its bank.
        bank_map: BankMap, (), "", Cost;
    }
    /// The code of compressed-sparse blocks.
    encoding: Encoding {
        /// Width of a zero run.
        index_bits: u32, (1, 8), "bits", Program;
        /// Whether zero weights are left out.
        compress_weights: bool, (), "", Program;
        /// Whether zero activations are left out.
        compress_activations: bool, (), "", Program;
    }
    /// The activation RAMs of a PE.
    activation_ram: ActivationRam {
        /// RAM A.
        a_bytes: u32, (64, 1 << 26), "bytes", Program;
        /// RAM B.
        b_bytes: u32, (64, 1 << 26), "bytes", Program;
    }
    /// Delivery of weights.
    weights: Weights {
        /// Weight FIFO of a PE.
        fifo_vectors: u32, (1, 65536), "vectors", Cost;
        /// Who receives a weight vector from the bus.
        delivery: Delivery, (), "", Program;
        /// Weight vectors on the bus in a cycle; when they are broadcast, every FIFO takes them all.
        bus_vectors_per_cycle: u32, (1, 4096), "vectors/cycle", Cost;
    }
    /// Synchronisation of PEs.
    sync: Sync {
        /// How far PEs may run apart: to the output-channel group's end, or as far as the FIFO holds.
        drift: Drift, (), "", Cost;
        /// When weights of the next layer are requested: once the layer before it has ended, or while its results drain.
        layers: LayerSync, (), "", Cost;
    }
    /// The post-processing unit of a PE.
    ppu: Ppu {
        /// Outputs in a cycle.
        lanes: u32, (1, 1024), "outputs/cycle", Cost;
        /// Partial sums over each of the eight halo links in a cycle.
        halo_sums_per_cycle: u32, (1, 1024), "sums/cycle", Cost;
        /// By which tensors it multiplies its values.
        multiply: Multiply, (), "", Program;
        /// Straight lines of which a function of one value is made.
        table_segments: u32, (1, 65536), "segments", Program;
    }
    /// External memory.
    dram: Dram {
        /// Bandwidth.
        gigabytes_per_second: f64, (0.01, 100_000.0), "GB/s", Cost;
    }
    /// The link to the host.
    host_link: HostLink {
        /// Bandwidth. A host segment takes the time of its tensors; inputs and outputs cross beside other inferences.
        gigabytes_per_second: f64, (0.01, 100_000.0), "GB/s", Cost;
    }
    /// The clock.
    clock: Clock {
        /// Frequency.
        gigahertz: f64, (0.001, 100.0), "GHz", Cost;
    }
    /// The array's dataflow, and what the dense baselines have besides.
    dataflow: Dense {
        /// What the array computes.
        kind: Dataflow, (), "", Program;
        /// Activation SRAM of a dense machine, all PEs.
        sram_bytes: u32, (1024, u32::MAX), "bytes", Cost;
        /// Products summed in one step of a dense PE.
        dot_product_width: u32, (1, 4096), "products", Cost;
        /// Whether a zero operand stops the multiplier, its delivery and its adder.
        gate_zero_operands: bool, (), "", Cost;
        /// Whether activations cross to and from DRAM compressed.
        compress_dram: bool, (), "", Cost;
    }
    /// Energy of one event.
    energy: Energy {
        /// Multiplication of two operands.
        multiply: Picojoules, (), "pJ", Cost;
        /// Addition into an accumulator.
        add: Picojoules, (), "pJ", Cost;
        /// Read and write of an accumulator bank.
        accumulate: Picojoules, (), "pJ", Cost;
        /// Passage of a product through the crossbar.
        crossbar_transfer: Picojoules, (), "pJ", Cost;
        /// Computation of a product's output coordinate.
        coordinate: Picojoules, (), "pJ", Cost;
        /// Read of a vector from the weight FIFO.
        fifo_read_vector: Picojoules, (), "pJ", Cost;
        /// Write of a vector into the weight FIFO.
        fifo_write_vector: Picojoules, (), "pJ", Cost;
        /// Read of a vector of activations from an activation RAM.
        iaram_read_vector: Picojoules, (), "pJ", Cost;
        /// Write of a vector of activations to an activation RAM.
        oaram_write_vector: Picojoules, (), "pJ", Cost;
        /// Post-processing of one output.
        ppu_element: Picojoules, (), "pJ", Cost;
        /// Passage of a partial sum over one halo link.
        halo_sum: Picojoules, (), "pJ", Cost;
        /// A bit from or to DRAM.
        dram_bit: Picojoules, (), "pJ", Cost;
        /// A bit over the host link.
        host_bit: Picojoules, (), "pJ", Cost;
        /// Delivery of an operand vector to a dense PE.
        dense_operand_vector_read: Picojoules, (), "pJ", Cost;
        /// Addition in a dense PE's sum.
        dense_add: Picojoules, (), "pJ", Cost;
        /// Read of a vector from a dense machine's activation SRAM.
        dense_sram_read_vector: Picojoules, (), "pJ", Cost;
        /// Write of a vector to a dense machine's activation SRAM.
        dense_sram_write_vector: Picojoules, (), "pJ", Cost;
    }
    /// Area, of one PE but for `dense_total`.
    area: Area {
        /// Both activation RAMs.
        activation_rams: SquareMillimetres, (), "mm2", Cost;
        /// Weight FIFO.
        weight_fifo: SquareMillimetres, (), "mm2", Cost;
        /// Multipliers.
        multipliers: SquareMillimetres, (), "mm2", Cost;
        /// Crossbar.
        crossbar: SquareMillimetres, (), "mm2", Cost;
        /// Accumulators.
        accumulators: SquareMillimetres, (), "mm2", Cost;
        /// Everything else of a PE.
        other: SquareMillimetres, (), "mm2", Cost;
        /// A dense machine, whole.
        dense_total: SquareMillimetres, (), "mm2", Cost;
    }
}

impl Machine {
    /// The PE array.
    pub fn pes(&self) -> Grid {
        Grid::new(self.array.rows, self.array.cols)
    }

    /// Number of PEs.
    pub fn pe_count(&self) -> u32 {
        self.array.rows * self.array.cols
    }

    /// Multipliers of a PE: F x I.
    pub fn multipliers_per_pe(&self) -> u32 {
        self.pe.weights_per_vector * self.pe.activations_per_vector
    }

    /// Accumulators of one half of a PE.
    pub fn accumulator_entries(&self) -> u32 {
        self.pe.banks * self.pe.entries_per_bank
    }

    /// Weight elements that a FIFO holds.
    pub fn fifo_elements(&self) -> u32 {
        self.weights.fifo_vectors * self.pe.weights_per_vector
    }

    /// Elements (data and index) that an activation RAM of a PE holds; zero for DRAM, which is not one.
    pub fn ram_elements(&self, memory: Memory) -> u64 {
        let bytes = match memory {
            Memory::A => self.activation_ram.a_bytes,
            Memory::B => self.activation_ram.b_bytes,
            Memory::Dram => 0,
        };
        u64::from(bytes) * 8 / u64::from(self.pe.operand_bits + self.encoding.index_bits)
    }

    /// Code of weight blocks.
    pub fn weight_format(&self) -> Format {
        self.format(self.encoding.compress_weights)
    }

    /// Code of activation blocks.
    pub fn activation_format(&self) -> Format {
        self.format(self.encoding.compress_activations)
    }

    /// DRAM bandwidth in bytes a cycle.
    pub fn dram_bytes_per_cycle(&self) -> f64 {
        self.dram.gigabytes_per_second / self.clock.gigahertz
    }

    /// The parameters that decide a program and on which `machine` has another value than `self`, the program's.
    pub fn fingerprint_differences(&self, machine: &Self) -> Vec<Difference> {
        self.parameters()
            .into_iter()
            .zip(machine.parameters())
            .filter(|(ours, theirs)| ours.scope == Scope::Program && ours.value != theirs.value)
            .map(|(ours, theirs)| Difference {
                path: ours.path,
                program: ours.value,
                machine: theirs.value,
            })
            .collect()
    }

    fn format(&self, compressed: bool) -> Format {
        Format {
            data_bits: self.pe.operand_bits as u8,
            index_bits: self.encoding.index_bits as u8,
            compressed,
        }
    }
}
