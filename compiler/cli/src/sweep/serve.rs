//! `sweep serve`: points measured as they are asked for, in lines of JSON.
//!
//! ```text
//! scnnc: {"models":["lenet5"],"axes":{"pe.banks":[16,32,64]},"fidelities":["model","fast","exact"]}
//! asked: {"settings":{"pe.banks":32},"fidelity":"fast"}
//! scnnc: {"point":1,"model":"lenet5","pe.banks":"32",...,"total_cycles":4125.0,...}
//! ```
//!
//! A question has the settings of a point, with `base` for the others, and may have a `fidelity`, a `model` by name (the first
//! by default) and an `id`, which the answer repeats. The answer has the columns of `points.csv`; a point that
//! fails has `error` and `message`, one that a constraint excludes `excluded`. The order of answers is that of the lines.

use super::points::Resolver;
use super::store::Store;
use crate::failure::Failure;
use crate::output;
use scnn_simulator::report::columns::Cell;
use scnnc_driver::sweep::{
    Failed, Fidelity, Ordered, Outcome, Session, Settings, Spec, Value, Values, tables,
};
use serde::Deserialize;
use serde_json::{Map, json};
use std::io::BufRead;
use std::path::Path;

/// A question: a line of standard input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    id: Option<serde_json::Value>,
    #[serde(default)]
    settings: Map<String, serde_json::Value>,
    fidelity: Option<String>,
    model: Option<String>,
}

/// `scnnc sweep serve`.
pub fn serve(path: &Path, folder: Option<&Path>, code: Option<&Path>) -> Result<(), Failure> {
    let spec = super::read(path)?;
    let mut server = Server {
        resolver: Resolver::new(path, &spec, code)?,
        names: spec.models.iter().map(super::subjects::name_of).collect(),
        spec: &spec,
        store: folder.map(Store::open).transpose()?,
        session: Session::default(),
        count: 0,
    };
    output::print(&format!("{}\n", server.space()));
    for line in std::io::stdin().lock().lines() {
        // A line that is not UTF-8, or cannot be read, ends the session.
        let Ok(line) = line else { break };
        if !line.trim().is_empty() {
            let answer = server.answer(&line)?;
            output::print(&format!("{answer}\n"));
        }
    }
    Ok(())
}

struct Server<'a> {
    spec: &'a Spec,
    resolver: Resolver<'a>,
    /// Names of the models.
    names: Vec<String>,
    store: Option<Store>,
    session: Session,
    /// Points so far.
    count: usize,
}

impl Server<'_> {
    /// Models, axes and fidelities that a question may name.
    fn space(&self) -> serde_json::Value {
        let sampled = self.spec.sample.iter().flat_map(|sample| &sample.axes.0);
        let axes = self.spec.grid.0.iter().chain(sampled);
        let axes = axes.map(|(name, values)| {
            let values = match (values.all(name), values) {
                (Ok(values), _) => json!(values),
                (Err(_), Values::Range(range)) => json!({"from": range.from, "to": range.to}),
                (Err(_), Values::List(values)) => json!(values),
            };
            (name.clone(), values)
        });
        json!({
            "models": self.names,
            "axes": axes.collect::<Map<_, _>>(),
            "fidelities": Fidelity::ALL,
        })
    }

    /// The answer to a line.
    fn answer(&mut self, line: &str) -> Result<serde_json::Value, Failure> {
        let question = serde_json::from_str::<Question>(line);
        let id = question.as_ref().ok().and_then(|q| q.id.clone());
        let measured = match question {
            Ok(question) => self.measured(question)?,
            Err(error) => Err(refused(error.to_string())),
        };
        let mut answer = match measured {
            Ok(Some(cells)) => cells.into_iter().map(|(n, c)| (n, c.into())).collect(),
            Ok(None) => Map::from_iter([("excluded".to_owned(), true.into())]),
            Err(failed) => Map::from_iter([
                ("error".to_owned(), failed.code.into()),
                ("message".to_owned(), failed.message.into()),
            ]),
        };
        if let Some(id) = id {
            answer.insert("id".to_owned(), id);
        }
        Ok(answer.into())
    }

    /// The row of a point by column; none where a constraint excludes it. An error of writing ends everything, others are
    /// answers.
    #[expect(clippy::type_complexity)] // Two kinds of failure, and a point that may not be.
    fn measured(
        &mut self,
        question: Question,
    ) -> Result<Result<Option<Vec<(String, Cell)>>, Failed>, Failure> {
        let settings = match settings(question.settings, question.fidelity) {
            Ok(settings) => self.spec.base.with(&settings),
            Err(failed) => return Ok(Err(failed)),
        };
        let model = match question.model {
            None => Some(0),
            Some(name) => self.names.iter().position(|known| *known == name),
        };
        let Some(model) = model.and_then(|at| self.spec.models.get(at)) else {
            let known = self.names.join(", ");
            return Ok(Err(refused(format!("there is no such model, but {known}"))));
        };
        let point = match self.resolver.point(self.count, model, &settings) {
            Ok(Some(point)) => point,
            Ok(None) => return Ok(Ok(None)),
            Err(failure) => return Ok(Err(super::subjects::failed(failure))),
        };
        self.count += 1;
        let outcome = match &point.task {
            Err(failed) => Outcome::Failed(failed.clone()),
            Ok((key, task)) => {
                if let Some(outcome) = self.store.as_ref().and_then(|store| store.get(key)) {
                    outcome
                } else {
                    let subjects = &self.resolver.subjects;
                    let load = |subject: usize| subjects[subject].load();
                    let outcome = self.session.measure(task, &load);
                    if let Some(store) = &self.store {
                        store.put(key, &outcome)?;
                    }
                    outcome
                }
            }
        };
        Ok(Ok(Some(tables::point(&point.row, &outcome))))
    }
}

/// Settings as a specification would have them.
fn settings(
    values: Map<String, serde_json::Value>,
    fidelity: Option<String>,
) -> Result<Settings, Failed> {
    let mut settings = Ordered::default();
    for (name, value) in values {
        match serde_json::from_value::<Value>(value) {
            Ok(value) => settings.0.push((name, value)),
            Err(_) => {
                return Err(refused(format!(
                    "`{name}` is no number, word or truth value"
                )));
            }
        }
    }
    if let Some(fidelity) = fidelity {
        let fidelity = ("fidelity".to_owned(), Value::Word(fidelity));
        settings = settings.with(&Ordered(vec![fidelity]));
    }
    Ok(settings)
}

fn refused(message: String) -> Failed {
    Failed {
        code: crate::codes::Code::SweepSpec.entry().code.to_owned(),
        message,
    }
}
