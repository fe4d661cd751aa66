//! The instruction set: one table, and what is derived from it.
//!
//! [`for_each_instruction!`](crate::for_each_instruction) holds every instruction once: opcode, mnemonic, name, operands with their kinds, and one
//! sentence each. The [`Instruction`] type, the 128-bit words, the operand lists that the assembler and the printer
//! use, and the reference page are each generated from that table by one macro. To add an instruction, add a row and
//! give it a meaning in the verifier and in the simulator; the compiler finds every `match` that lacks it.
//!
//! Instructions are issued in order to units that run asynchronously (DRAM mover, weight streamer, array, PPU,
//! host) and are interlocked on the regions, FIFOs and accumulator halves that they name. `ldw`, `mac` and `drn` name
//! ranges of rounds, so that a whole pass of a layer is three instructions:
//!
//! ```text
//! cfg  layer=conv2
//! ldw  rounds=0..7
//! mac  pass=0 rounds=0..7 channels=0..20 from=pool1.a half=0
//! drn  pass=0 rounds=0..7 to=pool2.b operand=none half=0
//! ```
//!
//! Round `r` of a range accumulates into half `(half + r - first) % 2`; the array fills one half while the PPU
//! drains the other, in every PE group by itself. An `lda` brings channel after channel, and a `mac` waits for those that
//! it is about to multiply, not for the whole load.

use crate::ids::{LayerId, RegionId, SegmentId};
use crate::plane::Span;
use std::fmt;
use thiserror::Error;

/// Bytes of an instruction word.
pub const WORD_BYTES: usize = 16;

/// Calls `$callback!` with the table of all instructions.
///
/// A row is `/// meaning`, then `opcode mnemonic Name { /// operand's meaning; name: Kind, ... }`.
#[macro_export]
macro_rules! for_each_instruction {
    ($callback:ident) => {
        $callback! {
            /// Select the layer descriptor that the following array and PPU instructions use.
            0x01 cfg Cfg {
                /// The layer.
                layer: Layer,
            }
            /// Load activations from DRAM into an activation RAM, compressed; a `mac` goes on with the channels that are there.
            0x02 lda Lda {
                /// DRAM region that holds (at least) the tiles loaded.
                from: Region,
                /// RAM region of the same tensor.
                to: Region,
            }
            /// Store activations from an activation RAM to DRAM, compressed.
            0x03 sta Sta {
                /// RAM region.
                from: Region,
                /// DRAM region of the same tensor that holds (at least) its tiles.
                to: Region,
            }
            /// Stream the layer's weight blocks of a range of rounds into the weight FIFOs.
            0x04 ldw Ldw {
                /// Rounds, one output-channel group per PE group each.
                rounds: Span,
            }
            /// Multiply all-to-all the activations of a channel range by the streamed weights, into the accumulators.
            0x05 mac Mac {
                /// Pass (temporal tile) of the layer.
                pass: Index,
                /// Rounds, as streamed by the `ldw` before.
                rounds: Span,
                /// Input channels of the layer's source view.
                channels: Span,
                /// Where the source tile lies.
                from: Region,
                /// Accumulator half of the first round.
                half: Half,
            }
            /// Drain accumulators through the PPU: exchange halos, requantise, activate, pool, compress.
            0x06 drn Drn {
                /// Pass of the layer.
                pass: Index,
                /// Rounds, as accumulated by the `mac` before.
                rounds: Span,
                /// Where the output goes.
                to: Region,
                /// Where the residual operand lies, if the layer has one.
                operand: OptionalRegion,
                /// Accumulator half of the first round.
                half: Half,
            }
            /// Send a source tile through the PPU alone (layers without an array stage).
            0x07 ppu Ppu {
                /// Pass of the layer.
                pass: Index,
                /// Where the source tile lies.
                from: Region,
                /// Where the output goes.
                to: Region,
                /// Where the residual operand lies, if the layer has one.
                operand: OptionalRegion,
            }
            /// Run a host segment on its values; machine tensors cross the host link.
            0x08 hst Hst {
                /// The segment.
                segment: Segment,
            }
            /// Wait until every unit is idle.
            0x09 bar Bar {}
            /// Stop; the last instruction.
            0x0a end End {}
        }
    };
}

