//! Predictions and objectives of the mapping search on machines of every kind, and enlargements of a resource.

use super::{Chain, Mapping, Random, Shape, computed, executed, machine, network};
use scnn_isa::machine::{Drift, LayerSync, Machine};
use scnnc::map::cost::Cost;
use scnnc::map::occupancy::Occupancy;
use scnnc::map::{self, Mapped, Objective};
use scnnc::quantise::Quantised;
use std::collections::BTreeMap;
use tract_onnx::prelude::Tensor as HostTensor;

/// Machines of every kind, small enough for a test.
fn any_machine(random: &mut Random) -> Machine {
    let mut one_of = |of: &[u32]| of[random.below(of.len() as u64) as usize];
    let mut machine = machine(one_of(&[0, 1]) == 1, false);
    (machine.array.rows, machine.array.cols) = (one_of(&[1, 2, 3, 4, 8]), one_of(&[1, 2, 4, 5, 8]));
    let pe = &mut machine.pe;
    (pe.weights_per_vector, pe.activations_per_vector) = (one_of(&[2, 4, 8]), one_of(&[2, 4, 8]));
    (pe.banks, pe.queue_depth) = (one_of(&[1, 4, 8, 16, 32, 64, 128]), one_of(&[0, 2, 8]));
    pe.entries_per_bank = one_of(&[16, 32, 64]).max(64 / pe.banks);
    machine.weights.fifo_vectors = one_of(&[2, 10, 50, 200]);
    machine.weights.bus_vectors_per_cycle = one_of(&[1, 2, 5, 8]);
    machine.dram.gigabytes_per_second = f64::from(one_of(&[1, 4, 20, 100, 400])) / 2.0;
    machine.sync.drift = if one_of(&[0, 1, 2]) == 0 {
        Drift::Group
    } else {
        Drift::Fifo
    };
    machine.ppu.lanes = one_of(&[1, 4]);
    machine.sync.layers = if one_of(&[0, 1]) == 0 {
        LayerSync::Overlap
    } else {
        LayerSync::Barrier
    };
    let ram = one_of(&[2560, 10240, 40960]);
    (
        machine.activation_ram.a_bytes,
        machine.activation_ram.b_bytes,
    ) = (ram, ram);
    machine
}

/// A network of up to five layers, and what it computes.
struct Subject {
    network: Quantised,
    occupancy: Occupancy,
    values: BTreeMap<String, HostTensor>,
    reference: Vec<Vec<i16>>,
}

impl Subject {
    /// None where the first layer has no output.
    fn draw(random: &mut Random, seed: u64) -> Option<Self> {
        let layer = |random: &mut Random| {
            let kernel = random.below(3) as u32 + 1;
            Shape {
                outputs: random.below(16) as u32 * 2 + 2,
                groups: random.below(4) == 0,
                kernel,
                stride: random.below(3) as u32 / 2 + 1,
                pad: (random.below(2) as u32).min(kernel - 1),
                pool: random.below(5) == 0,
                density: random.below(8) as u32 + 1,
            }
        };
        let chain = Chain {
            input: [1, random.below(16) as u32 * 2 + 2, 28, 28],
            layers: (0..5).map(|_| layer(random)).collect(),
            seed,
        };
        let (network, input) = network(&chain);
        if network.operations.is_empty() {
            return None;
        }
        let (values, reference) = computed(&network, &input);
        let occupancy = Occupancy::of(&network, &values);
        Some(Self {
            network,
            occupancy,
            values,
            reference,
        })
    }

    fn mapped(&self, machine: &Machine, strategy: Mapping, objective: Objective) -> Mapped {
        let options = map::Options {
            strategy,
            objective,
        };
        map::map(&self.network, machine, &self.occupancy, options, &()).unwrap()
    }

    /// Simulated cycles of each layer.
    fn cycles(&self, machine: &Machine, mapped: &Mapped) -> Vec<u64> {
        executed(
            &self.network,
            machine,
            mapped,
            &self.values,
            &self.reference,
        )
    }
}

