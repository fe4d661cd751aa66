//! The networks' architectures, one function each; those with gates, attention or decoded boxes are in [`today`].

mod today;

use super::Network;
use super::plan::{Conv, Id, Op, Plan, Window};

pub const NETWORKS: &[Network] = &[
    Network {
        name: "alexnet",
        source: "Krizhevsky et al., NIPS 2012, with groups as published",
        plan: alexnet,
    },
    Network {
        name: "googlenet",
        source: "Szegedy et al., CVPR 2015",
        plan: googlenet,
    },
    Network {
        name: "vgg16",
        source: "Simonyan and Zisserman, ICLR 2015, configuration D",
        plan: vgg16,
    },
    Network {
        name: "resnet18",
        source: "He et al., CVPR 2016",
        plan: resnet18,
    },
    Network {
        name: "resnet50",
        source: "He et al., CVPR 2016, stride in the 3x3 convolution",
        plan: resnet50,
    },
    Network {
        name: "mobilenetv2",
        source: "Sandler et al., CVPR 2018",
        plan: mobilenetv2,
    },
    Network {
        name: "squeezenet",
        source: "Iandola et al., 2016, version 1.0",
        plan: squeezenet,
    },
    Network {
        name: "densenet121",
        source: "Huang et al., CVPR 2017",
        plan: densenet121,
    },
    Network {
        name: "shufflenet",
        source: "Zhang et al., CVPR 2018, 1x with three groups",
        plan: shufflenet,
    },
    Network {
        name: "efficientnet-lite0",
        source: "Tan and Le, ICML 2019; the lite variant of 2020",
        plan: efficientnet_lite0,
    },
    Network {
        name: "mobilenetv3-small",
        source: "Howard et al., ICCV 2019",
        plan: today::mobilenetv3_small,
    },
    Network {
        name: "efficientnet-b0",
        source: "Tan and Le, ICML 2019",
        plan: today::efficientnet_b0,
    },
    Network {
        name: "convnext-tiny",
        source: "Liu et al., CVPR 2022",
        plan: today::convnext_tiny,
    },
    Network {
        name: "yolov8n",
        source: "Jocher et al., Ultralytics, 2023, on 320 x 320 pixels, up to decoded boxes",
        plan: today::yolov8n,
    },
    Network {
        name: "unet-small",
        source: "Ronneberger et al., MICCAI 2015, a quarter of the channels, on 128 x 128 pixels",
        plan: today::unet_small,
    },
    Network {
        name: "m5",
        source: "Dai et al., ICASSP 2017, on 32,000 samples of sound",
        plan: today::m5,
    },
    Network {
        name: "vit-tiny",
        source: "Dosovitskiy et al., ICLR 2021, in the size of Touvron et al., ICML 2021, patches of 16",
        plan: today::vit_tiny,
    },
];

fn fully_connected(plan: &mut Plan, name: &str, outputs: usize, from: Id) -> Id {
    plan.add(name, Op::Gemm { outputs }, &[from])
}

fn alexnet() -> Plan {
    let mut p = Plan::new("alexnet", &[3, 227, 227]);
    let pool = Op::MaxPool(Window::new(3, 2));
    let x = p.conv_relu("conv1", Conv::new(96, 11, 4, 0), 0);
    let x = p.add("norm1", Op::Lrn, &[x]);
    let x = p.add("pool1", pool, &[x]);
    let x = p.conv_relu("conv2", Conv::new(256, 5, 1, 2).groups(2), x);
    let x = p.add("norm2", Op::Lrn, &[x]);
    let x = p.add("pool2", pool, &[x]);
    let x = p.conv_relu("conv3", Conv::new(384, 3, 1, 1), x);
    let x = p.conv_relu("conv4", Conv::new(384, 3, 1, 1).groups(2), x);
    let x = p.conv_relu("conv5", Conv::new(256, 3, 1, 1).groups(2), x);
    let x = p.add("pool5", pool, &[x]);
    classifier(&mut p, x);
    p
}

