//! Calibrations as YAML that people read and edit.

use super::{Calibration, Range};
use scnn_isa::yaml::{self, YamlError, YamlFault};

/// What stands above a calibration in its file.
const HEAD: &str = "\
# Ranges of activation tensors, read by `--calibration`. Edit `min` and `max`: the integers of a tensor span the larger
# magnitude of the two, times `--headroom`. `density` is the share of values that are not zero, 1 when left out.
# `channels` says, for tensors whose channels differ, how many octaves the largest magnitude of each lies below the tensor's.
# `spacings` says of tensors whose values are all multiples of one number, as a picture's of bytes, what it is: they stay exact.
# `sums`, if there, is the largest sum of every layer as a share of what its weights allow, for `--ranges calibrated`.
# `on_host`, if there, names nodes that the host runs because rounding their results loses too much of what it makes of them.
";

impl Calibration {
    /// As YAML, with a head that explains it.
    ///
    /// # Errors
    /// A value that YAML cannot express.
    pub fn to_yaml(&self) -> Result<String, YamlError> {
        Ok(format!("{HEAD}{}", yaml::to_string(self)?))
    }

    /// Reads what [`Calibration::to_yaml`] wrote and a person may have edited.
    ///
    /// # Errors
    /// An unknown key, a missing one, or a range that is none.
    pub fn from_yaml(text: &str) -> Result<Self, YamlError> {
        let calibration: Self = yaml::from_str(text)?;
        for (name, range) in &calibration.ranges {
            check(range).map_err(|reason| wrong(text, name, reason))?;
        }
        for (name, spacing) in &calibration.spacings {
            if !(spacing.is_normal() && *spacing > 0.0) {
                return Err(wrong(text, name, "a spacing is a number above 0"));
            }
        }
        for (name, share) in &calibration.sums {
            if !(0.0..=1.0).contains(share) {
                return Err(wrong(text, name, "a share of a sum is 0 to 1"));
            }
        }
        Ok(calibration)
    }
}

fn check(range: &Range) -> Result<(), &'static str> {
    if !range.min.is_finite() || !range.max.is_finite() {
        return Err("`min` and `max` are finite numbers");
    }
    if range.min > range.max {
        return Err("`min` is above `max`");
    }
    if !(0.0..=1.0).contains(&range.density) {
        return Err("`density` is 0 to 1");
    }
    Ok(())
}

/// A value that is not possible, at the line that begins with its key.
fn wrong(text: &str, name: &str, reason: &str) -> YamlError {
    let begins = |line: &str| {
        let line = line.trim_start().trim_start_matches(['"', '\'']);
        line.strip_prefix(name)
            .is_some_and(|rest| rest.trim_start_matches(['"', '\'']).starts_with(':'))
    };
    YamlError {
        fault: YamlFault::Value,
        message: format!("`{name}`: {reason}"),
        place: text.lines().position(begins).map(|line| (line + 1, 1)),
        help: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Method, Octaves};
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn calibration() -> Calibration {
        let range = |min, max| Range {
            min,
            max,
            density: 0.5,
        };
        Calibration {
            source: "digits.npz".into(),
            samples: 16,
            method: Method::Percentile(99.9),
            ranges: BTreeMap::from([
                ("x".into(), range(-1.0, 2.5)),
                ("y".into(), range(0.0, 6.0)),
            ]),
            channels: BTreeMap::from([("y".into(), Octaves(vec![0, 12, 3]))]),
            spacings: BTreeMap::from([("x".into(), 0.5)]),
            sums: BTreeMap::from([("conv".into(), 0.125)]),
            on_host: BTreeSet::from(["conv".into()]),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let text = calibration().to_yaml().unwrap();
        assert!(text.starts_with("# "));
        assert_eq!(Calibration::from_yaml(&text), Ok(calibration()));
    }

    #[test]
    fn a_density_may_be_left_out() {
        let text = "source: by hand\nsamples: 0\nranges:\n  x: {min: 0, max: 1}\n";
        let read = Calibration::from_yaml(text).unwrap();
        assert_eq!(read.ranges["x"].density, 1.0);
        assert_eq!(read.method, Method::MinMax);
    }

    #[test]
    fn slips_are_found_with_their_line() {
        let text = calibration().to_yaml().unwrap();
        let error = Calibration::from_yaml(&text.replace("max: 2.5", "maxx: 2.5")).unwrap_err();
        assert_eq!(error.help.as_deref(), Some("did you mean `max`?"));
        assert!(error.place.is_some());
        let error = Calibration::from_yaml(&text.replace("max: 6.0", "max: -6.0")).unwrap_err();
        assert_eq!(error.message, "`y`: `min` is above `max`");
        let line = error.place.unwrap().0 - 1;
        assert_eq!(text.lines().nth(line).map(str::trim), Some("y:"));
    }
}