/// Seeds of the machines of a test: `sample` of them, or with `SCNN_MACHINES=300` as many, with `SCNN_MACHINES=57,70` these.
fn seeds(sample: u64) -> Vec<u64> {
    let number = |word: &str| word.parse().expect("SCNN_MACHINES has numbers");
    match std::env::var("SCNN_MACHINES") {
        Ok(seeds) if seeds.contains(',') => seeds.split(',').map(number).collect(),
        Ok(count) => (0..number(&count)).collect(),
        Err(_) => (0..sample).collect(),
    }
}

fn score(plan: &Mapped, objective: Objective) -> f64 {
    let costs = || plan.predicted.iter().flatten();
    let cycles = costs().map(|cost| cost.cycles).sum();
    let energy_pj = costs().map(|cost| cost.energy_pj).sum();
    objective.score(&Cost {
        cycles,
        energy_pj,
        ..Cost::default()
    })
}

/// What the mappings of a network come to: of each objective, and the paper's.
struct Compared<'a> {
    subject: &'a Subject,
    machine: &'a Machine,
    plans: Vec<Mapped>,
}

impl<'a> Compared<'a> {
    fn new(subject: &'a Subject, machine: &'a Machine) -> Self {
        let searched = Objective::ALL.map(|o| subject.mapped(machine, Mapping::Search, o));
        let mut plans = Vec::from(searched);
        plans.push(subject.mapped(machine, Mapping::Paper, Objective::Cycles));
        Self {
            subject,
            machine,
            plans,
        }
    }

    /// The score of an objective's mapping by its own measure, over the best of all.
    fn beaten(&self) -> [f64; 3] {
        Objective::ALL.map(|objective| {
            let scores = self.plans.iter().map(|plan| score(plan, objective));
            let ours = Objective::ALL.iter().position(|&other| other == objective);
            score(&self.plans[ours.unwrap()], objective) / scores.fold(f64::MAX, f64::min)
        })
    }

    /// Predicted and simulated cycles of every layer, by mapping.
    fn cycles(&self) -> Vec<Vec<[u64; 2]>> {
        let of_plan = |plan: &Mapped| {
            let simulated = self.subject.cycles(self.machine, plan);
            let predicted = plan.predicted.iter().flatten();
            let layers = predicted.zip(simulated);
            layers
                .map(|(predicted, cycles)| [predicted.cycles, cycles])
                .collect()
        };
        self.plans.iter().map(of_plan).collect()
    }
}

/// On machines of every kind, 95 % of all layers take the cycles that are predicted for them, within a tenth (and, of layers
/// of a few steps, eight cycles); of a hundred networks at most four have an objective that is served better, by more than a
/// hundredth of the prediction, by the mapping of another or by the paper's; and none is slower, as simulated, than the paper's
/// mapping by more than predictions are off. `--nocapture` has the figures.
#[test]
fn predictions_hold_and_no_objective_is_beaten_on_machines_of_every_kind() {
    let (mut layers, mut off, mut networks) = (0, Vec::new(), 0);
    let (mut beaten, mut slower) = (Vec::new(), Vec::new());
    for seed in seeds(8) {
        let mut random = Random(seed);
        let machine = any_machine(&mut random);
        for subject in (0..2).filter_map(|_| Subject::draw(&mut random, seed)) {
            let compared = Compared::new(&subject, &machine);
            networks += 1;
            for (over, objective) in compared.beaten().into_iter().zip(Objective::ALL) {
                if over > 1.01 {
                    beaten.push((seed, objective.name(), over));
                }
            }
            let cycles = compared.cycles();
            for [predicted, cycles] in cycles.iter().flatten() {
                layers += 1;
                if predicted.abs_diff(*cycles) > cycles / 10 + 8 {
                    off.push((seed, *predicted, *cycles));
                }
            }
            let total = |plan: &[[u64; 2]]| plan.iter().map(|[_, cycles]| cycles).sum::<u64>();
            let (search, paper) = (total(&cycles[0]), total(&cycles[3]));
            if search > paper {
                slower.push((seed, search as f64 / paper as f64));
            }
        }
    }
    println!("{} of {layers} layers off: {off:?}", off.len());
    println!("{networks} networks, objectives beaten: {beaten:?}");
    println!("slower than the paper's mapping, simulated: {slower:?}");
    assert!(off.len() * 20 <= layers, "{} of {layers}", off.len());
    assert!(beaten.len() * 25 <= networks, "{beaten:?}");
    assert!(slower.iter().all(|(_, over)| *over <= 1.1), "{slower:?}");
}

