//! Measurements: networks of the zoo, made, compiled and run on machines under readings.
//!
//! Sections say what they need; each network is made once, compiled once for each machine, and run once for each
//! reading. Only one network is held at a time.

use super::reading::Reading;
use crate::codes::Code;
use crate::failure::Failure;
use crate::{build, output, samples, zoo};
use indicatif::ProgressBar;
use scnn_isa::layer::View;
use scnn_isa::machine::Machine;
use scnn_isa::program::Program;
use scnn_models::zoo::{Network, Options as ZooOptions, make};
use scnn_simulator::Execution;
use scnn_simulator::report::Report;
use scnnc::compile::{self, Samples, compile_imported};
use scnnc::import::{ImportOptions, Imported, import};
use scnnc::map::{self, Strategy};
use scnnc_driver::Run;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tract_onnx::prelude::Tensor;

/// A network of the zoo.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Workload {
    /// Its name.
    pub network: &'static str,
    /// The density of all weights and activations, in tenths; none for the published ones.
    pub tenths: Option<u32>,
}

impl Workload {
    /// With published densities.
    pub const fn published(network: &'static str) -> Self {
        Self {
            network,
            tenths: None,
        }
    }

    /// The network in words.
    pub fn describe(&self) -> String {
        match self.tenths {
            None => self.network.to_owned(),
            Some(tenths) => format!("{} at {:.1}", self.network, f64::from(tenths) / 10.0),
        }
    }
}

/// A measurement that is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Need {
    /// The network.
    pub workload: Workload,
    /// The machine: name of a preset.
    pub preset: &'static str,
    /// How mappings are found.
    pub strategy: Strategy,
    /// The reading.
    pub reading: Reading,
}

impl Need {
    /// On the paper's mapping.
    pub const fn new(workload: Workload, preset: &'static str, reading: Reading) -> Self {
        Self {
            workload,
            preset,
            strategy: Strategy::Paper,
            reading,
        }
    }
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The report.
    pub report: Report,
    /// For every layer of the report the non-zero activations that the fullest PE would hold of its input and of its
    /// output, the plane cut into one tile for each PE.
    pub fullest: Vec<[u64; 2]>,
}

/// Measurements by what was wanted.
#[derive(Debug, Default)]
pub struct Results(Vec<(Need, Measured)>);

impl Results {
    /// The measurement that a section asked for.
    pub fn get(&self, need: &Need) -> &Measured {
        let found = self.0.iter().find(|(other, _)| other == need);
        &found.expect("a section reads what it needs").1
    }
}

/// Measures everything that is needed; `seed` is that of the zoo.
pub fn measure(needs: &[Need], seed: u64, bar: &ProgressBar) -> Result<Results, Failure> {
    let folder = tempfile::tempdir().map_err(|e| {
        let temporary = std::env::temp_dir();
        Failure::file(
            Code::CannotWrite,
            &temporary,
            &format!("no temporary folder: {e}"),
        )
    })?;
    let mut distinct: Vec<Need> = Vec::new();
    for need in needs {
        if !distinct.contains(need) {
            distinct.push(*need);
        }
    }
    bar.set_length(distinct.len() as u64);
    let mut results = Results::default();
    while let Some(first) = distinct.first() {
        let workload = first.workload;
        let (of_network, others): (Vec<Need>, Vec<Need>) =
            distinct.iter().partition(|need| need.workload == workload);
        distinct = others;
        bar.set_message(format!("{}: making the network", workload.describe()));
        let subject = Subject::make(workload, folder.path(), seed)?;
        subject.measure(of_network, bar, &mut results)?;
    }
    Ok(results)
}

/// A network under measurement.
struct Subject {
    path: PathBuf,
    imported: Imported,
    sample: build::Sample,
}

