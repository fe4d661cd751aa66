//! The operations of a program: its layers and host segments in the order of execution, each with its instructions.

use crate::ids::{LayerId, SegmentId};
use crate::instruction::Instruction;
use crate::plane::Span;
use crate::program::Program;

/// A layer or a host segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationId {
    /// A layer.
    Layer(LayerId),
    /// A host segment.
    Segment(SegmentId),
}

impl Instruction {
    /// The operation that this instruction begins.
    pub fn begins(&self) -> Option<OperationId> {
        match *self {
            Self::Cfg { layer } => Some(OperationId::Layer(layer)),
            Self::Hst { segment } => Some(OperationId::Segment(segment)),
            Self::Lda { .. }
            | Self::Sta { .. }
            | Self::Ldw { .. }
            | Self::Mac { .. }
            | Self::Drn { .. }
            | Self::Ppu { .. }
            | Self::Bar {}
            | Self::End {} => None,
        }
    }
}

impl Program {
    /// The operations in the order of execution, each with its instructions: from the one that [begins](Instruction::begins)
    /// it to the next of these, or to the program's end.
    pub fn operations(&self) -> impl Iterator<Item = (OperationId, Span)> {
        let mut code = (0..).zip(&self.code).peekable();
        std::iter::from_fn(move || {
            let (begin, id) = code.find_map(|(at, i)| Some((at, i.begins()?)))?;
            let mut end = begin + 1;
            while let Some((at, _)) = code.next_if(|(_, i)| belongs(i)) {
                end = at + 1;
            }
            Some((id, Span::new(begin, end)))
        })
    }

    /// The name of an operation. Ids in a verified program are in range.
    pub fn operation_name(&self, id: OperationId) -> &str {
        match id {
            OperationId::Layer(id) => &self.layer(id).name,
            OperationId::Segment(id) => &self.segment(id).name,
        }
    }

    /// The instructions of a span, as much of it as there is.
    pub fn instructions(&self, span: Span) -> &[Instruction] {
        let end = self.code.len().min(span.end as usize);
        &self.code[end.min(span.begin as usize)..end]
    }
}

/// Whether an instruction belongs to the operation under way, and not to the one that follows.
fn belongs(instruction: &Instruction) -> bool {
    instruction.begins().is_none() && *instruction != Instruction::End {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::tests::sample;

    #[test]
    fn an_operation_reaches_to_the_next_one_or_to_the_end() {
        let mut program = sample();
        let [cfg, hst] = [
            Instruction::Cfg { layer: LayerId(1) },
            Instruction::Hst {
                segment: SegmentId(0),
            },
        ];
        let bar = Instruction::Bar {};
        program.code = vec![bar, cfg, bar, bar, hst, hst, bar, Instruction::End {}, bar];
        let operations: Vec<_> = program.operations().collect();
        assert_eq!(
            operations,
            [
                (OperationId::Layer(LayerId(1)), Span::new(1, 4)),
                (OperationId::Segment(SegmentId(0)), Span::new(4, 5)),
                (OperationId::Segment(SegmentId(0)), Span::new(5, 7)),
            ]
        );
        assert_eq!(program.instructions(operations[0].1), [cfg, bar, bar]);
        program.code.clear();
        assert_eq!(program.operations().count(), 0);
        assert!(program.instructions(Span::new(3, 7)).is_empty());
    }
}
