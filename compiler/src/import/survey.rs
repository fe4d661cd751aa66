//! Where the nodes of a refused model would run, as far as their operators alone decide: so that one bad node does not hide
//! the others.

use super::node_name;
use super::operators::{self, RunsOn};
use crate::graph::reason::OnHost;
use crate::normalise::{self, Opened};
use std::path::Path;

/// The nodes of a model by where their operators run.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Nodes of operators that the machine has, whatever the operators' limits.
    pub machine_nodes: usize,
    /// Nodes of all others.
    pub host: Vec<OnHost>,
}

/// Surveys the file at `path`; `None` if it is no model at all.
pub fn survey(path: &Path) -> Option<Survey> {
    survey_opened(normalise::open(path).ok()?)
}

/// Surveys a model in memory; `None` if it is none.
pub fn survey_bytes(bytes: &[u8]) -> Option<Survey> {
    survey_opened(normalise::open_bytes(bytes).ok()?)
}

fn survey_opened(opened: Opened) -> Option<Survey> {
    let model = opened.into_model();
    let mut survey = Survey::default();
    for node in &model.graph?.node {
        let reason = match operators::find(node) {
            Some(operator) => match operator.place {
                RunsOn::Host(reason) if operator.unit == "host" => reason.to_owned(),
                RunsOn::Host(_) | RunsOn::Machine(_) => {
                    survey.machine_nodes += 1;
                    continue;
                }
            },
            None => "its operator alone gives it no place on the array".to_owned(),
        };
        survey.host.push(OnHost {
            node: node_name(node),
            operator: node.op_type.clone(),
            reason: reason.into(),
        });
    }
    Some(survey)
}
