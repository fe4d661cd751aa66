//! The program file, `.scnn`: a container of checksummed parts.
//!
//! All numbers are little-endian.
//!
//! ```text
//! magic        "SCNN"
//! format       u16     version of this container and of the descriptors
//! isa          u16     version of the instruction set
//! parts        u32     number of parts
//! table        parts x { length u64, crc32 u32 }
//! checksum     u32     crc32 of everything before it
//! parts        back to back, in this order:
//!                machine        YAML, every parameter
//!                descriptors    protobuf, isa/proto/program.proto
//!                code           16-byte words
//!                sections       one part each
//!                host models    one part each, ONNX
//! ```
//!
//! There is no byte that no checksum covers and nothing behind the last part, so any change of any byte is found.
//! The same program gives the same bytes.

use crate::diagnostic::Code;
use crate::instruction::{Instruction, WORD_BYTES};
use crate::machine::Machine;
use crate::program::Program;
use crate::wire;
use prost::Message;
use thiserror::Error;

/// Version of the container and of the descriptors.
pub const FORMAT_VERSION: u16 = 5;

/// Version of the instruction set.
pub const ISA_VERSION: u16 = 1;

/// First bytes of a program file.
pub const MAGIC: [u8; 4] = *b"SCNN";
const FIXED: usize = 12;
const ENTRY: usize = 12;

/// Why bytes are not a program file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FileError {
    /// The magic is missing.
    #[error("this is no SCNN program file")]
    NotAProgram,
    /// The file is of another version.
    #[error("the program has {what} version {found}; this scnnc reads version {known}")]
    Version {
        /// The part whose version it is: format or instruction set.
        what: &'static str,
        /// Version of the file.
        found: u16,
        /// Version that this crate reads.
        known: u16,
    },
    /// The file is shorter or longer than it says.
    #[error("the file has {found} bytes, its header announces {expected}")]
    Length {
        /// Bytes there should be.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// A checksum does not match.
    #[error("this file is damaged: the checksum of its {part} does not match")]
    Checksum {
        /// The part.
        part: String,
    },
    /// A part is not what it should be in spite of its checksum.
    #[error("the {part} is malformed: {reason}")]
    Malformed {
        /// The part.
        part: String,
        /// What is wrong.
        reason: String,
    },
}

impl FileError {
    /// Its code.
    pub const fn code(&self) -> Code {
        match self {
            Self::NotAProgram => Code::NotAProgram,
            Self::Version { .. } => Code::ProgramVersion,
            Self::Checksum { .. } => Code::ProgramChecksum,
            Self::Length { .. } | Self::Malformed { .. } => Code::ProgramMalformed,
        }
    }
}

impl Program {
    /// The program as a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let machine = self.machine.to_yaml().into_bytes();
        let descriptors = wire::to_message(self).encode_to_vec();
        let code: Vec<u8> = self.code.iter().flat_map(Instruction::encode).collect();
        let mut parts: Vec<&[u8]> = vec![&machine, &descriptors, &code];
        parts.extend(self.sections.iter().map(|section| section.bytes.as_slice()));
        parts.extend(self.segments.iter().map(|segment| segment.model.as_slice()));

        let total: usize = parts.iter().map(|part| part.len()).sum();
        let mut bytes = Vec::with_capacity(FIXED + parts.len() * ENTRY + 4 + total);
        bytes.extend(MAGIC);
        bytes.extend(FORMAT_VERSION.to_le_bytes());
        bytes.extend(ISA_VERSION.to_le_bytes());
        bytes.extend((parts.len() as u32).to_le_bytes());
        for part in &parts {
            bytes.extend((part.len() as u64).to_le_bytes());
            bytes.extend(crc32fast::hash(part).to_le_bytes());
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        for part in parts {
            bytes.extend(part);
        }
        bytes
    }

    /// Reads a program file. What it says is not verified yet, see [`crate::verify`].
    ///
    /// # Errors
    /// Anything but the exact bytes of [`Program::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FileError> {
        let parts = split(bytes)?;
        let [machine, descriptors, code, constants @ ..] = parts.as_slice() else {
            return Err(malformed("header", "there are fewer than three parts"));
        };
        let machine =
            std::str::from_utf8(machine).map_err(|e| malformed("machine", &e.to_string()))?;
        let machine =
            Machine::from_yaml(machine).map_err(|e| malformed("machine", &e.to_string()))?;
        let message = wire::Message::decode(*descriptors)
            .map_err(|e| malformed("descriptors", &e.to_string()))?;
        let (sections, segments) = wire::parts(&message);
        if constants.len() != sections + segments {
            return Err(malformed(
                "header",
                "there are not as many parts as sections and host segments",
            ));
        }
        let mut program = wire::from_message(message, machine)
            .map_err(|reason| malformed("descriptors", &reason))?;
        program.code = decode_code(code)?;
        for (section, bytes) in program.sections.iter_mut().zip(constants) {
            section.bytes = bytes.to_vec();
        }
        for (segment, bytes) in program.segments.iter_mut().zip(&constants[sections..]) {
            segment.model = bytes.to_vec();
        }
        // One program has one file: any other encoding of it is refused.
        if program.to_bytes() != bytes {
            return Err(malformed("file", "it is not in canonical form"));
        }
        Ok(program)
    }
}

