//! Random networks, compiled and simulated, against the integer interpreter to the bit and the float model in decibels.

use crate::agreement::{compiled, compiled_as, decibels, floats, run_checked};
use crate::onnx::{Model, float, int, ints, noise, text};
use proptest::prelude::*;
use scnn_isa::asm;
use scnn_isa::machine::Machine;
use scnn_isa::program::Ranges;
use scnnc::quantise;
use scnnc::quantise::widths::{Bits, Widths};
use std::collections::BTreeMap;
use tract_onnx::prelude::Tensor;

/// One layer of a random network, as choices that always give a valid one.
#[derive(Clone, Debug)]
struct Block {
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_compiled_network_computes_what_the_interpreter_and_the_float_model_compute(
        blocks in prop::collection::vec(block(), 1..7),
        shape in (1i64..6, 3i64..20, 3i64..20),
        batch in 1i64..3,
        small: bool,
        seed: u64,
    ) {
        let shape = [shape.0, shape.1, shape.2];
        let mut builder = Builder::new(shape, batch);
        for block in &blocks {
            builder.add(block);
        }
        let (last, _) = builder.tensors.last().unwrap().clone();
        prop_assume!(last != "x");
        let count = (batch * shape[0] * shape[1] * shape[2]) as usize;
        let dims = [batch as usize, shape[0] as usize, shape[1] as usize, shape[2] as usize];
        let input = Tensor::from_shape(&dims, &noise(count, seed, 0.7)).unwrap();
        let sample = BTreeMap::from([("x".to_owned(), input)]);
        let mut machine = Machine::preset("scnn").unwrap();
        if small {
            // Little room: temporal tiles, spills, split blocks.
            (machine.activation_ram.a_bytes, machine.activation_ram.b_bytes) = (192, 192);
            (machine.array.rows, machine.array.cols) = (2, 2);
            machine.weights.fifo_vectors = 2;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, builder.model.output(&last).bytes()).unwrap();
        let compiled = compiled(&path, machine, &sample);

        let bytes = compiled.program.to_bytes();
        let text = asm::disassemble(&compiled.program, &asm::Options::default());
        prop_assert_eq!(asm::assemble(&text).unwrap().to_bytes(), bytes);

        let execution = run_checked(&compiled, &sample);
        let float = floats(&compiled.float.run(&sample).unwrap()[&last]);
        prop_assert!(float.iter().all(|v| v.is_finite()));
        let peak = float.iter().fold(0f32, |peak, v| peak.max(v.abs()));
        let ratio = decibels(&compiled, &sample, &execution);
        // An output of almost nothing has no meaningful ratio.
        prop_assert!(peak < 1e-3 || ratio > 40.0, "{ratio} dB");
    }

    /// Narrow operands, and sums that were seen instead of proven: what was calibrated on never overflows.
    #[test]
    fn any_widths_and_calibrated_sums_agree_to_the_bit(
        blocks in prop::collection::vec(block(), 1..5),
        shape in (1i64..6, 3i64..12, 3i64..12),
        weights in 2u32..=16,
        activations in 2u32..=16,
        seed: u64,
    ) {
        let shape = [shape.0, shape.1, shape.2];
        let mut builder = Builder::new(shape, 1);
        for block in &blocks {
            builder.add(block);
        }
        let (last, _) = builder.tensors.last().unwrap().clone();
        prop_assume!(last != "x");
        let dims = [1, shape[0] as usize, shape[1] as usize, shape[2] as usize];
        let input = Tensor::from_shape(&dims, &noise(dims.iter().product(), seed, 0.7)).unwrap();
        let sample = BTreeMap::from([("x".to_owned(), input)]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, builder.model.output(&last).bytes()).unwrap();
        let options = quantise::Options {
            widths: Widths { network: Bits { weights, activations }, ..Widths::default() },
            ranges: Ranges::Calibrated,
            ..quantise::Options::default()
        };
        let compiled = compiled_as(&path, Machine::preset("scnn").unwrap(), &sample, options);
        for (tensor, contents) in compiled.network.tensors.iter().zip(&run_checked(&compiled, &sample).tensors) {
            let bits = tensor.range[1].ilog2() + 2;
            prop_assert!(bits <= activations, "{} has {bits} bits", tensor.name);
            prop_assert!(contents.iter().all(|v| (tensor.range[0]..=tensor.range[1]).contains(v)));
        }
    }
}
