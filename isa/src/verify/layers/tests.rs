//! Rules of layers that depend on their tensors, by their words.

use crate::diagnostic::Code;
use crate::ids::TensorId;
use crate::layer::{Operand, View};
use crate::plane::Span;
use crate::program::Program;
use crate::verify::tests::sample;
use crate::verify::verify;

/// The code and the words of the first problem of the sample after a change.
fn said(change: impl FnOnce(&mut Program)) -> (Code, String) {
    let mut program = sample();
    change(&mut program);
    let problem = verify(&program).unwrap_err().swap_remove(0);
    (problem.code, problem.message)
}

/// Activations below zero alone: only the least sum overflows.
#[test]
fn the_least_sum_is_proven_as_the_greatest_is() {
    let (code, message) = said(|p| {
        p.tensors[0].range = [-32767, 0];
        p.layers[0].array.as_mut().unwrap().product_shift = 0;
    });
    assert_eq!(code, Code::SumOverflow);
    assert!(message.contains("..0, beyond 24 bits"), "{message}");
}

#[test]
fn an_operand_has_the_shape_of_the_result() {
    let operand = |tensor, channels| {
        let channels = Span::new(0, channels);
        let view = View {
            tensor: TensorId(tensor),
            channels,
        };
        said(|p| {
            p.layers[0].ppu.operand = Some(Operand {
                view,
                multiplier: 1,
                shift: 0,
            });
        })
    };
    // It fits; the code is at fault, which names no operand.
    assert_eq!(operand(1, 4).0, Code::BadCode);
    for (tensor, channels) in [(0, 2), (1, 3)] {
        let (code, message) = operand(tensor, channels);
        assert_eq!(code, Code::BadLayer);
        assert!(
            message.contains("another shape than the result"),
            "{message}"
        );
    }
}
