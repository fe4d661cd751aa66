//! Mappings as text: what `--save-mapping` writes and `--mapping-file` reads.
//!
//! Everything that a mapping decides, by the names of tensors and layers, in lines that people can edit:
//!
//! ```yaml
//! tensors:
//! - name: pool1
//!   pe_groups: 1 1             # rows and columns of the grid of PE groups
//!   residues: 1 1
//!   home: b 0 1210             # memory, first element, elements of every PE; or dram
//!   tiles:                     # cuts of images, rows and columns; images over PE rows and columns
//!   - images 1 1, n 0 1, y 0 4 8 12 16 20 24 27 27, x 0 4 8 12 16 20 24 27 27
//! layers:
//! - name: conv2
//!   stage: there               # or: tile a 0 900, alternate a 0 900 b 0 900, once a 0 900, kept 3
//!   order: krs
//!   pe_groups: 1 1
//!   channel_cuts: 0 8 16 24
//!   passes:
//!   - tile 0 n 0 1 y 0 27 x 0 27
//! ```
//!
//! Reading is strict: unknown keys and names, missing tensors and layers, accumulators and RAMs that are exceeded are
//! errors that name the place and, for buffers, by how much. Whatever else is not legal the verifier finds.

use super::cost::Cost;
use super::residency::{Residency, Slot, Staging};
use super::tiling::accumulators;
use super::{LayerMapping, Mapped};
use crate::quantise::{Operation, Quantised};
use scnn_isa::layer::{Pass, WeightOrder};
use scnn_isa::layout::{Grid, Layout, Tile};
use scnn_isa::machine::Machine;
use scnn_isa::plane::{Rect, Span};
use scnn_isa::program::Memory;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use thiserror::Error;

