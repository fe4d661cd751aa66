//! Rules of tensors and regions, by their words.

use crate::diagnostic::Code;
use crate::plane::Span;
use crate::program::Program;
use crate::verify::tests::sample;
use crate::verify::verify;

fn assert_refused(change: impl FnOnce(&mut Program), code: Code, words: &str) {
    let mut program = sample();
    change(&mut program);
    let problem = &verify(&program).unwrap_err()[0];
    assert_eq!(problem.code, code, "{problem:?}");
    assert!(problem.message.contains(words), "{problem:?}, not {words}");
}

#[test]
fn a_tensor_has_a_tile() {
    assert_refused(
        |p| p.tensors[0].layout.tiles.clear(),
        Code::BadLayout,
        "there are 0 tiles",
    );
}

#[test]
fn a_region_is_of_tiles_that_its_tensor_has() {
    for (begin, end) in [(0, 2), (1, 2), (1, 1)] {
        assert_refused(
            |p| p.regions[1].tiles = Span::new(begin, end),
            Code::BadRegion,
            &format!("the tensor has no tiles {}", Span::new(begin, end)),
        );
    }
}
