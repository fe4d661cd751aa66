//! Where the axes of a tensor lie on the machine.
//!
//! **The rule.** A tensor of the model has axes; the machine has images, channels, rows and columns. A [`Placement`] says
//! which axes, parts of axes or joined axes lie where. A node's value is stored once, under one placement; nothing else in
//! the compiler reads the position of an axis as its meaning.
//!
//! **What costs nothing.** `Reshape`, `Flatten`, `Squeeze` and `Unsqueeze` leave the row-major order and with it the
//! placement as they are. `Transpose` is another order of the factors of the same stored tensor. Operators of one value
//! keep their operand's placement. Values that cross the border to the host are permuted while they are copied. So an
//! operator is asked only whether the placement of its operand suits it, and gives its result one:
//!
//! | operator | suits it | result |
//! |---|---|---|
//! | convolution, pooling, resize of a plane | axes 0, 1, 2, 3 on image, channel, row, column | the same |
//! | matrix product, Gemm | all channels inside the axis that is summed over, rows and columns wholly inside or outside of it, images outside: what lies inside becomes the kernel, and the weights are permuted | the axis of the outputs on channels |
//! | operator with a constant per channel | the constant varies along factors of channels alone | as the operand |
//! | two operands | both alike | as they |
//! | concatenation, range of channels | the axis is all of the channels | as the operand, with that extent |
//! | padding, crop | the axis is all of rows or of columns | likewise |
//! | reduction over a plane | the axes are all of rows and columns | what is left |
//!
//! **What is free to choose.** The inputs of the model and the results of the host get the placement that most of their
//! readers ask for (`import::wishes`); without a wish it is [`positional`].
//!
//! **What must move.** An operand that does not suit is moved: a rename under another placement, which the machine cannot
//! express; `lower_renames` gives it to the host, with its reason, and counts what it moves on the host link.

use scnn_isa::legal::MAX_EXTENT;
pub use scnn_isa::placement::{Factor, Placement, Slot};

/// The factors of every axis of a tensor, slowest first. Levels count in steps of their own.
pub type Axes = Vec<Vec<Factor>>;

/// Between the levels of two factors of a slot there is room for the parts into which the first is split.
const ROOM: u32 = 1 << 16;

/// How a tensor lies if each axis has its position's meaning: `[N, C]`, `[N, C, W]` and `[N, C, H, W]`.
pub fn positional(dims: &[u64]) -> Option<Placement> {
    use Slot::{Channel, Column, Image, Row};
    let slots: &[Slot] = match dims.len() {
        2 => &[Image, Channel],
        3 => &[Image, Channel, Column],
        4 => &[Image, Channel, Row, Column],
        _ => return None,
    };
    let axes = dims.iter().zip(slots);
    placed(axes.map(|(&extent, &slot)| (extent, slot)))
}

/// The placement of whole axes, each on a slot; several on one are nested in the order in which they come.
pub fn placed(axes: impl IntoIterator<Item = (u64, Slot)>) -> Option<Placement> {
    let factors = axes.into_iter().zip(0..).map(|((extent, slot), level)| {
        Some(Factor {
            extent: u32::try_from(extent).ok()?,
            slot,
            level,
        })
    });
    let placement = Placement::of(factors.collect::<Option<Vec<_>>>()?);
    placement.shape().is_some().then_some(placement)
}

/// The factors of each axis of a tensor of extents `dims`. None where an axis ends inside a factor and does not divide it.
pub fn axes(placement: &Placement, dims: &[u64]) -> Option<Axes> {
    let mut factors = placement.factors().iter().map(|&factor| Factor {
        level: factor.level * ROOM,
        ..factor
    });
    let mut open: Option<Factor> = None;
    let mut axes = Vec::with_capacity(dims.len());
    for &extent in dims {
        let (mut left, mut axis) = (extent, Vec::new());
        while left > 1 {
            let factor = open.take().or_else(|| factors.next())?;
            let whole = u64::from(factor.extent);
            if left.is_multiple_of(whole) {
                left /= whole;
                axis.push(factor);
                continue;
            }
            if !whole.is_multiple_of(left) {
                return None;
            }
            axis.push(Factor {
                extent: left as u32,
                ..factor
            });
            open = Some(Factor {
                extent: (whole / left) as u32,
                level: factor.level + 1,
                ..factor
            });
            left = 1;
        }
        axes.push(axis);
    }
    // Empty tensors, and dims of another tensor.
    (open.is_none() && factors.next().is_none() && !dims.contains(&0)).then_some(axes)
}

