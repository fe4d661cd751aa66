//! The instructions, walked in order: what each names exists, is written before it is read, and rounds are streamed,
//! multiplied and drained in step.

#[cfg(test)]
mod tests;

use super::Problems;
use crate::diagnostic::Code;
use crate::ids::{LayerId, RegionId, TensorId, ValueId};
use crate::instruction::Instruction;
use crate::layer::{ArrayStage, Layer, View};
use crate::plane::Span;
use crate::program::{Memory, Program, Region};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(program: &Program, problems: &mut Problems) {
    let mut walk = Walk::new(program);
    for (index, instruction) in program.code.iter().enumerate() {
        if let Err(message) = walk.step(index, instruction) {
            let place = format!("instruction {index} ({})", instruction.mnemonic());
            problems.add(Code::BadCode, place, message);
            return;
        }
    }
    if let Err(message) = walk.finish() {
        problems.add(Code::BadCode, "end of the code", message);
    }
}

type Checked = Result<(), String>;

fn require(holds: bool, message: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(message()) }
}

/// Contents of a region: by tile, the channels that it holds, as spans that do not touch.
type Content = BTreeMap<u32, Vec<Span>>;

/// Adds channels of a tile.
fn hold(content: &mut Content, tile: u32, channels: Span) {
    let spans = content.entry(tile).or_default();
    let mut all = channels;
    spans.retain(|span| {
        let apart = span.end < all.begin || all.end < span.begin;
        if !apart {
            all = all.hull(*span);
        }
        apart
    });
    spans.push(all);
}

/// Whether a region holds channels of a tile.
fn holds(content: Option<&Content>, tile: u32, channels: Span) -> bool {
    let spans = content.and_then(|content| content.get(&tile));
    spans.is_some_and(|spans| spans.iter().any(|span| span.covers(channels)))
}

struct Walk<'a> {
    program: &'a Program,
    layer: Option<LayerId>,
    /// Contents of every region. A region in DRAM keeps them; one in a RAM loses them to any region that is written over it.
    contents: BTreeMap<RegionId, Content>,
    values: BTreeSet<ValueId>,
    streamed: Span,
    /// The rounds that wait in the accumulators: pass, rounds, channels so far, first half.
    pending: Option<(u32, Span, u32, u8)>,
    /// The half of the accumulators that is free.
    half: u8,
    ended: bool,
}

impl<'a> Walk<'a> {
    fn new(program: &'a Program) -> Self {
        let mut walk = Self {
            program,
            layer: None,
            contents: BTreeMap::new(),
            values: BTreeSet::new(),
            streamed: Span::default(),
            pending: None,
            half: 0,
            ended: false,
        };
        for &input in &program.inputs {
            walk.define(input);
        }
        walk
    }

    fn stream(&mut self, rounds: Span) -> Checked {
        let array = self.layer()?.array.as_ref();
        let all = array.map_or(0, ArrayStage::rounds);
        require(!rounds.is_empty() && rounds.end <= all, || {
            format!("the layer has {all} rounds")
        })?;
        self.streamed = rounds;
        Ok(())
    }

    fn step(&mut self, index: usize, instruction: &Instruction) -> Checked {
        require(!self.ended, || "it stands behind `end`".to_owned())?;
        match *instruction {
            Instruction::Cfg { layer } => {
                self.nothing_pending()?;
                require(layer.index() < self.program.layers.len(), || {
                    format!("there is no {layer}")
                })?;
                (self.layer, self.streamed) = (Some(layer), Span::default());
                Ok(())
            }
            Instruction::Lda { from, to } => self.transfer(from, to, true),
            Instruction::Sta { from, to } => self.transfer(from, to, false),
            Instruction::Ldw { rounds } => self.stream(rounds),
            Instruction::Mac {
                pass,
                rounds,
                channels,
                from,
                half,
            } => self.multiply(pass, rounds, channels, from, half),
            Instruction::Drn {
                pass,
                rounds,
                to,
                operand,
                half,
            } => {
                let layer = self.layer()?;
                let pending = self
                    .pending
                    .take()
                    .ok_or("nothing waits in the accumulators")?;
                let all = (pass, rounds, layer.source.channels.len(), half);
                require(pending == all, || {
                    "it does not drain the pass, rounds and half that were accumulated over all channels".to_owned()
                })?;
                self.half = ((u32::from(half) + rounds.len()) % 2) as u8;
                let rounds_of = layer.array.as_ref().map_or(0, ArrayStage::rounds);
                self.write(layer, pass, to, operand, None, rounds.end == rounds_of)
            }
            Instruction::Ppu {
                pass,
                from,
                to,
                operand,
            } => {
                let layer = self.layer()?;
                self.nothing_pending()?;
                require(layer.array.is_none(), || {
                    "the layer has an array stage".to_owned()
                })?;
                let tile = layer
                    .passes
                    .get(pass as usize)
                    .ok_or("there is no such pass")?
                    .source_tile;
                self.read(from, layer.source, Some(tile))?;
                self.write(layer, pass, to, operand, Some(from), true)
            }
            Instruction::Hst { segment } => {
                self.nothing_pending()?;
                let segment = self
                    .program
                    .segments
                    .get(segment.index())
                    .ok_or("there is no such segment")?;
                for &input in &segment.inputs {
                    self.available(input)?;
                }
                for &output in &segment.outputs {
                    self.define(output);
                }
                Ok(())
            }
            Instruction::Bar {} => Ok(()),
            Instruction::End {} => {
                self.ended = true;
                self.nothing_pending()?;
                require(index + 1 == self.program.code.len(), || {
                    "it is not the last instruction".to_owned()
                })?;
                self.program
                    .outputs
                    .iter()
                    .try_for_each(|&output| self.available(output))
            }
        }
    }

