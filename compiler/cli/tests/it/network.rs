//! Random networks of every operator that the machine has a place for.

use crate::onnx::{Model, float, int, ints, noise, text};
use proptest::prelude::*;
use std::ops::Range;
use tract_onnx::prelude::Tensor;

/// A random network and the seed of its input, `x`.
#[derive(Clone, Debug)]
pub struct Network {
    blocks: Vec<Block>,
    /// C, H, W of the input.
    shape: [i64; 3],
    batch: i64,
    seed: u64,
}

/// Networks of so many layers, on planes of such extents, for such batches.
pub fn networks(
    layers: Range<usize>,
    extents: Range<i64>,
    batches: Range<i64>,
) -> impl Strategy<Value = Network> {
    let shape = (1i64..6, extents.clone(), extents);
    let blocks = prop::collection::vec(block(), layers);
    (blocks, shape, batches, any::<u64>())
        .prop_map(|(blocks, (c, h, w), batch, seed)| Network {
            blocks,
            shape: [c, h, w],
            batch,
            seed,
        })
        .prop_filter("it computes nothing", |network| network.output() != "x")
}

impl Network {
    fn built(&self) -> Builder {
        let mut builder = Builder::new(self.shape, self.batch);
        for block in &self.blocks {
            builder.add(block);
        }
        builder
    }

    /// The name of its one output.
    pub fn output(&self) -> String {
        let last = self.built().tensors.pop();
        last.map(|(name, _)| name).unwrap()
    }

    /// The ONNX file.
    pub fn bytes(&self) -> Vec<u8> {
        self.built().model.output(&self.output()).bytes()
    }

    /// `[N, C, H, W]` of the input.
    pub fn dims(&self) -> [usize; 4] {
        let [c, h, w] = self.shape;
        [self.batch, c, h, w].map(|extent| extent as usize)
    }

    /// What the input holds.
    pub fn values(&self) -> Vec<f32> {
        noise(self.dims().iter().product(), self.seed, 0.7)
    }

    /// The input.
    pub fn input(&self) -> Tensor {
        Tensor::from_shape(&self.dims(), &self.values()).unwrap()
    }
}

/// One layer of a random network, as choices that always give a valid one.
#[derive(Clone, Debug)]
pub struct Block {
    kind: u8,
    channels: i64,
    kernel: i64,
    stride: i64,
    pad: i64,
    dilation: i64,
    density: f64,
    seed: u64,
    /// Which earlier tensor a join takes.
    earlier: usize,
}

fn block() -> impl Strategy<Value = Block> {
    (
        0u8..17,
        1i64..7,
        1i64..4,
        1i64..3,
        0i64..2,
        1i64..3,
        0.1f64..1.0,
        any::<u64>(),
        0usize..8,
    )
        .prop_map(
            |(kind, channels, kernel, stride, pad, dilation, density, seed, earlier)| Block {
                kind,
                channels,
                kernel,
                stride,
                pad,
                dilation,
                density,
                seed,
                earlier,
            },
        )
}

/// A network under construction: the model and the name and extents `[C, H, W]` of every tensor.
struct Builder {
    model: Model,
    tensors: Vec<(String, [i64; 3])>,
}

impl Builder {
    fn new(shape: [i64; 3], batch: i64) -> Self {
        let [c, h, w] = shape;
        let model = Model::new("random").input("x", &[batch, c, h, w]);
        Self {
            model,
            tensors: vec![("x".to_owned(), shape)],
        }
    }

    fn push(&mut self, shape: [i64; 3], build: impl FnOnce(Model, &str) -> Model) {
        let name = format!("t{}", self.tensors.len());
        self.model = build(std::mem::take(&mut self.model), &name);
        self.tensors.push((name, shape));
    }