/// Why a mapping file is no mapping of a network on a machine.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MappingFileError {
    /// Not the form described above.
    #[error("{place}: `{text}` is not {expected}")]
    Syntax {
        /// The tensor or layer, and the key.
        place: String,
        /// The text at that place.
        text: String,
        /// The form that is expected.
        expected: &'static str,
    },
    /// A tensor or layer that the network has and the file has not, or the other way round.
    #[error("{what} number {number} is `{expected}` in the network, `{found}` in the file")]
    Name {
        /// `tensor` or `layer`.
        what: &'static str,
        /// Its position.
        number: usize,
        /// The name that the network has at this position.
        expected: String,
        /// The name that the file has there.
        found: String,
    },
    /// An accumulator half is exceeded.
    #[error(
        "layer `{layer}`: {kc} output channels x {positions} positions take {needed} accumulators ({bytes} bytes) of a PE's {available}"
    )]
    Accumulators {
        /// The layer.
        layer: String,
        /// Largest output-channel group.
        kc: u32,
        /// Positions of the largest accumulator tile.
        positions: u64,
        /// Accumulators needed.
        needed: u64,
        /// By how many bytes that exceeds them.
        bytes: u64,
        /// Accumulators of a half.
        available: u32,
    },
    /// A place outside an activation RAM.
    #[error(
        "{place}: elements {begin}..{end} exceed RAM {memory} of {capacity} elements by {bytes} bytes"
    )]
    Ram {
        /// The tensor or layer.
        place: String,
        /// The RAM.
        memory: &'static str,
        /// First element.
        begin: u64,
        /// One past the last.
        end: u64,
        /// Elements of the RAM.
        capacity: u64,
        /// By how many bytes it is exceeded.
        bytes: u64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tensors: Vec<TensorEntry>,
    layers: Vec<LayerEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TensorEntry {
    name: String,
    pe_groups: String,
    residues: String,
    home: String,
    tiles: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LayerEntry {
    name: String,
    stage: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<WeightOrder>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pe_groups: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel_cuts: Option<String>,
    passes: Vec<String>,
}

/// Writes a mapping.
///
/// # Errors
/// None that a mapping can cause; see [`scnn_isa::yaml::to_string`].
pub fn write(network: &Quantised, mapped: &Mapped) -> Result<String, scnn_isa::yaml::YamlError> {
    let tensors = network
        .tensors
        .iter()
        .zip(&mapped.layouts)
        .zip(&mapped.residency.homes)
        .map(|((tensor, layout), home)| TensorEntry {
            name: tensor.name.clone(),
            pe_groups: grid(layout.groups),
            residues: grid(layout.residues),
            home: home.map_or_else(|| "dram".to_owned(), slot),
            tiles: layout.tiles.iter().map(tile).collect(),
        })
        .collect();
    let layers = network
        .operations
        .iter()
        .enumerate()
        .filter_map(|(operation, described)| Some((operation, described.layer()?)))
        .filter_map(|(operation, layer)| {
            let mapping = mapped.layers[operation].as_ref()?;
            let on_array = layer.conv.is_some();
            Some(LayerEntry {
                name: layer.name.clone(),
                stage: stage(mapped.residency.stages[operation]),
                order: on_array.then_some(mapping.order),
                pe_groups: on_array.then(|| grid(mapping.pe_groups)),
                channel_cuts: on_array.then(|| channel_cuts(&mapping.channel_groups)),
                passes: mapping.passes.iter().map(pass).collect(),
            })
        })
        .collect();
    scnn_isa::yaml::to_string(&File { tensors, layers })
}

fn numbers(values: impl IntoIterator<Item = u64>) -> String {
    let words: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    words.join(" ")
}

fn grid(grid: Grid) -> String {
    format!("{} {}", grid.rows, grid.cols)
}

fn slot(slot: Slot) -> String {
    format!("{} {} {}", memory_name(slot.memory), slot.base, slot.size)
}

const fn memory_name(memory: Memory) -> &'static str {
    match memory {
        Memory::A => "a",
        Memory::B => "b",
        Memory::Dram => "dram",
    }
}

fn tile(tile: &Tile) -> String {
    let cuts = |cuts: &[u32]| numbers(cuts.iter().map(|&cut| u64::from(cut)));
    format!(
        "images {}, n {}, y {}, x {}",
        grid(tile.images),
        cuts(&tile.n),
        cuts(&tile.y),
        cuts(&tile.x)
    )
}

fn stage(stage: Option<Staging>) -> String {
    match stage {
        None => "there".to_owned(),
        Some(Staging::PerTile(place)) => format!("tile {}", slot(place)),
        Some(Staging::Alternate([a, b])) => format!("alternate {} {}", slot(a), slot(b)),
        Some(Staging::Once(place)) => format!("once {}", slot(place)),
        Some(Staging::Kept(operation)) => format!("kept {operation}"),
    }
}

/// The ends of the groups; an empty group repeats the end before it.
fn channel_cuts(groups: &[Span]) -> String {
    let mut text = "0".to_owned();
    for group in groups {
        // Writing to a string does not fail.
        let _ = write!(text, " {}", group.end);
    }
    text
}

fn pass(pass: &Pass) -> String {
    let Rect { n, y, x } = pass.output;
    format!(
        "tile {} n {} {} y {} {} x {} {}",
        pass.source_tile, n.begin, n.end, y.begin, y.end, x.begin, x.end
    )
}

/// Reads a mapping of `network` on `machine`.
///
/// # Errors
/// See [`MappingFileError`].
pub fn read(
    text: &str,
    network: &Quantised,
    machine: &Machine,
) -> Result<Mapped, ReadMappingError> {
    let file: File = scnn_isa::yaml::from_str(text)?;
    let layers: Vec<usize> = network
        .operations
        .iter()
        .enumerate()
        .filter_map(|(operation, described)| {
            matches!(described, Operation::Layer(_)).then_some(operation)
        })
        .collect();
    let tensor_names = network.tensors.iter().map(|tensor| tensor.name.as_str());
    same_names(
        "tensor",
        tensor_names,
        file.tensors.iter().map(|t| t.name.as_str()),
    )?;
    let layer_names = layers
        .iter()
        .map(|&operation| match &network.operations[operation] {
            Operation::Layer(layer) => layer.name.as_str(),
            Operation::Host(host) => host.name.as_str(),
        });
    same_names(
        "layer",
        layer_names,
        file.layers.iter().map(|l| l.name.as_str()),
    )?;
    let mut mapped = Mapped {
        layouts: Vec::new(),
        residency: Residency {
            homes: Vec::new(),
            stages: vec![None; network.operations.len()],
            refused: vec![None; network.tensors.len()],
        },
        layers: vec![None; network.operations.len()],
        predicted: vec![None::<Cost>; network.operations.len()],
    };
    for entry in &file.tensors {
        let place = format!("tensor `{}`", entry.name);
        mapped.layouts.push(Layout {
            groups: read_grid(&place, &entry.pe_groups)?,
            residues: read_grid(&place, &entry.residues)?,
            tiles: entry
                .tiles
                .iter()
                .map(|text| read_tile(&place, text))
                .collect::<Result<_, _>>()?,
        });
        let home = if entry.home == "dram" {
            None
        } else {
            let words: Vec<&str> = entry.home.split_whitespace().collect();
            Some(read_slot(&place, &words, machine)?)
        };
        mapped.residency.homes.push(home);
    }
    for (entry, &operation) in file.layers.iter().zip(&layers) {
        let place = format!("layer `{}`", entry.name);
        mapped.residency.stages[operation] = read_stage(&place, &entry.stage, operation, machine)?;
        let mapping = read_layer(&place, entry)?;
        check_layer(network, machine, &mapped, operation, &mapping)?;
        mapped.layers[operation] = Some(mapping);
    }
    check_stages(&mapped, &file, &layers)?;
    Ok(mapped)
}

/// Why a text is no mapping.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadMappingError {
    /// The text is not YAML of the form above.
    #[error(transparent)]
    Yaml(#[from] scnn_isa::yaml::YamlError),
    /// The mapping does not fit the network or the machine.
    #[error(transparent)]
    Mapping(#[from] MappingFileError),
}

fn same_names<'a>(
    what: &'static str,
    expected: impl Iterator<Item = &'a str>,
    found: impl Iterator<Item = &'a str>,
) -> Result<(), MappingFileError> {
    let (mut expected, mut found) = (expected, found);
    for number in 0.. {
        let pair = (expected.next(), found.next());
        match pair {
            (None, None) => break,
            (Some(a), Some(b)) if a == b => {}
            (a, b) => {
                return Err(MappingFileError::Name {
                    what,
                    number,
                    expected: a.unwrap_or("nothing").to_owned(),
                    found: b.unwrap_or("nothing").to_owned(),
                });
            }
        }
    }
    Ok(())
}

fn syntax(place: &str, text: &str, expected: &'static str) -> MappingFileError {
    MappingFileError::Syntax {
        place: place.to_owned(),
        text: text.to_owned(),
        expected,
    }
}

fn read_numbers(place: &str, text: &str) -> Result<Vec<u32>, MappingFileError> {
    text.split_whitespace()
        .map(|word| word.parse().map_err(|_| syntax(place, word, "a number")))
        .collect()
}

fn read_grid(place: &str, text: &str) -> Result<Grid, MappingFileError> {
    match read_numbers(place, text)?[..] {
        [rows @ 1..=256, cols @ 1..=256] => Ok(Grid::new(rows, cols)),
        _ => Err(syntax(place, text, "rows and columns, each from 1 to 256")),
    }
}

fn read_tile(place: &str, text: &str) -> Result<Tile, MappingFileError> {
    const FORM: &str = "`images R C, n CUTS, y CUTS, x CUTS` with ascending cuts";
    let mut parts = text.split(',').map(str::trim);
    let mut part = |key: &str| -> Result<Vec<u32>, MappingFileError> {
        let words = parts
            .next()
            .and_then(|part| part.strip_prefix(key))
            .filter(|rest| rest.starts_with(' '))
            .ok_or_else(|| syntax(place, text, FORM))?;
        read_numbers(place, words)
    };
    let (images, n, y, x) = (part("images")?, part("n")?, part("y")?, part("x")?);
    let ascending = |cuts: &[u32]| {
        cuts.len() >= 2 && cuts.len() <= 65 && cuts.windows(2).all(|cut| cut[0] <= cut[1])
    };
    let [rows @ 1..=64, cols @ 1..=64] = images[..] else {
        return Err(syntax(place, text, FORM));
    };
    if parts.next().is_some() || ![&n, &y, &x].into_iter().all(|cuts| ascending(cuts)) {
        return Err(syntax(place, text, FORM));
    }
    Ok(Tile {
        images: Grid::new(rows, cols),
        n,
        y,
        x,
    })
}

fn read_slot(place: &str, words: &[&str], machine: &Machine) -> Result<Slot, MappingFileError> {
    const FORM: &str = "a place: `a` or `b`, first element, elements";
    let bad = || syntax(place, &words.join(" "), FORM);
    let [memory, base, size] = words else {
        return Err(bad());
    };
    let memory = match *memory {
        "a" => Memory::A,
        "b" => Memory::B,
        _ => return Err(bad()),
    };
    let (base, size): (u32, u32) = match (base.parse(), size.parse()) {
        (Ok(base), Ok(size)) if size > 0 => (base, size),
        _ => return Err(bad()),
    };
    let (begin, end) = (u64::from(base), u64::from(base) + u64::from(size));
    let capacity = machine.ram_elements(memory);
    if end > capacity {
        let bits = u64::from(machine.activation_format().element_bits());
        return Err(MappingFileError::Ram {
            place: place.to_owned(),
            memory: memory_name(memory),
            begin,
            end,
            capacity,
            bytes: ((end - capacity) * bits).div_ceil(8),
        });
    }
    Ok(Slot {
        memory,
        base: begin,
        size: u64::from(size),
    })
}

fn read_stage(
    place: &str,
    text: &str,
    operation: usize,
    machine: &Machine,
) -> Result<Option<Staging>, MappingFileError> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let bad = || {
        syntax(
            place,
            text,
            "a stage: `there`, `tile PLACE`, `alternate PLACE PLACE`, `once PLACE` or `kept STEP`",
        )
    };
    Ok(match words[..] {
        ["there"] => None,
        ["tile", ..] => Some(Staging::PerTile(read_slot(place, &words[1..], machine)?)),
        ["once", ..] => Some(Staging::Once(read_slot(place, &words[1..], machine)?)),
        ["alternate", ..] if words.len() == 7 => Some(Staging::Alternate([
            read_slot(place, &words[1..4], machine)?,
            read_slot(place, &words[4..7], machine)?,
        ])),
        ["kept", at] => {
            let at: usize = at.parse().map_err(|_| bad())?;
            if at >= operation {
                return Err(bad());
            }
            Some(Staging::Kept(at))
        }
        _ => return Err(bad()),
    })
}

