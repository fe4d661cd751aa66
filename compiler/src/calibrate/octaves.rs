//! How far the channels of a tensor lie below its range.

use serde::{Deserialize, Serialize};

/// By channel, how many octaves its largest magnitude lies below the tensor's: 3 for one of an eighth, and 0 for a
/// channel that is not known. In text, numbers with spaces between.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Octaves(pub Vec<u8>);

impl Octaves {
    /// Octaves of the channels' magnitudes below `whole`, less where few values were `seen` of each; none where no channel lies [`NOTABLE_OCTAVES`] below it.
    pub(super) fn of(magnitudes: &[f32], seen: u64, whole: f32) -> Option<Self> {
        // An octave of room for each halving of what was seen.
        let missing = (ENOUGH_VALUES as f32 / seen.max(1) as f32).log2().ceil();
        let octaves = |&magnitude: &f32| {
            let octaves = (whole / magnitude).log2().floor() - missing.max(0.0);
            let known = magnitude > 0.0 && octaves.is_finite();
            if known {
                octaves.clamp(0.0, 255.0) as u8
            } else {
                0
            }
        };
        let octaves: Vec<u8> = magnitudes.iter().map(octaves).collect();
        let notable = octaves.iter().any(|&octaves| octaves >= NOTABLE_OCTAVES);
        notable.then_some(Self(octaves))
    }
}

impl From<Octaves> for String {
    fn from(octaves: Octaves) -> Self {
        let words: Vec<Self> = octaves.0.iter().map(ToString::to_string).collect();
        words.join(" ")
    }
}

impl TryFrom<String> for Octaves {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = |word: &str| {
            word.parse()
                .map_err(|_| format!("`{word}` is not one of 0 to 255"))
        };
        text.split_whitespace()
            .map(number)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Octaves that a channel lies below its tensor for the tensor's channels to be kept.
const NOTABLE_OCTAVES: u8 = 3;

/// Values of a channel from which its largest magnitude says what is to come as well as the tensor's does.
const ENOUGH_VALUES: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octaves_are_read_as_they_are_written() {
        let octaves = Octaves(vec![0, 12, 3]);
        assert_eq!(String::from(octaves.clone()), "0 12 3");
        assert_eq!("0 12 3".to_owned().try_into(), Ok(octaves));
        assert!(Octaves::try_from("0 x".to_owned()).is_err());
    }
}