/// The placement of a tensor whose axes have these factors.
pub fn of_axes(axes: &[Vec<Factor>]) -> Placement {
    Placement::of(axes.iter().flatten().copied())
}

/// How the transposed tensor lies in the same stored one: axis `i` of the result is axis `order[i]` of `dims`.
pub fn transposed(placement: &Placement, dims: &[u64], order: &[usize]) -> Option<Placement> {
    let axes = axes(placement, dims)?;
    let moved: Option<Axes> = order.iter().map(|&axis| axes.get(axis).cloned()).collect();
    Some(of_axes(&moved?))
}

/// Whether an axis is all of a slot, in its order.
pub fn is_all_of(axes: &[Vec<Factor>], axis: usize, slot: Slot) -> bool {
    let alone = axes.iter().enumerate().all(|(index, factors)| {
        let inside = |factor: &Factor| factor.slot == slot;
        factors
            .iter()
            .all(|factor| inside(factor) == (index == axis))
    });
    alone && axes[axis].is_sorted_by_key(|factor| factor.level)
}

/// The axes with another extent of one that is all of a slot.
pub fn with_extent(axes: &[Vec<Factor>], axis: usize, extent: u32, slot: Slot) -> Axes {
    let mut changed = axes.to_vec();
    changed[axis] = vec![Factor {
        extent,
        slot,
        level: 0,
    }];
    changed
}

/// The coordinates, along each axis, of the first value at every place of a slot, in the order of the stored tensor.
pub fn coordinates(axes: &[Vec<Factor>], slot: Slot) -> Vec<Vec<u64>> {
    let mut nested: Vec<(usize, usize)> = (0..axes.len())
        .flat_map(|axis| (0..axes[axis].len()).map(move |index| (axis, index)))
        .filter(|&(axis, index)| axes[axis][index].slot == slot)
        .collect();
    nested.sort_by_key(|&(axis, index)| axes[axis][index].level);
    let mut places = vec![vec![0; axes.len()]];
    for (axis, index) in nested {
        let stride = strides(&axes[axis])[index];
        let inner = |place: Vec<u64>| {
            (0..u64::from(axes[axis][index].extent)).map(move |step| {
                let mut place = place.clone();
                place[axis] += step * stride;
                place
            })
        };
        places = places.into_iter().flat_map(inner).collect();
    }
    places
}

/// Image, channel, row and column of the value with these coordinates along the axes.
pub fn position(axes: &[Vec<Factor>], at: &[u64]) -> [u64; 4] {
    [Slot::Image, Slot::Channel, Slot::Row, Slot::Column].map(|slot| {
        let mut digits: Vec<(u32, u64, u64)> = Vec::new();
        for (axis, &coordinate) in axes.iter().zip(at) {
            for (factor, stride) in axis.iter().zip(strides(axis)) {
                if factor.slot == slot {
                    let extent = u64::from(factor.extent);
                    digits.push((factor.level, extent, coordinate / stride % extent));
                }
            }
        }
        digits.sort_by_key(|&(level, ..)| level);
        let nested = digits.into_iter();
        nested.fold(0, |place, (_, extent, digit)| place * extent + digit)
    })
}

/// Whether the factors of two placements of one tensor are nested along every axis: each begins and ends where one of the
/// other does, or inside of one that it divides. Then the position of a sum of coordinates is the sum of positions.
pub fn are_nested(a: &[Vec<Factor>], b: &[Vec<Factor>]) -> bool {
    a.iter().zip(b).all(|(a, b)| {
        let mut all: Vec<u64> = [a, b].into_iter().flat_map(|axis| strides(axis)).collect();
        all.sort_unstable();
        all.windows(2).all(|pair| pair[1].is_multiple_of(pair[0]))
    })
}