/// The three fully connected layers of `AlexNet` and VGG.
fn classifier(p: &mut Plan, from: Id) {
    let x = fully_connected(p, "fc6", 4096, from);
    let x = p.add("fc6/relu", Op::Relu, &[x]);
    let x = fully_connected(p, "fc7", 4096, x);
    let x = p.add("fc7/relu", Op::Relu, &[x]);
    let x = fully_connected(p, "fc8", 1000, x);
    p.add("prob", Op::Softmax, &[x]);
}

fn vgg16() -> Plan {
    let mut p = Plan::new("vgg16", &[3, 224, 224]);
    let mut x = 0;
    let stages = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)];
    for (stage, (convs, channels)) in stages.into_iter().enumerate() {
        for conv in 0..convs {
            let name = format!("conv{}_{}", stage + 1, conv + 1);
            x = p.conv_relu(&name, Conv::new(channels, 3, 1, 1), x);
        }
        let pool = Op::MaxPool(Window::new(2, 2));
        x = p.add(&format!("pool{}", stage + 1), pool, &[x]);
    }
    classifier(&mut p, x);
    p
}

fn googlenet() -> Plan {
    let mut p = Plan::new("googlenet", &[3, 224, 224]);
    let pool = Op::MaxPool(Window::new(3, 2).ceil());
    let x = p.conv_relu("conv1/7x7_s2", Conv::new(64, 7, 2, 3), 0);
    let x = p.add("pool1/3x3_s2", pool, &[x]);
    let x = p.add("pool1/norm1", Op::Lrn, &[x]);
    let x = p.conv_relu("conv2/3x3_reduce", Conv::new(64, 1, 1, 0), x);
    let x = p.conv_relu("conv2/3x3", Conv::new(192, 3, 1, 1), x);
    let x = p.add("conv2/norm2", Op::Lrn, &[x]);
    let mut x = p.add("pool2/3x3_s2", pool, &[x]);
    let modules = [
        ("3a", [64, 96, 128, 16, 32, 32]),
        ("3b", [128, 128, 192, 32, 96, 64]),
        ("4a", [192, 96, 208, 16, 48, 64]),
        ("4b", [160, 112, 224, 24, 64, 64]),
        ("4c", [128, 128, 256, 24, 64, 64]),
        ("4d", [112, 144, 288, 32, 64, 64]),
        ("4e", [256, 160, 320, 32, 128, 128]),
        ("5a", [256, 160, 320, 32, 128, 128]),
        ("5b", [384, 192, 384, 48, 128, 128]),
    ];
    for (module, widths) in modules {
        if matches!(module, "4a" | "5a") {
            let before = if module == "4a" { 3 } else { 4 };
            x = p.add(&format!("pool{before}/3x3_s2"), pool, &[x]);
        }
        x = inception(&mut p, module, widths, x);
    }
    let x = p.add("pool5/7x7_s1", Op::GlobalAveragePool, &[x]);
    let x = fully_connected(&mut p, "loss3/classifier", 1000, x);
    p.add("prob", Op::Softmax, &[x]);
    p
}

/// Branch widths: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, projection behind the pool.
fn inception(p: &mut Plan, module: &str, [a, b, c, d, e, f]: [usize; 6], from: Id) -> Id {
    let name = |branch: &str| format!("inception_{module}/{branch}");
    let one = p.conv_relu(&name("1x1"), Conv::new(a, 1, 1, 0), from);
    let three = p.conv_relu(&name("3x3_reduce"), Conv::new(b, 1, 1, 0), from);
    let three = p.conv_relu(&name("3x3"), Conv::new(c, 3, 1, 1), three);
    let five = p.conv_relu(&name("5x5_reduce"), Conv::new(d, 1, 1, 0), from);
    let five = p.conv_relu(&name("5x5"), Conv::new(e, 5, 1, 2), five);
    let pool = Op::MaxPool(Window::new(3, 1).pad(1));
    let pooled = p.add(&name("pool"), pool, &[from]);
    let pooled = p.conv_relu(&name("pool_proj"), Conv::new(f, 1, 1, 0), pooled);
    p.add(&name("output"), Op::Concat, &[one, three, five, pooled])
}

