//! Dense, typed indices into the tables of a program.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// The position in the table.
            #[inline]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    )*};
}

ids! {
    /// An activation tensor of the machine.
    TensorId "tensor ";
    /// A place where (part of) a tensor lies: in a PE's RAMs or in DRAM.
    RegionId "region ";
    /// A layer descriptor.
    LayerId "layer ";
    /// A blob of encoded constants.
    SectionId "section ";
    /// A tensor that the host sees.
    ValueId "value ";
    /// A sub-model that the host runs.
    SegmentId "segment ";
}
