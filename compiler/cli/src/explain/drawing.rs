//! The tiling of a plane, drawn in text.

use scnn_isa::layout::{Layout, Tile};
use scnn_isa::machine::Machine;
use std::fmt::Write;

/// The first temporal tile as the PEs of a group divide it.
pub fn drawing(layout: &Layout, machine: &Machine) -> String {
    let tile = &layout.tiles[0];
    let mut text = format!(
        "  tiles       {} of {} x {} PEs; rows and columns of PEs with the rows y and columns x that they hold\n",
        layout.tiles.len(),
        tile.pes().rows,
        tile.pes().cols
    );
    let pes = tile.pes();
    let label = |pe_row: u32| span_words(tile, pe_row, true);
    let columns: Vec<String> = (0..pes.cols)
        .map(|col| span_words(tile, col, false))
        .collect();
    let width = columns.iter().map(String::len).max().unwrap_or(0).max(5);
    let left = (0..pes.rows).map(|row| label(row).len()).max().unwrap_or(0);
    let _ = write!(text, "    {:left$} ", "");
    for column in &columns {
        let _ = write!(text, " {column:^width$}");
    }
    text.push('\n');
    for row in 0..pes.rows {
        let _ = write!(text, "    {:left$} ", label(row));
        for col in 0..pes.cols {
            let rect = tile.pe_rect(row, col);
            let cell = if rect.is_empty() {
                "-".to_owned()
            } else {
                rect.positions().to_string()
            };
            let _ = write!(text, "|{cell:^width$}");
        }
        text.push_str("|\n");
    }
    if layout.groups.count() > 1 {
        let _ = writeln!(
            text,
            "    {} such groups on the {} x {} array, each with a replica",
            layout.groups.count(),
            machine.array.rows,
            machine.array.cols
        );
    }
    text
}

/// What a row or column of PEs holds.
fn span_words(tile: &Tile, index: u32, rows: bool) -> String {
    let rect = if rows {
        tile.pe_rect(index, 0)
    } else {
        tile.pe_rect(0, index)
    };
    let span = if rows { rect.y } else { rect.x };
    let axis = if rows { "y" } else { "x" };
    if tile.images.count() > 1 {
        format!("n{} {axis}{span}", rect.n)
    } else {
        format!("{axis}{span}")
    }
}
