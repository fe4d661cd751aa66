//! Shifts of the channels of small networks, whose ranges are given instead of observed.

use super::*;
use crate::calibrate::Octaves;
use crate::graph::expression::{Expression, Unary};
use crate::graph::weights::Weights;
use crate::graph::{Affine, Curve, Operand, Pool};
use crate::quantise::observed::{Observed, layer, rectifier};
use crate::quantise::{IntFunction, Operation};
use scnn_isa::layer::OperandShape;
use scnn_isa::plane::Axis;

const SEEN: (f32, f64) = (1.0, 1.0);

fn octaves(observed: &mut Observed, name: &str, octaves: &[u8]) {
    let octaves = Octaves(octaves.to_vec());
    observed
        .calibration
        .channels
        .insert(name.to_owned(), octaves);
}

/// The shifts of a tensor, all of them 0 where there are none.
fn shifts(observed: &Observed, name: &str) -> Vec<u8> {
    let network = observed.network().unwrap();
    let tensor = network.tensors.iter().find(|tensor| tensor.name == name);
    let tensor = tensor.unwrap();
    let shift = |channel| scnn_isa::arith::channel_shift(&tensor.channel_shifts, channel);
    (0..tensor.shape[1]).map(shift).collect()
}

fn enlarge(factors: [f32; 2]) -> Op {
    layer(|layer| {
        let (scale, offset) = (factors.to_vec(), vec![0.0; 2]);
        layer.affine = Some(Affine { scale, offset });
    })
}

/// `x`, its rectified form `r` whose second channel is small, and `y`, what `op` makes of it.
fn chain(small: u8, op: Op) -> Observed {
    let mut observed = Observed::default();
    let x = observed.add(("x", 2), SEEN, Op::Input, &[]);
    let r = observed.add(("r", 2), SEEN, rectifier(), &[x]);
    let y = observed.add(("y", 2), SEEN, op, &[r]);
    observed.output("y", y);
    octaves(&mut observed, "r", &[0, small]);
    observed
}

#[test]
fn a_small_channel_that_is_enlarged_gets_its_bits_back_but_for_the_guard() {
    let observed = chain(7, enlarge([1.0, 128.0]));
    assert_eq!(shifts(&observed, "r"), [0, 6]);
    assert_eq!(shifts(&observed, "y"), [0, 0]);
}

#[test]
fn channels_within_a_factor_of_four_stay_as_they_are() {
    for small in 0..=2 {
        let observed = chain(small, enlarge([1.0, 4.0]));
        assert!(
            observed.network().unwrap().tensors[1]
                .channel_shifts
                .is_empty()
        );
    }
}

/// Where all channels are added up, the noise of the large ones remains.
#[test]
fn nothing_changes_where_nothing_is_gained() {
    let sum = layer(|layer| {
        layer.conv = Some(Conv {
            weights: Weights::from(vec![1.0; 4]),
            k: 2,
            c: 2,
            groups: 1,
            y: Axis::identity(2),
            x: Axis::identity(2),
        });
    });
    assert_eq!(shifts(&chain(7, sum), "r"), [0, 0]);
}

#[test]
fn a_table_s_result_has_fewer_shifts_where_its_argument_is_not_known_to_be_as_small() {
    let of_argument = |small: u8| {
        let tanh = layer(|layer| {
            layer.function = Some(Function::Curve(Curve {
                expression: Expression::unary(Unary::Tanh, Expression::X),
                argument: "r".to_owned(),
            }));
        });
        let mut observed = chain(small, tanh);
        let y = observed.graph.dag.node_indices().next_back().unwrap();
        let z = observed.add(("z", 2), SEEN, enlarge([1.0, 128.0]), &[y]);
        observed.output("z", z);
        octaves(&mut observed, "y", &[0, 9]);
        let network = observed.network().unwrap();
        let tables = network
            .operations
            .iter()
            .find_map(|operation| match operation {
                Operation::Layer(layer) => match &layer.function {
                    Some(IntFunction::Table { tables, .. }) => Some(tables.clone()),
                    _ => None,
                },
                Operation::Host(_) => None,
            });
        let served: Vec<u8> = tables.unwrap().iter().map(|(shift, _)| shift).collect();
        (shifts(&observed, "y"), served)
    };
    assert_eq!(of_argument(9), (vec![0, 7], vec![0, 7]));
    assert_eq!(of_argument(8), (vec![0, 7], vec![0, 7]));
    // Two octaves less than the result's own, which lie below 8 by the rounding of a scale.
    assert_eq!(of_argument(0), (vec![0, 5], vec![0, 5]));
}

