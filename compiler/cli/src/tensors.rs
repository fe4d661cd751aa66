//! Tensors from and to files: `.npy`, `.npz`, ONNX `.pb`, `.csv`, raw floats.

mod half;

use super::failure::Failure;
use super::output;
use crate::codes::{Code, IsaCode};
use half::Half;
use ndarray::{ArrayD, IxDyn};
use ndarray_npy::{NpzReader, NpzWriter, ReadNpyExt, WritableElement};
use prost::Message;
use scnnc::reference::accuracy::floats;
use std::collections::BTreeMap;
use std::io::{Cursor, Seek, Write};
use std::path::Path;
use tract_onnx::pb::TensorProto;
use tract_onnx::prelude::{Datum, DatumType, Tensor};

/// Element types of the arrays that [`npz_entry`] and [`npy`] read, for people.
const ELEMENTS: &str = "integers, floats of 16 to 64 bits or truth values";

/// Extensions of the files that [`read`] takes.
pub const EXTENSIONS: [&str; 6] = ["npz", "npy", "pb", "csv", "raw", "bin"];

/// The arrays of a file, by name; an unnamed one has the empty name.
pub fn read(path: &Path) -> Result<BTreeMap<String, Tensor>, Failure> {
    let bytes = output::read(path)?;
    let bad = |reason: &str| Failure::file(Code::BadArray, path, reason);
    match kind(path, &bytes) {
        "npz" => {
            let mut archive =
                NpzReader::new(Cursor::new(&bytes)).map_err(|e| bad(&e.to_string()))?;
            let names = archive.names().map_err(|e| bad(&e.to_string()))?;
            names
                .into_iter()
                .map(|name| {
                    let tensor = npz_entry(&mut archive, &name)
                        .ok_or_else(|| bad(&format!("array `{name}` is not of {ELEMENTS}")))?;
                    Ok((name.trim_end_matches(".npy").to_owned(), tensor))
                })
                .collect()
        }
        "npy" => {
            let tensor =
                npy(&bytes).ok_or_else(|| bad(&format!("this is no .npy array of {ELEMENTS}")))?;
            Ok(BTreeMap::from([(String::new(), tensor)]))
        }
        "pb" => {
            let proto = TensorProto::decode(bytes.as_slice())
                .map_err(|e| bad(&format!("no ONNX tensor: {e}")))?;
            let onnx = tract_onnx::onnx();
            let tensor = tract_onnx::tensor::load_tensor(&*onnx.provider, &proto, None)
                .map_err(|e| bad(&format!("no ONNX tensor: {e}")))?;
            Ok(BTreeMap::from([(proto.name, tensor)]))
        }
        "csv" => {
            let text = String::from_utf8(bytes).map_err(|_| bad("this is no text"))?;
            let tensor = csv(&text).map_err(|reason| bad(&reason))?;
            Ok(BTreeMap::from([(String::new(), tensor)]))
        }
        "raw" | "bin" => {
            let (values, rest) = bytes.as_chunks::<4>();
            if !rest.is_empty() || values.is_empty() {
                return Err(bad("raw files hold 32-bit floats, little-endian"));
            }
            let values: Vec<f32> = values.iter().map(|&b| f32::from_le_bytes(b)).collect();
            let tensor = Tensor::from_shape(&[values.len()], &values);
            let tensor = tensor.map_err(|e| bad(&e.to_string()))?;
            Ok(BTreeMap::from([(String::new(), tensor)]))
        }
        extension if PICTURES.contains(&extension.to_lowercase().as_str()) => Err(picture(path)),
        _ => Err(bad(&format!(
            "arrays are read from {} files",
            EXTENSIONS.map(|e| format!(".{e}")).join(", ")
        ))),
    }
}

/// The kind of a file of arrays: its extension, or, for standard input and pipes, by its first bytes.
fn kind<'a>(path: &'a Path, bytes: &[u8]) -> &'a str {
    if !output::is_stream(path) {
        let extension = path.extension().and_then(|e| e.to_str());
        return extension.unwrap_or_default();
    }
    if bytes.starts_with(b"\x93NUMPY") {
        "npy"
    } else if bytes.starts_with(b"PK") {
        "npz"
    } else if std::str::from_utf8(bytes).is_ok_and(|text| csv(text).is_ok()) {
        "csv"
    } else {
        "pb"
    }
}