impl Subject {
    fn make(workload: Workload, folder: &Path, seed: u64) -> Result<Self, Failure> {
        let network = Network::find(workload.network).expect("sections name networks of the zoo");
        let density = workload.tenths.map(|tenths| f64::from(tenths) / 10.0);
        let options = ZooOptions {
            seed,
            densities: zoo::published_densities()?,
            weights: density,
            inputs: density,
        };
        let path = folder.join(format!("{}.onnx", workload.network));
        let made = output::write_with(&path, |file| make(network, &options, file, &mut |_| ()))?;
        let imported = import(&path, &ImportOptions::default())
            .map_err(|errors| Failure::Refused(errors.diagnostics(&path.display().to_string())))?;
        let (extents, values) = made.image;
        let image =
            Tensor::from_shape(&extents, &values).expect("the image has the extents of its plan");
        let inputs = samples::inputs_of(&imported);
        let sample = inputs
            .iter()
            .map(|input| (input.name.clone(), image.clone()));
        Ok(Self {
            sample: sample.collect(),
            imported,
            path,
        })
    }

    fn measure(
        &self,
        mut needs: Vec<Need>,
        bar: &ProgressBar,
        results: &mut Results,
    ) -> Result<(), Failure> {
        while let Some(&first) = needs.first() {
            let same = |need: &Need| (need.preset, need.strategy) == (first.preset, first.strategy);
            let (of_program, others): (Vec<Need>, Vec<Need>) = needs.iter().partition(|n| same(n));
            needs = others;
            let machine = Machine::preset(first.preset).expect("sections name presets");
            bar.set_message(format!(
                "{}: compiling for {}",
                first.workload.describe(),
                first.preset
            ));
            let mut program = self.compile(&machine, first.strategy)?;
            for need in of_program {
                bar.set_message(format!(
                    "{} on {}, {}",
                    need.workload.describe(),
                    need.preset,
                    need.reading.name
                ));
                program.machine = need.reading.applied(&machine);
                let measured = self.run(&program, &need)?;
                results.0.push((need, measured));
                bar.inc(1);
            }
        }
        Ok(())
    }

    fn compile(&self, machine: &Machine, strategy: Strategy) -> Result<Program, Failure> {
        let options = compile::Options {
            mapping: map::Options {
                strategy,
                ..map::Options::default()
            },
            samples: Samples::new("the zoo's image", vec![self.sample.clone()]),
            ..compile::Options::new(machine.clone())
        };
        compile_imported(self.imported.clone(), &options, &mut ())
            .map(|compiled| compiled.program)
            .map_err(|error| Failure::compile(&self.path, &error))
    }

    fn run(&self, program: &Program, need: &Need) -> Result<Measured, Failure> {
        let options = scnnc_driver::Options {
            timing: need.reading.timing,
            ..scnnc_driver::Options::default()
        };
        let sample = std::slice::from_ref(&self.sample);
        let run = scnnc_driver::run(program, sample, options);
        let Run { report, last, .. } = run.map_err(|e| Failure::run(&self.path, &e))?;
        let layers: BTreeMap<&str, _> = program
            .layers
            .iter()
            .map(|layer| (layer.name.as_str(), layer))
            .collect();
        let fullest = |name: &str| {
            layers.get(name).map_or([0; 2], |layer| {
                [layer.source, layer.destination].map(|view| fullest(program, &last, view))
            })
        };
        Ok(Measured {
            fullest: report
                .layers
                .iter()
                .map(|layer| fullest(&layer.name))
                .collect(),
            report,
        })
    }
}

/// Non-zeros of the channels of a view in the tile that holds most, with one tile for each PE.
fn fullest(program: &Program, execution: &Execution, view: View) -> u64 {
    let [n, c, h, w] = program
        .tensor(view.tensor)
        .shape
        .map(|extent| extent as usize);
    let values = &execution.tensors[view.tensor.index()];
    let array = &program.machine.array;
    let (rows, cols) = (array.rows as usize, array.cols as usize);
    let tile = [h.div_ceil(rows), w.div_ceil(cols)];
    let mut held = vec![0; rows * cols];
    for image in 0..n {
        for channel in view.channels.iter() {
            let plane = &values[(image * c + channel as usize) * h * w..][..h * w];
            for (at, value) in plane.iter().enumerate() {
                held[at / w / tile[0] * cols + at % w / tile[1]] += u64::from(*value != 0);
            }
        }
    }
    held.into_iter().max().unwrap_or(0)
}
