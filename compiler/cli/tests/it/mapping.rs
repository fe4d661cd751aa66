//! Mappings: any legal one computes the same, a search is no worse than it says, a file is what it was written from.

mod machines;

use proptest::prelude::*;
use scnn_host::Host;
use scnn_isa::arith::{Requantise, Rounding};
use scnn_isa::ids::TensorId;
use scnn_isa::layer::{PoolKind, View, WeightOrder};
use scnn_isa::layout::Layout;
use scnn_isa::machine::{Delivery, Machine};
use scnn_isa::plane::{Axis, Span};
use scnn_isa::program::{Dtype, Program, Provenance};
use scnn_isa::verify::verify;
use scnn_simulator::energy::Energy;
use scnn_simulator::{Options as RunOptions, Simulator};
use scnnc::compile;
use scnnc::emit::emit;
use scnnc::map::candidates::{balanced_groups, cuts};
use scnnc::map::contents::Contents;
use scnnc::map::cost::{Candidate, Depth, Positions, Traffic};
use scnnc::map::occupancy::Occupancy;
use scnnc::map::residency::{Residency, Staging};
use scnnc::map::tiling::{Cutter, Tiling, accumulators, passes};
use scnnc::map::weights::{BlockSizes, taps_of_residues};
use scnnc::map::{self, LayerMapping, Mapped, Strategy as Mapping};
use scnnc::quantise::nonzeros::of_operations;
use scnnc::quantise::{IntConv, IntLayer, IntPool, Operation, Quantised, Tensor, Value};
use scnnc::reference::interpret::interpret;
use scnnc::reference::segments::Segments;
use std::collections::BTreeMap;
use std::sync::Arc;
use tract_onnx::prelude::Tensor as HostTensor;

/// A layer to be made.
#[derive(Clone, Debug)]
struct Shape {
    outputs: u32,
    groups: bool,
    kernel: u32,
    stride: u32,
    pad: u32,
    pool: bool,
    density: u32,
}

/// A chain of convolutions on one input.
#[derive(Clone, Debug)]
struct Chain {
    input: [u32; 4],
    layers: Vec<Shape>,
    seed: u64,
}

prop_compose! {
    fn shapes()(
        outputs in 1u32..20, groups in any::<bool>(), kernel in 1u32..4, stride in 1u32..3, pad in 0u32..2,
        pool in any::<bool>(), density in 1u32..10,
    ) -> Shape {
        Shape { outputs: outputs * 2, groups, kernel, stride, pad: pad.min(kernel - 1), pool, density }
    }
}

prop_compose! {
    fn chains()(
        n in 1u32..4, c in 1u32..9, h in 1u32..20, w in 1u32..20, layers in prop::collection::vec(shapes(), 1..3),
        seed in any::<u64>(),
    ) -> Chain {
        Chain { input: [n, c * 2, h, w], layers, seed }
    }
}

/// Random numbers, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }
}

/// An axis of a convolution; none when its output would be empty.
fn axis(input: u32, shape: &Shape) -> Option<Axis> {
    let padded = input + 2 * shape.pad;
    let output = padded.checked_sub(shape.kernel)? / shape.stride + 1;
    let pad = shape.pad as i32;
    Some(Axis {
        input,
        output,
        kernel: shape.kernel,
        stride: shape.stride,
        upsample: 1,
        dilation: 1,
        pad: [pad, pad],
    })
}