fn resnet18() -> Plan {
    let mut p = Plan::new("resnet18", &[3, 224, 224]);
    let mut x = resnet_stem(&mut p);
    for (stage, width) in [64, 128, 256, 512].into_iter().enumerate() {
        for block in 0..2 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let name = |part: &str| format!("layer{}.{block}.{part}", stage + 1);
            let main = Conv::new(width, 3, stride, 1);
            let y = p.conv_bn_act(&name("conv1"), main, Op::Relu, x);
            let y = p.conv_bn(&name("conv2"), Conv::new(width, 3, 1, 1), y);
            let shortcut = if stride == 2 {
                p.conv_bn(&name("downsample"), Conv::new(width, 1, 2, 0), x)
            } else {
                x
            };
            let sum = p.add(&name("add"), Op::Add, &[y, shortcut]);
            x = p.add(&name("relu"), Op::Relu, &[sum]);
        }
    }
    pooled_classifier(&mut p, x);
    p
}

fn resnet50() -> Plan {
    let mut p = Plan::new("resnet50", &[3, 224, 224]);
    let mut x = resnet_stem(&mut p);
    let stages = [(64, 3), (128, 4), (256, 6), (512, 3)];
    for (stage, (width, blocks)) in stages.into_iter().enumerate() {
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let name = |part: &str| format!("layer{}.{block}.{part}", stage + 1);
            let y = p.conv_bn_act(&name("conv1"), Conv::new(width, 1, 1, 0), Op::Relu, x);
            let middle = Conv::new(width, 3, stride, 1);
            let y = p.conv_bn_act(&name("conv2"), middle, Op::Relu, y);
            let y = p.conv_bn(&name("conv3"), Conv::new(4 * width, 1, 1, 0), y);
            let shortcut = if block == 0 {
                p.conv_bn(&name("downsample"), Conv::new(4 * width, 1, stride, 0), x)
            } else {
                x
            };
            let sum = p.add(&name("add"), Op::Add, &[y, shortcut]);
            x = p.add(&name("relu"), Op::Relu, &[sum]);
        }
    }
    pooled_classifier(&mut p, x);
    p
}

fn resnet_stem(p: &mut Plan) -> Id {
    let x = p.conv_bn_act("conv1", Conv::new(64, 7, 2, 3), Op::Relu, 0);
    p.add("maxpool", Op::MaxPool(Window::new(3, 2).pad(1)), &[x])
}

fn pooled_classifier(p: &mut Plan, from: Id) {
    let x = p.add("avgpool", Op::GlobalAveragePool, &[from]);
    fully_connected(p, "fc", 1000, x);
}

fn mobilenetv2() -> Plan {
    let mut p = Plan::new("mobilenetv2", &[3, 224, 224]);
    let x = p.conv_bn_act("features.0", Conv::new(32, 3, 2, 1), Op::Relu6, 0);
    let stages = [
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 32, 3, 2, 3),
        (6, 64, 4, 2, 3),
        (6, 96, 3, 1, 3),
        (6, 160, 3, 2, 3),
        (6, 320, 1, 1, 3),
    ];
    let x = inverted_residuals(&mut p, &stages, Op::Relu6, None, x);
    let x = p.conv_bn_act("features.18", Conv::new(1280, 1, 1, 0), Op::Relu6, x);
    pooled_classifier(&mut p, x);
    p
}