    fn add(&mut self, b: &Block) {
        let (input, [c, h, w]) = self.tensors.last().unwrap().clone();
        let out =
            |extent: i64| (extent + 2 * b.pad - b.dilation * (b.kernel - 1) - 1) / b.stride + 1;
        let fits = |extent: i64| extent + 2 * b.pad > b.dilation * (b.kernel - 1);
        let window = || {
            vec![
                ints("kernel_shape", &[b.kernel, b.kernel]),
                ints("strides", &[b.stride, b.stride]),
                ints("pads", &[b.pad; 4]),
            ]
        };
        match b.kind {
            0..=3 if fits(h) && fits(w) => {
                // 2: groups; 3: depthwise.
                let groups = match b.kind {
                    2 if c % 2 == 0 => 2,
                    3 => c,
                    _ => 1,
                };
                let k = b.channels.div_euclid(groups).max(1) * groups;
                let weights = k * (c / groups) * b.kernel * b.kernel;
                self.push([k, out(h), out(w)], |model, name| {
                    let (weight, bias) = (format!("{name}.w"), format!("{name}.b"));
                    let mut attributes = window();
                    attributes.push(ints("dilations", &[b.dilation, b.dilation]));
                    attributes.push(int("group", groups));
                    model
                        .floats(
                            &weight,
                            &[k, c / groups, b.kernel, b.kernel],
                            &noise(weights as usize, b.seed, b.density),
                        )
                        .floats(&bias, &[k], &noise(k as usize, b.seed ^ 1, 1.0))
                        .node("Conv", &[&input, &weight, &bias], name, attributes)
                });
            }
            4 => self.push([c, h, w], |model, name| {
                model.node("Relu", &[&input], name, vec![])
            }),
            5 => self.push([c, h, w], |model, name| {
                model.node("LeakyRelu", &[&input], name, vec![float("alpha", 0.1)])
            }),
            6 | 7 if h + 2 * b.pad >= b.kernel && w + 2 * b.pad >= b.kernel && b.pad < b.kernel => {
                let out = |extent: i64| (extent + 2 * b.pad - b.kernel) / b.stride + 1;
                let operator = if b.kind == 6 {
                    "MaxPool"
                } else {
                    "AveragePool"
                };
                self.push([c, out(h), out(w)], |model, name| {
                    model.node(operator, &[&input], name, window())
                });
            }
            8 => {
                let same: Vec<String> = self
                    .tensors
                    .iter()
                    .filter(|(_, shape)| *shape == [c, h, w])
                    .map(|(name, _)| name.clone())
                    .collect();
                let other = same[b.earlier % same.len()].clone();
                self.push([c, h, w], |model, name| {
                    model.node("Add", &[&input, &other], name, vec![])
                });
            }
            9 => {
                let same: Vec<(String, i64)> = self
                    .tensors
                    .iter()
                    .filter(|(_, [_, eh, ew])| (*eh, *ew) == (h, w))
                    .map(|(name, shape)| (name.clone(), shape[0]))
                    .collect();
                let (other, channels) = same[b.earlier % same.len()].clone();
                if c + channels <= 24 {
                    self.push([c + channels, h, w], |model, name| {
                        model.node("Concat", &[&input, &other], name, vec![int("axis", 1)])
                    });
                }
            }
            10 => self.push([c, h, w], |model, name| {
                let parameters = ["g", "b", "m", "v"].map(|p| format!("{name}.{p}"));
                let mut model = model;
                for (i, parameter) in parameters.iter().enumerate() {
                    let values = noise(c as usize, b.seed ^ i as u64, 1.0);
                    let positive: Vec<f32> = values
                        .iter()
                        .map(|v| if i == 3 { v.abs() + 0.5 } else { *v })
                        .collect();
                    model = model.floats(parameter, &[c], &positive);
                }
                let [g, o, m, v] = parameters.each_ref().map(String::as_str);
                model.node("BatchNormalization", &[&input, g, o, m, v], name, vec![])
            }),
            11 => self.push([c, h, w], |model, name| {
                model.node("Softmax", &[&input], name, vec![int("axis", 1)])
            }),
            _ => self.add_movement(b, &input, [c, h, w]),
        }
    }