fn read_layer(place: &str, entry: &LayerEntry) -> Result<LayerMapping, MappingFileError> {
    let passes = entry
        .passes
        .iter()
        .map(|text| read_pass(place, text))
        .collect::<Result<_, _>>()?;
    let cuts = match &entry.channel_cuts {
        Some(text) => read_numbers(place, text)?,
        None => Vec::new(),
    };
    if cuts.first().is_some_and(|&first| first != 0) || cuts.windows(2).any(|cut| cut[0] > cut[1]) {
        let text = entry.channel_cuts.as_deref().unwrap_or_default();
        return Err(syntax(place, text, "ascending cuts that begin with 0"));
    }
    let channel_groups: Vec<Span> = cuts
        .windows(2)
        .map(|cut| Span::new(cut[0], cut[1]))
        .collect();
    Ok(LayerMapping {
        passes,
        pe_groups: match &entry.pe_groups {
            Some(text) => read_grid(place, text)?,
            None => Grid::ONE,
        },
        kc: channel_groups.iter().map(|k| k.len()).max().unwrap_or(0),
        channel_groups,
        order: entry.order.unwrap_or(WeightOrder::Krs),
    })
}

fn read_pass(place: &str, text: &str) -> Result<Pass, MappingFileError> {
    let bad = || syntax(place, text, "a pass: `tile T n B E y B E x B E`");
    let words: Vec<&str> = text.split_whitespace().collect();
    let ["tile", tile, "n", n0, n1, "y", y0, y1, "x", x0, x1] = words[..] else {
        return Err(bad());
    };
    let number = |word: &str| word.parse::<u32>().map_err(|_| bad());
    Ok(Pass {
        source_tile: number(tile)?,
        output: Rect {
            n: Span::new(number(n0)?, number(n1)?),
            y: Span::new(number(y0)?, number(y1)?),
            x: Span::new(number(x0)?, number(x1)?),
        },
    })
}

