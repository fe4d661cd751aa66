//! Every kept model, on every machine and with every mapping of the suite.
//!
//! Activation ranges come from `calibration/`: measured anew, they would differ in the last bit from one processor to
//! the next. A model without a file there is calibrated on seeded noise, and the file is written.

use crate::{holds, mapping_table};
use scnn_isa::asm;
use scnn_isa::machine::Machine;
use scnn_simulator::snapshot;
use scnnc::calibrate::Calibration;
use scnnc::compile::compile;
use scnnc::map::{self, Strategy};
use scnnc_snapshots::{Options, run};
use std::path::Path;

const MACHINES: [&str; 2] = ["scnn", "scnn-multicast"];
const MAPPINGS: [Strategy; 2] = [Strategy::Paper, Strategy::Search];

/// Fails with the paths of all snapshots that do not hold.
#[test]
fn every_model_compiles_as_accepted() {
    let mut broken = Vec::new();
    for model in scnn_models::all() {
        let name = model.file_stem().unwrap().to_str().unwrap();
        for (number, (machine, strategy)) in cases().enumerate() {
            let case = format!("{name}/{machine}-{}", strategy.name());
            let options = Options {
                mapping: map::Options {
                    strategy,
                    ..map::Options::default()
                },
                calibration: Some(calibration(&model, name)),
                ..Options::new(Machine::preset(machine).unwrap())
            };
            let mut graphs = Vec::new();
            let compiled = compile(&model, &options, &mut |pass, graph| {
                graphs.push((pass.to_owned(), graph.to_string()));
            })
            .unwrap_or_else(|error| panic!("{case}: {error}"));
            let report = run(&compiled, &options).unwrap();
            let code = asm::disassemble(&compiled.program, &asm::Options { data: false });
            let mut stages = vec![
                (
                    case.clone(),
                    "mapping".to_owned(),
                    mapping_table::of(&compiled.program, &report),
                ),
                (case.clone(), "program".to_owned(), code),
                (
                    case.clone(),
                    "report".to_owned(),
                    snapshot::text(&compiled.program, &report),
                ),
            ];
            // Machine and mapping come after the graph.
            if number == 0 {
                let folder = format!("{name}/graph");
                stages.extend(changes(graphs).map(|(stage, text)| (folder.clone(), stage, text)));
            }
            for (folder, stage, text) in stages {
                if !holds(&folder, &stage, &text) {
                    broken.push(format!("snapshots/{folder}/{stage}.snap"));
                }
            }
        }
    }
    assert!(
        broken.is_empty(),
        "these snapshots do not hold: {broken:#?}"
    );
}

fn cases() -> impl Iterator<Item = (&'static str, Strategy)> {
    MACHINES
        .into_iter()
        .flat_map(|machine| MAPPINGS.into_iter().map(move |mapping| (machine, mapping)))
}

/// The graph after import and after each pass; a pass that changes nothing says so.
fn changes(graphs: Vec<(String, String)>) -> impl Iterator<Item = (String, String)> {
    let mut previous = String::new();
    graphs.into_iter().map(move |(pass, graph)| {
        let text = if graph == previous {
            "(no change)\n".to_owned()
        } else {
            graph.clone()
        };
        previous = graph;
        (pass, text)
    })
}

fn calibration(model: &Path, name: &str) -> Calibration {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("calibration/{name}.yaml"));
    if !file.exists() {
        assert!(
            std::env::var_os("INSTA_UPDATE").is_none_or(|update| update != "no"),
            "{} is missing; run the suite with INSTA_UPDATE=always",
            file.display()
        );
        let options = Options::new(Machine::preset("scnn").unwrap());
        let compiled = compile(model, &options, &mut |_, _| {}).unwrap();
        let text = scnn_isa::yaml::to_string(&compiled.calibration).unwrap();
        std::fs::write(&file, text).unwrap();
    }
    scnn_isa::yaml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap()
}
