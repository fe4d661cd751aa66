//! Every dimension of every input gets a number.
//!
//! A dimension is open if the file gives it a name, -1, 0 or nothing. `--shape x=1,3,48,192` gives all of an input,
//! `--dim NAME=8` those of a name and `--dim x[2]=8` one of an input. What is still open is 1 if it is the first of an
//! input, the batch, or has the name of one; anything else is as in the array that is to be the input, or has to be given.
//! A name that stands for two sizes, as exporters write `?` for each, has at each place the size of the array there. An
//! input with an extent of zero has no values and becomes a constant.

use super::Draft;
use super::bindings::{bind, open_inputs};
use super::error::ImportError;
use super::proto::{tensor_type, tensor_type_mut};
use crate::codes::Code;
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::Dimension;
use tract_onnx::pb::tensor_shape_proto::dimension::Value;
use tract_onnx::pb::{GraphProto, TensorShapeProto, ValueInfoProto};

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    let Some(graph) = &mut draft.model.graph else {
        return Ok(());
    };
    let mut errors = Vec::new();
    unknown_names(graph, draft.options, &mut errors);
    errors.extend(open_inputs(graph).filter_map(of_no_number));
    if !errors.is_empty() {
        return Err(errors);
    }
    let open: BTreeSet<String> = open_inputs(graph).map(|input| input.name.clone()).collect();
    let inputs = || {
        graph
            .input
            .iter()
            .filter(|input| open.contains(&input.name))
    };
    let batches: BTreeSet<String> = inputs().filter_map(first_name).collect();
    let seen = Seen::of(&open, draft.options, inputs());
    let mut unbound = BTreeMap::new();
    for input in graph
        .input
        .iter_mut()
        .filter(|input| open.contains(&input.name))
    {
        let given = draft.options.shapes.get(&input.name);
        let bound = match given {
            Some(shape) => set_shape(input, shape),
            None => set_dimensions(input, draft.options, &batches, &seen, &mut unbound),
        };
        errors.extend(bound.err());
    }
    errors.extend(missing(&unbound));
    if !errors.is_empty() {
        return Err(errors);
    }
    let empty: Vec<(String, String)> = open_inputs(graph).filter_map(empty_value).collect();
    if empty.is_empty() {
        return Ok(());
    }
    if open_inputs(graph).count() == empty.len() {
        return Err(vec![nothing_to_read(&empty)]);
    }
    for (name, value) in empty {
        bind(graph, &name, &value).map_err(|error| vec![error])?;
        draft.notes.push(format!(
            "the input `{name}` is empty: the program does not read it"
        ));
        draft.bound.insert(name, value);
    }
    Ok(())
}

/// The name and the value of an input whose dimensions have numbers, if it has no values: what a decoder knows of its past
/// when it begins.
fn empty_value(input: &ValueInfoProto) -> Option<(String, String)> {
    let shape = tensor_type(input)?.shape.as_ref()?;
    let extent = |dim: &Dimension| match dim.value {
        Some(Value::DimValue(extent)) => Some(extent),
        _ => None,
    };
    let extents: Option<Vec<i64>> = shape.dim.iter().map(extent).collect();
    let extents = extents.filter(|extents| extents.contains(&0))?;
    Some((input.name.clone(), format!("{extents:?}")))
}

fn nothing_to_read(empty: &[(String, String)]) -> ImportError {
    let names: Vec<&str> = empty.iter().map(|(name, _)| name.as_str()).collect();
    ImportError::model(
        Code::ZeroSize,
        format!("all inputs are empty: `{}`", names.join("`, `")),
        "give one of them extents above zero",
    )
}

/// The name of a dimension, if it is open and the file gives it one that says anything.
fn name_of(dim: &Dimension) -> Option<&str> {
    match &dim.value {
        Some(Value::DimParam(name)) if !name.is_empty() => Some(name),
        _ => None,
    }
}

/// The name of an input's first dimension.
fn first_name(input: &ValueInfoProto) -> Option<String> {
    let first = tensor_type(input)?.shape.as_ref()?.dim.first()?;
    name_of(first).map(str::to_owned)
}

fn is_open(dim: &Dimension) -> bool {
    !matches!(dim.value, Some(Value::DimValue(value)) if value > 0)
}

