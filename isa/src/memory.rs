//! The memories of the machine.

use serde::{Deserialize, Serialize};

/// A memory that regions lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Memory {
    /// Activation RAM A of every PE.
    A,
    /// Activation RAM B of every PE.
    B,
    /// External memory.
    Dram,
}
