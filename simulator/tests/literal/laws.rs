//! Laws of the counts: what happens to them when a layer or its machine changes in one respect.

use crate::generate::{Case, case};
use crate::{simulate, simulate_twice};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use scnn_isa::machine::{Drift, Machine};
use scnn_simulator::OperationCounts;
use scnn_simulator::timing::Timing;

fn counts(case: &Case, timing: Timing) -> OperationCounts {
    let execution = simulate(&case.program(), case, timing);
    execution.operations.into_iter().next().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1500), failure_persistence: None, ..ProptestConfig::default() })]

    /// A placeholder may take the place of what became zero, but never more than one.
    #[test]
    fn more_zeros_never_take_more_steps(
        case in case(), of_weights in 0.0f64..1.0, of_input in 0.0f64..1.0, seed: u64,
    ) {
        let (before, after) = (
            counts(&case, Timing::Fast),
            counts(&case.thinned(of_weights, of_input, seed), Timing::Fast),
        );
        prop_assert!(after.steps <= before.steps, "steps {} to {}", before.steps, after.steps);
        let multiplies = |operation: &OperationCounts| (operation.slots.useful, operation.counters.multiplies);
        let ((useful, issued), (less_useful, less_issued)) = (multiplies(&before), multiplies(&after));
        prop_assert!(less_useful <= useful, "useful {useful} to {less_useful}");
        prop_assert!(less_issued <= issued, "issued {issued} to {less_issued}");
        let bytes = |operation: &OperationCounts| operation.counters.dram_weight_bytes;
        prop_assert!(bytes(&after) <= bytes(&before), "weights of {} to {} bytes", bytes(&before), bytes(&after));
    }

    /// The same output channels once more are the same blocks once more.
    #[test]
    fn twice_the_output_channels_take_twice_the_steps(case in case()) {
        let case = case.with_whole_groups();
        let (once, twice) = (counts(&case, Timing::Fast), counts(&case.repeated(), Timing::Fast));
        prop_assert_eq!(twice.steps, 2 * once.steps);
        prop_assert_eq!(twice.slots.useful, 2 * once.slots.useful);
        prop_assert_eq!(twice.counters.multiplies, 2 * once.counters.multiplies);
        prop_assert_eq!(twice.counters.dram_weight_bytes, 2 * once.counters.dram_weight_bytes);
    }

    /// Cycles depend on the bytes of DRAM in a cycle, not on the clock.
    #[test]
    fn clock_and_dram_together_change_no_cycle(case in case(), doublings in 1i32..5) {
        let factor = 2f64.powi(doublings);
        let faster = case.on(|machine| {
            machine.clock.gigahertz *= factor;
            machine.dram.gigabytes_per_second *= factor;
        });
        let (slow, fast) = (counts(&case, Timing::Exact), counts(&faster, Timing::Exact));
        prop_assert_eq!(fast.cycles, slow.cycles);
        prop_assert_eq!(fast.slots, slow.slots);
    }

    #[test]
    fn oracle_fast_and_exact_are_in_this_order(case in case()) {
        let (fast, exact) = (counts(&case, Timing::Fast), counts(&case, Timing::Exact));
        let oracle = exact.baselines.oracle;
        prop_assert!(oracle <= fast.cycles, "oracle {oracle}, fast {}", fast.cycles);
        prop_assert!(fast.cycles <= exact.cycles, "fast {}, exact {}", fast.cycles, exact.cycles);
    }
}

/// A resource of the machine, and how it becomes larger.
type Enlargement = (&'static str, fn(&mut Machine));

/// An enlargement of every resource that a program may find larger than where it was compiled, and of the banks. RAMs are not
/// among them: other RAMs are another program.
const ENLARGEMENTS: [Enlargement; 8] = [
    ("DRAM", |m| m.dram.gigabytes_per_second *= 2.0),
    ("queues", |m| m.pe.queue_depth += 1),
    ("bus", |m| m.weights.bus_vectors_per_cycle *= 2),
    ("lanes", |m| m.ppu.lanes *= 2),
    ("halo links", |m| m.ppu.halo_sums_per_cycle *= 2),
    ("drift", |m| m.sync.drift = Drift::Fifo),
    ("FIFO", |m| m.weights.fifo_vectors *= 2),
    ("banks", |m| m.pe.banks *= 2),
];

/// The enlargements that make a layer slower: resource, layer, cycles before and after.
fn slowing(layers: usize, change: fn(&mut Machine)) -> Vec<(&'static str, usize, u64, u64)> {
    let mut runner = TestRunner::deterministic();
    let mut slower = Vec::new();
    for layer in 0..layers {
        let case = case().new_tree(&mut runner).unwrap().current().on(change);
        let before = counts(&case, Timing::Exact).cycles;
        for (name, enlarge) in ENLARGEMENTS {
            let after = counts(&case.on(enlarge), Timing::Exact).cycles;
            if after > before {
                slower.push((name, layer, before, after));
            }
        }
    }
    slower
}

/// A FIFO that holds no block of the layers here cuts them into parts, and a larger part is there later.
fn hold_blocks(machine: &mut Machine) {
    machine.weights.fifo_vectors += 32;
}

#[test]
fn where_nobody_waits_for_dram_no_larger_resource_makes_a_layer_slower() {
    let slower = slowing(2000, |machine| {
        hold_blocks(machine);
        machine.dram.gigabytes_per_second = 1e6;
    });
    assert!(slower.is_empty(), "{slower:?}");
}

/// Work-conserving service of a shared channel has anomalies: what asks earlier may take the place of what the layer waits
/// for. One enlargement of a thousand at most.
#[test]
fn where_dram_is_shared_hardly_a_larger_resource_makes_a_layer_slower() {
    let layers = 2000;
    let slower = slowing(layers, hold_blocks);
    println!(
        "{} of {} enlargements: {slower:?}",
        slower.len(),
        layers * ENLARGEMENTS.len()
    );
    assert!(
        slower.len() * 1000 <= layers * ENLARGEMENTS.len(),
        "{slower:?}"
    );
    assert!(
        slower
            .iter()
            .all(|(.., before, after)| after - before <= before / 8 + 1),
        "{slower:?}"
    );
}

/// The same anomalies: weights that are there earlier let others ask earlier. One layer of a thousand at most.
#[test]
fn hardly_a_head_start_makes_a_layer_slower_and_most_make_it_faster() {
    let layers = 2000;
    let mut runner = TestRunner::deterministic();
    let (mut faster, mut slower) = (0, Vec::new());
    for layer in 0..layers {
        let case = case().new_tree(&mut runner).unwrap().current();
        let twice = simulate_twice(&case.program(), &case);
        let [before, after] = [0, 1].map(|run| twice.operations[run].cycles);
        faster += usize::from(after < before);
        if after > before {
            slower.push((layer, before, after));
        }
    }
    println!("{faster} of {layers} faster; slower: {slower:?}");
    assert!(faster * 2 > layers, "{faster}");
    assert!(slower.len() * 1000 <= layers, "{slower:?}");
    assert!(
        slower
            .iter()
            .all(|(_, before, after)| after - before <= before / 8 + 1),
        "{slower:?}"
    );
}
