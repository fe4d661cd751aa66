//! Points spread over a space: a Latin hypercube, or Sobol's sequence.
//!
//! Both give every setting a coordinate in `0..1` for each point, which becomes one of its values. A Latin hypercube of n
//! points has one in each n-th of every axis, drawn from its seed. Sobol's sequence is the one of Joe and Kuo's numbers
//! (new-joe-kuo-6, 2008), without its first point; the first 2^k - 1 points of it lie in different 2^k-ths of every axis.

use super::expand::value_of;
use super::spec::{Ordered, Settings, Value, Values};
use serde::Deserialize;

/// How points are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// One point in each n-th of every axis.
    LatinHypercube,
    /// A sequence that fills a space evenly.
    Sobol,
}

/// Settings that are sampled.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// How.
    pub method: Method,
    /// How many points.
    pub points: usize,
    /// Of a Latin hypercube.
    #[serde(default = "one")]
    pub seed: u64,
    /// The settings, and between which values.
    pub axes: Ordered<Values>,
}

fn one() -> u64 {
    1
}

/// Primitive polynomials (degree, inner coefficients) and first direction numbers, of dimension 2 on.
const JOE_KUO: [(u32, u32, &[u32]); 14] = [
    (1, 0, &[1]),
    (2, 1, &[1, 3]),
    (3, 1, &[1, 3, 1]),
    (3, 2, &[1, 1, 1]),
    (4, 1, &[1, 1, 3, 3]),
    (4, 4, &[1, 3, 5, 13]),
    (5, 2, &[1, 1, 5, 5, 17]),
    (5, 4, &[1, 1, 5, 5, 5]),
    (5, 7, &[1, 1, 7, 11, 19]),
    (5, 11, &[1, 1, 5, 1, 1]),
    (5, 13, &[1, 1, 1, 3, 11]),
    (5, 14, &[1, 3, 5, 5, 31]),
    (6, 1, &[1, 3, 3, 9, 7, 49]),
    (6, 13, &[1, 1, 1, 15, 21, 21]),
];

impl Sampling {
    /// The settings of every point.
    ///
    /// # Errors
    /// In a sentence: more points or axes than can be spread, or a range without ends.
    pub fn points(&self) -> Result<Vec<Settings>, String> {
        if self.points == 0 || self.points > super::expand::MOST_POINTS {
            return Err(format!("`sample` is of {} points", self.points));
        }
        let count = self.axes.0.len();
        let coordinates = match self.method {
            Method::LatinHypercube => hypercube(count, self.points, self.seed),
            Method::Sobol if count <= JOE_KUO.len() + 1 => sobol(count, self.points),
            Method::Sobol => {
                let most = JOE_KUO.len() + 1;
                return Err(format!(
                    "`sobol` spreads over at most {most} settings, here are {count}"
                ));
            }
        };
        let point = |at: usize| {
            let settings = self.axes.0.iter().zip(&coordinates);
            let settings = settings
                .map(|((name, values), axis)| Ok((name.clone(), values.at(name, axis[at])?)));
            Ok(Ordered(settings.collect::<Result<_, String>>()?))
        };
        (0..self.points).map(point).collect()
    }
}

impl Values {
    /// The value at a coordinate, `0..1`.
    fn at(&self, name: &str, coordinate: f64) -> Result<Value, String> {
        match self {
            Self::Range(range) if range.step.is_none() && range.factor.is_none() => {
                let [from, to] = range.ends(name)?;
                Ok(if range.is_whole() {
                    value_of((from + coordinate * (to - from + 1.0)).floor())
                } else {
                    Value::Real(from + coordinate * (to - from))
                })
            }
            _ => {
                let mut values = self.all(name)?;
                let index = (coordinate * values.len() as f64) as usize;
                Ok(values.swap_remove(index.min(values.len() - 1)))
            }
        }
    }
}

