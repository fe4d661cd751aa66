//! Networks after 2018: gates, functions that are not piecewise linear, normalisations over channels, attention, boxes.

use super::super::plan::{Conv, Id, Op, Plan, Window};
use super::{EFFICIENTNET, Residual, fully_connected, inverted_residuals, pooled_classifier};

/// Channels in eighths, never less than nine tenths of what was asked for.
fn divisible(channels: usize) -> usize {
    let rounded = ((channels + 4) / 8 * 8).max(8);
    rounded + if 10 * rounded < 9 * channels { 8 } else { 0 }
}

pub fn mobilenetv3_small() -> Plan {
    let mut p = Plan::new("mobilenetv3-small", &[3, 224, 224]);
    let mut x = p.conv_bn_act("features.0", Conv::new(16, 3, 2, 1), Op::HardSwish, 0);
    // Kernel, expanded and projected channels, gate, function, stride.
    let blocks = [
        (3, 16, 16, true, Op::Relu, 2),
        (3, 72, 24, false, Op::Relu, 2),
        (3, 88, 24, false, Op::Relu, 1),
        (5, 96, 40, true, Op::HardSwish, 2),
        (5, 240, 40, true, Op::HardSwish, 1),
        (5, 240, 40, true, Op::HardSwish, 1),
        (5, 120, 48, true, Op::HardSwish, 1),
        (5, 144, 48, true, Op::HardSwish, 1),
        (5, 288, 96, true, Op::HardSwish, 2),
        (5, 576, 96, true, Op::HardSwish, 1),
        (5, 576, 96, true, Op::HardSwish, 1),
    ];
    for (index, (kernel, width, outputs, gated, activation, stride)) in
        blocks.into_iter().enumerate()
    {
        let gate = (divisible(width / 4), [Op::Relu, Op::HardSigmoid]);
        let block = Residual {
            width,
            outputs,
            kernel,
            stride,
            activation,
            gate: gated.then_some(gate),
        };
        x = block.add(&mut p, index + 1, x);
    }
    let x = p.conv_bn_act("features.12", Conv::new(576, 1, 1, 0), Op::HardSwish, x);
    let x = p.add("avgpool", Op::GlobalAveragePool, &[x]);
    let x = fully_connected(&mut p, "classifier.0", 1024, x);
    let x = p.add("classifier.1", Op::HardSwish, &[x]);
    fully_connected(&mut p, "classifier.3", 1000, x);
    p
}

pub fn efficientnet_b0() -> Plan {
    let mut p = Plan::new("efficientnet-b0", &[3, 224, 224]);
    let x = p.conv_bn_act("features.0", Conv::new(32, 3, 2, 1), Op::Silu, 0);
    let gate = Some([Op::Silu, Op::Sigmoid]);
    let x = inverted_residuals(&mut p, &EFFICIENTNET, Op::Silu, gate, x);
    let x = p.conv_bn_act("features.17", Conv::new(1280, 1, 1, 0), Op::Silu, x);
    pooled_classifier(&mut p, x);
    p
}

pub fn convnext_tiny() -> Plan {
    let mut p = Plan::new("convnext-tiny", &[3, 224, 224]);
    let mut x = p.add("stem", Op::Conv(Conv::new(96, 4, 4, 0)), &[0]);
    x = channel_norm(&mut p, "stem.norm", x);
    let stages = [(3, 96), (3, 192), (9, 384), (3, 768)];
    for (stage, (blocks, channels)) in stages.into_iter().enumerate() {
        if stage > 0 {
            x = channel_norm(&mut p, &format!("downsample.{stage}.norm"), x);
            let halve = Conv::new(channels, 2, 2, 0);
            x = p.add(&format!("downsample.{stage}"), Op::Conv(halve), &[x]);
        }
        for block in 0..blocks {
            let name = |part: &str| format!("stages.{stage}.{block}.{part}");
            let depthwise = Conv::new(channels, 7, 1, 3).groups(channels);
            let y = p.add(&name("depthwise"), Op::Conv(depthwise), &[x]);
            let y = p.add(&name("last"), Op::ChannelsLast, &[y]);
            let y = p.add(&name("norm"), Op::LayerNorm, &[y]);
            let wide = Op::Linear {
                outputs: 4 * channels,
            };
            let y = p.add(&name("expand"), wide, &[y]);
            let y = p.add(&name("gelu"), Op::Gelu, &[y]);
            let y = p.add(&name("project"), Op::Linear { outputs: channels }, &[y]);
            let y = p.add(&name("scale"), Op::LayerScale, &[y]);
            let y = p.add(&name("first"), Op::ChannelsFirst, &[y]);
            x = p.add(&name("add"), Op::Add, &[y, x]);
        }
    }
    let x = p.add("avgpool", Op::GlobalAveragePool, &[x]);
    let x = p.add("flatten", Op::Flatten, &[x]);
    let x = p.add("norm", Op::LayerNorm, &[x]);
    fully_connected(&mut p, "head", 1000, x);
    p
}

