//! Laws of the counts: what happens to them when a layer or its machine changes in one respect.

use crate::generate::{Case, case};
use crate::simulate;
use proptest::prelude::*;
use scnn_simulator::StepCounts;
use scnn_simulator::timing::Timing;

fn counts(case: &Case, timing: Timing) -> StepCounts {
    let execution = simulate(&case.program(), case, timing);
    execution.steps.into_iter().next().unwrap()
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
        let multiplies = |step: &StepCounts| (step.slots.useful, step.counters.multiplies);
        let ((useful, issued), (less_useful, less_issued)) = (multiplies(&before), multiplies(&after));
        prop_assert!(less_useful <= useful, "useful {useful} to {less_useful}");
        prop_assert!(less_issued <= issued, "issued {issued} to {less_issued}");
        let bytes = |step: &StepCounts| step.counters.dram_weight_bytes;
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

    /// Where nobody waits for DRAM. First come, first served over a shared channel has anomalies: what asks earlier may
    /// take the place of what the layer waits for.
    #[test]
    fn no_faster_part_makes_a_layer_slower(case in case(), part in 0usize..3) {
        let case = case.on(|machine| machine.dram.gigabytes_per_second = 1e6);
        let better = case.on(|machine| match part {
            0 => machine.pe.queue_depth += 1,
            1 => machine.ppu.lanes *= 2,
            _ => machine.ppu.halo_sums_per_cycle *= 2,
        });
        let (before, after) = (counts(&case, Timing::Exact).cycles, counts(&better, Timing::Exact).cycles);
        prop_assert!(after <= before, "{before} to {after} cycles");
    }

    #[test]
    fn oracle_fast_and_exact_are_in_this_order(case in case()) {
        let (fast, exact) = (counts(&case, Timing::Fast), counts(&case, Timing::Exact));
        let oracle = exact.baselines.oracle;
        prop_assert!(oracle <= fast.cycles, "oracle {oracle}, fast {}", fast.cycles);
        prop_assert!(fast.cycles <= exact.cycles, "fast {}, exact {}", fast.cycles, exact.cycles);
    }
}
