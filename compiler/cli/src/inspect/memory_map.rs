//! The activation RAMs over time, as text: a line for each operation, a letter for each region.
//!
//! ```text
//!                  RAM A                     RAM B
//! conv1            |                        |aaaaaaa                 |
//! conv2            |bbbb                    |aaaaaaa                 |
//! ```

use scnn_isa::program::Memory;
use scnn_simulator::report::Occupancy;
use std::fmt::Write;

/// Characters of a RAM.
const CELLS: u64 = 32;
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The map of both RAMs, and the regions that its letters stand for.
pub fn rams(regions: &[Occupancy], capacity: [u64; 2], operations: &[String]) -> String {
    let lettered: Vec<(char, &Occupancy)> = regions
        .iter()
        .filter(|region| region.memory != Memory::Dram)
        .enumerate()
        .map(|(index, region)| (char::from(LETTERS[index % LETTERS.len()]), region))
        .collect();
    let mut text = String::new();
    if lettered.is_empty() {
        return text;
    }
    let widest = operations.iter().map(|name| name.chars().count()).max();
    let widest = widest.unwrap_or(0);
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{:widest$} {:34} RAM B, {} elements a PE",
        "",
        format!("RAM A, {} elements a PE", capacity[0]),
        capacity[1]
    );
    for (operation, name) in operations.iter().enumerate() {
        let ram = |memory, capacity| row(&lettered, memory, capacity, operation as u32);
        let _ = writeln!(
            text,
            "{name:widest$} |{}| |{}|",
            ram(Memory::A, capacity[0]),
            ram(Memory::B, capacity[1])
        );
    }
    for (letter, region) in &lettered {
        let _ = writeln!(
            text,
            "  {letter}  RAM {} {}..{}: {}",
            if region.memory == Memory::A { "A" } else { "B" },
            region.base,
            region.base + region.size,
            region.tensor
        );
    }
    text
}

/// What a RAM holds during an operation. A region is drawn as one letter at least.
fn row(regions: &[(char, &Occupancy)], memory: Memory, capacity: u64, operation: u32) -> String {
    let mut cells = vec![' '; CELLS as usize];
    for (letter, region) in regions {
        if region.memory != memory || !(region.layers[0]..=region.layers[1]).contains(&operation) {
            continue;
        }
        let at = |element: u64| (element * CELLS / capacity.max(1)).min(CELLS);
        let begin = at(region.base).min(CELLS - 1);
        let end = at(region.base + region.size).max(begin + 1);
        cells[begin as usize..end as usize].fill(*letter);
    }
    cells.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_drawn_where_it_lies_and_while_it_is_in_use() {
        let region = Occupancy {
            region: "x.a".to_owned(),
            tensor: "x".to_owned(),
            memory: Memory::A,
            base: 16,
            size: 8,
            layers: [1, 1],
        };
        let operations = ["one".to_owned(), "two".to_owned()];
        let text = rams(&[region], [64, 64], &operations);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], format!("one |{:32}| |{:32}|", "", ""));
        assert_eq!(lines[2], format!("two |{:8}aaaa{:20}| |{:32}|", "", "", ""));
        assert_eq!(lines[3], "  a  RAM A 16..24: x");
    }
}