/// Extensions of pictures, which are no arrays before somebody says how large and how scaled.
const PICTURES: [&str; 8] = ["png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff"];

/// Refuses a picture, and shows a script that makes an array of it. The model's training fixes size, channel order and scale,
/// which a picture does not say.
fn picture(path: &Path) -> Failure {
    let mut failure = Failure::file(
        Code::BadArray,
        path,
        "this is a picture, and a model takes arrays that are cut, scaled and ordered as in its training",
    );
    if let Failure::Refused(diagnostics) = &mut failure
        && let Some(first) = diagnostics.first_mut()
    {
        let script = format!(
            "with Pillow and numpy: `x = numpy.asarray(PIL.Image.open('{}').convert('RGB').resize((224, 224)), 'float32') / 255; \
             x = (x - [.485, .456, .406]) / [.229, .224, .225]; numpy.save('x.npy', x.transpose(2, 0, 1)[None].astype('float32'))`, \
             with the size, mean and deviation of its training; `scnnc check MODEL` shows the shape",
            path.display()
        );
        first.help = Some(script);
    }
    failure
}

/// Writes named arrays as `.npz`, each of its own element type.
pub fn write_npz(path: &Path, arrays: &[(String, Tensor)]) -> Result<(), Failure> {
    let failed = |reason: String| Failure::file(Code::CannotWrite, path, &reason);
    let mut bytes = Cursor::new(Vec::new());
    let mut archive = NpzWriter::new_compressed(&mut bytes);
    for (name, tensor) in arrays {
        add_array(&mut archive, name, tensor).map_err(failed)?;
    }
    archive.finish().map_err(|e| failed(e.to_string()))?;
    output::write(path, bytes.get_ref())
}

fn add_array<W: Write + Seek>(
    archive: &mut NpzWriter<W>,
    name: &str,
    tensor: &Tensor,
) -> Result<(), String> {
    fn add<W: Write + Seek, T: Datum + Clone, U: WritableElement>(
        archive: &mut NpzWriter<W>,
        name: &str,
        tensor: &Tensor,
        convert: fn(&T) -> U,
    ) -> Result<(), String> {
        let view = tensor
            .to_plain_array_view::<T>()
            .map_err(|e| e.to_string())?;
        let values: Vec<U> = view.iter().map(convert).collect();
        let array = ArrayD::from_shape_vec(IxDyn(tensor.shape()), values);
        let array = array.map_err(|e| e.to_string())?;
        archive.add_array(name, &array).map_err(|e| e.to_string())
    }
    macro_rules! by_type {
        ($($datum:ident $type:ty),*) => {
            match tensor.datum_type() {
                $(DatumType::$datum => add::<W, $type, $type>(archive, name, tensor, |v| *v),)*
                DatumType::F16 => add(archive, name, tensor, |v| Half(*v)),
                other => Err(format!("`.npy` files have no values of type {other:?}")),
            }
        };
    }
    by_type!(
        F32 f32, F64 f64, I8 i8, I16 i16, I32 i32, I64 i64, U8 u8, U16 u16, U32 u32, U64 u64, Bool bool
    )
}

/// Refuses an input with values that are no numbers, which have no integer form.
fn refuse_nan(name: &str, tensor: &Tensor) -> Result<(), Failure> {
    if !tensor.datum_type().is_float() {
        return Ok(());
    }
    let values = floats(tensor);
    let Some(first) = values.iter().position(|value| value.is_nan()) else {
        return Ok(());
    };
    let count = values.iter().filter(|value| value.is_nan()).count();
    Err(Failure::input(
        Code::NotANumber,
        &format!(
            "{count} of {} values of the input `{name}` are not a number, the first at index {first}",
            values.len()
        ),
        "numpy.nan_to_num replaces them; where they mark missing values, say what stands for those",
    ))
}

fn npz_entry<R: std::io::Read + std::io::Seek>(
    archive: &mut NpzReader<R>,
    name: &str,
) -> Option<Tensor> {
    macro_rules! attempt {
        ($($type:ty),*) => {
            $(if let Ok(array) = archive.by_name::<ndarray::OwnedRepr<$type>, IxDyn>(name) {
                return tensor(&array);
            })*
        };
    }
    attempt!(f32, f64, u8, i64, i32, i8, i16, u16, u32, u64, bool);
    let array = archive.by_name::<ndarray::OwnedRepr<Half>, IxDyn>(name);
    array
        .ok()
        .and_then(|array| tensor(&array.mapv(|half| half.0)))
}