    /// Padding, cropping, enlargement, a gated activation, a transposed convolution.
    fn add_movement(&mut self, b: &Block, input: &str, [c, h, w]: [i64; 3]) {
        match b.kind {
            12 => {
                let pads = [b.pad, b.kernel - 1, 1, b.stride - 1];
                let shape = [c, h + pads[0] + pads[2], w + pads[1] + pads[3]];
                self.push(shape, |model, name| {
                    let all = format!("{name}.pads");
                    let [top, left, bottom, right] = pads;
                    model
                        .integers(&all, &[0, 0, top, left, 0, 0, bottom, right])
                        .node("Pad", &[input, &all], name, vec![])
                });
            }
            13 if h > b.pad + 1 && w > b.stride => {
                // Channels from the second on, where there are two; rows and columns by steps.
                let begins = [i64::from(c > 1), b.pad, b.stride - 1];
                let ends = [c, h, w - 1];
                // tract 0.23 moves a strided slice before a dilated convolution, and then computes something else than
                // ONNX Runtime and the simulator do: steps only where no convolution comes before.
                let mut nodes = self.model.graph.node.iter();
                let steps = if nodes.any(|node| node.op_type.starts_with("Conv")) {
                    [1; 3]
                } else {
                    [1, b.stride, b.dilation]
                };
                let extent = |i: usize| (ends[i] - begins[i] - 1) / steps[i] + 1;
                if (0..3).all(|i| ends[i] > begins[i]) {
                    self.push([extent(0), extent(1), extent(2)], |model, name| {
                        let names = ["b", "e", "a", "s"].map(|n| format!("{name}.{n}"));
                        let [begin, end, axes, step] = names.each_ref().map(String::as_str);
                        model
                            .integers(begin, &begins)
                            .integers(end, &ends)
                            .integers(axes, &[1, 2, 3])
                            .integers(step, &steps)
                            .node("Slice", &[input, begin, end, axes, step], name, vec![])
                    });
                }
            }
            14 if h * w <= 400 => self.push([c, h * b.stride, w * b.kernel], |model, name| {
                let scales = format!("{name}.scales");
                model
                    .floats(&scales, &[4], &[1.0, 1.0, b.stride as f32, b.kernel as f32])
                    .node(
                        "Resize",
                        &[input, "", &scales],
                        name,
                        vec![
                            text("mode", "nearest"),
                            text("coordinate_transformation_mode", "asymmetric"),
                            text("nearest_mode", "floor"),
                        ],
                    )
            }),
            15 => {
                let gate = format!("t{}.gate", self.tensors.len());
                self.push([c, h, w], |model, name| {
                    model.node("Sigmoid", &[input], &gate, vec![]).node(
                        "Mul",
                        &[input, &gate],
                        name,
                        vec![],
                    )
                });
            }
            16 if h * w <= 400 => {
                let out =
                    |extent: i64| (extent - 1) * b.stride + b.dilation * (b.kernel - 1) + 1 - b.pad;
                if out(h) > 0 && out(w) > 0 {
                    self.push([b.channels, out(h), out(w)], |model, name| {
                        let weight = format!("{name}.w");
                        let count = c * b.channels * b.kernel * b.kernel;
                        model
                            .floats(
                                &weight,
                                &[c, b.channels, b.kernel, b.kernel],
                                &noise(count as usize, b.seed, b.density),
                            )
                            .node(
                                "ConvTranspose",
                                &[input, &weight],
                                name,
                                vec![
                                    ints("strides", &[b.stride, b.stride]),
                                    ints("dilations", &[b.dilation, b.dilation]),
                                    ints("pads", &[b.pad, 0, 0, b.pad]),
                                ],
                            )
                    });
                }
            }
            _ => {}
        }
    }
}
