//! The part of a compilation that machines share: graph, calibration, integer network and occupancy, found once.
//!
//! They depend on few parameters of the machine ([`PARAMETERS`], which a test holds against the compiler). Mapping and
//! emission, which depend on all of them, are done anew for each machine.

use super::integers::{MapperInput, mapped_or_culprits};
use super::islands::{self, MovedWork, Region};
use super::powers;
use super::{Compiled, Options};
use crate::calibrate::Calibration;
use crate::map::Mapped;
use crate::map::occupancy::Occupancy;
use crate::quantise::Quantised;
use scnn_isa::machine::Machine;
use scnn_isa::program::Program;

/// The parameters of a machine on which the integer network depends.
const PARAMETERS: [&str; 4] = [
    "pe.operand_bits",
    "pe.accumulator_bits",
    "ppu.multiply",
    "ppu.table_segments",
];

/// What a compilation found before it mapped.
#[derive(Clone, Debug)]
pub struct Front {
    network: Quantised,
    occupancy: Occupancy,
    calibration: Calibration,
    hash: String,
    parameters: Vec<String>,
    regions: Vec<Region>,
    /// Values that the largest mean over channels reads.
    largest_mean: u64,
}

impl Front {
    /// The front of a compiled model. There is none to share where part of the model fell back to the host, because what
    /// falls back depends on the whole machine.
    pub fn of(compiled: Compiled) -> Option<Self> {
        if !compiled.fallbacks.is_empty() {
            return None;
        }
        Some(Self {
            parameters: Self::depends_on(&compiled.program.machine),
            regions: islands::regions(&compiled.graph),
            largest_mean: powers::largest_mean(&compiled.graph),
            network: compiled.network,
            occupancy: compiled.occupancy,
            calibration: compiled.calibration,
            hash: compiled.program.provenance.model_hash,
        })
    }

    /// The integer network.
    pub fn network(&self) -> &Quantised {
        &self.network
    }

    /// The values of a machine on which its front depends: machines that agree in them share it, all other options being
    /// the same but for mapping and objective.
    pub fn depends_on(machine: &Machine) -> Vec<String> {
        let parameters = machine.parameters().into_iter();
        let parameters = parameters.filter(|p| PARAMETERS.contains(&p.path.as_str()));
        parameters.map(|p| p.value).collect()
    }

    /// The mapping and the program for another machine, the same as a compilation from the beginning finds; `None` where
    /// that would send part of the model to the host or fail.
    pub fn compile(&self, options: &Options) -> Option<(Mapped, Program)> {
        assert_eq!(
            self.parameters,
            Self::depends_on(&options.machine),
            "the front is of a machine that agrees"
        );
        if self.largest_mean > powers::held(&options.machine) {
            return None;
        }
        let mut moved = MovedWork::default();
        if !islands::unpaid(&self.regions, &options.machine, &mut moved).is_empty() {
            return None;
        }
        let found = MapperInput {
            network: &self.network,
            occupancy: &self.occupancy,
            calibration: &self.calibration,
            hash: &self.hash,
        };
        mapped_or_culprits(&found, options, &mut ()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate;
    use crate::import::{ImportOptions, Imported, import};
    use crate::{quantise, transform};
    use scnn_isa::machine::Read;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// What a machine makes of a model before anything is mapped.
    fn front(imported: &Imported, machine: &Machine) -> String {
        let mut graph = imported.graph.clone();
        transform::run_all(&mut graph, machine, &BTreeSet::new(), &mut |_, _| {});
        let calibration = Calibration::made_up(calibrate::wanted(&graph));
        let options = quantise::Options::default();
        let network = quantise::quantise(&graph, &calibration, machine, &options, &()).unwrap();
        format!("{graph}{network:?}")
    }

    /// The machine with another value of a parameter.
    fn changed(path: &str, value: &str) -> Machine {
        let words = [
            "1",
            "2",
            "4",
            "7",
            "12",
            "64",
            "1000",
            "4096",
            "true",
            "false",
            "modulo",
            "xor",
            "broadcast",
            "multicast",
            "group",
            "fifo",
            "barrier",
            "overlap",
            "none",
            "gate",
            "full",
            "cartesian_sparse",
            "dot_product_dense",
        ];
        let words = words.into_iter().filter(|word| *word != value);
        let mut machines = words.filter_map(|word| {
            let scnn = Read::of(Machine::preset("scnn").unwrap());
            scnn.with_settings(&[format!("{path}={word}")]).ok()
        });
        machines
            .next()
            .expect("every parameter has another value")
            .machine
    }

    #[test]
    fn the_front_depends_on_no_other_parameters_of_the_machine() {
        let model = Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../models/lenet5.onnx"
        ));
        let imported = import(model, &ImportOptions::default()).unwrap();
        let scnn = Machine::preset("scnn").unwrap();
        let expected = front(&imported, &scnn);
        let mut listed = 0;
        for parameter in scnn.parameters() {
            if PARAMETERS.contains(&parameter.path.as_str()) {
                listed += 1;
                continue;
            }
            let machine = changed(&parameter.path, &parameter.value);
            assert!(front(&imported, &machine) == expected, "{}", parameter.path);
        }
        assert_eq!(listed, PARAMETERS.len(), "all of them are parameters");
        let narrow = changed("pe.operand_bits", "16");
        assert!(front(&imported, &narrow) != expected);
    }
}