fn npy(bytes: &[u8]) -> Option<Tensor> {
    macro_rules! attempt {
        ($($type:ty),*) => {
            $(if let Ok(array) = ArrayD::<$type>::read_npy(Cursor::new(bytes)) {
                return tensor(&array);
            })*
        };
    }
    attempt!(f32, f64, u8, i64, i32, i8, i16, u16, u32, u64, bool);
    let array = ArrayD::<Half>::read_npy(Cursor::new(bytes));
    array
        .ok()
        .and_then(|array| tensor(&array.mapv(|half| half.0)))
}

fn tensor<T: tract_onnx::prelude::Datum + Copy>(array: &ArrayD<T>) -> Option<Tensor> {
    let shape = array.shape().to_vec();
    // Fortran-ordered arrays are iterated in logical, that is row-major order.
    let values: Vec<T> = array.iter().copied().collect();
    Tensor::from_shape(&shape, &values).ok()
}

fn csv(text: &str) -> Result<Tensor, String> {
    let mut values = Vec::new();
    let mut rows = 0;
    let mut width = None;
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let before = values.len();
        for word in line.split([',', ';']) {
            let value: f32 = word
                .trim()
                .parse()
                .map_err(|_| format!("line {}: `{}` is no number", number + 1, word.trim()))?;
            values.push(value);
        }
        let found = values.len() - before;
        if *width.get_or_insert(found) != found {
            return Err(format!(
                "line {} has {found} numbers, the lines before {}",
                number + 1,
                width.unwrap_or(0)
            ));
        }
        rows += 1;
    }
    Tensor::from_shape(&[rows, width.unwrap_or(0)], &values).map_err(|e| e.to_string())
}

/// Cuts `tensor` into samples of `shape`, along its first dimension; a tensor of exactly that shape is one sample.
///
/// Whole leading batches are cut: shape `[1, 28, 28]` or `[500, 1, 28, 28]` both fit `[1, 1, 28, 28]`; so do a row of
/// values for every sample and values without any shape.
pub fn samples(
    name: &str,
    tensor: &Tensor,
    shape: &[u64],
    dtype: DatumType,
) -> Result<Vec<Tensor>, Failure> {
    let wanted: Vec<usize> = shape.iter().map(|&d| d as usize).collect();
    let per_sample: usize = wanted.iter().product();
    let mismatch = || {
        Failure::input(
            IsaCode::InputShape,
            &format!(
                "the input `{name}` is {:?} {:?}, the model takes {:?} {wanted:?}",
                tensor.datum_type(),
                tensor.shape(),
                dtype
            ),
            "give an array of that shape, or one with more samples along the first dimension",
        )
    };
    let tail = |shape: &[usize]| shape.iter().skip(1).copied().collect::<Vec<_>>();
    let same = tensor.shape() == wanted
        || tail(tensor.shape()) == tail(&wanted)
        || tensor.shape() == tail(&wanted)
        || tensor.rank() == 1
        || tensor
            .shape()
            .first()
            .is_some_and(|&n| n > 0 && tensor.len() == n * per_sample && tensor.rank() == 2);
    if per_sample == 0 || !same || !tensor.len().is_multiple_of(per_sample) {
        return Err(mismatch());
    }
    if tensor.len() == 0 {
        return Err(Failure::input(
            IsaCode::InputMissing,
            &format!(
                "the array for the input `{name}` holds no samples: {:?}",
                tensor.shape()
            ),
            "give at least one",
        ));
    }
    refuse_nan(name, tensor)?;
    let cast = tensor.cast_to_dt(dtype).map_err(|_| mismatch())?;
    (0..tensor.len() / per_sample)
        .map(|i| {
            let flat = cast
                .clone()
                .into_owned()
                .into_shape(&[tensor.len()])
                .map_err(|_| mismatch())?;
            let slice = flat
                .slice(0, i * per_sample, (i + 1) * per_sample)
                .map_err(|_| mismatch())?;
            slice.into_shape(&wanted).map_err(|_| mismatch())
        })
        .collect()
}