/// The network of a chain, and its input.
fn network(chain: &Chain) -> (Quantised, Vec<f32>) {
    let mut random = Random(chain.seed);
    let tensor = |number: usize, shape: [u32; 4]| Tensor {
        name: format!("t{number}"),
        shape,
        scale: 1.0,
        channel_shifts: Vec::new(),
        range: if number == 0 { [-99, 99] } else { [0, 99] },
        rounding: Rounding::Away,
        density: 0.5,
    };
    let mut tensors = vec![tensor(0, chain.input)];
    let mut operations = Vec::new();
    for (number, shape) in chain.layers.iter().enumerate() {
        let [n, c, h, w] = tensors[number].shape;
        let (Some(y), Some(x)) = (axis(h, shape), axis(w, shape)) else {
            break;
        };
        let groups = if shape.groups && c % 2 == 0 { 2 } else { 1 };
        let count = shape.outputs * (c / groups) * shape.kernel * shape.kernel;
        let weights = (0..count)
            .map(|_| {
                let value = random.below(50) as i16 - 25;
                if random.below(10) < u64::from(shape.density) {
                    value
                } else {
                    0
                }
            })
            .collect();
        let halved = |extent: u32| Axis {
            output: extent / 2,
            kernel: 2,
            stride: 2,
            ..Axis::identity(extent)
        };
        let pool = (shape.pool && y.output > 1 && x.output > 1).then(|| IntPool {
            kind: PoolKind::Max,
            y: halved(y.output),
            x: halved(x.output),
            multiplier: 1,
            shift: 0,
        });
        let (out_h, out_w) = pool.map_or((y.output, x.output), |p| (p.y.output, p.x.output));
        tensors.push(tensor(number + 1, [n, shape.outputs, out_h, out_w]));
        let view = |tensor: usize, channels: u32| View {
            tensor: TensorId(tensor as u32),
            channels: Span::new(0, channels),
        };
        operations.push(Operation::Layer(Box::new(IntLayer {
            name: format!("layer{number}"),
            onnx_nodes: vec![format!("node{number}")],
            tensor: format!("t{}", number + 1),
            placement: None,
            source: view(number, c),
            destination: view(number + 1, shape.outputs),
            conv: Some(IntConv {
                weights: Arc::new(weights),
                groups,
                y,
                x,
                product_shift: 0,
            }),
            source_shift: 0,
            requantise: (0..shape.outputs)
                .map(|_| Requantise {
                    bias: random.below(400) as i32 - 200,
                    multiplier: 20_000,
                    shift: 22,
                    offset: 0.0,
                })
                .collect(),
            rounding: Rounding::Away,
            divisor: 1.0,
            operand: None,
            function: None,
            clamp: [0, 99],
            pool,
        })));
    }
    let elements = chain.input.iter().product::<u32>();
    let input = (0..elements)
        .map(|_| {
            if random.below(2) == 0 {
                0.0
            } else {
                random.below(99) as f32 - 40.0
            }
        })
        .collect();
    (chained(tensors, operations), input)
}

/// Tensors and operations as a network: the host sees the first and the last tensor.
fn chained(tensors: Vec<Tensor>, operations: Vec<Operation>) -> Quantised {
    let value = |number: usize| Value {
        name: tensors[number].name.clone(),
        dtype: Dtype::F32,
        declared: None,
        dims: tensors[number]
            .shape
            .iter()
            .map(|&d| u64::from(d))
            .collect(),
        tensor: Some(TensorId(number as u32)),
        placement: None,
    };
    let last = tensors.len() - 1;
    let values = if last == 0 {
        vec![value(0)]
    } else {
        vec![value(0), value(last)]
    };
    let outputs = vec![values.len() - 1];
    Quantised {
        name: "chain".to_owned(),
        tensors,
        nonzeros: of_operations(&operations),
        operations,
        values,
        inputs: vec![0],
        outputs,
    }
}

/// All tensors of the interpreter, as the occupancy wants them.
fn computed(network: &Quantised, input: &[f32]) -> (BTreeMap<String, HostTensor>, Vec<Vec<i16>>) {
    let dims: Vec<usize> = network.tensors[0]
        .shape
        .iter()
        .map(|&d| d as usize)
        .collect();
    let given = BTreeMap::from([(
        "t0".to_owned(),
        HostTensor::from_shape(&dims, input).unwrap(),
    )]);
    let segments = Segments::load(network, &Host::default()).unwrap();
    let reference = interpret(network, &given, &segments).unwrap();
    let mut values = given;
    for (tensor, contents) in network.tensors.iter().zip(&reference.tensors) {
        let floats: Vec<f32> = contents.iter().map(|&v| f32::from(v)).collect();
        let dims: Vec<usize> = tensor.shape.iter().map(|&d| d as usize).collect();
        values.insert(
            tensor.name.clone(),
            HostTensor::from_shape(&dims, &floats).unwrap(),
        );
    }
    (values, reference.tensors)
}

