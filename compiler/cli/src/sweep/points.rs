//! From a specification to points: machines looked up, words read, constraints applied, and each point hashed.

use super::store::FORMAT;
use super::subjects::{FileHashes, SubjectKey};
use crate::codes::Code;
use crate::failure::Failure;
use crate::machine;
use scnn_isa::machine::{Machine, MachineError, Read};
use scnn_isa::yaml;
use scnnc::map::{self, Objective, Strategy};
use scnnc::prune::densities::is_density;
use scnnc::widths::Widths;
use scnnc_driver::advise::area_mm2;
use scnnc_driver::sweep::tables::Row;
use scnnc_driver::sweep::{
    Constraint, DIMENSION, Failed, Fidelity, ModelSpec, OPTIONS, Settings, Spec, Task, Value,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A point.
pub struct Point {
    /// How tables name it.
    pub row: Row,
    /// The hash of what decides its outcome, and what is to be measured; or why there is no such point.
    pub task: Result<(String, Task), Failed>,
}

impl Point {
    /// Its hash; none for what cannot be measured.
    pub fn key(&self) -> &str {
        self.task.as_ref().map_or("", |(key, _)| key)
    }
}

/// Points, and what they are measured on.
pub struct Resolved {
    pub points: Vec<Point>,
    pub subjects: Vec<SubjectKey>,
}

/// The points of the specification in the file `path`; `code` is the file that holds this code.
pub fn resolve(path: &Path, spec: &Spec, code: Option<&Path>) -> Result<Resolved, Failure> {
    let settings = spec.settings();
    let settings = settings.map_err(|reason| Failure::file(Code::SweepSpec, path, &reason))?;
    let mut resolver = Resolver::new(path, spec, code)?;
    let mut points = Vec::new();
    for model in &spec.models {
        for settings in &settings {
            points.extend(resolver.point(points.len(), model, settings)?);
        }
    }
    Ok(Resolved {
        points,
        subjects: resolver.subjects,
    })
}

/// Refuses settings that there are none of.
fn known<'a>(path: &Path, names: impl IntoIterator<Item = &'a str>) -> Result<(), Failure> {
    let parameters = Machine::preset(machine::DEFAULT).map_or_else(Vec::new, |m| m.parameters());
    let parameters: Vec<&str> = parameters.iter().map(|p| p.path.as_str()).collect();
    let all = || OPTIONS.iter().copied().chain(parameters.iter().copied());
    for name in names {
        if name.starts_with(DIMENSION) || all().any(|known| known == name) {
            continue;
        }
        let near = yaml::nearest(name, all());
        let help = near.map_or_else(
            || "`scnnc machine show scnn` lists the parameters of a machine".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        let message = format!("{}: there is no setting `{name}`", path.display());
        return Err(Failure::input(Code::SweepSpec, &message, &help));
    }
    Ok(())
}

/// Whether every constraint holds.
fn keeps(
    constraints: &[Constraint],
    settings: &Settings,
    machine: Option<&Machine>,
) -> Result<bool, String> {
    let parameters = machine.map_or_else(Vec::new, Machine::parameters);
    let value = |name: &str| {
        let of_machine = || {
            let parameter = parameters.iter().find(|p| p.path == name)?;
            let number = parameter.value.parse();
            Some(number.map_or_else(|_| Value::Word(parameter.value.clone()), Value::Real))
        };
        settings.get(name).cloned().or_else(of_machine)
    };
    for constraint in constraints {
        // A machine that there is none of stays a point, which says why.
        if machine.is_none() && constraint.names().iter().any(|name| value(name).is_none()) {
            continue;
        }
        if !constraint.holds(&value).map_err(|e| e.to_string())? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn word(fidelity: Fidelity) -> String {
    match fidelity {
        Fidelity::Model => "model",
        Fidelity::Fast => "fast",
        Fidelity::Exact => "exact",
    }
    .to_owned()
}

/// The settings of a point, read.
struct Choice {
    machine: Result<Machine, MachineError>,
    mapping: map::Options,
    widths: Widths,
    fidelity: Fidelity,
    samples: usize,
    density: Option<f64>,
}

/// Makes points of settings.
pub struct Resolver<'a> {
    path: &'a Path,
    folder: PathBuf,
    /// The settings that have a column.
    axes: Vec<String>,
    constraints: Vec<Constraint>,
    /// Machines by the word that names them.
    bases: BTreeMap<String, Read>,
    files: FileHashes,
    /// Subjects of the points so far.
    pub subjects: Vec<SubjectKey>,
}

impl<'a> Resolver<'a> {
    /// Of the specification in the file `path`; `code` is the file that holds this code.
    pub fn new(path: &'a Path, spec: &Spec, code: Option<&Path>) -> Result<Self, Failure> {
        let refused = |reason: &str| Failure::file(Code::SweepSpec, path, reason);
        if spec.models.is_empty() {
            return Err(refused("`models` is empty"));
        }
        known(path, spec.names())?;
        let constraints = spec.constraints.iter().map(|text| Constraint::parse(text));
        Ok(Self {
            path,
            folder: path.parent().unwrap_or(Path::new("")).to_owned(),
            axes: spec.axes().into_iter().map(str::to_owned).collect(),
            constraints: constraints
                .collect::<Result<_, _>>()
                .map_err(|e| refused(&e.to_string()))?,
            bases: BTreeMap::new(),
            files: FileHashes::new(code)?,
            subjects: Vec::new(),
        })
    }

    /// The point of a model with some settings, at a position of the sweep; none where a constraint does not hold.
    pub fn point(
        &mut self,
        position: usize,
        model: &ModelSpec,
        settings: &Settings,
    ) -> Result<Option<Point>, Failure> {
        let choice = self.choice(settings)?;
        let machine = choice.machine.as_ref().ok();
        let kept = keeps(&self.constraints, settings, machine);
        if !kept.map_err(|reason| Failure::file(Code::SweepSpec, self.path, &reason))? {
            return Ok(None);
        }
        let (samples, density) = (choice.samples, choice.density);
        let subject = SubjectKey::of(&self.folder, model, settings, samples, density);
        let axes: Vec<&str> = self.axes.iter().map(String::as_str).collect();
        let row = Row {
            point: position + 1,
            model: subject.name.clone(),
            machine: machine.map_or_else(String::new, |machine| machine.name.clone()),
            mapping: choice.mapping.strategy.name().to_owned(),
            objective: choice.mapping.objective.name().to_owned(),
            fidelity: word(choice.fidelity),
            samples,
            area_mm2: machine.map(area_mm2),
            settings: Row::values(&axes, settings),
        };
        let task = self.task(position, subject, choice)?;
        Ok(Some(Point { row, task }))
    }

    fn choice(&mut self, settings: &Settings) -> Result<Choice, Failure> {
        let mut choice = Choice {
            machine: Err(MachineError::Missing { paths: Vec::new() }),
            mapping: map::Options::default(),
            widths: Widths::default(),
            fidelity: Fidelity::default(),
            samples: 1,
            density: None,
        };
        let mut base = machine::DEFAULT.to_owned();
        let mut words = Vec::new();
        for (name, value) in &settings.0 {
            let text = value.to_string();
            let read = match name.as_str() {
                "machine" => {
                    base.clone_from(&text);
                    Some(())
                }
                "mapping" => strategy(&text).map(|strategy| choice.mapping.strategy = strategy),
                "objective" => {
                    Objective::named(&text).map(|objective| choice.mapping.objective = objective)
                }
                "bits" => text
                    .parse()
                    .ok()
                    .map(|bits| choice.widths.network = Some(bits)),
                "prune" => text
                    .parse()
                    .ok()
                    .filter(|d| is_density(*d))
                    .map(|d| choice.density = Some(d)),
                "samples" => text
                    .parse()
                    .ok()
                    .filter(|n| *n > 0)
                    .map(|n| choice.samples = n),
                "fidelity" => fidelity(&text).map(|fidelity| choice.fidelity = fidelity),
                name if name.starts_with(DIMENSION) => {
                    text.parse().ok().filter(|n: &u64| *n > 0).map(drop)
                }
                _ => {
                    words.push(format!("{name}={text}"));
                    Some(())
                }
            };
            if read.is_none() {
                let message = format!("{}: `{name}: {text}` is not possible", self.path.display());
                return Err(Failure::input(Code::SweepSpec, &message, &allowed(name)));
            }
        }
        let read = self.base(&base)?.with_settings(&words);
        choice.machine = read.map(|read| read.machine);
        Ok(choice)
    }

    /// The machine that a word names: a preset, or a file beside the specification.
    fn base(&mut self, name: &str) -> Result<Read, Failure> {
        if let Some(read) = self.bases.get(name) {
            return Ok(read.clone());
        }
        let file = self.folder.join(name);
        let is_preset = Machine::preset(name).is_some();
        let read = if !is_preset && file.is_file() {
            machine::read(&file.display().to_string())?
        } else {
            machine::read(name)?
        };
        self.bases.insert(name.to_owned(), read.clone());
        Ok(read)
    }

    /// What is to be measured at the point at `position`, and the hash of all that decides it.
    fn task(
        &mut self,
        position: usize,
        subject: SubjectKey,
        choice: Choice,
    ) -> Result<Result<(String, Task), Failed>, Failure> {
        let machine = match choice.machine {
            Ok(machine) => machine,
            Err(error) => {
                return Ok(Err(Failed {
                    code: error.code().entry().code.to_owned(),
                    message: error.to_string(),
                }));
            }
        };
        let mut nameless = machine.clone();
        // A name is of no consequence.
        nameless.name = String::new();
        let decides = serde_json::json!({
            "format": FORMAT,
            "version": self.files.version,
            "subject": subject.decides(&mut self.files)?,
            "machine": nameless,
            "mapping": choice.mapping.strategy.name(),
            "objective": choice.mapping.objective.name(),
            "bits": choice.widths.network.map(|bits| bits.to_string()),
            "fidelity": choice.fidelity,
        });
        let known = self.subjects.iter().position(|known| *known == subject);
        let subject = known.unwrap_or_else(|| {
            self.subjects.push(subject);
            self.subjects.len() - 1
        });
        let key = blake3::hash(decides.to_string().as_bytes())
            .to_hex()
            .to_string();
        let task = Task {
            point: position,
            subject,
            machine,
            mapping: choice.mapping,
            widths: choice.widths,
            fidelity: choice.fidelity,
        };
        Ok(Ok((key, task)))
    }
}

fn strategy(text: &str) -> Option<Strategy> {
    [Strategy::Paper, Strategy::Search]
        .into_iter()
        .find(|s| s.name() == text)
}

fn fidelity(text: &str) -> Option<Fidelity> {
    Fidelity::ALL.into_iter().find(|f| word(*f) == text)
}

/// What a setting takes.
fn allowed(name: &str) -> String {
    let words = match name {
        "mapping" => "`mapping` is paper or search",
        "objective" => {
            let [others @ .., last] = Objective::ALL.map(Objective::name);
            return format!("`objective` is {} or {last}", others.join(", "));
        }
        "bits" => "`bits` is 2 to 16, or w8a16",
        "prune" => "`prune` is a density above 0 and at most 1",
        "fidelity" => "`fidelity` is model, fast or exact",
        _ => "it is a whole number above 0",
    };
    words.to_owned()
}
