//! Weights for a plan: generated, scaled and shifted layer by layer while one image flows through.

use super::onnx::{EPSILON, Sink, Writer, evaluate, evaluate_pool, floats};
use super::plan::{Id, Op, Plan};
use super::random::{image, pruned_weights};
use super::{Densities, Density, Network};
use std::io;
use thiserror::Error;
use tract_onnx::pb::TensorProto;

/// What a batch normalisation takes of the mean that a channel has on the image: a trained one takes the mean over
/// many images, and each image keeps something of its own. It is also what keeps errors small beside the signal.
const MEAN_REMOVED: f32 = 0.25;
/// The same in a network with gates, whose products hand on the errors of both operands; not nothing, so that what
/// channels make of zeros differs.
const MEAN_REMOVED_BESIDE_GATES: f32 = 0.02;

/// Deviation of the factors and biases of normalisations over the last axis.
const SPREAD_OF_CONSTANTS: f32 = 0.1;

/// Choices of a generated network.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seed of weights and image.
    pub seed: u64,
    /// Published densities.
    pub densities: Densities,
    /// The same density for the weights of all layers instead.
    pub weights: Option<f64>,
    /// The same density for the inputs of all layers instead.
    pub inputs: Option<f64>,
}

/// What was generated.
#[derive(Clone, Debug)]
pub struct Made {
    /// The image, or the sound: extents `[1, C, H, W]` or `[1, C, W]`, and values.
    pub image: (Vec<usize>, Vec<f32>),
    /// Convolutions and fully connected layers.
    pub layers: Vec<Layer>,
}

/// Densities of a layer: wanted, and reached on the image.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Name of the ONNX node.
    pub name: String,
    /// Density of the weights that was wanted.
    pub wanted_weights: f64,
    /// Density of the input that was wanted; none where no `ReLU` decides it and nothing is published.
    pub wanted_input: Option<f64>,
    /// What was reached.
    pub reached: Density,
}

/// Why a network was not made.
#[derive(Debug, Error)]
pub enum MakeError {
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] io::Error),
    /// tract could not compute a node.
    #[error("node `{node}`: {reason}")]
    Evaluate {
        /// The node.
        node: String,
        /// tract's words.
        reason: String,
    },
}

/// Generates `network` and writes it as ONNX.
///
/// # Errors
/// Writing fails, or tract cannot compute a node.
pub fn make(
    network: &Network,
    options: &Options,
    out: &mut dyn Sink,
    progress: &mut dyn FnMut(&str),
) -> Result<Made, MakeError> {
    let plan = (network.plan)();
    let writer = Writer::new(out, &plan)?;
    let mut maker = Maker {
        targets: targets(&plan, network, options),
        values: vec![Vec::new(); plan.nodes.len()],
        biases: vec![Vec::new(); plan.nodes.len()],
        layers: Vec::new(),
        plan: &plan,
        network,
        options,
        writer,
    };
    for id in 0..plan.nodes.len() {
        progress(&plan.nodes[id].name);
        maker.node(id)?;
        maker.forget(id);
    }
    maker.write_biases()?;
    maker.writer.finish()?;
    Ok(Made {
        image: (
            [&[1], plan.nodes[0].shape.as_slice()].concat(),
            image(&plan.nodes[0].shape, options.seed),
        ),
        layers: maker.layers,
    })
}

/// The densities that are wanted of a layer.
fn wanted(network: &Network, layer: &str, options: &Options) -> Density {
    let found = published(network, layer, options).unwrap_or(options.densities.default);
    Density {
        weights: options.weights.unwrap_or(found.weights),
        input: options.inputs.unwrap_or(found.input),
    }
}

fn published(network: &Network, layer: &str, options: &Options) -> Option<Density> {
    let layers = options.densities.networks.get(network.name)?;
    let found = layers.get(layer).copied();
    found.or_else(|| interpolated(layers, layer))
}

