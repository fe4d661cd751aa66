//! Limits that keep what a file asks for in proportion to what it is.

/// Largest tensor, in elements: the extents of an input or the operand of a `ConstantOfShape` can ask for memory in no
/// proportion to the file.
const MOST_ELEMENTS: u64 = 1 << 31;

/// Most problems that are listed.
pub(crate) const MOST_ERRORS: usize = 50;

/// How many elements a tensor of these extents has, if they are at most [`MOST_ELEMENTS`].
pub(crate) fn elements(dims: &[u64]) -> Option<u64> {
    let product = dims.iter().try_fold(1u64, |all, &dim| all.checked_mul(dim));
    product.filter(|&elements| elements <= MOST_ELEMENTS)
}

/// Largest dense form of a sparse tensor, in elements.
const MOST_DENSE: usize = 1 << 28;

/// How many elements the dense form of a sparse tensor has, if they are at most [`MOST_DENSE`].
pub(super) fn dense_elements(dims: &[usize]) -> Option<usize> {
    let product = dims
        .iter()
        .try_fold(1usize, |all, &dim| all.checked_mul(dim));
    product.filter(|&elements| elements <= MOST_DENSE)
}

/// Most nodes of a model whose functions are inlined.
pub(super) const MOST_NODES: usize = 1 << 18;
