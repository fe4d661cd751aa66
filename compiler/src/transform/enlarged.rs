//! Small values behind a product: which elementwise operators the host computes for the sake of their precision.
//!
//! The magnitude of a spectrum is `sqrt(re * re + im * im)`, or its logarithm. A stored tensor has 16 bits for all of its
//! values, and a square needs twice the bits of what is squared: on the PPU, the power of a value that is a hundredth of the
//! largest has three digits less than the value, and the root or logarithm of it makes them visible again. So a function
//! that [enlarges small values](Expression::enlarges_small_values) of such a sum runs on the host, in floats, together with
//! the elementwise operators that compute it and nothing else; what crosses is what was squared, and the result.
//!
//! A function of one tensor is left to the PPU's table, which is fitted to the whole of it: nothing is rounded inside.

use crate::graph::computed_for::computed_for;
use crate::graph::{Graph, Map, NodeId, Op};
use std::collections::BTreeSet;

/// The maps that belong on the host.
pub(super) fn enlarged(graph: &Graph) -> BTreeSet<NodeId> {
    let mut all = BTreeSet::new();
    for id in graph.order() {
        if map(graph, id).is_some_and(|map| map.expression.enlarges_small_values()) {
            let may = |operand: NodeId| {
                map(graph, operand).is_some() && graph.dag[operand].grid.is_none()
            };
            let taken = computed_for(graph, id, may);
            let squares = taken
                .iter()
                .filter(|&&of| of != id)
                .filter_map(|&of| map(graph, of))
                .any(|map| map.expression.multiplies_operands());
            if squares {
                all.extend(taken);
            }
        }
    }
    all
}

fn map(graph: &Graph, id: NodeId) -> Option<&Map> {
    match &graph.dag[id].op {
        Op::Map(map) => Some(map),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::HostOp;
    use crate::graph::expression::{Binary, Expression, Unary};
    use crate::quantise::observed::Observed;

    const SEEN: (f32, f64) = (1.0, 1.0);

    fn of(expression: Expression) -> Op {
        Op::Map(Box::new(Map {
            expression,
            host: HostOp::default(),
        }))
    }

    fn square() -> Expression {
        let two = Expression::Constant(2.0);
        Expression::binary(Binary::Pow, Expression::X, two)
    }

    /// `last(f(a) + f(b))`: the names of what is on the host.
    fn found(of_each: Expression, last: Expression, is_read_twice: bool) -> Vec<String> {
        let mut observed = Observed::default();
        let a = observed.add(("a", 1), SEEN, Op::Input, &[]);
        let b = observed.add(("b", 1), SEEN, Op::Input, &[]);
        let p = observed.add(("p", 1), SEEN, of(of_each.clone()), &[a]);
        let q = observed.add(("q", 1), SEEN, of(of_each), &[b]);
        let sum = Expression::binary(Binary::Add, Expression::X, Expression::Operand(1));
        let s = observed.add(("s", 1), SEEN, of(sum), &[p, q]);
        let y = observed.add(("y", 1), SEEN, of(last), &[s]);
        observed.output("y", y);
        if is_read_twice {
            observed.output("p", p);
        }
        let graph = observed.graph;
        let names = enlarged(&graph).into_iter();
        names.map(|id| graph.dag[id].tensor.clone()).collect()
    }

    #[test]
    fn a_root_of_a_sum_of_squares_is_the_host_s_with_all_that_is_computed_for_it() {
        let root = || Expression::unary(Unary::Sqrt, Expression::X);
        assert_eq!(found(square(), root(), false), ["p", "q", "s", "y"]);
        assert_eq!(found(square(), root(), true), ["q", "s", "y"]);
    }

    #[test]
    fn a_sum_of_other_functions_and_a_function_that_enlarges_nothing_stay() {
        let unary = |unary| Expression::unary(unary, Expression::X);
        let none: [&str; 0] = [];
        assert_eq!(found(unary(Unary::Tanh), unary(Unary::Log), false), none);
        assert_eq!(found(square(), unary(Unary::Sigmoid), false), none);
    }
}
