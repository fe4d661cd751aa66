//! Occupancy of the memories: which tensor lies where, during which layers.

use crate::schema::described;
use scnn_isa::ids::RegionId;
use scnn_isa::instruction::{Instruction, Operand};
use scnn_isa::plane::Span;
use scnn_isa::program::{Memory, Program};
use serde::{Deserialize, Serialize};

described! {
    /// A region of a memory and the layers during which it is in use.
    ///
    /// In a RAM, `base` and `size` count elements of every PE; in DRAM, bytes. The size is what the compiler reserved from
    /// the densities it had measured; what exceeds it at run time is counted as spill.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Occupancy {
        /// Name of the region.
        pub region: String,
        /// The tensor.
        pub tensor: String,
        /// `a`, `b` or `dram`.
        pub memory: Memory,
        /// First element, or byte.
        pub base: u64,
        /// Elements, or bytes.
        pub size: u64,
        /// First and last layer (by index) that name it.
        pub layers: [u32; 2],
    }
}

/// The regions of a program in the order in which they come into use; those that no instruction names are left out.
pub fn occupancy(program: &Program) -> Vec<Occupancy> {
    let mut uses: Vec<Option<[u32; 2]>> = vec![None; program.regions.len()];
    for (operation, (_, range)) in (0..).zip(program.operations()) {
        // What stands before the first layer belongs to it.
        let begin = if operation == 0 { 0 } else { range.begin };
        for instruction in program.instructions(Span::new(begin, range.end)) {
            for region in regions(program, instruction) {
                let [first, _] = uses[region.index()].unwrap_or([operation, operation]);
                uses[region.index()] = Some([first, operation]);
            }
        }
    }
    let mut occupancy: Vec<Occupancy> = program
        .regions
        .iter()
        .zip(uses)
        .filter_map(|(region, layers)| {
            Some(Occupancy {
                region: region.name.clone(),
                tensor: program.tensor(region.tensor).name.clone(),
                memory: region.memory,
                base: region.base,
                size: region.size,
                layers: layers?,
            })
        })
        .collect();
    occupancy.sort_by_key(|entry| (entry.layers, entry.memory, entry.base));
    occupancy
}

/// The regions that an instruction names, or that its host segment's values lie in.
fn regions(program: &Program, instruction: &Instruction) -> Vec<RegionId> {
    if let Instruction::Hst { segment } = *instruction {
        let segment = program.segment(segment);
        let values = segment.inputs.iter().chain(&segment.outputs);
        return values
            .filter_map(|&value| program.value(value).region)
            .collect();
    }
    let operands = instruction.operands().into_iter();
    operands
        .filter_map(|(_, operand)| match operand {
            Operand::Region(id) | Operand::OptionalRegion(Some(id)) => Some(id),
            _ => None,
        })
        .collect()
}