/// Checks the invariants on which emission relies, and that the accumulators suffice.
fn check_layer(
    network: &Quantised,
    machine: &Machine,
    mapped: &Mapped,
    operation: usize,
    mapping: &LayerMapping,
) -> Result<(), MappingFileError> {
    let Operation::Layer(layer) = &network.operations[operation] else {
        return Ok(());
    };
    let place = format!("layer `{}`", layer.name);
    let layout = &mapped.layouts[layer.source.tensor.index()];
    for pass in &mapping.passes {
        if pass.source_tile as usize >= layout.tiles.len() {
            let text = format!("tile {}", pass.source_tile);
            return Err(syntax(&place, &text, "a tile of its source"));
        }
    }
    if layer.conv.is_none() {
        return Ok(());
    }
    let outputs = layer.destination.channels.len();
    if mapping.channel_groups.last().map(|k| k.end) != Some(outputs) {
        let text = channel_cuts(&mapping.channel_groups);
        return Err(syntax(
            &place,
            &text,
            "cuts that end with the output channels",
        ));
    }
    let positions = accumulators(layout, layer, &mapping.passes);
    let (needed, available) = (
        u64::from(mapping.kc) * positions,
        machine.accumulator_entries(),
    );
    if needed > u64::from(available) {
        let bits = u64::from(machine.pe.accumulator_bits);
        return Err(MappingFileError::Accumulators {
            layer: layer.name.clone(),
            kc: mapping.kc,
            positions,
            needed,
            bytes: ((needed - u64::from(available)) * bits).div_ceil(8),
            available,
        });
    }
    Ok(())
}

/// Stages that emission can follow: sources in DRAM are staged, kept ones were loaded once.
fn check_stages(mapped: &Mapped, file: &File, layers: &[usize]) -> Result<(), MappingFileError> {
    for (entry, &operation) in file.layers.iter().zip(layers) {
        if let Some(Staging::Kept(at)) = mapped.residency.stages[operation]
            && !matches!(mapped.residency.stages[at], Some(Staging::Once(_)))
        {
            let place = format!("layer `{}`", entry.name);
            return Err(syntax(
                &place,
                &entry.stage,
                "an operation that loaded its source once",
            ));
        }
    }
    Ok(())
}
