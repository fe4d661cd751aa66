//! Runs models on tract alone, as the float model and the host segments run them: of each folder that standard input names,
//! `model.onnx` on `input_0.pb`, `input_1.pb` and so on, in the order of the model's inputs. The results are written
//! beside them as `result_0.pb` and so on; where there are none, `refused.txt` says why. `models/host_operators.py` reads
//! them.
//!
//! `find CASES -mindepth 1 -type d | cargo run --package scnnc --example on_tract`

use prost::Message;
use scnn_host::datum_type;
use scnnc::import::{ImportOptions, import};
use scnnc::reference::float::FloatModel;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::BufRead;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::prelude::{DatumType, Tensor};
use tract_onnx::tensor::load_tensor;

fn main() -> Result<(), Box<dyn Error>> {
    for folder in std::io::stdin().lock().lines() {
        let folder = folder?;
        let folder = Path::new(&folder);
        let work = || run(folder).map_err(|error| error.to_string());
        let result = catch_unwind(AssertUnwindSafe(work));
        if let Err(reason) = result.unwrap_or_else(|_| Err("panic".to_owned())) {
            std::fs::write(folder.join("refused.txt"), reason)?;
        }
    }
    Ok(())
}

fn run(folder: &Path) -> Result<(), Box<dyn Error>> {
    let imported = import(&folder.join("model.onnx"), &ImportOptions::default())
        .map_err(|errors| errors.0[0].message.clone())?;
    let outputs = imported.graph.outputs.iter();
    let outputs: Vec<String> = outputs.map(|(name, _)| name.clone()).collect();
    let mut inputs = BTreeMap::new();
    for (number, &id) in imported.graph.inputs.iter().enumerate() {
        let file = folder.join(format!("input_{number}.pb"));
        let proto = TensorProto::decode(&*std::fs::read(file)?)?;
        let tensor = load_tensor(&*tract_onnx::onnx().provider, &proto, None)?;
        let node = &imported.graph.dag[id];
        // Other types of floats are computed as 32-bit ones.
        let tensor = tensor.cast_to_dt(datum_type(node.dtype))?.into_owned();
        inputs.insert(node.tensor.clone(), tensor);
    }
    let results = FloatModel::new(imported.typed, &[])?.run(&inputs)?;
    for (number, name) in outputs.iter().enumerate() {
        let result = results.get(name).ok_or("a result is missing")?;
        let proto = to_proto(result).ok_or("a result is of another type")?;
        std::fs::write(
            folder.join(format!("result_{number}.pb")),
            proto.encode_to_vec(),
        )?;
    }
    Ok(())
}

fn to_proto(tensor: &Tensor) -> Option<TensorProto> {
    let data_type = match tensor.datum_type().unquantized() {
        DatumType::F32 => DataType::Float,
        DatumType::F64 => DataType::Double,
        DatumType::F16 => DataType::Float16,
        DatumType::I8 => DataType::Int8,
        DatumType::I16 => DataType::Int16,
        DatumType::I32 => DataType::Int32,
        DatumType::I64 => DataType::Int64,
        DatumType::U8 => DataType::Uint8,
        DatumType::U16 => DataType::Uint16,
        DatumType::U32 => DataType::Uint32,
        DatumType::U64 => DataType::Uint64,
        DatumType::Bool => DataType::Bool,
        _ => return None,
    };
    Some(TensorProto {
        dims: tensor.shape().iter().map(|&dim| dim as i64).collect(),
        data_type: data_type as i32,
        raw_data: tensor.as_bytes().to_vec(),
        ..TensorProto::default()
    })
}