/// Kind of an operand, which decides its width, its text and its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Index of a layer descriptor, 16 bits.
    Layer,
    /// Index of a region, 16 bits.
    Region,
    /// Index of a region or none (all ones), 16 bits.
    OptionalRegion,
    /// Index of a host segment, 16 bits.
    Segment,
    /// Half-open range, 16 + 16 bits.
    Span,
    /// A plain index, 16 bits.
    Index,
    /// Accumulator half, 1 bit.
    Half,
}

impl Kind {
    /// Bits of the operand in the word.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Layer | Self::Region | Self::OptionalRegion | Self::Segment | Self::Index => 16,
            Self::Span => 32,
            Self::Half => 1,
        }
    }

    /// Range of the kind's values, as the reference page has it.
    pub const fn range(self) -> &'static str {
        match self {
            Self::Layer => "a layer of the program",
            Self::Region => "a region of the program",
            Self::OptionalRegion => "a region of the program, or none",
            Self::Segment => "a host segment of the program",
            Self::Span => "begin..end, 0..=65535 each, not empty",
            Self::Index => "0..=65535",
            Self::Half => "0 or 1",
        }
    }
}

/// The value of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The variants are those of `Kind`.
pub enum Operand {
    Layer(LayerId),
    Region(RegionId),
    OptionalRegion(Option<RegionId>),
    Segment(SegmentId),
    Span(Span),
    Index(u32),
    Half(u8),
}

/// Why a word is not an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// No instruction has that opcode.
    #[error("there is no instruction with opcode {0:#04x}")]
    Opcode(u8),
    /// Bits that no operand uses are set.
    #[error("bits above the operands of `{0}` are set")]
    Reserved(&'static str),
    /// A range ends before it begins.
    #[error("operand `{0}` is an inverted range")]
    Inverted(&'static str),
}

/// Static description of an instruction, as the assembler and the reference page need it.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Opcode, the lowest byte of the word.
    pub opcode: u8,
    /// Mnemonic.
    pub mnemonic: &'static str,
    /// Its effect, in a sentence.
    pub meaning: &'static str,
    /// Operands in word order, from bit 8 upwards.
    pub operands: &'static [OperandDescription],
}

/// Static description of an operand.
#[derive(Clone, Copy, Debug)]
pub struct OperandDescription {
    /// Name, as in the text.
    pub name: &'static str,
    /// Kind.
    pub kind: Kind,
    /// Its meaning.
    pub meaning: &'static str,
}

/// The Rust type that carries an operand of a kind.
macro_rules! operand_type {
    (Layer) => { LayerId };
    (Region) => { RegionId };
    (OptionalRegion) => { Option<RegionId> };
    (Segment) => { SegmentId };
    (Span) => { Span };
    (Index) => { u32 };
    (Half) => { u8 };
}