fn efficientnet_lite0() -> Plan {
    let mut p = Plan::new("efficientnet-lite0", &[3, 224, 224]);
    let x = p.conv_bn_act("stem", Conv::new(32, 3, 2, 1), Op::Relu6, 0);
    let x = inverted_residuals(&mut p, &EFFICIENTNET, Op::Relu6, None, x);
    let x = p.conv_bn_act("head", Conv::new(1280, 1, 1, 0), Op::Relu6, x);
    pooled_classifier(&mut p, x);
    p
}

/// A stage of inverted residuals: expansion, channels, blocks, stride of the first, kernel.
type Stage = (usize, usize, usize, usize, usize);

/// Stages of `EfficientNet`'s smallest network and of its lite variant.
const EFFICIENTNET: [Stage; 7] = [
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
];

/// Stages of inverted residuals; the functions of a gate, where the blocks have one of a quarter of their inputs' width.
fn inverted_residuals(
    p: &mut Plan,
    stages: &[Stage],
    activation: Op,
    gate: Option<[Op; 2]>,
    from: Id,
) -> Id {
    let mut x = from;
    let mut number = 1;
    for &(expansion, outputs, blocks, first_stride, kernel) in stages {
        for block in 0..blocks {
            let inputs = p.nodes[x].shape[0];
            let residual = Residual {
                width: inputs * expansion,
                outputs,
                kernel,
                stride: if block == 0 { first_stride } else { 1 },
                activation,
                gate: gate.map(|functions| (inputs / 4, functions)),
            };
            x = residual.add(p, number, x);
            number += 1;
        }
    }
    x
}

/// An inverted residual: expansion, depthwise convolution, a gate where there is one, and projection.
struct Residual {
    width: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    activation: Op,
    /// Width of the gate, and its two functions.
    gate: Option<(usize, [Op; 2])>,
}

impl Residual {
    fn add(&self, p: &mut Plan, number: usize, from: Id) -> Id {
        let inputs = p.nodes[from].shape[0];
        let name = |part: &str| format!("features.{number}.{part}");
        let mut x = from;
        if self.width != inputs {
            let expand = Conv::new(self.width, 1, 1, 0);
            x = p.conv_bn_act(&name("expand"), expand, self.activation, x);
        }
        let depthwise = Conv::new(self.width, self.kernel, self.stride, self.kernel / 2);
        let depthwise = depthwise.groups(self.width);
        x = p.conv_bn_act(&name("depthwise"), depthwise, self.activation, x);
        if let Some((width, functions)) = self.gate {
            x = p.gate(&name("gate"), width, functions, x);
        }
        x = p.conv_bn(&name("project"), Conv::new(self.outputs, 1, 1, 0), x);
        if self.stride == 1 && inputs == self.outputs {
            x = p.add(&name("add"), Op::Add, &[x, from]);
        }
        x
    }
}

fn squeezenet() -> Plan {
    let mut p = Plan::new("squeezenet", &[3, 227, 227]);
    let pool = Op::MaxPool(Window::new(3, 2).ceil());
    let mut x = p.conv_relu("conv1", Conv::new(96, 7, 2, 0), 0);
    x = p.add("pool1", pool, &[x]);
    let fires = [
        (16, 64),
        (16, 64),
        (32, 128),
        (32, 128),
        (48, 192),
        (48, 192),
        (64, 256),
        (64, 256),
    ];
    for (index, (squeeze, expand)) in fires.into_iter().enumerate() {
        let fire = index + 2;
        let name = |part: &str| format!("fire{fire}/{part}");
        let s = p.conv_relu(&name("squeeze1x1"), Conv::new(squeeze, 1, 1, 0), x);
        let one = p.conv_relu(&name("expand1x1"), Conv::new(expand, 1, 1, 0), s);
        let three = p.conv_relu(&name("expand3x3"), Conv::new(expand, 3, 1, 1), s);
        x = p.add(&name("concat"), Op::Concat, &[one, three]);
        if matches!(fire, 4 | 8) {
            x = p.add(&format!("pool{fire}"), pool, &[x]);
        }
    }
    let x = p.conv_relu("conv10", Conv::new(1000, 1, 1, 0), x);
    p.add("pool10", Op::GlobalAveragePool, &[x]);
    p
}