/// Inception modules between two that are known.
fn interpolated(
    layers: &std::collections::BTreeMap<String, Density>,
    layer: &str,
) -> Option<Density> {
    const MODULES: [&str; 9] = ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"];
    let (module, branch) = layer.strip_prefix("inception_")?.split_once('/')?;
    let share = MODULES.iter().position(|m| *m == module)? as f64 / 8.0;
    let known = |module: &str| layers.get(&format!("inception_{module}/{branch}"));
    let (first, last) = (known(MODULES[0])?, known(MODULES[8])?);
    let between = |a: f64, b: f64| a + (b - a) * share;
    Some(Density {
        weights: between(first.weights, last.weights),
        input: between(first.input, last.input),
    })
}

/// A density that is wanted behind a chain of max pools.
#[derive(Clone, Debug, PartialEq)]
struct Target {
    pools: Vec<Id>,
    density: f64,
}

/// For every `ReLU` what the layers behind it want to read: the nearest first.
fn targets(plan: &Plan, network: &Network, options: &Options) -> Vec<Vec<Target>> {
    let mut targets = vec![Vec::new(); plan.nodes.len()];
    for id in 0..plan.nodes.len() {
        if plan.weights(id) > 0 {
            let density = wanted(network, &plan.nodes[id].name, options).input;
            let chain = Vec::new();
            ask(
                plan,
                plan.nodes[id].operands[0],
                &chain,
                density,
                &mut targets,
            );
        }
    }
    for list in &mut targets {
        list.sort_by_key(|target| target.pools.len());
        list.dedup_by(|a, b| a.pools == b.pools);
    }
    targets
}

fn ask(plan: &Plan, id: Id, pools: &[Id], density: f64, targets: &mut [Vec<Target>]) {
    let node = &plan.nodes[id];
    match node.op {
        Op::Relu | Op::Relu6 => targets[id].push(Target {
            pools: pools.to_vec(),
            density,
        }),
        Op::MaxPool(_) => {
            let chain: Vec<Id> = std::iter::once(id).chain(pools.iter().copied()).collect();
            ask(plan, node.operands[0], &chain, density, targets);
        }
        Op::Lrn | Op::Shuffle { .. } => ask(plan, node.operands[0], pools, density, targets),
        Op::Concat => {
            for &operand in &node.operands {
                ask(plan, operand, pools, density, targets);
            }
        }
        _ => {}
    }
}

struct Maker<'a> {
    plan: &'a Plan,
    network: &'a Network,
    options: &'a Options,
    targets: Vec<Vec<Target>>,
    /// Results `[C, H, W]` by node, while they are needed.
    values: Vec<Vec<f32>>,
    /// Biases by node, until they are written.
    biases: Vec<Vec<f32>>,
    layers: Vec<Layer>,
    writer: Writer<'a>,
}

