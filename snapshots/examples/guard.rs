//! Guards the models of a folder: `cargo run -p scnnc-snapshots --example guard -- FOLDER` keeps a `NAME.snap` beside
//! every `NAME.onnx`, and fails, showing both, when one does not hold any more. `ACCEPT=1` accepts what is new.

use scnn_isa::machine::Machine;
use scnnc_snapshots::{Options, of_model};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from("models"), PathBuf::from);
    let accept = std::env::var_os("ACCEPT").is_some();
    let mut holds = true;
    for entry in std::fs::read_dir(folder)? {
        let model = entry?.path();
        if model
            .extension()
            .is_none_or(|extension| extension != "onnx")
        {
            continue;
        }
        let options = Options::new(Machine::preset("scnn").ok_or("the preset `scnn` is missing")?);
        let text = of_model(&model, &options)?;
        let kept = model.with_extension("snap");
        let accepted = std::fs::read_to_string(&kept).unwrap_or_default();
        if accept {
            std::fs::write(&kept, &text)?;
        } else if accepted != text {
            holds = false;
            println!("--- {}\n{accepted}+++ now\n{text}", kept.display());
        }
    }
    Ok(if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