/// Runs a mapping and compares every tensor with the interpreter's; cycles of every layer.
fn executed(
    network: &Quantised,
    machine: &Machine,
    mapped: &Mapped,
    values: &BTreeMap<String, HostTensor>,
    reference: &[Vec<i16>],
) -> Vec<u64> {
    let program = emit(network, mapped, machine, Provenance::default(), &());
    verify(&program).unwrap_or_else(|problems| panic!("{problems:?}"));
    let program = Program::from_bytes(&program.to_bytes()).unwrap();
    let simulator = Simulator::new(&program, &Host::default()).unwrap();
    let execution = simulator.run(values, &RunOptions::default()).unwrap();
    assert!(
        execution.tensors == reference,
        "another result than the interpreter's"
    );
    execution
        .operations
        .iter()
        .map(|operation| operation.cycles)
        .collect()
}

/// What the tiles of a layout hold.
fn contents(
    machine: &Machine,
    occupancy: &Occupancy,
    tensor: TensorId,
    layout: &Layout,
) -> Arc<Contents> {
    let format = machine.activation_format();
    let width = machine.pe.activations_per_vector;
    let counts = occupancy.count(tensor, layout, format);
    Arc::new(Contents::of(&counts, format, width))
}

/// A mapping drawn from all that are legal.
fn drawn(
    network: &Quantised,
    machine: &Machine,
    occupancy: &Occupancy,
    random: &mut Random,
) -> Mapped {
    let count = |tensor, layout: &Layout| contents(machine, occupancy, tensor, layout);
    let mut tiling = Tiling::paper(network, machine, count).unwrap();
    let mut layers = Vec::new();
    for (number, operation) in network.operations.iter().enumerate() {
        let tensor = TensorId(number as u32);
        let cutter = Cutter::new(network, machine, tensor);
        let all = cuts(&cutter, machine, network.tensor(tensor).shape);
        let cut = all[random.below(all.len() as u64) as usize];
        let layout = cutter.layout(cut);
        let contents = contents(machine, occupancy, tensor, &layout);
        tiling.set(tensor, layout.clone(), cut.parts, &contents);
        let Operation::Layer(layer) = operation else {
            unreachable!()
        };
        let conv = layer.conv.as_ref().unwrap();
        let passes = passes(cut.parts, network, layer);
        let most =
            u64::from(machine.accumulator_entries()) / accumulators(&layout, layer, &passes).max(1);
        let kc = random.below(most.min(64)) as u32 + 1;
        let weights: Vec<u64> = (0..layer.destination.channels.len())
            .map(|_| random.below(9))
            .collect();
        let channel_groups = balanced_groups(&weights, conv.groups, cut.groups.count(), kc);
        layers.push(Some(LayerMapping {
            passes,
            pe_groups: cut.groups,
            kc: channel_groups.iter().map(|k| k.len()).max().unwrap(),
            channel_groups,
            order: if random.below(2) == 0 {
                WeightOrder::Krs
            } else {
                WeightOrder::Rsk
            },
        }));
    }
    let mut residency = Residency::plan(network, machine, &tiling);
    for stage in residency.stages.iter_mut().flatten() {
        if let Staging::Alternate([slot, _]) = *stage
            && random.below(2) == 0
        {
            *stage = Staging::PerTile(slot);
        }
    }
    let mut mapped = Mapped {
        layouts: tiling.layouts,
        residency,
        layers,
        predicted: Vec::new(),
    };
    mapped.predicted = map::predict(network, machine, occupancy, &mapped);
    mapped
}

