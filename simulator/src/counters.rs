//! Events of an execution: one table of counters.

use crate::schema::described;
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident;)*) => {
        described! {
            /// How often each event happened.
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
            pub struct Counters {
                $($(#[doc = $doc])* pub $name: u64,)*
            }
        }

        impl Counters {
            /// Names and values in the order of the table.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }

        impl AddAssign for Counters {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters! {
    /// Multiplications: element pairs in occupied lanes, placeholders included.
    multiplies;
    /// Products added into an accumulator: non-zero operands, output inside the plane.
    accumulations;
    /// Products that passed the crossbar.
    crossbar_transfers;
    /// Output coordinates computed, one for each multiplication.
    coordinates;
    /// Weight vectors written into FIFOs, one for each PE of the group that has a tile.
    fifo_writes;
    /// Weight vectors read from FIFOs.
    fifo_reads;
    /// Activation vectors read from an activation RAM.
    iaram_reads;
    /// Activation vectors written to an activation RAM.
    oaram_writes;
    /// Values that went through the PPU.
    ppu_elements;
    /// Partial sums times halo links crossed.
    halo_hops;
    /// Bytes of weights from DRAM.
    dram_weight_bytes;
    /// Bytes of activations from DRAM.
    dram_read_bytes;
    /// Bytes of activations to DRAM.
    dram_write_bytes;
    /// Bytes of activations that did not fit their region, to and from DRAM.
    dram_spill_bytes;
    /// Bytes over the host link.
    host_bytes;
}

impl Counters {
    /// All bytes to and from DRAM.
    pub fn dram_bytes(&self) -> u64 {
        self.dram_weight_bytes
            + self.dram_read_bytes
            + self.dram_write_bytes
            + self.dram_spill_bytes
    }
}