macro_rules! define_instructions {
    ($(
        $(#[doc = $meaning:literal])*
        $opcode:literal $mnemonic:ident $name:ident { $(
            $(#[doc = $field_meaning:literal])*
            $field:ident: $kind:ident,
        )* }
    )*) => {
        /// One instruction.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Instruction {
            $(
                $(#[doc = $meaning])*
                $name {
                    $( $(#[doc = $field_meaning])* $field: operand_type!($kind), )*
                },
            )*
        }

        /// Every instruction of the set, in opcode order.
        pub const DESCRIPTIONS: &[Description] = &[
            $(Description {
                opcode: $opcode,
                mnemonic: stringify!($mnemonic),
                meaning: concat!($($meaning),*),
                operands: &[
                    $(OperandDescription {
                        name: stringify!($field),
                        kind: Kind::$kind,
                        meaning: concat!($($field_meaning),*),
                    },)*
                ],
            },)*
        ];

        impl Instruction {
            /// Mnemonic.
            pub const fn mnemonic(&self) -> &'static str {
                match self {
                    $(Self::$name { .. } => stringify!($mnemonic),)*
                }
            }

            /// Opcode.
            pub const fn opcode(&self) -> u8 {
                match self {
                    $(Self::$name { .. } => $opcode,)*
                }
            }

            /// The operands in word order, with their names.
            pub fn operands(&self) -> Vec<(&'static str, Operand)> {
                match *self {
                    $(Self::$name { $($field),* } => vec![$((stringify!($field), Operand::$kind($field))),*],)*
                }
            }

            /// Builds the instruction of `mnemonic`, asking `operand` for each operand in word order.
            ///
            /// Returns `None` when no instruction has that mnemonic.
            ///
            /// # Errors
            /// Whatever `operand` reports, or a value of the wrong kind as [`OperandMismatch`].
            #[allow(clippy::redundant_closure_call)] // It gives `?` a place to return to.
            pub fn build<E: From<OperandMismatch>>(
                mnemonic: &str,
                #[allow(unused_mut, unused_variables)] // An instruction set without operands would not ask for one.
                mut operand: impl FnMut(&'static str, Kind) -> Result<Operand, E>,
            ) -> Option<Result<Self, E>> {
                $(
                    if mnemonic == stringify!($mnemonic) {
                        return Some((|| {
                            Ok(Self::$name {
                                $($field: match operand(stringify!($field), Kind::$kind)? {
                                    Operand::$kind(value) => value,
                                    _ => return Err(OperandMismatch(stringify!($field)).into()),
                                },)*
                            })
                        })());
                    }
                )*
                None
            }
        }
    };
}

for_each_instruction!(define_instructions);

/// An operand of another kind than the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("operand `{0}` is of another kind")]
pub struct OperandMismatch(pub &'static str);

const NO_REGION: u32 = 0xffff;

impl Instruction {
    /// The description of this instruction.
    pub fn description(&self) -> &'static Description {
        DESCRIPTIONS
            .iter()
            .find(|d| d.opcode == self.opcode())
            .expect("the table describes every instruction")
    }

    /// The 128-bit word: opcode in the lowest byte, operands upwards from bit 8 in table order, the rest zero.
    ///
    /// Operands are 16 bits wide; the verifier refuses programs whose operands do not fit.
    pub fn encode(&self) -> [u8; WORD_BYTES] {
        let mut word = u128::from(self.opcode());
        let mut at = 8;
        let mut put = |value: u32, bits: u32| {
            word |= u128::from(value & low_bits(bits)) << at;
            at += bits;
        };
        for (_, operand) in self.operands() {
            match operand {
                Operand::Layer(id) => put(id.0, 16),
                Operand::Region(id) => put(id.0, 16),
                Operand::OptionalRegion(id) => put(id.map_or(NO_REGION, |id| id.0), 16),
                Operand::Segment(id) => put(id.0, 16),
                Operand::Span(span) => {
                    put(span.begin, 16);
                    put(span.end, 16);
                }
                Operand::Index(index) => put(index, 16),
                Operand::Half(half) => put(u32::from(half), 1),
            }
        }
        word.to_le_bytes()
    }

    /// The instruction of a word.
    ///
    /// # Errors
    /// Unknown opcode, reserved bits that are not zero, or an inverted range.
    pub fn decode(bytes: [u8; WORD_BYTES]) -> Result<Self, DecodeError> {
        let word = u128::from_le_bytes(bytes);
        let opcode = word as u8;
        let description = DESCRIPTIONS
            .iter()
            .find(|d| d.opcode == opcode)
            .ok_or(DecodeError::Opcode(opcode))?;
        let used = 8 + description
            .operands
            .iter()
            .map(|o| o.kind.bits())
            .sum::<u32>();
        if word >> used != 0 {
            return Err(DecodeError::Reserved(description.mnemonic));
        }
        let mut at = 8;
        let mut take = |bits: u32| {
            let value = (word >> at) as u32 & low_bits(bits);
            at += bits;
            value
        };
        Self::build(description.mnemonic, |name, kind| {
            Ok(match kind {
                Kind::Layer => Operand::Layer(LayerId(take(16))),
                Kind::Region => Operand::Region(RegionId(take(16))),
                Kind::OptionalRegion => {
                    let id = take(16);
                    Operand::OptionalRegion((id != NO_REGION).then_some(RegionId(id)))
                }
                Kind::Segment => Operand::Segment(SegmentId(take(16))),
                Kind::Span => {
                    let (begin, end) = (take(16), take(16));
                    if end < begin {
                        return Err(BuildError::Decode(DecodeError::Inverted(name)));
                    }
                    Operand::Span(Span { begin, end })
                }
                Kind::Index => Operand::Index(take(16)),
                Kind::Half => Operand::Half(take(1) as u8),
            })
        })
        .expect("the opcode was found in the table")
        .map_err(|error| match error {
            BuildError::Decode(error) => error,
            BuildError::Mismatch(error) => {
                unreachable!("the kinds come from the same table: {error}")
            }
        })
    }
}

enum BuildError {
    Decode(DecodeError),
    Mismatch(OperandMismatch),
}

impl From<OperandMismatch> for BuildError {
    fn from(error: OperandMismatch) -> Self {
        Self::Mismatch(error)
    }
}

const fn low_bits(bits: u32) -> u32 {
    ((1u64 << bits) - 1) as u32
}

/// The reference page of the instruction set, as Markdown.
pub fn reference() -> String {
    use fmt::Write;
    let mut page = String::from(
        "# SCNN instruction set\n\nEvery instruction is a 128-bit little-endian word: the opcode in bits 0..8, \
         operands upwards in the order listed, the remaining bits zero.\n",
    );
    let mut write = |text: fmt::Arguments| {
        page.write_fmt(text)
            .expect("writing to a string does not fail");
    };
    for instruction in DESCRIPTIONS {
        write(format_args!(
            "\n## `{}` ({:#04x})\n\n{}\n",
            instruction.mnemonic,
            instruction.opcode,
            instruction.meaning.trim()
        ));
        if instruction.operands.is_empty() {
            continue;
        }
        write(format_args!(
            "\n| operand | bits | range | meaning |\n|---|---|---|---|\n"
        ));
        let mut at = 8;
        for operand in instruction.operands {
            let end = at + operand.kind.bits();
            write(format_args!(
                "| `{}` | {at}..{end} | {} | {} |\n",
                operand.name,
                operand.kind.range(),
                operand.meaning.trim()
            ));
            at = end;
        }
    }
    page
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn operand(kind: Kind) -> BoxedStrategy<Operand> {
        let id = 0u32..0xffff;
        match kind {
            Kind::Layer => id.prop_map(|i| Operand::Layer(LayerId(i))).boxed(),
            Kind::Region => id.prop_map(|i| Operand::Region(RegionId(i))).boxed(),
            Kind::OptionalRegion => prop::option::of(id)
                .prop_map(|i| Operand::OptionalRegion(i.map(RegionId)))
                .boxed(),
            Kind::Segment => id.prop_map(|i| Operand::Segment(SegmentId(i))).boxed(),
            Kind::Span => (0u32..=0xffff, 0u32..=0xffff)
                .prop_map(|(a, b)| Operand::Span(Span::new(a.min(b), a.max(b))))
                .boxed(),
            Kind::Index => (0u32..=0xffff).prop_map(Operand::Index).boxed(),
            Kind::Half => (0u8..2).prop_map(Operand::Half).boxed(),
        }
    }

    /// Any instruction with operands that fit their fields.
    pub(crate) fn instructions() -> impl Strategy<Value = Instruction> {
        prop::sample::select(DESCRIPTIONS).prop_flat_map(|description| {
            let operands: Vec<_> = description
                .operands
                .iter()
                .map(|o| operand(o.kind))
                .collect();
            operands.prop_map(move |operands| {
                let mut operands = operands.into_iter();
                Instruction::build(description.mnemonic, |name, _| {
                    operands.next().ok_or(OperandMismatch(name))
                })
                .expect("the mnemonic is the table's")
                .expect("the operands are of the table's kinds")
            })
        })
    }

    proptest! {
        #[test]
        fn decoding_gives_back_what_was_encoded(instruction in instructions()) {
            prop_assert_eq!(Instruction::decode(instruction.encode()), Ok(instruction));
        }

        #[test]
        fn a_word_that_decodes_is_the_encoding_of_what_it_decodes_to(word: [u8; 16]) {
            if let Ok(instruction) = Instruction::decode(word) {
                prop_assert_eq!(instruction.encode(), word);
            }
        }
    }

    #[test]
    fn every_instruction_fits_its_word_and_opcodes_are_unique() {
        for (i, a) in DESCRIPTIONS.iter().enumerate() {
            assert!(
                8 + a.operands.iter().map(|o| o.kind.bits()).sum::<u32>() <= 128,
                "{}",
                a.mnemonic
            );
            for b in &DESCRIPTIONS[i + 1..] {
                assert!(a.opcode != b.opcode && a.mnemonic != b.mnemonic);
            }
        }
    }
}