fn densenet121() -> Plan {
    const GROWTH: usize = 32;
    let mut p = Plan::new("densenet121", &[3, 224, 224]);
    let mut x = resnet_stem(&mut p);
    for (stage, layers) in [6, 12, 24, 16].into_iter().enumerate() {
        for layer in 0..layers {
            let name =
                |part: &str| format!("denseblock{}.denselayer{}.{part}", stage + 1, layer + 1);
            let y = p.add(&name("norm1"), Op::BatchNorm, &[x]);
            let y = p.add(&name("relu1"), Op::Relu, &[y]);
            let bottleneck = Conv::new(4 * GROWTH, 1, 1, 0);
            let y = p.conv_bn_act(&name("conv1"), bottleneck, Op::Relu, y);
            let y = p.add(
                &name("conv2"),
                Op::Conv(Conv::new(GROWTH, 3, 1, 1).no_bias()),
                &[y],
            );
            x = p.add(&name("concat"), Op::Concat, &[x, y]);
        }
        let name = |part: &str| format!("transition{}.{part}", stage + 1);
        let y = p.add(&name("norm"), Op::BatchNorm, &[x]);
        x = p.add(&name("relu"), Op::Relu, &[y]);
        if stage < 3 {
            let half = p.nodes[x].shape[0] / 2;
            let y = p.add(
                &name("conv"),
                Op::Conv(Conv::new(half, 1, 1, 0).no_bias()),
                &[x],
            );
            x = p.add(&name("pool"), Op::AveragePool(Window::new(2, 2)), &[y]);
        }
    }
    pooled_classifier(&mut p, x);
    p
}

fn shufflenet() -> Plan {
    const GROUPS: usize = 3;
    let mut p = Plan::new("shufflenet", &[3, 224, 224]);
    let x = p.conv_bn_act("conv1", Conv::new(24, 3, 2, 1), Op::Relu, 0);
    let mut x = p.add("maxpool", Op::MaxPool(Window::new(3, 2).pad(1)), &[x]);
    for (stage, (channels, blocks)) in [(240, 4), (480, 8), (960, 4)].into_iter().enumerate() {
        for block in 0..blocks {
            let name = |part: &str| format!("stage{}.{block}.{part}", stage + 2);
            let inputs = p.nodes[x].shape[0];
            let (stride, outputs) = if block == 0 {
                (2, channels - inputs)
            } else {
                (1, channels)
            };
            let width = channels / 4;
            // The first pointwise convolution has few inputs and is not grouped.
            let groups = if stage == 0 && block == 0 { 1 } else { GROUPS };
            let first = Conv::new(width, 1, 1, 0).groups(groups);
            let y = p.conv_bn_act(&name("compress"), first, Op::Relu, x);
            let y = p.add(&name("shuffle"), Op::Shuffle { groups: GROUPS }, &[y]);
            let depthwise = Conv::new(width, 3, stride, 1).groups(width);
            let y = p.conv_bn(&name("depthwise"), depthwise, y);
            let y = p.conv_bn(
                &name("expand"),
                Conv::new(outputs, 1, 1, 0).groups(GROUPS),
                y,
            );
            let joined = if stride == 2 {
                let window = Window::new(3, 2).pad(1);
                let shortcut = p.add(&name("avgpool"), Op::AveragePool(window), &[x]);
                p.add(&name("concat"), Op::Concat, &[y, shortcut])
            } else {
                p.add(&name("add"), Op::Add, &[y, x])
            };
            x = p.add(&name("relu"), Op::Relu, &[joined]);
        }
    }
    pooled_classifier(&mut p, x);
    p
}
