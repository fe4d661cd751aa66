//! `zoo`: lists and makes the networks.

mod tables;

use super::args::{Zoo, ZooMake};
use super::failure::Failure;
use super::{grid, output, table};
use crate::codes::Code;
use indicatif::{ProgressBar, ProgressDrawTarget};
use ndarray::{ArrayD, IxDyn};
use ndarray_npy::WriteNpyExt;
use scnn_models::zoo::{DENSITIES, Densities, Made, NETWORKS, Network, Options, make};
use serde_json::{Value, json};
use std::fmt::Write;

/// `scnnc zoo`.
pub fn zoo(verb: &Zoo) -> Result<(), Failure> {
    match verb {
        Zoo::List { json: false } => {
            output::print(&list());
            Ok(())
        }
        Zoo::List { json: true } => {
            output::print_json(&NETWORKS.iter().map(entry).collect::<Vec<_>>());
            Ok(())
        }
        Zoo::Make(options) if !options.tables.is_empty() => tables::make(options),
        Zoo::Make(options) => make_all(options),
    }
}

/// A network in fields.
pub fn entry(network: &Network) -> Value {
    let size = network.size();
    json!({
        "name": network.name, "layers": size.layers, "weights": size.weights,
        "multiplies": size.multiplies, "source": network.source,
    })
}

fn list() -> String {
    let mut table = grid::plain(&["name", "layers", "weights", "multiplies", "file", "source"]);
    for network in NETWORKS {
        let size = network.size();
        table.add_row([
            network.name.to_owned(),
            size.layers.to_string(),
            table::si(size.weights as f64, ""),
            table::si(size.multiplies as f64, ""),
            table::si(size.weights as f64 * 4.0, "B"),
            network.source.to_owned(),
        ]);
    }
    grid::right(&mut table, 1..5);
    format!("{}\n", grid::wrapped(table, &[4, 2]))
}

fn make_all(options: &ZooMake) -> Result<(), Failure> {
    let networks: Vec<&Network> = if options.names.is_empty() {
        NETWORKS.iter().collect()
    } else {
        let names = options.names.iter();
        names.map(|name| find(name)).collect::<Result<_, _>>()?
    };
    let choices = choices(options.seed, densities(options)?)?;
    output::folder(&options.output)?;
    for network in networks {
        let path = options.output.join(format!("{}.onnx", network.name));
        let bar = ProgressBar::new_spinner();
        if options.quiet {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let made = output::write_with(&path, |file| {
            make(network, &choices, file, &mut |node| {
                bar.set_message(format!("{}: {node}", network.name));
                bar.tick();
            })
        })?;
        bar.finish_and_clear();
        let image = path.with_extension("npy");
        write_image(&image, &made)?;
        if !options.quiet {
            output::print(&reached(network, &made));
            output::print(&format!("{}\n{}\n", path.display(), image.display()));
        }
    }
    Ok(())
}

/// How a network is made: with densities of weights and activations for all layers, or the published ones.
pub fn choices(seed: u64, densities: Option<(f64, f64)>) -> Result<Options, Failure> {
    let is_share = |share: f64| (0.0..=1.0).contains(&share);
    match densities {
        Some((weights, inputs)) if !is_share(weights) || !is_share(inputs) => {
            Err(wrong_densities())
        }
        _ => Ok(Options {
            seed,
            densities: published_densities()?,
            weights: densities.map(|(weights, _)| weights),
            inputs: densities.map(|(_, inputs)| inputs),
        }),
    }
}

fn wrong_densities() -> Failure {
    Failure::usage("`--density` takes two numbers from 0 to 1, as in `--density 0.4,0.4`")
}

/// The network of a name.
pub fn find(name: &str) -> Result<&'static Network, Failure> {
    Network::find(name).ok_or_else(|| unknown(name))
}

/// The densities of the zoo.
pub fn published_densities() -> Result<Densities, Failure> {
    scnn_isa::yaml::from_str(DENSITIES)
        .map_err(|e| Failure::usage(&format!("the zoo's densities: {e}")))
}

fn unknown(name: &str) -> Failure {
    let names: Vec<&str> = NETWORKS.iter().map(|network| network.name).collect();
    Failure::usage(&format!(
        "there is no network `{name}` in the zoo; there are {}",
        names.join(", ")
    ))
}

fn densities(options: &ZooMake) -> Result<Option<(f64, f64)>, Failure> {
    if options.dense {
        return Ok(Some((1.0, 1.0)));
    }
    let Some(text) = &options.density else {
        return Ok(None);
    };
    let (weights, inputs) = text.split_once(',').ok_or_else(wrong_densities)?;
    let share = |text: &str| text.trim().parse().map_err(|_| wrong_densities());
    Ok(Some((share(weights)?, share(inputs)?)))
}

fn write_image(path: &std::path::Path, made: &Made) -> Result<(), Failure> {
    let (extents, values) = &made.image;
    let array = ArrayD::from_shape_vec(IxDyn(extents), values.clone())
        .expect("the image has the extents of its plan");
    let mut bytes = Vec::new();
    array
        .write_npy(&mut bytes)
        .map_err(|e| Failure::file(Code::CannotWrite, path, &e.to_string()))?;
    output::write(path, &bytes)
}

/// Densities of every layer beside those that were wanted.
fn reached(network: &Network, made: &Made) -> String {
    let mut table = grid::plain(&["layer", "weights", "wanted", "input", "wanted"]);
    for layer in &made.layers {
        let share = |value: f64| format!("{value:.3}");
        table.add_row([
            layer.name.clone(),
            share(layer.reached.weights),
            share(layer.wanted_weights),
            share(layer.reached.input),
            layer.wanted_input.map_or_else(String::new, share),
        ]);
    }
    grid::right(&mut table, 1..5);
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{}: densities on the image\n\n{}\n",
        network.name,
        table.trim_fmt()
    );
    text
}
