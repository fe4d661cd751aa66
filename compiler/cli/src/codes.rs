//! The codes of the command line itself, and all codes of the project for `--explain`.

pub use scnn_isa::diagnostic::{Code as IsaCode, CodeEntry};
pub use scnn_simulator::codes::Code as SimulatorCode;
pub use scnnc::codes::Code as CompilerCode;
pub use scnnc_driver::codes::Code as DriverCode;

scnn_isa::codes! {
    CannotWrite "E0102" "a file cannot be written" "The folder does not exist, may not be written, or the disk is full. Files are written to a temporary beside the target and renamed, so an older file is still whole." remedy "check the folder, its permissions and the space left";
    BadArray "E0107" "an array file cannot be read" "Arrays are read from .npy, .npz, ONNX tensors (.pb), .csv files of numbers, and .raw or .bin files of 32-bit floats, little-endian." remedy "numpy.save and numpy.savez write arrays that are read; so are .pb, .csv, .raw and .bin";
    NotANumber "E0114" "an input is not a number" "Integers have no form of not-a-number, so a result would depend on what is put in its place. The message has how many values they are.";
    SweepSpec "E0115" "a sweep is not specified so that it can be measured" "A specification is a YAML file with `models` and the settings `base`, `grid`, `list`, `sample` and `where`. A setting is a parameter of the machine (`scnnc machine show scnn`), `dim.NAME`, or one of machine, mapping, objective, bits, prune, samples, fidelity.";
    SweepParts "E0116" "parts of a sweep do not make a whole" "Parts are joined that measured the same points, with the same version of scnnc, models and inputs, and together all of them.";
    NotReplayable "E0117" "a report cannot be run again" "A report holds the command that made it, if `scnnc run --report` did. The message says what is missing." remedy "give a report of `scnnc run --report`";
    LayerTable "E0118" "a table of layers is not one" "A SCALE-Sim topology is a CSV file with the head `Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides` and a line for each layer, or with the head `Layer, M, N, K` and a line for each product of an M x K and a K x N matrix; a Timeloop problem a YAML file with `problem: {instance: {C, M, P, Q, R, S}}`. Inputs have their padding, as these formats have none.";
    SnapshotDiffers "E0803" "a snapshot does not hold" "What is compiled now differs from the accepted snapshot; the diff shows where. If the change is meant, `--update` accepts it.";
    MemoryLimit "E0805" "more memory is needed than the limit allows" "The model, its data or the program need more memory than `--limit-memory` allows; without it the limit is three quarters of the machine's memory.";
    ProgramsDiffer "E0807" "two programs differ" "`scnnc diff` shows what differs: per layer the kind of thing, and the instructions. Where only the provenance differs (tool, model, options) the programs are the same.";
    ReportDiffers "E0808" "a report does not hold" "The command of the report gives other results now; the message names the first, by layer and field, and what it is made of that is not the same. `scnnc replay --json` lists all.";
}

/// Every code of every crate, ascending.
pub fn all() -> Vec<CodeEntry> {
    let isa = IsaCode::all().iter().map(|code| code.entry());
    let compiler = CompilerCode::all().iter().map(|code| code.entry());
    let simulator = SimulatorCode::all().iter().map(|code| code.entry());
    let driver = DriverCode::all().iter().map(|code| code.entry());
    let own = Code::all().iter().map(|code| code.entry());
    let all = isa
        .chain(compiler)
        .chain(simulator)
        .chain(driver)
        .chain(own);
    let mut all: Vec<CodeEntry> = all.collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::all;

    #[test]
    fn no_two_crates_have_a_code_in_common() {
        let codes: Vec<&str> = all().iter().map(|entry| entry.code).collect();
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
    }
}