/// What a step of each factor of an axis is along the axis.
fn strides(axis: &[Factor]) -> Vec<u64> {
    let faster = |index: usize| axis[index + 1..].iter();
    let stride = |index| {
        faster(index)
            .map(|factor| u64::from(factor.extent))
            .product()
    };
    (0..axis.len()).map(stride).collect()
}

/// Which of rows and columns the last axis covers, if a matrix product over that axis is a convolution: all channels are
/// inside of it, no images are, and rows and columns are wholly inside or outside.
pub fn product_kernel(axes: &[Vec<Factor>]) -> Option<[bool; 2]> {
    let (last, leading) = axes.split_last()?;
    let inside = |slot: Slot| last.iter().any(|factor| factor.slot == slot);
    let outside = |slot: Slot| leading.iter().flatten().any(|factor| factor.slot == slot);
    let split = [Slot::Row, Slot::Column]
        .into_iter()
        .any(|slot| inside(slot) && outside(slot));
    let suits = !outside(Slot::Channel) && !inside(Slot::Image) && !split;
    suits.then(|| [inside(Slot::Row), inside(Slot::Column)])
}

/// The placement that a matrix product asks for: the axis that it sums over on channels, the others on images as far as there
/// is room, else the last two of them on rows and columns. It sums over the last axis, or over the last but one of
/// activations that weights are multiplied with `from_left`.
pub fn of_product(dims: &[u64], from_left: bool) -> Option<Placement> {
    let summed = dims.len().checked_sub(1 + usize::from(from_left))?;
    let others = dims.len() - 1;
    let images: u64 = dims.iter().product::<u64>() / dims[summed].max(1);
    let slot = |axis: usize| match others - axis + usize::from(axis > summed) {
        _ if axis == summed => Slot::Channel,
        1 if images > u64::from(MAX_EXTENT) && others > 1 => Slot::Column,
        2 if images > u64::from(MAX_EXTENT) && others > 2 => Slot::Row,
        _ => Slot::Image,
    };
    let axes = dims.iter().enumerate();
    placed(axes.map(|(axis, &extent)| (extent, slot(axis))))
}

/// How a tensor with one value for each image and channel of another lies over it.
pub fn without_plane(placement: &Placement) -> Placement {
    let kept = |factor: &&Factor| matches!(factor.slot, Slot::Image | Slot::Channel);
    Placement::of(placement.factors().iter().filter(kept).copied())
}

