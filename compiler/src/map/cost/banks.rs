//! Stalls of the queues before the accumulator banks, estimated on a short run of drawn vectors.
//!
//! Which banks the products of a step meet is decided by the shape of the accumulator tile: with an area that is a
//! multiple of the banks, all output channels of a group fall into the same few. Here weights and activations are drawn
//! with the layer's densities at the positions that they have in their blocks, and a queue of the machine's depth
//! stands before each bank, as in the machine. A PE that waits for weights lets its queues empty, which is left out.

use super::{Candidate, spread};
use crate::map::weights::{BlockSizes, taps_of_residues};
use crate::quantise::IntConv;
use scnn_isa::layer::Pass;
use scnn_isa::machine::{BankMap, Machine};
use scnn_isa::plane::{Axis, Span};

/// Steps that are drawn.
const STEPS: usize = 192;

/// Cycles of stalls for every step, when a PE steps without waiting for anything else.
pub(super) fn stalls_per_step(candidate: &Candidate<'_>, sizes: &BlockSizes) -> f64 {
    let Some(conv) = &candidate.layer.conv else {
        return 0.0;
    };
    // Tiles at the border have other accumulator tiles than those inside.
    let passes = spread(candidate.passes.len(), 3);
    let stalls = passes
        .iter()
        .map(|&pass| of_pass(candidate, sizes, conv, candidate.passes[pass]));
    stalls.sum::<f64>() / passes.len().max(1) as f64
}

fn of_pass(candidate: &Candidate<'_>, sizes: &BlockSizes, conv: &IntConv, pass: Pass) -> f64 {
    let (weight_density, density) = densities(candidate, sizes, conv, pass.source_tile as usize);
    let machine = candidate.machine;
    let tile = &candidate.layout.tiles[pass.source_tile as usize];
    let inner = candidate.inner(pass.output);
    let longest = |cuts: &[u32]| {
        cuts.windows(2)
            .map(|cut| Span::new(cut[0], cut[1]))
            .max_by_key(|span| span.len())
            .unwrap_or_default()
    };
    let (n, y, x) = (longest(&tile.n), longest(&tile.y), longest(&tile.x));
    let reach = |cuts: &[u32], axis: &Axis, inner: Span| {
        cuts.windows(2)
            .map(|cut| {
                axis.outputs(Span::new(cut[0], cut[1]))
                    .intersect(inner)
                    .len()
            })
            .max()
            .map_or(1, |longest| longest.max(1))
    };
    let rows = reach(&tile.y, &conv.y, inner.y);
    let cols = reach(&tile.x, &conv.x, inner.x);
    let area = i64::from(rows) * i64::from(cols);
    let images = i64::from(n.len().max(1));
    let kc = candidate
        .channel_groups
        .iter()
        .map(|k| k.len())
        .max()
        .unwrap_or(1);
    let residues = candidate.layout.residues;
    let taps: Vec<(u32, u32)> = taps_of_residues(conv, residues)
        .into_iter()
        .max_by_key(Vec::len)
        .unwrap_or_default()
        .into_iter()
        .map(|tap| (tap / conv.x.kernel, tap % conv.x.kernel))
        .collect();
    if taps.is_empty() {
        return 0.0;
    }
    let strides = (i64::from(conv.y.stride), i64::from(conv.x.stride));
    let dilations = (i64::from(conv.y.dilation), i64::from(conv.x.dilation));
    // Addresses of the non-zeros of a block, drawn.
    let mut random = Random(1);
    let weights: Vec<i64> = (0..kc)
        .flat_map(|k| taps.iter().map(move |&tap| (k, tap)))
        .filter(|_| random.hit(weight_density))
        .map(|(k, (r, s))| {
            i64::from(k) * images * area
                - (i64::from(r) * dilations.0).div_euclid(strides.0) * i64::from(cols)
                - (i64::from(s) * dilations.1).div_euclid(strides.1)
        })
        .collect();
    let step = |residues: u32| residues.max(1) as usize;
    let activations: Vec<i64> = (0..images)
        .flat_map(|n| {
            (0..y.len())
                .step_by(step(residues.rows))
                .flat_map(move |y| {
                    (0..x.len())
                        .step_by(step(residues.cols))
                        .map(move |x| (n, i64::from(y), i64::from(x)))
                })
        })
        .filter(|_| random.hit(density))
        .map(|(n, y, x)| n * area + y / strides.0 * i64::from(cols) + x / strides.1)
        .collect();
    run(machine, &weights, &activations)
}

/// Cycles of stalls for every step of some vectors, whose products go to the sums of the addresses.
fn run(machine: &Machine, weights: &[i64], activations: &[i64]) -> f64 {
    if weights.is_empty() || activations.is_empty() {
        return 0.0;
    }
    let f = machine.pe.weights_per_vector as usize;
    let i = machine.pe.activations_per_vector as usize;
    let banks = i64::from(machine.pe.banks);
    let depth = u64::from(machine.pe.queue_depth);
    let bank = |address: i64| match machine.pe.bank_map {
        BankMap::Modulo => address.rem_euclid(banks) as usize,
        BankMap::Xor => (address ^ address.div_euclid(banks)).rem_euclid(banks) as usize,
    };
    let mut waiting = vec![0u64; banks as usize];
    let mut arriving = vec![0u64; banks as usize];
    let (mut steps, mut stalls) = (0, 0);
    'drawn: loop {
        for activations in activations.chunks(i) {
            for weights in weights.chunks(f) {
                arriving.fill(0);
                for a in activations {
                    for w in weights {
                        arriving[bank(a + w)] += 1;
                    }
                }
                let wait = waiting
                    .iter()
                    .zip(&arriving)
                    .map(|(&waiting, &arriving)| match arriving {
                        0 => 0,
                        arriving if arriving > depth => waiting,
                        arriving => (waiting + arriving).saturating_sub(depth),
                    })
                    .max()
                    .unwrap_or(0);
                for (waiting, &arriving) in waiting.iter_mut().zip(&arriving) {
                    *waiting = (waiting.saturating_sub(wait) + arriving).saturating_sub(1);
                }
                stalls += wait;
                steps += 1;
                if steps == STEPS {
                    break 'drawn;
                }
            }
        }
    }
    stalls as f64 / steps as f64
}

/// Densities of the weights and of the source tile.
fn densities(
    candidate: &Candidate<'_>,
    sizes: &BlockSizes,
    conv: &IntConv,
    tile: usize,
) -> (f64, f64) {
    let counted = sizes.groups.iter().zip(candidate.channel_groups);
    let first = counted
        .filter(|((_, blocks), _)| !blocks.is_empty())
        .map(|((_, blocks), k)| (blocks.iter().map(|&b| u64::from(b)).sum::<u64>(), k.len()))
        .next();
    let (elements, outputs) = first.unwrap_or((0, 1));
    let inputs = candidate.layer.source.channels.len() / conv.groups.max(1);
    let taps = conv.y.kernel * conv.x.kernel;
    let weights = elements as f64 / (f64::from(inputs) * f64::from(outputs * taps)).max(1.0);
    let count = &candidate.counts[tile];
    let held: u64 = count.per_pe().iter().sum();
    let positions = candidate.layout.tiles[tile].rect().positions();
    let all = positions as f64 * f64::from(count.channels());
    (weights.min(1.0), (held as f64 / all.max(1.0)).min(1.0))
}

/// Random numbers, the same on every run.
struct Random(u64);

impl Random {
    fn hit(&mut self, share: f64) -> bool {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as f64) < share * (1u64 << 31) as f64
    }
}