/// Options for dimensions and inputs that the model has not.
fn unknown_names(
    graph: &GraphProto,
    options: &super::ImportOptions,
    errors: &mut Vec<ImportError>,
) {
    let mut names: Vec<String> = Vec::new();
    for input in open_inputs(graph) {
        let shape = tensor_type(input).and_then(|tensor| tensor.shape.as_ref());
        let dims = shape.map_or(&[][..], |shape| &shape.dim);
        for (index, dim) in dims.iter().enumerate().filter(|(_, dim)| is_open(dim)) {
            names.extend(name_of(dim).map(str::to_owned));
            names.push(format!("{}[{index}]", input.name));
        }
    }
    names.dedup();
    for name in options.dims.keys().filter(|name| !names.contains(name)) {
        let message = format!("the model has no open dimension `{name}`");
        errors.push(ImportError::model(
            Code::UnboundDimension,
            message,
            candidates(name, &names),
        ));
    }
    let inputs: Vec<String> = open_inputs(graph).map(|input| input.name.clone()).collect();
    for name in options.shapes.keys().filter(|name| !inputs.contains(name)) {
        let message = format!("the model has no input `{name}`");
        errors.push(ImportError::model(
            Code::MissingTensor,
            message,
            candidates(name, &inputs),
        ));
    }
}

fn candidates(name: &str, names: &[String]) -> String {
    let unique: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let all: Vec<&str> = unique.into_iter().collect();
    match (
        scnn_isa::yaml::nearest(name, all.iter().copied()),
        all.as_slice(),
    ) {
        (Some(nearest), _) => format!("did you mean `{nearest}`?"),
        (None, []) => "all of its sizes are fixed".to_owned(),
        (None, _) => format!("there is {}", all.join(", ")),
    }
}

/// Gives an input all of its extents.
fn set_shape(input: &mut ValueInfoProto, given: &[u64]) -> Result<(), ImportError> {
    let name = input.name.clone();
    let refused =
        |message: String, remedy: &str| ImportError::model(Code::UnboundDimension, message, remedy);
    let tensor = tensor_type_mut(input).ok_or_else(|| no_tensor(&name))?;
    if let Some(shape) = &tensor.shape {
        if shape.dim.len() != given.len() {
            let count = shape.dim.len();
            let message = format!(
                "the input `{name}` has {count} dimensions, not {}",
                given.len()
            );
            return Err(refused(message, "give `--shape` a number for each"));
        }
        for (index, (dim, &wanted)) in shape.dim.iter().zip(given).enumerate() {
            if let Some(Value::DimValue(fixed)) = dim.value
                && fixed > 0
                && fixed as u64 != wanted
            {
                let message =
                    format!("dimension {index} of the input `{name}` is {fixed}, not {wanted}");
                return Err(refused(
                    message,
                    "the file fixes it; export the model with another size",
                ));
            }
        }
    }
    let dim = given.iter().map(|&extent| fixed(extent)).collect();
    tensor.shape = Some(TensorShapeProto { dim });
    Ok(())
}

fn fixed(extent: u64) -> Dimension {
    Dimension {
        value: Some(Value::DimValue(extent as i64)),
        ..Dimension::default()
    }
}

/// The error of an input of a type that no program reads.
fn of_no_number(input: &ValueInfoProto) -> Option<ImportError> {
    let dtype = DataType::try_from(tensor_type(input)?.elem_type).ok()?;
    let (what, remedy) = match dtype {
        DataType::String => (
            "words, and a program computes numbers".to_owned(),
            "cut the model behind what makes numbers of words (onnx.utils.extract_model), or export it without that",
        ),
        DataType::Undefined
        | DataType::Float
        | DataType::Double
        | DataType::Float16
        | DataType::Bfloat16
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Uint8
        | DataType::Uint16
        | DataType::Uint32
        | DataType::Uint64
        | DataType::Bool => return None,
        other => (
            format!("{}, which a program has no form for", other.as_str_name()),
            "export the model with inputs of FLOAT or of integers of 8 bits and more, and cast them inside",
        ),
    };
    let message = format!("the input `{}` is of {what}", input.name);
    Some(ImportError::model(Code::BadTensor, message, remedy))
}

fn no_tensor(name: &str) -> ImportError {
    ImportError::model(
        Code::BadTensor,
        format!("the input `{name}` is no tensor"),
        "sequences and maps are not supported; export the model with tensor inputs",
    )
}