    fn finish(&self) -> Checked {
        require(self.ended, || "the code does not end with `end`".to_owned())
    }

    fn layer(&self) -> Result<&'a Layer, String> {
        let program = self.program;
        self.layer
            .map(|id| program.layer(id))
            .ok_or_else(|| "no layer is configured".to_owned())
    }

    fn region(&self, id: RegionId) -> Result<&'a Region, String> {
        let program = self.program;
        program
            .regions
            .get(id.index())
            .ok_or_else(|| format!("there is no {id}"))
    }

    fn nothing_pending(&self) -> Checked {
        require(self.pending.is_none(), || {
            "accumulated rounds have not been drained".to_owned()
        })
    }

    fn transfer(&mut self, from: RegionId, to: RegionId, load: bool) -> Checked {
        let (source, target) = (self.region(from)?, self.region(to)?);
        let (dram, ram) = if load {
            (source, target)
        } else {
            (target, source)
        };
        let directed =
            dram.memory == Memory::Dram && ram.memory != Memory::Dram && self.layer.is_some();
        require(directed, || {
            "it moves between DRAM and an activation RAM, inside a layer".to_owned()
        })?;
        require(
            source.tensor == target.tensor && dram.tiles.covers(ram.tiles),
            || "its regions do not hold the same tiles of one tensor".to_owned(),
        )?;
        let held = self.contents.get(&from);
        let moved: Vec<(u32, Vec<Span>)> = held
            .into_iter()
            .flat_map(|held| held.range(ram.tiles.iter()))
            .map(|(&tile, spans)| (tile, spans.clone()))
            .collect();
        require(!moved.is_empty(), || {
            format!("the region {} holds nothing yet", source.name)
        })?;
        if load {
            self.overwrite(to);
        }
        let held = self.contents.entry(to).or_default();
        for (tile, spans) in moved {
            for span in spans {
                hold(held, tile, span);
            }
        }
        Ok(())
    }

    fn multiply(
        &mut self,
        pass: u32,
        rounds: Span,
        channels: Span,
        from: RegionId,
        half: u8,
    ) -> Checked {
        let layer = self.layer()?;
        require(layer.array.is_some(), || {
            "the layer has no array stage".to_owned()
        })?;
        let tile = layer
            .passes
            .get(pass as usize)
            .ok_or("there is no such pass")?
            .source_tile;
        require(!rounds.is_empty() && self.streamed.covers(rounds), || {
            format!(
                "the rounds {rounds} were not streamed; the last `ldw` has {}",
                self.streamed
            )
        })?;
        let all = layer.source.channels.len();
        require(!channels.is_empty() && channels.end <= all, || {
            format!("the source has {all} channels")
        })?;
        require(rounds.len() <= 2 || channels.len() == all, || {
            "more rounds than accumulator halves need all channels at once".to_owned()
        })?;
        let done = match self.pending {
            None => {
                require(half == self.half, || {
                    format!("half {half} is not the free one")
                })?;
                0
            }
            Some((at, of, done, first)) => {
                require((at, of, first) == (pass, rounds, half), || {
                    "other rounds wait in the accumulators and have not been drained".to_owned()
                })?;
                done
            }
        };
        require(channels.begin == done, || {
            format!("channels {channels} do not follow the {done} before")
        })?;
        self.read(from, layer.source, Some(tile))?;
        require(self.region(from)?.memory != Memory::Dram, || {
            "the array reads activation RAMs only".to_owned()
        })?;
        self.pending = Some((pass, rounds, channels.end, half));
        Ok(())
    }

    /// A region is read: it must hold the view's channels of a tile, or of all its tiles.
    fn read(&self, id: RegionId, view: View, tile: Option<u32>) -> Checked {
        let region = self.region(id)?;
        require(region.tensor == view.tensor, || {
            format!("the region {} is of another tensor", region.name)
        })?;
        let tiles = tile.map_or(region.tiles, |tile| Span::new(tile, tile + 1));
        require(region.tiles.covers(tiles), || {
            format!(
                "the region {} does not hold tile {}",
                region.name, tiles.begin
            )
        })?;
        let held = self.contents.get(&id);
        let complete = tiles.iter().all(|t| holds(held, t, view.channels));
        require(complete, || {
            format!(
                "the region {} does not hold channels {} yet",
                region.name, view.channels
            )
        })
    }

    fn write(
        &mut self,
        layer: &Layer,
        pass: u32,
        to: RegionId,
        operand: Option<RegionId>,
        from: Option<RegionId>,
        last_rounds: bool,
    ) -> Checked {
        let output = layer
            .passes
            .get(pass as usize)
            .ok_or("there is no such pass")?
            .output;
        let region = self.region(to)?;
        require(region.tensor == layer.destination.tensor, || {
            format!("the region {} is of another tensor", region.name)
        })?;
        let layout = &self.program.tensor(region.tensor).layout;
        let missed = layout.tiles.iter().enumerate().any(|(tile, data)| {
            !region.tiles.contains(tile as u32) && !data.rect().intersect(output).is_empty()
        });
        require(!missed, || {
            format!(
                "the region {} does not hold all of the pass's output",
                region.name
            )
        })?;
        match (layer.ppu.operand, operand) {
            (None, None) => {}
            (Some(described), Some(id)) => self.read(id, described.view, None)?,
            (Some(_), None) => {
                return Err("the layer has an operand, the instruction names none".to_owned());
            }
            (None, Some(_)) => {
                return Err("the instruction names an operand, the layer has none".to_owned());
            }
        }
        let overlapping = from
            .into_iter()
            .chain(operand)
            .any(|read| read != to && self.region(read).is_ok_and(|read| overlap(read, region)));
        require(!overlapping, || {
            format!("the region {} lies over one that is read", region.name)
        })?;
        // The first pass of a producer takes the region from whatever lay over it.
        let fresh = !self.contents.contains_key(&to);
        if fresh {
            self.overwrite(to);
        }
        self.contents.entry(to).or_default();
        if last_rounds && pass as usize + 1 == layer.passes.len() {
            let held = self.contents.entry(to).or_default();
            for tile in region.tiles.iter() {
                hold(held, tile, layer.destination.channels);
            }
        }
        Ok(())
    }

    /// A region in a RAM is written anew: whatever lay there is gone.
    fn overwrite(&mut self, id: RegionId) {
        let program = self.program;
        let Some(target) = program.regions.get(id.index()) else {
            return;
        };
        self.contents
            .retain(|&other, _| other != id && !overlap(program.region(other), target));
    }

    fn define(&mut self, id: ValueId) {
        self.values.insert(id);
        let Some(region) = self.program.value(id).region else {
            return;
        };
        let (tensor, tiles) = (self.tensor_of(region), self.program.region(region).tiles);
        let all = Span::new(0, self.program.tensor(tensor).channels());
        let content = tiles.iter().map(|tile| (tile, vec![all]));
        self.contents.insert(region, content.collect());
    }

    fn available(&self, id: ValueId) -> Checked {
        let value = self.program.value(id);
        let Some(region) = value.region else {
            return require(self.values.contains(&id), || {
                format!("the value {} was never computed", value.name)
            });
        };
        let tensor = self.tensor_of(region);
        let channels = Span::new(0, self.program.tensor(tensor).channels());
        self.read(region, View { tensor, channels }, None)
    }

    fn tensor_of(&self, region: RegionId) -> TensorId {
        self.program.region(region).tensor
    }
}

/// Whether two regions share elements of a RAM, or bytes of DRAM.
fn overlap(a: &Region, b: &Region) -> bool {
    a.memory == b.memory && a.base < b.base + b.size && b.base < a.base + a.size
}