/// A placement with one axis on channels: the first of the others on images, the last two on rows and columns.
pub fn with_channels(dims: &[u64], channels: usize) -> Option<Placement> {
    let others: Vec<usize> = (0..dims.len()).filter(|&axis| axis != channels).collect();
    let slot = |axis: usize| {
        let at = others.iter().position(|&other| other == axis);
        match at {
            None => Slot::Channel,
            Some(at) if at + 1 == others.len() && at > 0 => Slot::Column,
            Some(at) if at + 2 == others.len() && at > 0 => Slot::Row,
            Some(_) => Slot::Image,
        }
    };
    placed(
        dims.iter()
            .enumerate()
            .map(|(axis, &extent)| (extent, slot(axis))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement(text: &str) -> Placement {
        text.parse().unwrap()
    }

    #[test]
    fn an_axis_is_a_factor_a_part_of_one_or_several() {
        let nchw = placement("2n 12c 5y 7x");
        let words = |axes: Axes| {
            axes.iter()
                .map(|axis| Placement::of(axis.iter().copied()).to_string())
                .collect::<Vec<_>>()
        };
        let found = axes(&nchw, &[2, 3, 4, 35]).map(words);
        assert_eq!(
            found,
            Some(["2n", "3c", "4c", "5y 7x"].map(str::to_owned).to_vec())
        );
        // Whole again, they are what they were.
        let split = axes(&nchw, &[2, 3, 4, 35]).unwrap();
        assert_eq!(of_axes(&split), nchw);
        assert_eq!(axes(&nchw, &[2, 5, 12, 7]), None);
        assert_eq!(axes(&nchw, &[2, 12, 5]), None);
        assert_eq!(axes(&nchw, &[1, 24, 1, 35]).map(|axes| axes.len()), Some(4));
    }

    /// The shuffle of channels: `[N, 2, 3, H, W]` with axes 1 and 2 exchanged.
    #[test]
    fn a_transpose_is_another_order_of_the_same_factors() {
        let nchw = placement("2n 6c 5y 7x");
        let shuffled = transposed(&nchw, &[2, 2, 3, 5, 7], &[0, 2, 1, 3, 4]).unwrap();
        assert_eq!(shuffled.to_string(), "2n 3c1 2c0 5y 7x");
        assert_eq!(shuffled.shape(), nchw.shape());
        let back = transposed(&shuffled, &[2, 3, 2, 5, 7], &[0, 2, 1, 3, 4]).unwrap();
        assert_eq!(back, nchw);
        let last = transposed(&nchw, &[2, 6, 5, 7], &[0, 2, 3, 1]).unwrap();
        assert_eq!(last.to_string(), "2n 5y 7x 6c");
        assert!(is_all_of(
            &axes(&last, &[2, 5, 7, 6]).unwrap(),
            3,
            Slot::Channel
        ));
    }

    #[test]
    fn channels_have_the_coordinates_of_their_factors() {
        let shuffled = placement("3c1 2c0 5y");
        let axes = axes(&shuffled, &[3, 10]).unwrap();
        // Stored channels count the axis of 2 outside and the axis of 3 inside; the latter is the slower in the model.
        assert_eq!(
            coordinates(&axes, Slot::Channel),
            [[0, 0], [1, 0], [2, 0], [0, 5], [1, 5], [2, 5]]
        );
    }

    /// Blocks of two rows, as the seen placement of `[N, C * 2, H]` behind a change of shape and order.
    #[test]
    fn a_position_is_found_by_coordinates() {
        let seen = axes(&placement("2n 3c 2y1 5y0"), &[2, 6, 5]).unwrap();
        let wanted = axes(&placement("2n 6c 5y"), &[2, 6, 5]).unwrap();
        assert_eq!(position(&wanted, &[1, 5, 4]), [1, 5, 4, 0]);
        assert_eq!(position(&seen, &[1, 5, 4]), [1, 2, 9, 0]);
        for (index, at) in coordinates(&seen, Slot::Row).iter().enumerate() {
            assert_eq!(position(&seen, at), [0, 0, index as u64, 0]);
        }
        assert!(are_nested(&seen, &wanted));
        let [a, b] = ["3c 4y", "4c 3y"].map(|text| axes(&placement(text), &[12]).unwrap());
        assert!(!are_nested(&a, &b));
    }

    /// Of `[N, H, W, C]` flattened behind the images, rows, columns and channels are the kernel; of rows alone, not.
    #[test]
    fn a_product_over_joined_axes_is_a_convolution_of_the_plane() {
        let nhwc = placement("2n 5y 7x 6c");
        let kernel = |dims: &[u64]| product_kernel(&axes(&nhwc, dims).unwrap());
        assert_eq!(kernel(&[2, 210]), Some([true, true]));
        assert_eq!(kernel(&[2, 5, 42]), Some([false, true]));
        assert_eq!(kernel(&[10, 7, 6]), Some([false, false]));
        assert_eq!(kernel(&[420]), None);
        assert_eq!(
            product_kernel(&axes(&placement("2n 6c 5y"), &[12, 5]).unwrap()),
            None
        );
        assert_eq!(of_product(&[2, 3, 4], false).unwrap().to_string(), "6n 4c");
        assert_eq!(
            of_product(&[70_000, 4], false),
            placed([(70_000, Slot::Image), (4, Slot::Channel)])
        );
        assert_eq!(
            of_product(&[300, 300, 4], false).unwrap().to_string(),
            "300n 300x 4c"
        );
        assert_eq!(
            of_product(&[2, 3, 4], true).unwrap().to_string(),
            "2n 3c 4n"
        );
        assert_eq!(
            of_product(&[300, 4, 300], true).unwrap().to_string(),
            "300n 4c 300x"
        );
        assert_eq!(
            with_channels(&[2, 3, 4, 5], 3).unwrap().to_string(),
            "2n 3y 4x 5c"
        );
    }
}