fn machine(multicast: bool, small: bool) -> Machine {
    let mut machine = Machine::preset(if multicast { "scnn-multicast" } else { "scnn" }).unwrap();
    if small {
        (machine.array.rows, machine.array.cols) = (2, 4);
        (
            machine.activation_ram.a_bytes,
            machine.activation_ram.b_bytes,
        ) = (640, 640);
        (machine.pe.entries_per_bank, machine.weights.fifo_vectors) = (4, 8);
    }
    machine
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_legal_mapping_computes_what_the_interpreter_computes(
        chain in chains(), multicast in any::<bool>(), small in any::<bool>(), draw in any::<u64>(),
    ) {
        let machine = machine(multicast, small);
        let (network, input) = network(&chain);
        prop_assume!(!network.operations.is_empty());
        let (values, reference) = computed(&network, &input);
        let occupancy = Occupancy::of(&network, &values);
        let mapped = drawn(&network, &machine, &occupancy, &mut Random(draw));
        executed(&network, &machine, &mapped, &values, &reference);
    }

    #[test]
    fn a_search_is_legal_predicts_its_cycles_and_is_no_slower_than_the_paper(
        chain in chains(), multicast in any::<bool>(), small in any::<bool>(),
    ) {
        let machine = machine(multicast, small);
        let (network, input) = network(&chain);
        prop_assume!(!network.operations.is_empty());
        let (values, reference) = computed(&network, &input);
        let occupancy = Occupancy::of(&network, &values);
        let run = |strategy| {
            let options = map::Options { strategy, ..map::Options::default() };
            let mapped = map::map(&network, &machine, &occupancy, options, &()).unwrap();
            let cycles = executed(&network, &machine, &mapped, &values, &reference);
            (mapped, cycles)
        };
        let ((paper, paper_cycles), (search, cycles)) = (run(Mapping::Paper), run(Mapping::Search));
        // Where weights are broadcast, no layer is slower; PE groups trade one layer for another.
        let operations: Vec<std::ops::Range<usize>> = match machine.weights.delivery {
            Delivery::Broadcast => (0..cycles.len()).map(|operation| operation..operation + 1).collect(),
            Delivery::Multicast => std::iter::once(0..cycles.len()).collect(),
        };
        for operations in operations {
            let told = |mapped: &Mapped| -> u64 {
                mapped.predicted[operations.clone()].iter().map(|cost| cost.unwrap().cycles).sum()
            };
            prop_assert!(told(&search) <= told(&paper));
            let (ours, theirs) = (&cycles[operations.clone()], &paper_cycles[operations.clone()]);
            let (ours, theirs): (u64, u64) = (ours.iter().sum(), theirs.iter().sum());
            // Bank queues are a mean in the model; layers of a few hundred cycles feel every one.
            prop_assert!(ours <= theirs + theirs / 10 + 64, "operations {operations:?}: {ours} against {theirs}");
        }
    }

    #[test]
    fn a_search_that_begins_with_what_it_explored_finds_the_same(
        chain in chains(), multicast in any::<bool>(), small in any::<bool>(), which in 0usize..3,
    ) {
        let machine = machine(multicast, small);
        let (network, input) = network(&chain);
        prop_assume!(!network.operations.is_empty());
        let (values, _) = computed(&network, &input);
        let occupancy = Occupancy::of(&network, &values);
        let objective = map::Objective::ALL[which];
        let (found, explored) = map::map_exploring(&network, &machine, &occupancy, objective).unwrap();
        let again = map::map_anew(&network, &machine, &occupancy, objective, &explored).unwrap();
        prop_assert!(again.same_decisions(&found));
    }

    /// Loads, tiles and results of a layer of the PPU alone take turns in DRAM.
    #[test]
    fn a_pooling_layer_alone_takes_the_cycles_that_are_predicted(
        (n, c, h, w) in (1u32..9, 1u32..30, 4u32..40, 4u32..40), multicast in any::<bool>(), small in any::<bool>(),
        search in any::<bool>(), seed in any::<u64>(),
    ) {
        let machine = machine(multicast, small);
        let shape = Shape { outputs: c * 2, groups: false, kernel: 1, stride: 1, pad: 0, pool: true, density: 0 };
        let (mut network, input) = network(&Chain { input: [n, c * 2, h, w], layers: vec![shape], seed });
        let Some(Operation::Layer(layer)) = network.operations.first_mut() else { unreachable!() };
        layer.conv = None;
        layer.requantise.fill(Requantise::IDENTITY);
        let (values, reference) = computed(&network, &input);
        let occupancy = Occupancy::of(&network, &values);
        let strategy = if search { Mapping::Search } else { Mapping::Paper };
        let options = map::Options { strategy, ..map::Options::default() };
        let mapped = map::map(&network, &machine, &occupancy, options, &()).unwrap();
        let cycles = executed(&network, &machine, &mapped, &values, &reference)[0];
        let predicted = mapped.predicted[0].unwrap().cycles;
        let passes = mapped.layers[0].as_ref().unwrap().passes.len() as u64;
        prop_assert!(predicted.abs_diff(cycles) <= cycles / 20 + 2 * passes, "{predicted} for {cycles}");
    }

    #[test]
    fn a_mapping_survives_its_file(chain in chains(), multicast in any::<bool>(), draw in any::<u64>()) {
        let machine = machine(multicast, false);
        let (network, input) = network(&chain);
        prop_assume!(!network.operations.is_empty());
        let (values, _) = computed(&network, &input);
        let occupancy = Occupancy::of(&network, &values);
        let mapped = drawn(&network, &machine, &occupancy, &mut Random(draw));
        let text = map::file::write(&network, &mapped).unwrap();
        let read = map::file::read(&text, &network, &machine).unwrap();
        prop_assert!(read.same_decisions(&mapped), "{text}");
        prop_assert_eq!(map::file::write(&network, &read).unwrap(), text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// The search looks whole at a few cuts and samples groupings; the optimum is over all cuts and all group sizes.
    /// Layers of less than a hundred cycles are nothing but their first and last blocks: 48 cycles are allowed besides.
    #[test]
    fn on_small_layers_the_search_is_within_a_tenth_of_the_optimum(
        chain in chains(), multicast in any::<bool>(),
    ) {
        let [n, c, h, w] = chain.input;
        let input = [n, c, h % 9 + 1, w % 9 + 1];
        let chain = Chain { input, layers: chain.layers[..1].to_vec(), ..chain };
        // With PE groups there are hundreds of cuts: a small array keeps their number down.
        let mut machine = machine(multicast, false);
        if multicast {
            (machine.array.rows, machine.array.cols) = (2, 4);
        }
        let (network, input) = network(&chain);
        prop_assume!(!network.operations.is_empty());
        let (values, _) = computed(&network, &input);
        let occupancy = Occupancy::of(&network, &values);
        let options = map::Options::default();
        let found = map::map(&network, &machine, &occupancy, options, &()).unwrap();
        let found = found.predicted[0].unwrap().cycles;
        let best = optimum(&network, &machine, &occupancy);
        prop_assert!(found as f64 <= best as f64 * 1.1 + 48.0, "found {found}, the optimum is {best}");
    }
}

/// The least cycles of the only layer over all cuts and group sizes, its source loaded beside the array.
fn optimum(network: &Quantised, machine: &Machine, occupancy: &Occupancy) -> u64 {
    let Operation::Layer(layer) = &network.operations[0] else {
        unreachable!()
    };
    let conv = layer.conv.as_ref().unwrap();
    let outputs = layer.destination.channels.len();
    let weights = network.nonzeros[0].as_ref().unwrap();
    let tensor = TensorId(0);
    let cutter = Cutter::new(network, machine, tensor);
    // The result goes to DRAM in the layout that it has without readers.
    let count = |tensor, layout: &Layout| contents(machine, occupancy, tensor, layout);
    let tiling = Tiling::paper(network, machine, count).unwrap();
    let result_bytes = tiling.contents()[1].bytes_of(Span::new(0, outputs));
    let mut best = u64::MAX;
    for cut in cuts(&cutter, machine, network.tensor(tensor).shape) {
        let layout = cutter.layout(cut);
        let contents = contents(machine, occupancy, tensor, &layout);
        let passes = passes(cut.parts, network, layer);
        let most =
            u64::from(machine.accumulator_entries()) / accumulators(&layout, layer, &passes).max(1);
        let taps = taps_of_residues(conv, cut.residues);
        for kc in 1..=most.min(u64::from(outputs / conv.groups)) as u32 {
            let groups =
                balanced_groups(&weights.per_output(), conv.groups, cut.groups.count(), kc);
            let (order, format) = (WeightOrder::Krs, machine.weight_format());
            let sizes = BlockSizes::of(weights, &groups, order, &taps, format, |_| true);
            let candidate = Candidate {
                machine,
                layer,
                layout: &layout,
                passes: &passes,
                contents: &contents,
                written: &[],
                channel_groups: &groups,
                order,
                traffic: Traffic {
                    loads: true,
                    overlapped: layout.tiles.len() > 1,
                    result_bytes,
                    ..Traffic::default()
                },
                result_layout: None,
                positions: Some(Positions { weights, occupancy }),
            };
            let measured = candidate.measure(Arc::new(sizes), Depth::Whole);
            best = best.min(candidate.bounded(Some(&measured)).cost().cycles);
        }
    }
    best
}

/// Each objective is met best by the mapping that was searched for it, as simulated.
#[test]
fn the_search_serves_its_objective() {
    let simulated = |objective| {
        let mut options = compile::Options::new(machine(true, false));
        options.mapping.objective = objective;
        let compiled = compile::compile(&kept("lenet5.onnx"), &options, &mut |_, _| {}).unwrap();
        let sample = compile::samples(&compiled.graph, &options)[0].clone();
        let simulator = Simulator::new(&compiled.program, &compiled.host).unwrap();
        let execution = simulator.run(&sample, &RunOptions::default()).unwrap();
        let (mut cycles, mut energy) = (0.0, 0.0);
        for operation in &execution.operations {
            cycles += operation.cycles as f64;
            energy += Energy::of(&operation.counters, &options.machine).total();
        }
        [cycles, energy, cycles * energy]
    };
    let all = [
        map::Objective::Cycles,
        map::Objective::Energy,
        map::Objective::EnergyDelay,
    ];
    let measured = all.map(simulated);
    for (measure, served) in measured.iter().enumerate() {
        for other in &measured {
            // What the model leaves out of account is a few thousandths.
            assert!(
                served[measure] <= other[measure] * 1.01,
                "{measure}: {measured:?}"
            );
        }
    }
    assert!(
        measured[1][1] < measured[0][1],
        "energy is another aim than cycles: {measured:?}"
    );
}

/// The kept model of that name.
pub fn kept(name: &str) -> std::path::PathBuf {
    let mut models = scnn_models::all().into_iter();
    models.find(|path| path.ends_with(name)).unwrap()
}

fn scnnc(arguments: &[&std::ffi::OsStr]) -> std::process::Output {
    let mut command = assert_cmd::Command::cargo_bin("scnnc").unwrap();
    command.args(arguments).output().unwrap()
}

#[test]
fn the_papers_mapping_pinned_from_its_file_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let model = kept("lenet5.onnx");
    let compile = |output: &str, more: &[&std::ffi::OsStr]| {
        let output = file(output);
        let mut arguments = vec!["compile".as_ref(), model.as_os_str(), "--quiet".as_ref()];
        arguments.extend(["-o".as_ref(), output.as_os_str()]);
        arguments.extend(more);
        let result = scnnc(&arguments);
        let error = String::from_utf8_lossy(&result.stderr).into_owned();
        (std::fs::read(&output).unwrap_or_default(), error)
    };
    let mapping = file("m.yaml");
    let (paper, _) = compile(
        "paper.scnn",
        &[
            "--mapping".as_ref(),
            "paper".as_ref(),
            "--save-mapping".as_ref(),
            mapping.as_os_str(),
        ],
    );
    let pin = ["--mapping-file".as_ref(), mapping.as_os_str()];
    let (pinned, error) = compile("pinned.scnn", &pin);
    assert!(!paper.is_empty() && pinned == paper, "{error}");

    // An edit that the accumulators do not hold is refused with the layer, the buffer and the bytes.
    let text = std::fs::read_to_string(&mapping).unwrap();
    let edited = text.replacen("channel_cuts: 0 8 16 20", "channel_cuts: 0 20", 1);
    assert!(edited != text, "{text}");
    std::fs::write(&mapping, edited).unwrap();
    let (_, error) = compile("edited.scnn", &pin);
    assert!(
        error.contains("E0405") && error.contains("/conv1/Conv") && error.contains("accumulators"),
        "{error}"
    );
}