/// A normalisation over the channels of a plane.
fn channel_norm(p: &mut Plan, name: &str, from: Id) -> Id {
    let x = p.add(&format!("{name}/last"), Op::ChannelsLast, &[from]);
    let x = p.add(name, Op::LayerNorm, &[x]);
    p.add(&format!("{name}/first"), Op::ChannelsFirst, &[x])
}

pub fn yolov8n() -> Plan {
    const IMAGE: usize = 320;
    let mut p = Plan::new("yolov8n", &[3, IMAGE, IMAGE]);
    let half = |channels: usize| Conv::new(channels, 3, 2, 1);
    let x = p.conv_silu("model.0", half(16), 0);
    let x = p.conv_silu("model.1", half(32), x);
    let x = split_bottlenecks(&mut p, "model.2", 32, 1, true, x);
    let x = p.conv_silu("model.3", half(64), x);
    let third = split_bottlenecks(&mut p, "model.4", 64, 2, true, x);
    let x = p.conv_silu("model.5", half(128), third);
    let fourth = split_bottlenecks(&mut p, "model.6", 128, 2, true, x);
    let x = p.conv_silu("model.7", half(256), fourth);
    let x = split_bottlenecks(&mut p, "model.8", 256, 1, true, x);
    let fifth = pyramid_pool(&mut p, "model.9", 256, x);

    let x = p.add("model.10", Op::Upsample, &[fifth]);
    let x = p.add("model.11", Op::Concat, &[x, fourth]);
    let fourth = split_bottlenecks(&mut p, "model.12", 128, 1, false, x);
    let x = p.add("model.13", Op::Upsample, &[fourth]);
    let x = p.add("model.14", Op::Concat, &[x, third]);
    let third = split_bottlenecks(&mut p, "model.15", 64, 1, false, x);
    let x = p.conv_silu("model.16", half(64), third);
    let x = p.add("model.17", Op::Concat, &[x, fourth]);
    let fourth = split_bottlenecks(&mut p, "model.18", 128, 1, false, x);
    let x = p.conv_silu("model.19", half(128), fourth);
    let x = p.add("model.20", Op::Concat, &[x, fifth]);
    let fifth = split_bottlenecks(&mut p, "model.21", 256, 1, false, x);
    detections(&mut p, "model.22", IMAGE, [third, fourth, fifth]);
    p
}

/// A convolution whose halves both leave, and a chain of bottlenecks behind the second, of which each result leaves.
fn split_bottlenecks(
    p: &mut Plan,
    name: &str,
    outputs: usize,
    bottlenecks: usize,
    residual: bool,
    from: Id,
) -> Id {
    let width = outputs / 2;
    let part = |part: &str| format!("{name}.{part}");
    let x = p.conv_silu(&part("cv1"), Conv::new(outputs, 1, 1, 0), from);
    let [first, second] = [(0, width), (width, outputs)].map(|(from, to)| {
        let half = part(&format!("split{}", from / width));
        p.add(&half, Op::Slice { from, to }, &[x])
    });
    let mut joined = vec![first, second];
    let mut last = second;
    for number in 0..bottlenecks {
        let spatial = Conv::new(width, 3, 1, 1);
        let y = p.conv_silu(&part(&format!("m.{number}.cv1")), spatial, last);
        let y = p.conv_silu(&part(&format!("m.{number}.cv2")), spatial, y);
        last = if residual {
            p.add(&part(&format!("m.{number}.add")), Op::Add, &[last, y])
        } else {
            y
        };
        joined.push(last);
    }
    let x = p.add(&part("concat"), Op::Concat, &joined);
    p.conv_silu(&part("cv2"), Conv::new(outputs, 1, 1, 0), x)
}

/// Max pools of growing windows, as a chain of one window.
fn pyramid_pool(p: &mut Plan, name: &str, outputs: usize, from: Id) -> Id {
    let part = |part: &str| format!("{name}.{part}");
    let x = p.conv_silu(&part("cv1"), Conv::new(outputs / 2, 1, 1, 0), from);
    let mut joined = vec![x];
    for number in 0..3 {
        let pool = Op::MaxPool(Window::new(5, 1).pad(2));
        joined.push(p.add(&part(&format!("m.{number}")), pool, &[joined[number]]));
    }
    let x = p.add(&part("concat"), Op::Concat, &joined);
    p.conv_silu(&part("cv2"), Conv::new(outputs, 1, 1, 0), x)
}

