//! Tables for people that fit the terminal: columns give way, or long words are wrapped. In a pipe nothing gives way.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table};

/// A table without lines.
pub fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header.iter().copied());
    table
}

/// Aligns columns of numbers.
pub fn right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// Hides a column.
pub fn hide(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_constraint(ColumnConstraint::Hidden);
    }
}

/// The text of a table of which columns give way, in this order, until it fits the terminal; it says which did.
pub fn fitted(table: Table, yields: &[usize]) -> String {
    let width = table.width().map(usize::from);
    fitted_to(table, yields, width)
}

fn fitted_to(mut table: Table, yields: &[usize], width: Option<usize>) -> String {
    // It would wrap to this width by itself otherwise.
    table.set_content_arrangement(ContentArrangement::Disabled);
    let Some(width) = width else {
        return table.trim_fmt();
    };
    let mut hidden = Vec::new();
    for &column in yields {
        if widest(&table) <= width {
            break;
        }
        if table
            .column(column)
            .is_none_or(comfy_table::Column::is_hidden)
        {
            continue;
        }
        let name = table.header().and_then(|row| row.cell_iter().nth(column));
        hidden.extend(name.map(comfy_table::Cell::content));
        hide(&mut table, column);
    }
    let mut text = table.trim_fmt();
    if !hidden.is_empty() {
        text.push_str("\n\n(no room for: ");
        text.push_str(&hidden.join("; "));
        text.push(')');
    }
    text
}

/// Least width of a column of words.
const WORDS: usize = 24;

/// The text of a table whose last column holds sentences, wrapped where the terminal ends; where that leaves them hardly
/// a word a line, columns give way in this order.
pub fn wrapped(table: Table, yields: &[usize]) -> String {
    let width = table.width().map(usize::from);
    wrapped_to(table, yields, width)
}

fn wrapped_to(mut table: Table, yields: &[usize], width: Option<usize>) -> String {
    let Some(width) = width else {
        return table.trim_fmt();
    };
    // Two blanks stand around each cell.
    let widths: Vec<usize> = table
        .column_max_content_widths()
        .iter()
        .map(|&w| usize::from(w) + 2)
        .collect();
    let last = widths.len().saturating_sub(1);
    let mut others: usize = widths.iter().take(last).sum();
    for &column in yields {
        if others + WORDS <= width {
            break;
        }
        others -= widths[column];
        hide(&mut table, column);
    }
    for column in (0..last).filter(|column| !yields.contains(column)) {
        if let Some(column) = table.column_mut(column) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    table.trim_fmt()
}

/// Where the text of a line with a label begins.
const LABEL: usize = 10;

/// Lines of a label and a text, which goes on below itself where the terminal ends.
pub fn hanging(lines: &str) -> String {
    let width = Table::new().width().map(usize::from);
    width.map_or_else(|| lines.to_owned(), |width| hanging_to(lines, width))
}

fn hanging_to(lines: &str, width: usize) -> String {
    let mut text = String::new();
    for line in lines.lines() {
        let mut used = 0;
        for word in line.split_inclusive(' ') {
            let length = word.trim_end().chars().count();
            if used > LABEL && used + length > width {
                text.truncate(text.trim_end().len());
                text.push('\n');
                text.push_str(&" ".repeat(LABEL));
                used = LABEL;
            }
            text.push_str(word);
            used += word.chars().count();
        }
        text.push('\n');
    }
    text
}

fn widest(table: &Table) -> usize {
    let lines = table.lines().map(|line| line.trim_end().chars().count());
    lines.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = plain(&["layer", "note", "cycles"]);
        table.add_row(["conv", "a long note on it", "12"]);
        right(&mut table, [2]);
        table
    }

    #[test]
    fn a_column_gives_way_where_the_terminal_is_narrow_and_that_is_said() {
        let narrow = fitted_to(table(), &[1, 2], Some(24));
        assert!(!narrow.contains("a long note"), "{narrow}");
        assert!(
            narrow.contains("12") && narrow.ends_with("(no room for: note)"),
            "{narrow}"
        );
        assert!(narrow.lines().all(|line| line.len() <= 24), "{narrow}");
    }

    #[test]
    fn sentences_wrap_in_their_own_column() {
        let mut table = plain(&["parameter", "allowed", "meaning"]);
        table.add_row([
            "pe.weights_per_vector",
            "1 to 64",
            "weights of a vector, which is F in the paper",
        ]);
        let text = wrapped_to(table, &[1], Some(50));
        assert!(
            text.contains("pe.weights_per_vector") && !text.contains("1 to 64"),
            "{text}"
        );
        assert!(
            text.lines().count() > 2 && text.lines().all(|line| line.chars().count() <= 50),
            "{text}"
        );
    }

    #[test]
    fn a_long_line_goes_on_below_its_text() {
        let text = hanging_to("total     12 cycles, 3 uJ\nmodel     exact\n", 20);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            ["total     12 cycles,", "          3 uJ", "model     exact"]
        );
    }

    #[test]
    fn nothing_gives_way_where_there_is_room_or_no_terminal() {
        for width in [Some(80), None] {
            let text = fitted_to(table(), &[1, 2], width);
            assert!(
                text.contains("a long note on it") && !text.contains("no room"),
                "{text}"
            );
        }
    }
}
