//! Time: what the machine does in which cycle, counted from the compressed blocks.
//!
//! A **step** multiplies one vector of F weights by one vector of I activations. `work` has the tasks of a layer for the
//! machine; [`fast`] counts steps and barriers, [`exact`] simulates every queue and every transfer. A layer begins
//! when the one before it has ended.

mod addresses;
pub mod blocks;
mod conflicts;
mod dram;
pub mod exact;
pub mod fast;
pub mod nonzeros;
mod pe_cycles;
mod queues;
mod slots;
mod table;
pub mod uniform;
mod vectors;
pub mod watch;
mod work;

pub(crate) use conflicts::conflicts;
pub use pe_cycles::PeCycles;
pub use slots::{Cause, Slots};
pub use uniform::DensityModel;
pub use work::{
    Drain, LayerWork, Load, LoadedColumn, Multiply, Place, Process, RoundDrain, Store, Task,
};

use scnn_isa::machine::Machine;
use serde::{Deserialize, Serialize};

/// How time is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Timing {
    /// Everything: bank queues, FIFOs, drains, halos, DRAM.
    #[default]
    Exact,
    /// Steps, barriers and double buffering; no bank queues, FIFOs, drains or DRAM. A lower bound.
    Fast,
}

impl Timing {
    /// As options and reports call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Fast => "fast",
        }
    }

    /// Times a layer whose weights may be requested `head_start` cycles before it begins.
    pub fn of(self, machine: &Machine, work: &LayerWork, head_start: u64) -> Timed {
        match self {
            Self::Exact => exact::time(machine, work, head_start),
            Self::Fast => fast::time(machine, work),
        }
    }
}

/// Result of timing a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timed {
    /// Cycles from the end of the layer before to the end of this one.
    pub cycles: u64,
    /// By PE, the cycles in which it waited, by cause; the others are its steps.
    pub waits: Vec<Slots>,
    /// Cycles before the end from which on DRAM, the bus and all FIFOs could serve the next layer.
    pub head_start: u64,
}