/// Boxes and scores of 80 classes at each place of three maps.
fn detections(p: &mut Plan, name: &str, image: usize, maps: [Id; 3]) {
    const SIDES: usize = 64;
    const CLASSES: usize = 80;
    let joined = maps.into_iter().enumerate().map(|(scale, map)| {
        let branches = [("cv2", SIDES), ("cv3", CLASSES)].map(|(branch, width)| {
            let part = |index: usize| format!("{name}.{branch}.{scale}.{index}");
            let x = p.conv_silu(&part(0), Conv::new(width, 3, 1, 1), map);
            let x = p.conv_silu(&part(1), Conv::new(width, 3, 1, 1), x);
            p.add(&part(2), Op::Conv(Conv::new(width, 1, 1, 0)), &[x])
        });
        p.add(&format!("{name}.concat.{scale}"), Op::Concat, &branches)
    });
    let joined: Vec<Id> = joined.collect();
    let part = |part: &str| format!("{name}.{part}");
    let all = p.add(&part("anchors"), Op::Anchors, &joined);
    let ranges = [("sides", 0, SIDES), ("classes", SIDES, SIDES + CLASSES)];
    let [sides, classes] =
        ranges.map(|(half, from, to)| p.add(&part(half), Op::Slice { from, to }, &[all]));
    let boxes = p.add(&part("boxes"), Op::Boxes { image }, &[sides]);
    let scores = p.add(&part("scores"), Op::Sigmoid, &[classes]);
    p.add("detections", Op::Concat, &[boxes, scores]);
}

pub fn unet_small() -> Plan {
    let mut p = Plan::new("unet-small", &[1, 128, 128]);
    let double = |p: &mut Plan, name: &str, channels: usize, from: Id| {
        let spatial = Conv::new(channels, 3, 1, 1);
        let x = p.conv_relu(&format!("{name}.conv1"), spatial, from);
        p.conv_relu(&format!("{name}.conv2"), spatial, x)
    };
    let mut x = 0;
    let mut skips = Vec::new();
    for (level, channels) in [16, 32, 64, 128].into_iter().enumerate() {
        x = double(&mut p, &format!("down{level}"), channels, x);
        skips.push(x);
        let pool = Op::MaxPool(Window::new(2, 2));
        x = p.add(&format!("down{level}.pool"), pool, &[x]);
    }
    x = double(&mut p, "middle", 256, x);
    for (level, skip) in skips.into_iter().enumerate().rev() {
        let outputs = p.nodes[skip].shape[0];
        let up = Op::ConvTranspose { outputs, factor: 2 };
        x = p.add(&format!("up{level}"), up, &[x]);
        x = p.add(&format!("up{level}.concat"), Op::Concat, &[skip, x]);
        x = double(&mut p, &format!("up{level}"), outputs, x);
    }
    let x = p.add("mask", Op::Conv(Conv::new(1, 1, 1, 0)), &[x]);
    p.add("probability", Op::Sigmoid, &[x]);
    p
}

pub fn m5() -> Plan {
    let mut p = Plan::new("m5", &[1, 32_000]);
    let mut x = 0;
    let layers = [
        Conv::new(128, 80, 4, 38),
        Conv::new(128, 3, 1, 1),
        Conv::new(256, 3, 1, 1),
        Conv::new(512, 3, 1, 1),
    ];
    for (index, conv) in layers.into_iter().enumerate() {
        x = p.conv_bn_act(&format!("conv{}", index + 1), conv, Op::Relu, x);
        let pool = Op::MaxPool(Window::new(4, 4));
        x = p.add(&format!("pool{}", index + 1), pool, &[x]);
    }
    let x = p.add("avgpool", Op::GlobalAveragePool, &[x]);
    let x = fully_connected(&mut p, "fc", 10, x);
    p.add("prob", Op::Softmax, &[x]);
    p
}

pub fn vit_tiny() -> Plan {
    const WIDTH: usize = 192;
    let mut p = Plan::new("vit-tiny", &[3, 224, 224]);
    let x = p.add("patch", Op::Conv(Conv::new(WIDTH, 16, 16, 0)), &[0]);
    let mut x = p.add("embed", Op::Embed, &[x]);
    for block in 0..12 {
        let name = |part: &str| format!("blocks.{block}.{part}");
        let linear = |outputs: usize| Op::Linear { outputs };
        let y = p.add(&name("norm1"), Op::LayerNorm, &[x]);
        let y = p.add(&name("qkv"), linear(3 * WIDTH), &[y]);
        let y = p.add(&name("attention"), Op::Attention { heads: 3 }, &[y]);
        let y = p.add(&name("join"), linear(WIDTH), &[y]);
        x = p.add(&name("add1"), Op::Add, &[x, y]);
        let y = p.add(&name("norm2"), Op::LayerNorm, &[x]);
        let y = p.add(&name("expand"), linear(4 * WIDTH), &[y]);
        let y = p.add(&name("gelu"), Op::Gelu, &[y]);
        let y = p.add(&name("project"), linear(WIDTH), &[y]);
        x = p.add(&name("add2"), Op::Add, &[x, y]);
    }
    let x = p.add("norm", Op::LayerNorm, &[x]);
    let x = p.add("class", Op::ClassToken, &[x]);
    fully_connected(&mut p, "head", 1000, x);
    p
}