impl Maker<'_> {
    fn node(&mut self, id: Id) -> Result<(), MakeError> {
        let node = &self.plan.nodes[id];
        self.values[id] = match node.op {
            Op::Input => image(&node.shape, self.options.seed),
            Op::Conv(_) | Op::ConvTranspose { .. } | Op::Gemm { .. } | Op::Linear { .. } => {
                self.weighted(id)?
            }
            Op::BatchNorm => self.batch_norm(id)?,
            Op::LayerNorm => self.last_axis(id, &["scale", "bias"])?,
            Op::LayerScale => self.last_axis(id, &["scale"])?,
            Op::Relu | Op::Relu6 => self.activate(id)?,
            _ => {
                let operands: Vec<&[f32]> = node
                    .operands
                    .iter()
                    .map(|&operand| self.values[operand].as_slice())
                    .collect();
                evaluate(self.plan, id, &operands, Vec::new()).map_err(|e| self.failed(id, &e))?
            }
        };
        Ok(())
    }

    fn failed(&self, id: Id, error: &impl std::fmt::Display) -> MakeError {
        MakeError::Evaluate {
            node: self.plan.nodes[id].name.clone(),
            reason: error.to_string(),
        }
    }

    /// Frees what no later node reads.
    fn forget(&mut self, id: Id) {
        for &operand in &self.plan.nodes[id].operands {
            let later = &self.plan.nodes[id + 1..];
            if !later.iter().any(|node| node.operands.contains(&operand)) {
                self.values[operand] = Vec::new();
            }
        }
    }

    /// A convolution or fully connected layer: its weights leave, its bias stays until the density is set.
    fn weighted(&mut self, id: Id) -> Result<Vec<f32>, MakeError> {
        let node = &self.plan.nodes[id];
        let (name, count) = (&node.name, self.plan.weights(id));
        let wanted = wanted(self.network, name, self.options);
        let seed = seed_of(name, self.options.seed);
        let mut weights = pruned_weights(count, wanted.weights, seed);
        let outputs = match node.op {
            Op::Linear { outputs } => outputs,
            _ => node.shape[0],
        };
        // So that the sums have the variance of the inputs (He et al., ICCV 2015), were the inputs independent.
        let fan_in = (count / outputs) as f64 * wanted.weights;
        scale(&mut weights, (2.0 / fan_in).sqrt() as f32);
        let input = &self.values[node.operands[0]];
        self.layers.push(Layer {
            name: name.clone(),
            wanted_weights: wanted.weights,
            wanted_input: self.decided(id).then_some(wanted.input),
            reached: Density {
                weights: density(&weights),
                input: density(input),
            },
        });

        let dims = self.weight_dims(id);
        let has_bias = !matches!(node.op, Op::Conv(conv) if !conv.bias);
        let mut sums = if let Op::Gemm { .. } = node.op {
            let rows = weights.chunks(count / outputs);
            rows.map(|row| row.iter().zip(input).map(|(w, x)| w * x).sum())
                .collect()
        } else {
            let mut initializers = vec![floats(&format!("{name}.weight"), &dims, &weights)];
            if has_bias {
                let zeros = vec![0.0; outputs];
                initializers.push(floats(&format!("{name}.bias"), &[outputs], &zeros));
            }
            self.evaluate_with(id, initializers)?
        };
        if has_bias {
            // Sums of variance one.
            let spread = deviation(&sums).max(f32::MIN_POSITIVE);
            scale(&mut weights, 1.0 / spread);
            scale(&mut sums, 1.0 / spread);
            self.biases[id] = vec![0.0; outputs];
        }
        self.writer
            .weight(&format!("{name}.weight"), &dims, &weights)?;
        Ok(sums)
    }

    /// Extents of a layer's weights, as its ONNX operator has them.
    fn weight_dims(&self, id: Id) -> Vec<usize> {
        let node = &self.plan.nodes[id];
        let from = &self.plan.nodes[node.operands[0]].shape;
        match node.op {
            Op::Conv(conv) => {
                let window = vec![conv.kernel; from.len() - 1];
                [vec![conv.outputs, from[0] / conv.groups], window].concat()
            }
            Op::ConvTranspose { outputs, factor } => vec![from[0], outputs, factor, factor],
            Op::Linear { outputs } => vec![from[from.len() - 1], outputs],
            _ => vec![node.shape[0], from.iter().product()],
        }
    }

    /// An operator with constants of the last axis: factors around one, which trained ones are, and biases around zero.
    fn last_axis(&mut self, id: Id, parameters: &[&str]) -> Result<Vec<f32>, MakeError> {
        let node = &self.plan.nodes[id];
        let width = node.shape[node.shape.len() - 1];
        let mut constants = Vec::new();
        for parameter in parameters {
            let name = format!("{}.{parameter}", node.name);
            let middle = if *parameter == "scale" { 1.0 } else { 0.0 };
            let mut values = pruned_weights(width, 1.0, seed_of(&name, self.options.seed));
            for value in &mut values {
                *value = middle + SPREAD_OF_CONSTANTS * *value;
            }
            self.writer.weight(&name, &[width], &values)?;
            constants.push(floats(&name, &[width], &values));
        }
        self.evaluate_with(id, constants)
    }

    /// Whether the density of a layer's input is published, or decided by `ReLU`s that can be shifted.
    fn decided(&self, id: Id) -> bool {
        fn by_relu(plan: &Plan, id: Id) -> bool {
            let node = &plan.nodes[id];
            match node.op {
                Op::Relu | Op::Relu6 => !matches!(plan.nodes[node.operands[0]].op, Op::Concat),
                Op::MaxPool(_) | Op::Lrn | Op::Shuffle { .. } | Op::Concat => {
                    node.operands.iter().all(|&operand| by_relu(plan, operand))
                }
                _ => false,
            }
        }
        let name = &self.plan.nodes[id].name;
        published(self.network, name, self.options).is_some()
            || by_relu(self.plan, self.plan.nodes[id].operands[0])
    }

    fn evaluate_with(&self, id: Id, weights: Vec<TensorProto>) -> Result<Vec<f32>, MakeError> {
        let operand = self.plan.nodes[id].operands[0];
        evaluate(self.plan, id, &[&self.values[operand]], weights).map_err(|e| self.failed(id, &e))
    }

    fn batch_norm(&mut self, id: Id) -> Result<Vec<f32>, MakeError> {
        let node = &self.plan.nodes[id];
        let channels = node.shape[0];
        let plane: usize = node.shape[1..].iter().product();
        let mut values = self.values[node.operands[0]].clone();
        let gated = self.plan.nodes.iter().any(|node| node.op == Op::Mul);
        let removed = if gated {
            MEAN_REMOVED_BESIDE_GATES
        } else {
            MEAN_REMOVED
        };
        let means: Vec<f32> = values.chunks(plane).map(|c| removed * mean(c)).collect();
        let deviations: Vec<f32> = values.chunks(plane).map(deviation).collect();
        let variances: Vec<f32> = deviations.iter().map(|d| (d * d).max(1e-3)).collect();
        // A channel that says little is not made louder than the others, as a trained scale would see to.
        let typical = (variances.iter().sum::<f32>() / channels as f32).sqrt();
        let scales: Vec<f32> = variances
            .iter()
            .map(|v| (v + EPSILON).sqrt() / typical)
            .collect();
        for (channel, mean) in values.chunks_mut(plane).zip(&means) {
            for value in channel {
                *value = (*value - mean) / typical;
            }
        }
        let name = &node.name;
        self.writer
            .weight(&format!("{name}.scale"), &[channels], &scales)?;
        self.writer
            .weight(&format!("{name}.mean"), &[channels], &means)?;
        self.writer
            .weight(&format!("{name}.var"), &[channels], &variances)?;
        self.biases[id] = vec![0.0; channels];
        Ok(values)
    }

    /// Shifts what stands before a `ReLU` such that the layers behind it read what is wanted.
    fn activate(&mut self, id: Id) -> Result<Vec<f32>, MakeError> {
        let node = &self.plan.nodes[id];
        let before = node.operands[0];
        // A residual sum is shifted by its main branch; sums of anything else cannot be.
        let site = std::iter::successors(Some(before), |&at| {
            let adds = matches!(self.plan.nodes[at].op, Op::Add | Op::Concat);
            adds.then(|| self.plan.nodes[at].operands[0])
        })
        .last()
        .filter(|&site| !self.biases[site].is_empty());
        let mut values = self.values[before].clone();
        if let Some(site) = site {
            let default = Target {
                pools: Vec::new(),
                density: self
                    .options
                    .inputs
                    .unwrap_or(self.options.densities.default.input),
            };
            let targets = match self.targets[id].as_slice() {
                [] => vec![default],
                targets => targets.to_vec(),
            };
            let shifted = self.biases[site].len();
            let shifts = self.shifts(id, &values, &targets, shifted)?;
            let plane: usize = node.shape[1..].iter().product();
            for ((bias, shift), channel) in self.biases[site]
                .iter_mut()
                .zip(shifts)
                .zip(values.chunks_mut(plane))
            {
                *bias += shift;
                for value in channel {
                    *value += shift;
                }
            }
        }
        let limit = if node.op == Op::Relu6 {
            6.0
        } else {
            f32::INFINITY
        };
        for value in &mut values {
            *value = value.clamp(0.0, limit);
        }
        Ok(values)
    }

    /// The shift of each of the first `shifted` channels: one for all, so that the nearest target is met. For a target
    /// behind further pools some channels die, if it is too low; if it is too high, channels are made more alike.
    fn shifts(
        &self,
        id: Id,
        values: &[f32],
        targets: &[Target],
        shifted: usize,
    ) -> Result<Vec<f32>, MakeError> {
        let shape = &self.plan.nodes[id].shape;
        let plane: usize = shape[1..].iter().product();
        let pooled = |target: &Target| -> Result<Vec<Vec<f32>>, MakeError> {
            let (mut values, mut shape) = (values.to_vec(), shape.clone());
            for &pool in &target.pools {
                (values, shape) = evaluate_pool(self.plan, pool, &shape, &values)
                    .map_err(|e| self.failed(pool, &e))?;
            }
            let plane = shape[1..].iter().product();
            Ok(values
                .chunks(plane)
                .take(shifted)
                .map(<[f32]>::to_vec)
                .collect())
        };
        let nearest = pooled(&targets[0])?;
        let next = targets.get(1).map(&pooled).transpose()?;
        let means: Vec<f32> = values.chunks(plane).take(shifted).map(mean).collect();
        let mut order: Vec<usize> = (0..shifted).collect();
        order.sort_by_key(|&channel| (channel as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));

        let mut best: Option<(f64, Vec<f32>)> = None;
        for alike in [0.0f32, 0.5, 0.9, 1.0] {
            let moved = |channels: &[Vec<f32>]| -> Vec<Vec<f32>> {
                let move_by = |(values, mean): (&Vec<f32>, &f32)| {
                    values.iter().map(|value| value - alike * mean).collect()
                };
                channels.iter().zip(&means).map(move_by).collect()
            };
            let nearest = moved(&nearest);
            let threshold = |dead: usize| threshold(&nearest, &order[dead..], targets[0].density);
            let (mut dead, mut error) = (0, 0.0);
            if let Some(next) = next.as_deref().map(moved) {
                let density_with = |dead: usize| {
                    let threshold = threshold(dead);
                    let alive = order[dead..].iter().flat_map(|&c| &next[c]);
                    let total: usize = next.iter().map(Vec::len).sum();
                    alive.filter(|&&value| value > threshold).count() as f64 / total as f64
                };
                let wanted = targets[1].density;
                (dead, error) = nearest_count(shifted, targets[0].density, &density_with, wanted);
            }
            let least = threshold(dead);
            let mut shifts: Vec<f32> = means.iter().map(|mean| -least - alike * mean).collect();
            let own = own_threshold(&nearest, &order[dead..], targets[0].density, least);
            if let Some((channel, own)) = own {
                shifts[channel] += least - own;
            }
            for &channel in &order[..dead] {
                let highest = values[channel * plane..][..plane]
                    .iter()
                    .copied()
                    .fold(f32::NEG_INFINITY, f32::max);
                shifts[channel] = -highest - 0.5;
            }
            if best.as_ref().is_none_or(|(least, _)| error < *least) {
                best = Some((error, shifts));
            }
            if error < CLOSE_ENOUGH {
                break;
            }
        }
        Ok(best.map_or_else(Vec::new, |(_, shifts)| shifts))
    }

    fn write_biases(&mut self) -> Result<(), MakeError> {
        for (id, bias) in self.biases.iter().enumerate() {
            if !bias.is_empty() {
                let name = format!("{}.bias", self.plan.nodes[id].name);
                self.writer.weight(&name, &[bias.len()], bias)?;
            }
        }
        Ok(())
    }
}