#[test]
fn what_is_added_has_shifts_of_its_own() {
    let shifts_of_sum = |of_other: u8| {
        let mut observed = chain(7, enlarge([1.0, 128.0]));
        let r = observed.graph.dag.node_indices().nth(1).unwrap();
        let other = observed.add(("other", 2), SEEN, rectifier(), &[r]);
        let add = |layer: &mut Layer| {
            layer.operand = Some(Operand {
                kind: OperandKind::Add,
                shape: OperandShape::Same,
                value: "r".to_owned(),
            });
        };
        let sum = observed.add(("sum", 2), SEEN, layer(add), &[r, other]);
        observed.output("sum", sum);
        octaves(&mut observed, "other", &[0, of_other]);
        octaves(&mut observed, "sum", &[0, 7]);
        ["other", "sum"].map(|name| shifts(&observed, name)[1])
    };
    assert_eq!(shifts_of_sum(7), [6, 6]);
    assert_eq!(shifts_of_sum(5), [4, 6]);
}

#[test]
fn an_average_has_the_shifts_of_its_source() {
    let pool = layer(|layer| {
        let axis = Axis {
            kernel: 2,
            output: 1,
            ..Axis::identity(2)
        };
        layer.pool = Some(Pool {
            kind: PoolKind::Average,
            y: axis,
            x: axis,
        });
    });
    let mut observed = chain(7, pool);
    observed.graph.dag.node_weights_mut().last().unwrap().dims = vec![1, 2, 1, 1];
    octaves(&mut observed, "y", &[0, 5]);
    assert_eq!(["r", "y"].map(|name| shifts(&observed, name)[1]), [4, 4]);
}

#[test]
fn an_upper_bound_cuts_nothing_of_a_shifted_channel_and_a_lower_one_forbids_shifts() {
    let of_bounds = |bounds| {
        let mut observed = chain(7, enlarge([1.0, 128.0]));
        let r = observed.graph.dag.node_indices().nth(1).unwrap();
        observed.graph.dag[r].op = layer(|layer| layer.clamp = Some(bounds));
        shifts(&observed, "r")[1]
    };
    assert_eq!(of_bounds((0.0, 6.0)), 6);
    // The bound lies an octave below what was seen, and the tensor's unit as much and its headroom lower.
    assert_eq!(of_bounds((0.0, 0.5)), 4);
    assert_eq!(of_bounds((-1.0, 1.0)), 0);
}

/// Nothing is known of the channels, but one part is so much smaller than the other.
#[test]
fn a_small_part_of_a_concatenation_is_shifted_as_a_whole() {
    let of_large = |reach: f32| {
        let mut observed = Observed::default();
        let x = observed.add(("x", 2), SEEN, Op::Input, &[]);
        let large = observed.add(("large", 2), (reach, 1.0), rectifier(), &[x]);
        let small = observed.add(("small", 2), SEEN, rectifier(), &[x]);
        let all = observed.add(("all", 4), (reach, 1.0), Op::Concat, &[large, small]);
        observed.output("all", all);
        shifts(&observed, "all")
    };
    assert_eq!(of_large(64.0), [0, 0, 5, 5]);
    // More octaves than a value has bits.
    assert_eq!(of_large(2f32.powi(37)), [0, 0, 36, 36]);
    assert_eq!(of_large(2f32.powi(90))[2], MAX_CHANNEL_SHIFT);
}

/// The host reads a range of channels, which is copied for it.
#[test]
fn a_copy_reads_what_it_copies() {
    let mut observed = Observed::default();
    let x = observed.add(("x", 3), SEEN, Op::Input, &[]);
    let r = observed.add(("r", 3), SEEN, rectifier(), &[x]);
    let y = observed.add(("y", 2), SEEN, Op::Slice(Span::new(1, 3)), &[r]);
    observed.output("y", y);
    octaves(&mut observed, "r", &[0, 5, 7]);
    octaves(&mut observed, "y", &[5, 7]);
    assert_eq!(shifts(&observed, "r"), [0, 4, 6]);
    assert_eq!(shifts(&observed, "y"), [4, 6]);
}

#[test]
fn a_reader_s_weights_are_in_the_units_of_what_it_reads() {
    let observed = chain(7, enlarge([1.0, 128.0]));
    let network = observed.network().unwrap();
    let from = network
        .tensors
        .iter()
        .find(|tensor| tensor.name == "r")
        .unwrap();
    let conv = |groups, weights: &[f32]| Conv {
        weights: Weights::from(weights.to_vec()),
        k: 2,
        c: 2,
        groups,
        y: Axis::identity(2),
        x: Axis::identity(2),
    };
    let dense = conv(1, &[1.0, 64.0, 3.0, -64.0]);
    assert_eq!(
        of_units(&dense, from, Span::new(0, 2))[..],
        [1.0, 1.0, 3.0, -1.0]
    );
    let by_channel = conv(2, &[1.0, 64.0]);
    assert_eq!(of_units(&by_channel, from, Span::new(0, 2))[..], [1.0, 1.0]);
}
