//! Why a node is left to the host, in fields: what people read is made of them.

use std::fmt;

/// Why the array does not run a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What is in the way, in words that follow a node's name.
    pub message: String,
    /// The attribute, or the operand in its place, that is in the way.
    pub attribute: Option<String>,
    /// What the array takes of it.
    pub allowed: Option<String>,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl From<String> for Reason {
    fn from(message: String) -> Self {
        Self {
            message,
            attribute: None,
            allowed: None,
            remedy: None,
        }
    }
}

impl From<&str> for Reason {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(allowed) = &self.allowed {
            write!(f, ", the array takes {allowed}")?;
        }
        match &self.remedy {
            Some(remedy) => write!(f, ": {remedy}"),
            None => Ok(()),
        }
    }
}

/// A node of the host, and why it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnHost {
    /// Its name, or that of its result.
    pub node: String,
    /// Its operator; empty where the node is none of the model's.
    pub operator: String,
    /// Why.
    pub reason: Reason,
}

impl OnHost {
    /// A node that the model does not have.
    pub(crate) fn of_ours(name: &str, reason: &str) -> Self {
        Self {
            node: name.to_owned(),
            operator: String::new(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for OnHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.node)?;
        if !self.operator.is_empty() {
            write!(f, " ({})", self.operator)?;
        }
        write!(f, ": {}", self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_what_is_in_the_way_what_is_taken_and_what_to_do() {
        let reason = Reason {
            attribute: Some("axis".to_owned()),
            allowed: Some("1, along channels".to_owned()),
            remedy: Some("transpose before it".to_owned()),
            .."`axis` is 2".into()
        };
        let on_host = OnHost {
            node: "/k/Concat".to_owned(),
            operator: "Concat".to_owned(),
            reason,
        };
        assert_eq!(
            on_host.to_string(),
            "/k/Concat (Concat): `axis` is 2, the array takes 1, along channels: transpose before it"
        );
    }
}
