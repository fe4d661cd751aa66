//! The changes of a machine's parameters: a factor of two, a bit of a width, or the other value of a switch.

use scnn_isa::machine::{Machine, Parameter, Read};
use serde::Serialize;

/// Direction of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// A larger value.
    Up,
    /// A smaller value.
    Down,
    /// Another value of a switch.
    Other,
}

/// One change of one parameter.
#[derive(Clone, Debug)]
pub struct Change {
    /// Path of the parameter.
    pub parameter: String,
    /// Its unit, or empty.
    pub unit: &'static str,
    /// Its value on the base machine.
    pub from: String,
    /// Its value after the change.
    pub to: String,
    /// Direction.
    pub direction: Direction,
    /// The machine after the change.
    pub machine: Machine,
}

/// Sections and entries that only the dense baselines read.
const OF_DENSE_MACHINES: [&str; 3] = ["dataflow.", "energy.dense_", "area.dense_"];

/// The changes of every parameter, in the order of the table; changes that lead to no valid machine are left out.
pub fn changes(base: &Machine) -> Vec<Change> {
    let parameters = base.parameters().into_iter();
    let sparse = parameters.filter(|p| {
        let dense = |prefix: &&str| p.path.starts_with(prefix);
        !OF_DENSE_MACHINES.iter().any(dense)
    });
    let values = sparse.flat_map(|parameter| {
        let values = values(&parameter).into_iter();
        values.map(move |(direction, to)| (parameter.clone(), direction, to))
    });
    let change = |(parameter, direction, to): (Parameter, Direction, String)| {
        let word = format!("{}={to}", parameter.path);
        let read = Read::of(base.clone()).with_settings(&[word]).ok()?;
        Some(Change {
            parameter: parameter.path,
            unit: parameter.unit,
            from: parameter.value,
            to,
            direction,
            machine: read.machine,
        })
    };
    values.filter_map(change).collect()
}

/// The neighbours of a parameter's value.
fn values(parameter: &Parameter) -> Vec<(Direction, String)> {
    let value = &parameter.value;
    let Ok(number) = value.parse::<f64>() else {
        let others = parameter.range.split(" or ");
        let others = others.filter(|other| other != value);
        return others
            .map(|other| (Direction::Other, other.to_owned()))
            .collect();
    };
    let (up, down) = if parameter.unit == "bits" {
        (number + 1.0, number - 1.0)
    } else {
        (number * 2.0, number / 2.0)
    };
    // A depth of none has a neighbour, too.
    let up = if number == 0.0 { 1.0 } else { up };
    let whole = parameter.range.starts_with("a whole number");
    let down = if whole { down.floor() } else { down };
    let both = [(Direction::Up, up), (Direction::Down, down)].into_iter();
    both.filter(|(_, to)| *to != number)
        .map(|(direction, to)| (direction, to.to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(path: &str) -> Vec<(Direction, String)> {
        let changes = changes(&Machine::preset("scnn").unwrap()).into_iter();
        let changes = changes.filter(|change| change.parameter == path);
        changes
            .map(|change| (change.direction, change.to))
            .collect()
    }

    #[test]
    fn a_step_is_a_factor_of_two_a_bit_or_the_other_value() {
        let both = |up: &str, down: &str| {
            vec![
                (Direction::Up, up.to_owned()),
                (Direction::Down, down.to_owned()),
            ]
        };
        assert_eq!(to("pe.banks"), both("64", "16"));
        assert_eq!(to("encoding.index_bits"), both("5", "3"));
        assert_eq!(to("dram.gigabytes_per_second"), both("100", "25"));
        assert_eq!(to("energy.multiply"), both("0.24", "0.06"));
        assert_eq!(to("pe.bank_map"), [(Direction::Other, "xor".to_owned())]);
        assert_eq!(
            to("encoding.compress_weights"),
            [(Direction::Other, "false".to_owned())]
        );
        // At the end of its range there is one way.
        assert_eq!(to("pe.operand_bits"), [(Direction::Down, "15".to_owned())]);
        assert_eq!(
            to("ppu.halo_sums_per_cycle"),
            [(Direction::Up, "2".to_owned())]
        );
    }

    #[test]
    fn every_parameter_of_a_sparse_machine_has_a_step() {
        let scnn = Machine::preset("scnn").unwrap();
        let changes = changes(&scnn);
        for parameter in scnn.parameters() {
            let dense = |prefix: &&str| parameter.path.starts_with(*prefix);
            let changed = changes
                .iter()
                .any(|change| change.parameter == parameter.path);
            assert_eq!(
                changed,
                !OF_DENSE_MACHINES.iter().any(dense),
                "{}",
                parameter.path
            );
        }
    }
}