/// Gives a machine more of one resource.
type Enlarge = fn(&mut Machine);

/// An enlargement of each resource of a machine.
const ENLARGEMENTS: [(&str, Enlarge); 9] = [
    ("DRAM", |m| m.dram.gigabytes_per_second *= 2.0),
    ("queues", |m| m.pe.queue_depth += 2),
    ("bus", |m| m.weights.bus_vectors_per_cycle *= 2),
    ("lanes", |m| m.ppu.lanes *= 2),
    ("halo links", |m| m.ppu.halo_sums_per_cycle *= 2),
    ("drift", |m| m.sync.drift = Drift::Fifo),
    ("FIFO", |m| m.weights.fifo_vectors *= 2),
    ("banks", |m| m.pe.banks *= 2),
    ("RAMs", |m| {
        m.activation_ram.a_bytes *= 2;
        m.activation_ram.b_bytes *= 2;
    }),
];

/// The search looks at some mappings of many, and other ones on another machine: of a hundred enlargements of a resource, two may
/// make a network slower by more than a hundredth.
#[test]
fn a_larger_resource_slows_hardly_a_network_that_is_mapped_for_it() {
    let (mut enlarged, mut slower) = (0, Vec::new());
    for seed in seeds(8) {
        let mut random = Random(seed);
        let machine = any_machine(&mut random);
        let Some(subject) = Subject::draw(&mut random, seed) else {
            continue;
        };
        let run = |machine: &Machine| {
            let mapped = subject.mapped(machine, Mapping::Search, Objective::Cycles);
            subject.cycles(machine, &mapped).iter().sum::<u64>()
        };
        let before = run(&machine);
        for (name, enlarge) in ENLARGEMENTS {
            let mut larger = machine.clone();
            enlarge(&mut larger);
            if larger != machine {
                enlarged += 1;
                let over = run(&larger) as f64 / before as f64;
                slower.extend((over > 1.0).then_some((over, seed, name)));
            }
        }
    }
    slower.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!(
        "{enlarged} enlargements, {} slower: {slower:?}",
        slower.len()
    );
    slower.retain(|(over, ..)| *over > 1.01);
    assert!(slower.len() * 50 <= enlarged + 49, "{slower:?}");
}

/// Whatever the mapping, a network whose weights come while the layer before drains takes no longer. Anomalies of a shared DRAM, as
/// the laws of the simulator count them for single layers, may cost one network of a hundred a thousandth.
#[test]
fn weights_that_come_before_a_layer_begins_slow_hardly_a_network() {
    let (mut networks, mut faster, mut slower) = (0, 0, Vec::new());
    for seed in seeds(16) {
        let mut random = Random(seed);
        let mut machine = any_machine(&mut random);
        let Some(subject) = Subject::draw(&mut random, seed) else {
            continue;
        };
        for mapping in [Mapping::Paper, Mapping::Search] {
            let mapped = subject.mapped(&machine, mapping, Objective::Cycles);
            let [before, after] = [LayerSync::Barrier, LayerSync::Overlap].map(|layers| {
                machine.sync.layers = layers;
                subject.cycles(&machine, &mapped).iter().sum::<u64>()
            });
            networks += 1;
            faster += usize::from(after < before);
            slower.extend((after > before).then_some((seed, before, after)));
        }
    }
    println!("{faster} of {networks} faster; slower: {slower:?}");
    assert!(faster * 4 > networks, "{faster} of {networks}");
    assert!(slower.len() * 100 <= networks + 99, "{slower:?}");
    let little = |(_, before, after): &(u64, u64, u64)| (after - before) * 1000 <= *before;
    assert!(slower.iter().all(little), "{slower:?}");
}
