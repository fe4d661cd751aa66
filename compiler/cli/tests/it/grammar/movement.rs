//! What moves values or gives them another shape.

use super::{Builder, Choice};
use crate::onnx::{int, ints, text};

pub fn concat(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (first, dims) = builder.operand(choice);
    let axis = choice.within(0, 0..dims.len() as i64) as usize;
    let agrees = |other: &[i64]| {
        other.len() == dims.len()
            && (0..dims.len()).all(|index| index == axis || other[index] == dims[index])
    };
    let others: Vec<_> = builder
        .tensors
        .iter()
        .rev()
        .filter(|(_, dims)| agrees(dims))
        .cloned()
        .collect();
    let mut operands = vec![(first, dims.clone())];
    for index in 1..=(choice.within(1, 1..3) as usize) {
        operands.push(others[choice.numbers[index + 1] as usize % others.len()].clone());
    }
    if choice.flag(4) {
        operands.rotate_left(1);
    }
    let mut joined = dims;
    joined[axis] = operands.iter().map(|(_, dims)| dims[axis]).sum();
    let written = if choice.flag(5) {
        axis as i64 - joined.len() as i64
    } else {
        axis as i64
    };
    let names: Vec<&str> = operands.iter().map(|(name, _)| name.as_str()).collect();
    builder
        .push("Concat", &names, joined, vec![int("axis", written)])
        .map(|_| ())
}

/// Two or three parts along any axis; all of them are tensors, used or not.
pub fn split(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand_that(choice, |dims| dims.iter().any(|&d| d > 1))?;
    let axes: Vec<usize> = (0..dims.len()).filter(|&axis| dims[axis] > 1).collect();
    let axis = axes[choice.numbers[0] as usize % axes.len()];
    let first = choice.within(1, 1..dims[axis]);
    let mut sizes = vec![first, dims[axis] - first];
    if sizes[1] > 1 && choice.flag(2) {
        let second = choice.within(3, 1..sizes[1]);
        sizes = vec![first, second, sizes[1] - second];
    }
    let parts = builder.integers(&sizes);
    let names: Vec<String> = sizes.iter().map(|_| builder.name()).collect();
    let outputs: Vec<&str> = names.iter().map(String::as_str).collect();
    let attributes = vec![int("axis", axis as i64)];
    builder.model = std::mem::take(&mut builder.model).node_of(
        "Split",
        &[&input, &parts],
        &outputs,
        attributes,
    );
    for (name, size) in names.into_iter().zip(sizes) {
        let mut part = dims.clone();
        part[axis] = size;
        builder.tensors.push((name, part));
    }
    Some(())
}

/// Ranges of one or two axes, also counted from the end, with steps, and backwards.
pub fn slice(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, mut dims) = builder.operand(choice);
    let mut axes = vec![choice.within(0, 0..dims.len() as i64)];
    let second = choice.within(1, 0..dims.len() as i64);
    if choice.flag(2) && second != axes[0] {
        axes.push(second);
    }
    let (mut starts, mut ends, mut steps) = (vec![], vec![], vec![]);
    for (index, &axis) in axes.iter().enumerate() {
        let extent = dims[axis as usize];
        let begin = choice.within(3 + index, 0..extent);
        let end = choice.within(5 + index, begin + 1..extent + 1);
        let step = [1, 1, 1, 2, 3][choice.numbers[7] as usize % 5];
        if choice.numbers[7] % 11 == 10 {
            // Backwards: from the last value to before the first.
            starts.push(end - 1);
            ends.push(begin - 1 - extent);
            steps.push(-1);
            dims[axis as usize] = end - begin;
            if begin == 0 {
                ends[index] = i64::from(i32::MIN);
            }
            continue;
        }
        let from_end = choice.numbers[7] % 7 == 6;
        starts.push(if from_end { begin - extent } else { begin });
        ends.push(if end == extent {
            i64::from(i32::MAX)
        } else {
            end
        });
        steps.push(step);
        dims[axis as usize] = (end - begin + step - 1) / step;
    }
    let lists = [&starts, &ends, &axes, &steps].map(|list| builder.integers(list));
    let mut inputs = vec![input.as_str()];
    inputs.extend(lists.iter().map(String::as_str));
    builder.push("Slice", &inputs, dims, vec![]).map(|_| ())
}

pub fn transpose(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand(choice);
    let mut order: Vec<i64> = (0..dims.len() as i64).collect();
    for index in 1..order.len() {
        order.swap(index, choice.numbers[index] as usize % (index + 1));
    }
    let moved = order.iter().map(|&axis| dims[axis as usize]).collect();
    builder
        .push("Transpose", &[&input], moved, vec![ints("perm", &order)])
        .map(|_| ())
}

/// Factors of the number of values, in any order; some extents as 0 (kept) or -1 (what is left).
pub fn reshape(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand(choice);
    let mut left: i64 = dims.iter().product();
    let keeps_batch = choice.flag(7);
    let mut shape = Vec::new();
    if keeps_batch {
        shape.push(dims[0]);
        left /= dims[0];
    }
    for index in 0..choice.within(0, 0..4) as usize {
        let divisors: Vec<i64> = (1..=left).filter(|d| left % d == 0).collect();
        let factor = divisors[choice.numbers[index + 1] as usize % divisors.len()];
        shape.push(factor);
        left /= factor;
    }
    shape.push(left);
    let mut written = shape.clone();
    if choice.flag(5) {
        let last = written.len() - 1;
        written[last] = -1;
    }
    if keeps_batch && choice.flag(6) {
        written[0] = 0;
    }
    let list = builder.integers(&written);
    builder
        .push("Reshape", &[&input, &list], shape, vec![])
        .map(|_| ())
}