/// By axis, the coordinates of every point.
fn hypercube(axes: usize, points: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut state = seed;
    // Steele, Lea, Flood: splitmix64.
    let mut draw = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let axis = |_| {
        let mut order: Vec<usize> = (0..points).collect();
        for last in (1..points).rev() {
            order.swap(last, (draw() * (last + 1) as f64) as usize);
        }
        let places = order.into_iter();
        places
            .map(|place| (place as f64 + draw()) / points as f64)
            .collect()
    };
    (0..axes).map(axis).collect()
}

/// By axis, the coordinates of every point.
fn sobol(axes: usize, points: usize) -> Vec<Vec<f64>> {
    let axis = |axis: usize| {
        let directions = directions(axis);
        let mut at = 0u32;
        let steps = (0..points as u32).map(|n| {
            // Gray code: the lowest bit of n that is not set.
            at ^= directions[n.trailing_ones() as usize];
            f64::from(at) / 2f64.powi(32)
        });
        steps.collect()
    };
    (0..axes).map(axis).collect()
}

/// The direction numbers of an axis, most significant bit first.
fn directions(axis: usize) -> [u32; 32] {
    let mut v = [0u32; 32];
    let Some(&(degree, inner, first)) = axis.checked_sub(1).and_then(|at| JOE_KUO.get(at)) else {
        return std::array::from_fn(|bit| 1 << (31 - bit));
    };
    let degree = degree as usize;
    for (bit, &m) in first.iter().enumerate() {
        v[bit] = m << (31 - bit);
    }
    for bit in degree..32 {
        v[bit] = v[bit - degree] ^ (v[bit - degree] >> degree);
        for k in 1..degree {
            if inner >> (degree - 1 - k) & 1 == 1 {
                v[bit] ^= v[bit - k];
            }
        }
    }
    v
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// In which `parts`-th of an axis each point lies.
    fn parts(axis: &[f64], parts: usize) -> Vec<usize> {
        axis.iter().map(|x| (x * parts as f64) as usize).collect()
    }

    #[test]
    fn a_latin_hypercube_has_one_point_in_each_part_of_every_axis() {
        let axes = hypercube(3, 17, 5);
        for axis in &axes {
            let found: BTreeSet<usize> = parts(axis, 17).into_iter().collect();
            assert_eq!(found, (0..17).collect());
        }
        assert_ne!(axes[0], axes[1]);
        assert_eq!(axes, hypercube(3, 17, 5));
        assert_ne!(axes, hypercube(3, 17, 6));
    }

    #[test]
    fn the_first_points_of_sobol_are_its_published_ones() {
        let axes = sobol(3, 7);
        assert_eq!(axes[0], [0.5, 0.75, 0.25, 0.375, 0.875, 0.625, 0.125]);
        assert_eq!(axes[1], [0.5, 0.25, 0.75, 0.375, 0.875, 0.125, 0.625]);
        assert_eq!(axes[2], [0.5, 0.25, 0.75, 0.625, 0.125, 0.875, 0.375]);
    }

    #[test]
    fn sobol_lies_evenly_on_every_axis_and_every_pair_of_neighbours_fills_a_square() {
        let axes = sobol(JOE_KUO.len() + 1, 1023);
        for (number, axis) in axes.iter().enumerate() {
            let found: BTreeSet<usize> = parts(axis, 1024).into_iter().collect();
            assert_eq!(found.len(), 1023, "axis {number}");
        }
        for pair in axes.windows(2) {
            let cells = parts(&pair[0], 4).into_iter().zip(parts(&pair[1], 4));
            assert_eq!(cells.collect::<BTreeSet<_>>().len(), 16);
        }
    }

    #[test]
    fn a_coordinate_becomes_a_value_of_its_axis() {
        let read = |text| scnn_isa::yaml::from_str::<Values>(text).unwrap();
        let at = |text, x| read(text).at("a", x).unwrap().to_string();
        assert_eq!(at("{from: 1, to: 4}", 0.0), "1");
        assert_eq!(at("{from: 1, to: 4}", 0.99), "4");
        assert_eq!(at("{from: 1.0, to: 4}", 0.5), "2.5");
        assert_eq!(at("[8, 16, 32]", 0.4), "16");
        assert_eq!(at("{from: 8, to: 64, factor: 2}", 0.99), "64");
    }
}
