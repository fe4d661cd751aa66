//! How far a number can be trusted: the entries of the tables of energies and areas say it, and so does every cause that
//! cycles are charged to. Reports add up what each figure rests on.

use super::parameter::{ParameterValue, named_values};
use serde::{Deserialize, Serialize};

named_values! {
    /// How far a number, or the rule behind it, can be trusted; `scnnc --explain WORD` has each word.
    Confidence {
        Published "published",
        Recalled "recalled",
        Derived "derived",
        Calibrated "calibrated",
        Assumed "assumed",
        Stated "stated"
    }
}

impl Confidence {
    /// All levels, the most trusted first; what a machine file states stands by itself.
    pub const ALL: [Self; 6] = [
        Self::Published,
        Self::Recalled,
        Self::Derived,
        Self::Calibrated,
        Self::Assumed,
        Self::Stated,
    ];

    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Recalled => "recalled",
            Self::Derived => "derived",
            Self::Calibrated => "calibrated",
            Self::Assumed => "assumed",
            Self::Stated => "stated",
        }
    }

    /// Whether a machine file gives the number and nothing else is known of it.
    #[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
    pub const fn is_stated(&self) -> bool {
        matches!(self, Self::Stated)
    }
}

/// A number without a word of confidence is stated by the machine file.
#[allow(clippy::derivable_impls)] // The macro that defines the words derives what all such types have.
impl Default for Confidence {
    fn default() -> Self {
        Self::Stated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_in_the_glossary() {
        for level in Confidence::ALL {
            assert_eq!(level.word(), level.show());
            assert_eq!(crate::glossary::find(level.word()).count(), 1, "{level:?}");
        }
        assert_eq!(
            Confidence::ALL.map(Confidence::word).join(" or "),
            Confidence::describe(())
        );
    }
}
