//! Where the weights of an ONNX tensor lie in the integer convolution that is made of it.
//!
//! The operator says in which order it reads its tensor. The order is believed only if the integers bear it out: those
//! of each output channel are, rounded, the floats in one unit. So weights that a transform has permuted or combined are
//! never taken for others.

use crate::prune::pattern::Layout;
use crate::quantise::{IntConv, IntLayer, Tensor};

/// An order of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// As the convolution has them: output channel, input channel of the group, tap.
    Direct,
    /// Input channel, output channel of the group, tap; the taps from the last to the first where `reversed`.
    InputsFirst {
        /// As in a transposed convolution.
        reversed: bool,
    },
    /// Input channel and tap together, output channel: a matrix that may read a flattened plane.
    Matrix,
}

/// The extents of a convolution's weights.
#[derive(Clone, Copy, Debug)]
pub(super) struct KernelExtents {
    pub groups: usize,
    pub per_in: usize,
    pub per_out: usize,
    pub taps: usize,
}

impl KernelExtents {
    pub fn of(layer: &IntLayer, conv: &IntConv) -> Self {
        let groups = conv.groups as usize;
        let channels = |view: scnn_isa::layer::View| view.channels.len() as usize / groups.max(1);
        Self {
            groups,
            per_in: channels(layer.source),
            per_out: channels(layer.destination),
            taps: (conv.y.kernel * conv.x.kernel) as usize,
        }
    }

    pub fn per_output(&self) -> usize {
        self.per_in * self.taps
    }

    /// The channel of the source view and the tap of the weight at `at`.
    pub fn reads(&self, at: usize) -> (usize, usize) {
        let (kernel, tap) = (at / self.taps, at % self.taps);
        let (k, c) = (kernel / self.per_in, kernel % self.per_in);
        (k / self.per_out * self.per_in + c, tap)
    }

    pub fn len(&self) -> usize {
        self.groups * self.per_out * self.per_output()
    }
}

impl Order {
    /// Where in the tensor the weight at `at` of the convolution lies.
    pub fn index(self, at: usize, extents: &KernelExtents) -> usize {
        if self == Self::Direct {
            // Most weights, without the divisions.
            return at;
        }
        let (kernel, tap) = (at / extents.taps, at % extents.taps);
        let (k, c) = (kernel / extents.per_in, kernel % extents.per_in);
        let (group, k) = (k / extents.per_out, k % extents.per_out);
        let c = group * extents.per_in + c;
        match self {
            Self::Direct => at,
            Self::Matrix => (c * extents.taps + tap) * extents.per_out + k,
            Self::InputsFirst { reversed } => {
                let tap = if reversed {
                    extents.taps - 1 - tap
                } else {
                    tap
                };
                (c * extents.per_out + k) * extents.taps + tap
            }
        }
    }

    /// The order in which `conv` of `layer`, which reads `source`, has the weights `values` of a tensor that lies as
    /// `layout`; none where it has others.
    pub fn find(
        values: &[f32],
        layout: &Layout,
        (layer, conv): (&IntLayer, &IntConv),
        source: &Tensor,
    ) -> Option<Self> {
        let extents = KernelExtents::of(layer, conv);
        if values.len() != conv.weights.len() || values.len() != extents.len() || values.is_empty()
        {
            return None;
        }
        let orders: &[Self] = match (layout.inputs_first, layout.taps) {
            (false, _) => &[Self::Direct],
            (true, 1) => &[Self::Matrix],
            (true, _) => &[
                Self::InputsFirst { reversed: false },
                Self::InputsFirst { reversed: true },
            ],
        };
        let factor = |c: usize| source.unit(layer.source.channels.begin + c as u32) / source.scale;
        let found = orders.iter().find(|order| {
            let value = |at: usize| {
                let (k, c) = (
                    at / extents.per_output(),
                    at / extents.taps % extents.per_in,
                );
                let group = k / extents.per_out;
                values[order.index(at, &extents)] * factor(group * extents.per_in + c)
            };
            let rows = conv.weights.chunks_exact(extents.per_output());
            let mut rows = rows.enumerate();
            rows.all(|(k, row)| are_of(row, |at| value(k * extents.per_output() + at)))
        });
        found.copied()
    }
}

/// Units by which an integer may differ from its float: half by its own rounding, half by that of the integer from which
/// the unit is found.
const TOLERANCE: f32 = 1.05;

/// Whether integers are floats in some unit, of either sign: a factor that is folded into weights may be negative.
fn are_of(integers: &[i16], value: impl Fn(usize) -> f32) -> bool {
    let largest = (0..integers.len()).max_by_key(|&at| integers[at].unsigned_abs());
    let Some(largest) = largest.filter(|&at| integers[at] != 0) else {
        // All of them are zero in a unit that is too large, or in none.
        return true;
    };
    let unit = value(largest) / f32::from(integers[largest]);
    let mut pairs = integers.iter().enumerate();
    unit != 0.0
        && pairs.all(|(at, &integer)| (value(at) / unit - f32::from(integer)).abs() <= TOLERANCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_order_meets_each_weight_once(
            groups in 1usize..4, per_in in 1usize..5, per_out in 1usize..5, taps in 1usize..6, reversed: bool,
        ) {
            let extents = KernelExtents { groups, per_in, per_out, taps };
            for order in [Order::Direct, Order::Matrix, Order::InputsFirst { reversed }] {
                let mut met: Vec<usize> = (0..extents.len()).map(|at| order.index(at, &extents)).collect();
                met.sort_unstable();
                prop_assert_eq!(met, (0..extents.len()).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn inputs_first_is_what_onnx_says_of_transposed_convolutions() {
        // Two groups of 2 input and 3 output channels: the tensor is [4, 3, taps].
        let extents = KernelExtents {
            groups: 2,
            per_in: 2,
            per_out: 3,
            taps: 4,
        };
        let order = Order::InputsFirst { reversed: true };
        // Output channel 4 is the second of group 1, whose input channel 1 is channel 3.
        let at = (4 * extents.per_in + 1) * extents.taps + 1;
        assert_eq!(order.index(at, &extents), (3 * 3 + 1) * 4 + 2);
    }

    #[test]
    fn a_matrix_of_a_flattened_plane_has_its_taps_among_the_inputs() {
        let extents = KernelExtents {
            groups: 1,
            per_in: 2,
            per_out: 5,
            taps: 6,
        };
        let at = (3 * extents.per_in + 1) * extents.taps + 4;
        assert_eq!(Order::Matrix.index(at, &extents), (6 + 4) * 5 + 3);
    }

    #[test]
    fn integers_are_of_their_floats_in_any_unit_and_of_no_others() {
        let floats = [0.5f32, -0.25, 0.0, 0.1];
        let of = |integers: &[i16]| are_of(integers, |at| floats[at]);
        assert!(of(&[127, -64, 0, 25]));
        assert!(of(&[-127, 64, 0, -25]));
        assert!(of(&[0, 0, 0, 0]));
        assert!(!of(&[-64, 127, 0, 25]));
        assert!(!of(&[127, -64, 25, 0]));
    }
}