/// How near a density must come before nothing else is tried.
const CLOSE_ENOUGH: f64 = 0.002;

/// The number of dead channels among `channels` with which `density_with`, which falls with it, comes nearest to
/// `wanted`, and how far it stays from it. The others must still be able to reach `density`.
fn nearest_count(
    channels: usize,
    density: f64,
    density_with: &dyn Fn(usize) -> f64,
    wanted: f64,
) -> (usize, f64) {
    let (mut low, mut high) = (0, ((1.0 - density) * channels as f64) as usize);
    while low < high {
        let middle = usize::midpoint(low, high);
        if density_with(middle) > wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let error = |count: usize| (density_with(count) - wanted).abs();
    let below = low.saturating_sub(1);
    if error(below) < error(low) {
        (below, error(below))
    } else {
        (low, error(low))
    }
}

/// The value above which the share `density` of all channels' values lies, when only `alive` channels count.
fn threshold(channels: &[Vec<f32>], alive: &[usize], density: f64) -> f32 {
    let total: usize = channels.iter().map(Vec::len).sum();
    let mut values: Vec<f32> = alive
        .iter()
        .flat_map(|&c| channels[c].iter().copied())
        .collect();
    let wanted = (density * total as f64).round() as usize;
    if values.is_empty() || wanted >= values.len() {
        let lowest = values.iter().copied().fold(f32::INFINITY, f32::min);
        return if lowest.is_finite() {
            lowest - 1.0
        } else {
            0.0
        };
    }
    let at = values.len() - 1 - wanted;
    let (_, below, rest) = values.select_nth_unstable_by(at, f32::total_cmp);
    // Between the last that stays zero and the first that does not.
    let above = rest.iter().copied().fold(f32::INFINITY, f32::min);
    if above.is_finite() {
        f32::midpoint(*below, above)
    } else {
        *below
    }
}

/// A lower threshold for one channel, where too few values lie above the `common` one. What a channel makes of zeros is
/// one value; where the threshold falls on it, all of them stay below, and another channel gives as many instead.
fn own_threshold(
    channels: &[Vec<f32>],
    alive: &[usize],
    density: f64,
    common: f32,
) -> Option<(usize, f32)> {
    let total: usize = channels.iter().map(Vec::len).sum();
    let values = alive.iter().flat_map(|&channel| &channels[channel]);
    let above = values.filter(|value| **value > common).count();
    let missing = ((density * total as f64).round() as usize).checked_sub(above)?;
    if missing == 0 || (missing as f64) < CLOSE_ENOUGH * total as f64 {
        return None;
    }
    let lowered = |&channel: &usize| {
        let values = channels[channel].iter().copied();
        let mut below: Vec<f32> = values.filter(|value| *value <= common).collect();
        below.sort_unstable_by(|a, b| b.total_cmp(a));
        let (last, next) = (below.get(missing - 1)?, below.get(missing)?);
        (last > next).then(|| (channel, f32::midpoint(*next, *last)))
    };
    let found = alive.iter().filter_map(lowered);
    found.max_by(|a, b| a.1.total_cmp(&b.1))
}

/// A seed of its own for each name.
fn seed_of(name: &str, seed: u64) -> u64 {
    name.bytes().fold(seed, |seed, byte| {
        (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn scale(values: &mut [f32], factor: f32) {
    for value in values {
        *value *= factor;
    }
}

fn density(values: &[f32]) -> f64 {
    values.iter().filter(|value| **value != 0.0).count() as f64 / values.len().max(1) as f64
}

fn mean(values: &[f32]) -> f32 {
    (values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len().max(1) as f64) as f32
}

fn deviation(values: &[f32]) -> f32 {
    let mean = f64::from(mean(values));
    let squares = values
        .iter()
        .map(|&v| (f64::from(v) - mean).powi(2))
        .sum::<f64>();
    (squares / values.len().max(1) as f64).sqrt() as f32
}
