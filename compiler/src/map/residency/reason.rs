//! Why a tensor lives in DRAM.

use super::{Refused, Residency, lives};
use crate::quantise::Quantised;
use scnn_isa::machine::Machine;
use std::fmt;

/// The reason that a tensor lives in DRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InDram {
    /// The host writes it: an input, or the result of a host segment.
    FromHost,
    /// No layer reads it: the host does.
    ToHost,
    /// The fullest PE holds more than either RAM has, by so many bytes.
    Exceeds {
        /// Bytes that the larger RAM lacks.
        bytes: u64,
    },
    /// Other tensors take the room from its first write to its last read.
    NoRoom {
        /// Bytes that the largest gap lacks.
        bytes: u64,
        /// First and last operation of its life.
        operations: (usize, usize),
    },
    /// A mapping file places it there.
    MappingFile,
}

impl InDram {
    /// The reason in one word, as JSON has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FromHost => "from_host",
            Self::ToHost => "to_host",
            Self::Exceeds { .. } => "exceeds",
            Self::NoRoom { .. } => "no_room",
            Self::MappingFile => "mapping_file",
        }
    }

    /// Bytes that a RAM lacks for it, where that is the reason.
    pub const fn missing_bytes(self) -> Option<u64> {
        match self {
            Self::Exceeds { bytes } | Self::NoRoom { bytes, .. } => Some(bytes),
            Self::FromHost | Self::ToHost | Self::MappingFile => None,
        }
    }
}

impl fmt::Display for InDram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromHost => f.write_str("the host writes it"),
            Self::ToHost => f.write_str("only the host reads it"),
            Self::Exceeds { bytes } => {
                write!(
                    f,
                    "it exceeds an activation RAM by {bytes} bytes in the fullest PE"
                )
            }
            Self::NoRoom {
                bytes,
                operations: (first, last),
            } => write!(
                f,
                "other tensors take the RAMs in operations {first}..{last}: the largest gap lacks {bytes} bytes"
            ),
            Self::MappingFile => f.write_str("the mapping file places it there"),
        }
    }
}

impl Residency {
    /// By tensor, why it lives in DRAM; none for one that lives in a RAM.
    pub fn in_dram(&self, network: &Quantised, machine: &Machine) -> Vec<Option<InDram>> {
        let bits = u64::from(machine.activation_format().element_bits());
        let missing = |needed: u64, [a, b]: [u64; 2]| {
            let elements = needed.saturating_sub(a.max(b));
            (elements * bits).div_ceil(8)
        };
        let reason = |(life, refused): (super::Life, Option<Refused>)| match refused {
            _ if life.first_write == usize::MAX => InDram::FromHost,
            _ if life.readers == 0 => InDram::ToHost,
            None => InDram::MappingFile,
            Some(Refused {
                needed, free, room, ..
            }) => match missing(needed, room) {
                0 => InDram::NoRoom {
                    bytes: missing(needed, free),
                    operations: (life.first_write, life.last_read),
                },
                bytes => InDram::Exceeds { bytes },
            },
        };
        let lives = lives(network).into_iter().zip(self.refused.iter().copied());
        let reasons = lives.zip(&self.homes);
        reasons
            .map(|(tensor, home)| home.is_none().then(|| reason(tensor)))
            .collect()
    }
}