/// Gives the open dimensions of an input a number each; notes those that have none by name, with where they are used.
fn set_dimensions(
    input: &mut ValueInfoProto,
    options: &super::ImportOptions,
    batches: &BTreeSet<String>,
    seen: &Seen,
    unbound: &mut BTreeMap<String, Vec<String>>,
) -> Result<(), ImportError> {
    let name = input.name.clone();
    let tensor = tensor_type_mut(input).ok_or_else(|| no_tensor(&name))?;
    let Some(shape) = &mut tensor.shape else {
        return Err(ImportError::model(
            Code::DynamicShape,
            format!("the input `{name}` has no shape"),
            format!("give `--shape {name}=…`, a number for each dimension"),
        ));
    };
    for (index, dim) in shape
        .dim
        .iter_mut()
        .enumerate()
        .filter(|(_, dim)| is_open(dim))
    {
        let place = format!("{name}[{index}]");
        let symbol = name_of(dim).map(str::to_owned);
        let named = symbol.as_ref().and_then(|symbol| options.dims.get(symbol));
        let batch = index == 0
            || symbol
                .as_ref()
                .is_some_and(|symbol| batches.contains(symbol));
        let name = symbol.as_ref().unwrap_or(&place);
        let value = options
            .dims
            .get(&place)
            .or_else(|| seen.of_several(name, &place, named))
            .or(named)
            .copied()
            // What an array has behind its first axis is no number of samples, whatever else has that name.
            .or_else(|| seen.only(name))
            .or(batch.then_some(1));
        match value {
            Some(value) => *dim = fixed(value),
            None => unbound
                .entry(symbol.unwrap_or_else(|| place.clone()))
                .or_default()
                .push(place),
        }
    }
    Ok(())
}

/// What the given arrays say of open dimensions, but inputs' first.
#[derive(Default)]
struct Seen {
    /// By place, `input[index]`.
    places: BTreeMap<String, u64>,
    /// By name, or place of those without.
    names: BTreeMap<String, BTreeSet<u64>>,
}

impl Seen {
    fn of<'a>(
        open: &BTreeSet<String>,
        options: &super::ImportOptions,
        inputs: impl Iterator<Item = &'a ValueInfoProto>,
    ) -> Self {
        let mut seen = Self::default();
        for input in inputs {
            let only = (open.len() == 1).then(|| options.arrays.get("")).flatten();
            let extents = options.arrays.get(&input.name).or(only);
            let shape = tensor_type(input).and_then(|tensor| tensor.shape.as_ref());
            let (Some(extents), Some(shape)) = (extents.map(|given| &given.extents), shape) else {
                continue;
            };
            if extents.len() != shape.dim.len() {
                continue;
            }
            let dims = shape.dim.iter().zip(extents).enumerate().skip(1);
            for (index, (dim, &extent)) in dims.filter(|(_, (dim, _))| is_open(dim)) {
                let place = format!("{}[{index}]", input.name);
                let name = name_of(dim).map_or_else(|| place.clone(), str::to_owned);
                seen.names.entry(name).or_default().insert(extent);
                seen.places.insert(place, extent);
            }
        }
        seen
    }

    /// The size at a place whose name has several sizes, `given` among them if it is given.
    fn of_several(&self, name: &str, place: &str, given: Option<&u64>) -> Option<&u64> {
        let sizes = self.names.get(name).filter(|sizes| sizes.len() > 1)?;
        let fits = given.is_none_or(|given| sizes.contains(given));
        self.places.get(place).filter(|_| fits)
    }

    /// The size of a name that has one.
    fn only(&self, name: &str) -> Option<u64> {
        let sizes = self.names.get(name).filter(|sizes| sizes.len() == 1)?;
        sizes.first().copied()
    }
}

/// One line with every name that has no value.
fn missing(unbound: &BTreeMap<String, Vec<String>>) -> Option<ImportError> {
    if unbound.is_empty() {
        return None;
    }
    let list: Vec<String> = unbound
        .iter()
        .map(|(name, uses)| format!("{name} (in {})", uses.join(", ")))
        .collect();
    let help: Vec<String> = unbound
        .keys()
        .map(|name| format!("--dim {name}=VALUE"))
        .collect();
    let message = format!("dimensions without a value: {}", list.join("; "));
    let remedy = format!(
        "give {}, an input's `--shape`, or `--input` with arrays of the shapes that are meant",
        help.join(" ")
    );
    Some(ImportError::model(Code::UnboundDimension, message, remedy))
}
