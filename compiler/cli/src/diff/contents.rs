//! What differs between two programs beside their instructions: constants, scales, mapping, places in memory, host
//! models, kind by kind.
//!
//! Descriptors refer to tensors and sections by number, so things are compared by what they resolve to. Whatever no kind
//! here has a word for is still found: programs that are not equal differ.

use scnn_isa::ids::{SectionId, ValueId};
use scnn_isa::layer::{ArrayStage, Function, Layer, View};
use scnn_isa::program::{Program, Tensor};
use scnnc::reference::of_program::dense_weights;

/// A layer of a program.
#[derive(Clone, Copy)]
pub struct In<'a> {
    pub program: &'a Program,
    pub layer: &'a Layer,
}

/// The kinds of things in which two layers differ beside their instructions.
pub fn of_layers(a: In, b: In) -> Vec<&'static str> {
    let kinds: [(&str, bool); 8] = [
        ("shape", a.shape() != b.shape()),
        ("mapping", a.mapping() != b.mapping()),
        ("weights", a.weights() != b.weights()),
        ("product shift", a.product_shift() != b.product_shift()),
        ("requantisation", a.requantisation() != b.requantisation()),
        ("function", a.function() != b.function()),
        ("post-processing", a.rest_of_ppu() != b.rest_of_ppu()),
        ("scales", a.scales() != b.scales()),
    ];
    let different = kinds.iter().filter(|(_, differs)| *differs);
    different.map(|(kind, _)| *kind).collect()
}

impl<'a> In<'a> {
    fn array(self) -> Option<&'a ArrayStage> {
        self.layer.array.as_ref()
    }

    fn bytes(self, section: SectionId) -> &'a [u8] {
        &self.program.section(section).bytes
    }

    fn views(self) -> [View; 2] {
        [self.layer.source, self.layer.destination]
    }

    /// Extents of tensors and channels, and the convolution.
    fn shape(self) -> impl PartialEq + use<'a> {
        let extents = |view: View| (self.program.tensor(view.tensor).shape, view.channels);
        let convolution = self.array().map(|array| (array.groups, array.y, array.x));
        (self.views().map(extents), convolution)
    }

    /// Cuts of planes and channels.
    fn mapping(self) -> impl PartialEq + use<'a> {
        let layout = |view: View| self.program.tensor(view.tensor).layout.clone();
        let array = self.array();
        let cuts = array.map(|array| (array.pe_groups, array.channel_groups.clone(), array.order));
        (self.views().map(layout), cuts, self.layer.passes.clone())
    }

    /// The values, wherever the mapping puts them.
    fn weights(self) -> impl PartialEq + use<'a> {
        dense_weights(self.program, self.layer).ok().flatten()
    }

    fn product_shift(self) -> Option<u8> {
        self.array().map(|array| array.product_shift)
    }

    /// Bias, multiplier and shift of every output channel.
    fn requantisation(self) -> &'a [u8] {
        self.bytes(self.layer.ppu.requantise)
    }

    fn function(self) -> impl PartialEq + use<'a> {
        self.layer.ppu.function.map(|function| match function {
            Function::Leaky(section) => ("leaky", self.bytes(section)),
            Function::Table(section) => ("table", self.bytes(section)),
        })
    }

    /// Clamp, pooling and the second operand.
    fn rest_of_ppu(self) -> impl PartialEq + use<'a> {
        let ppu = &self.layer.ppu;
        let operand = ppu.operand.map(|operand| {
            let tensor = self.program.tensor(operand.view.tensor);
            let name = tensor.name.as_str();
            (
                name,
                operand.view.channels,
                operand.multiplier,
                operand.shift,
            )
        });
        (ppu.clamp, ppu.pool, operand)
    }

    /// The real value of a unit, and the range, of what is read and written.
    fn scales(self) -> impl PartialEq + use<'a> {
        self.views()
            .map(|view| units(self.program.tensor(view.tensor)))
    }
}

/// The kinds of things in which two programs differ that belong to no layer.
pub fn of_programs(a: &Program, b: &Program) -> Vec<String> {
    let mut kinds: Vec<String> = Vec::new();
    for (what, ours, theirs) in [
        ("input", &a.inputs, &b.inputs),
        ("output", &a.outputs, &b.outputs),
    ] {
        if ours.len() != theirs.len() {
            kinds.push(format!("number of {what}s"));
        }
        let pairs = ours.iter().zip(theirs);
        kinds.extend(pairs.filter_map(|(&ours, &theirs)| {
            let differs = value(a, ours) != value(b, theirs);
            differs.then(|| format!("{what} `{}`", a.value(ours).name))
        }));
    }
    kinds.extend(host_models(a, b));
    let places = |program: &Program| -> Vec<_> {
        let regions = program.regions.iter();
        regions
            .map(|r| (r.name.clone(), r.memory, r.base, r.size, r.tiles))
            .collect()
    };
    if places(a) != places(b) {
        kinds.push("places in memory".to_owned());
    }
    if a.source_map != b.source_map {
        kinds.push("source map".to_owned());
    }
    kinds
}

/// What a tensor's integers stand for, and how far they go.
fn units(tensor: &Tensor) -> impl PartialEq + use<'_> {
    (tensor.scale.to_bits(), &tensor.channel_shifts, tensor.range)
}

/// What the host sees of a value: name, type, extents, and the scale it is quantised with.
fn value(program: &Program, id: ValueId) -> impl PartialEq + use<'_> {
    let value = program.value(id);
    let tensor = value
        .region
        .map(|region| units(program.tensor(program.region(region).tensor)));
    (value.name.as_str(), value.dtype, &value.shape, tensor)
}

/// Host models that differ, or that only one of the programs has.
fn host_models(a: &Program, b: &Program) -> Vec<String> {
    let name = |name: &str| format!("host model `{name}`");
    let mut kinds = Vec::new();
    for segment in &a.segments {
        let other = b.segments.iter().find(|other| other.name == segment.name);
        match other {
            Some(other) if other.model == segment.model => {}
            Some(_) => kinds.push(name(&segment.name)),
            None => kinds.push(format!("{} (only before)", name(&segment.name))),
        }
    }
    let known = |other: &str| a.segments.iter().any(|segment| segment.name == other);
    let new = b.segments.iter().filter(|other| !known(&other.name));
    kinds.extend(new.map(|other| format!("{} (only after)", name(&other.name))));
    kinds
}

/// Whether two programs are the same but for their provenance: what compiled them, from what, with which options.
pub fn same(a: &Program, b: &Program) -> bool {
    let Program {
        machine,
        provenance: _,
        tensors,
        regions,
        layers,
        sections,
        values,
        segments,
        inputs,
        outputs,
        code,
        source_map,
    } = a;
    *machine == b.machine
        && *tensors == b.tensors
        && *regions == b.regions
        && *layers == b.layers
        && *sections == b.sections
        && *values == b.values
        && *segments == b.segments
        && *inputs == b.inputs
        && *outputs == b.outputs
        && *code == b.code
        && *source_map == b.source_map
}