/// Checks container and checksums; gives the parts.
fn split(bytes: &[u8]) -> Result<Vec<&[u8]>, FileError> {
    if bytes.get(..4) != Some(&MAGIC) {
        return Err(FileError::NotAProgram);
    }
    let Some(&[_, _, _, _, f0, f1, i0, i1, c0, c1, c2, c3]) = bytes.first_chunk::<FIXED>() else {
        return Err(FileError::Length {
            expected: FIXED as u64,
            found: bytes.len() as u64,
        });
    };
    for (what, found, known) in [
        ("format", [f0, f1], FORMAT_VERSION),
        ("instruction set", [i0, i1], ISA_VERSION),
    ] {
        let found = u16::from_le_bytes(found);
        if found != known {
            return Err(FileError::Version { what, found, known });
        }
    }
    let count = u64::from(u32::from_le_bytes([c0, c1, c2, c3]));
    let header = FIXED as u64 + count * ENTRY as u64;
    let found = bytes.len() as u64;
    if header + 4 > found {
        return Err(FileError::Length {
            expected: header + 4,
            found,
        });
    }
    let header = header as usize;
    let stored = bytes[header..]
        .first_chunk::<4>()
        .map(|b| u32::from_le_bytes(*b));
    if stored != Some(crc32fast::hash(&bytes[..header])) {
        return Err(FileError::Checksum {
            part: "header".to_owned(),
        });
    }
    let mut parts = Vec::new();
    let mut at = header as u64 + 4;
    let (entries, _) = bytes[FIXED..header].as_chunks::<ENTRY>();
    for (index, &[l0, l1, l2, l3, l4, l5, l6, l7, k0, k1, k2, k3]) in entries.iter().enumerate() {
        let end = at.saturating_add(u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]));
        if end > found {
            return Err(FileError::Length {
                expected: end,
                found,
            });
        }
        let part = &bytes[at as usize..end as usize];
        if crc32fast::hash(part) != u32::from_le_bytes([k0, k1, k2, k3]) {
            return Err(FileError::Checksum {
                part: part_name(index),
            });
        }
        parts.push(part);
        at = end;
    }
    if at != found {
        return Err(FileError::Length {
            expected: at,
            found,
        });
    }
    Ok(parts)
}

fn part_name(index: usize) -> String {
    match index {
        0 => "machine".to_owned(),
        1 => "descriptors".to_owned(),
        2 => "code".to_owned(),
        constant => format!("constant part {}", constant - 3),
    }
}

fn decode_code(bytes: &[u8]) -> Result<Vec<Instruction>, FileError> {
    let (words, rest) = bytes.as_chunks::<WORD_BYTES>();
    if !rest.is_empty() {
        return Err(malformed("code", "it does not end with a whole word"));
    }
    words
        .iter()
        .enumerate()
        .map(|(index, &word)| {
            Instruction::decode(word)
                .map_err(|e| malformed("code", &format!("instruction {index}: {e}")))
        })
        .collect()
}

fn malformed(part: &str, reason: &str) -> FileError {
    FileError::Malformed {
        part: part.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::arbitrary::programs;
    use crate::verify::tests::sample;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reading_gives_back_what_was_written(program in programs()) {
            prop_assert_eq!(Program::from_bytes(&program.to_bytes()), Ok(program));
        }

        #[test]
        fn any_changed_byte_is_found(program in programs(), at in any::<prop::sample::Index>(), change in 1u8..) {
            let mut bytes = program.to_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            prop_assert!(Program::from_bytes(&bytes).is_err());
        }

        #[test]
        fn any_cut_is_found(at in any::<prop::sample::Index>()) {
            let bytes = sample().to_bytes();
            prop_assert!(Program::from_bytes(&bytes[..at.index(bytes.len())]).is_err());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Program::from_bytes(&bytes);
        }
    }
}