pub fn flatten(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand(choice);
    let axis = if choice.flag(0) {
        choice.within(1, 0..dims.len() as i64 + 1) as usize
    } else {
        1.min(dims.len())
    };
    let flat = vec![dims[..axis].iter().product(), dims[axis..].iter().product()];
    let attributes = vec![int("axis", axis as i64)];
    builder
        .push("Flatten", &[&input], flat, attributes)
        .map(|_| ())
}

pub fn squeeze(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand_that(choice, |dims| dims.len() > 1 && dims.contains(&1))?;
    let ones: Vec<usize> = (0..dims.len()).filter(|&axis| dims[axis] == 1).collect();
    let axis = ones[choice.numbers[0] as usize % ones.len()];
    let mut rest = dims.clone();
    rest.remove(axis);
    let written = if choice.flag(1) {
        axis as i64 - dims.len() as i64
    } else {
        axis as i64
    };
    let axes = builder.integers(&[written]);
    builder
        .push("Squeeze", &[&input, &axes], rest, vec![])
        .map(|_| ())
}

pub fn unsqueeze(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, mut dims) = builder.operand(choice);
    let axis = choice.within(0, 0..dims.len() as i64 + 1);
    dims.insert(axis as usize, 1);
    let written = if choice.flag(1) {
        axis - dims.len() as i64
    } else {
        axis
    };
    let axes = builder.integers(&[written]);
    builder
        .push("Unsqueeze", &[&input, &axes], dims, vec![])
        .map(|_| ())
}

pub fn identity(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand(choice);
    let operator = if choice.flag(0) {
        "Identity"
    } else {
        "Dropout"
    };
    builder.push(operator, &[&input], dims, vec![]).map(|_| ())
}

/// Zeros, another number, the edge or the mirror image around one or two axes.
pub fn pad(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, mut dims) = builder.operand(choice);
    let rank = dims.len();
    let mode = ["constant", "constant", "edge", "reflect"][choice.numbers[0] as usize % 4];
    let mut pads = vec![0; 2 * rank];
    for index in 0..2 {
        // The last axes, most often.
        let axis = if choice.numbers[1].is_multiple_of(4) {
            choice.within(2 + index, 0..rank as i64) as usize
        } else {
            rank - 1 - index.min(rank - 1)
        };
        let most = if mode == "reflect" { dims[axis] } else { 3 };
        pads[axis] = choice.within(4 + index, 0..most.min(3));
        pads[rank + axis] = choice.within(6, 0..most.min(3));
    }
    (0..rank).for_each(|axis| dims[axis] += pads[axis] + pads[rank + axis]);
    let list = builder.integers(&pads);
    let mut inputs = vec![input, list];
    if mode == "constant" && choice.flag(7) {
        inputs.push(builder.floats(
            &[],
            &[if choice.seed.is_multiple_of(2) {
                0.0
            } else {
                0.5
            }],
        ));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    builder
        .push("Pad", &inputs, dims, vec![text("mode", mode)])
        .map(|_| ())
}

pub fn resize(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, dims) = builder.operand_that(choice, |dims| dims.len() == 4)?;
    let by = [choice.within(0, 1..4), choice.within(1, 1..4)];
    let linear = choice.numbers[2].is_multiple_of(4);
    let scales = builder.floats(&[4], &[1.0, 1.0, by[0] as f32, by[1] as f32]);
    let larger = vec![dims[0], dims[1], dims[2] * by[0], dims[3] * by[1]];
    let attributes = if linear {
        vec![text("mode", "linear")]
    } else {
        vec![
            text("mode", "nearest"),
            text("coordinate_transformation_mode", "asymmetric"),
            text("nearest_mode", "floor"),
        ]
    };
    builder
        .push("Resize", &[&input, "", &scales], larger, attributes)
        .map(|_| ())
}

/// Blocks of the plane become channels, or channels blocks.
pub fn blocks(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let to_space = |dims: &[i64]| dims.len() == 4 && dims[1] % 4 == 0;
    let to_depth = |dims: &[i64]| dims.len() == 4 && dims[2] % 2 == 0 && dims[3] % 2 == 0;
    let attributes = || vec![int("blocksize", 2)];
    if choice.flag(0) {
        let (input, dims) = builder.operand_that(choice, to_space)?;
        let larger = vec![dims[0], dims[1] / 4, dims[2] * 2, dims[3] * 2];
        let mut attributes = attributes();
        attributes.push(text("mode", if choice.flag(1) { "DCR" } else { "CRD" }));
        builder.push("DepthToSpace", &[&input], larger, attributes)?;
    } else {
        let (input, dims) = builder.operand_that(choice, to_depth)?;
        let smaller = vec![dims[0], dims[1] * 4, dims[2] / 2, dims[3] / 2];
        builder.push("SpaceToDepth", &[&input], smaller, attributes())?;
    }
    Some(())
}

pub fn gather(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, mut dims) = builder.operand(choice);
    let axis = choice.within(0, 0..dims.len() as i64);
    let extent = dims[axis as usize];
    let indices: Vec<i64> = (1..=choice.within(1, 1..4))
        .map(|index| choice.within(1 + index as usize, 0..extent))
        .collect();
    dims[axis as usize] = indices.len() as i64;
    let list = builder.integers(&indices);
    builder
        .push("Gather", &[&input, &list], dims, vec![int("axis", axis)])
        .map(|_| ())
}

pub fn expand(builder: &mut Builder, choice: &Choice) -> Option<()> {
    let (input, mut dims) = builder.operand_that(choice, |dims| dims.contains(&1))?;
    let axis = dims.iter().position(|&extent| extent == 1)?;
    dims[axis] = choice.within(0, 2..5);
    let shape = builder.integers(&dims);
    builder
        .push("Expand", &[&input, &shape], dims, vec![])
        .map(|_| ())
}
