//! From a specification to the settings of its points: every entry of the list, with every point of the sample, with
//! every combination of the grid. The last setting of the grid varies fastest.

use super::spec::{Ordered, Range, Settings, Spec, Value, Values};

/// Most points of a sweep: more would be a mistake, and take memory before they take time.
pub const MOST_POINTS: usize = 1 << 20;

impl Spec {
    /// The settings of every point, before constraints.
    ///
    /// # Errors
    /// In a sentence: a range without end, no values, or too many points.
    pub fn settings(&self) -> Result<Vec<Settings>, String> {
        let grid = self.grid.0.iter();
        let grid: Vec<(&str, Vec<Value>)> = grid
            .map(|(name, values)| Ok((name.as_str(), values.all(name)?)))
            .collect::<Result<_, String>>()?;
        let sampled = match &self.sample {
            None => vec![Settings::default()],
            Some(sample) => sample.points()?,
        };
        let listed = match self.list.as_slice() {
            [] => vec![Settings::default()],
            list => list.to_vec(),
        };
        let sizes = grid.iter().map(|(_, values)| values.len());
        let sizes = sizes.chain([sampled.len(), listed.len()]);
        let count = sizes.fold(1usize, usize::saturating_mul);
        if count > MOST_POINTS {
            return Err(format!(
                "there are {count} points; at most {MOST_POINTS} are swept"
            ));
        }
        let mut points = Vec::with_capacity(count);
        for list in &listed {
            for sample in &sampled {
                let fixed = self.base.with(list).with(sample);
                combinations(&fixed, &grid, &mut points);
            }
        }
        Ok(points)
    }
}

/// Adds `fixed` with every combination of the grid.
fn combinations(fixed: &Settings, grid: &[(&str, Vec<Value>)], points: &mut Vec<Settings>) {
    let Some(((name, values), rest)) = grid.split_first() else {
        points.push(fixed.clone());
        return;
    };
    for value in values {
        let one = Ordered(vec![((*name).to_owned(), value.clone())]);
        combinations(&fixed.with(&one), rest, points);
    }
}

impl Values {
    /// Every value, of the setting `name`.
    ///
    /// # Errors
    /// In a sentence.
    pub fn all(&self, name: &str) -> Result<Vec<Value>, String> {
        let values = match self {
            Self::List(values) => values.clone(),
            Self::Range(range) => range.all(name)?,
        };
        if values.is_empty() {
            return Err(format!("`{name}` has no values"));
        }
        Ok(values)
    }
}

impl Range {
    fn all(&self, name: &str) -> Result<Vec<Value>, String> {
        let [from, to] = self.ends(name)?;
        let next: Box<dyn Fn(usize) -> f64> = match (number(&self.step), number(&self.factor)) {
            (Some(step), None) if step > 0.0 => Box::new(move |n| from + step * n as f64),
            (None, Some(factor)) if factor > 1.0 && from > 0.0 => {
                Box::new(move |n| from * factor.powi(n as i32))
            }
            _ => {
                return Err(format!(
                    "`{name}`: a range has a `step` above 0, or a `factor` above 1 and begins above 0"
                ));
            }
        };
        // Sums of tenths may end beside the last value.
        let last = to + (to - from) * 1e-9;
        let values = (0..MOST_POINTS)
            .map(next)
            .take_while(|&value| value <= last);
        Ok(values.map(value_of).collect())
    }

    /// Both ends, as numbers.
    ///
    /// # Errors
    /// In a sentence: ends that are no numbers or in the wrong order.
    pub fn ends(&self, name: &str) -> Result<[f64; 2], String> {
        let ends = [&self.from, &self.to].map(|end| number(&Some(end.clone())));
        match ends {
            [Some(from), Some(to)] if from <= to => Ok([from, to]),
            _ => Err(format!(
                "`{name}`: `from` and `to` are numbers, the smaller one first"
            )),
        }
    }

    /// Whether both ends are whole numbers.
    pub fn is_whole(&self) -> bool {
        matches!((&self.from, &self.to), (Value::Whole(_), Value::Whole(_)))
    }
}

#[expect(clippy::ref_option)] // The options are fields of the file.
fn number(value: &Option<Value>) -> Option<f64> {
    match value {
        Some(Value::Whole(value)) => Some(*value as f64),
        Some(Value::Real(value)) if value.is_finite() => Some(*value),
        _ => None,
    }
}

/// A number as a value: a whole one where it is whole.
pub fn value_of(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        Value::Whole(number as i64)
    } else {
        Value::Real(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let points = Spec::read(&format!("models: []\n{text}"))
            .unwrap()
            .settings()
            .unwrap();
        let line = |point: &Settings| {
            let pairs = point
                .0
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            pairs.collect::<Vec<_>>().join(" ")
        };
        points.iter().map(line).collect()
    }

    #[test]
    fn a_grid_is_every_combination_with_every_entry_of_the_list() {
        let text = "base: {mapping: search, z: 1}\nlist: [{mapping: paper}, {w: 2}]\ngrid: {a: [1, 2], b: [x, y]}\n";
        assert_eq!(
            lines(text),
            [
                "mapping=paper z=1 a=1 b=x",
                "mapping=paper z=1 a=1 b=y",
                "mapping=paper z=1 a=2 b=x",
                "mapping=paper z=1 a=2 b=y",
                "mapping=search z=1 w=2 a=1 b=x",
                "mapping=search z=1 w=2 a=1 b=y",
                "mapping=search z=1 w=2 a=2 b=x",
                "mapping=search z=1 w=2 a=2 b=y",
            ]
        );
    }

    #[test]
    fn a_range_has_both_ends() {
        assert_eq!(
            lines("grid: {a: {from: 2, to: 16, factor: 2}}"),
            ["a=2", "a=4", "a=8", "a=16"]
        );
        assert_eq!(lines("grid: {a: {from: 0.1, to: 0.3, step: 0.1}}").len(), 3);
        assert_eq!(
            lines("grid: {a: {from: 1, to: 4, step: 2}}"),
            ["a=1", "a=3"]
        );
    }

    #[test]
    fn a_range_without_end_and_a_grid_without_bounds_are_refused() {
        let error = |text: &str| {
            let spec = Spec::read(&format!("models: []\n{text}")).unwrap();
            spec.settings().unwrap_err()
        };
        assert!(error("grid: {a: {from: 1, to: 2}}").contains("`step` above 0"));
        assert!(error("grid: {a: {from: 3, to: 2, step: 1}}").contains("smaller one first"));
        assert!(error("grid: {a: []}").contains("no values"));
        let axis = "{from: 1, to: 2000, step: 1}";
        assert!(error(&format!("grid: {{a: {axis}, b: {axis}}}")).contains("4000000 points"));
    }
}
