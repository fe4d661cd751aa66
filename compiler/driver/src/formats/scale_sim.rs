//! SCALE-Sim's topology: a CSV line for each layer, `Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width,
//! Channels, Num Filter, Strides, [Stride Width], [Batch Size], [Sparsity N:M]`, or for each matrix product,
//! `Layer, M, N, K, [Batch Size], [Sparsity N:M]`.
//!
//! The format has neither padding, dilation nor groups. Out go extents of the input with its padding, the filter that
//! dilated taps span, and a line for each group: the multiplications are the layer's, but for the zeros between dilated
//! taps. Lines are read as they are. The M rows of a product, whose order changes no result, lie on a plane as near to a
//! square as their number allows: a plane of one column would leave most PEs without a tile.

use super::row::{BadTable, Row, Table};
use super::shape_of;
use scnn_simulator::report::{Report, Shape};
use std::fmt::Write;

/// The head of a topology.
const HEAD: &str = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,";

/// The layers of the array in a report as a topology.
pub fn write(report: &Report) -> String {
    let mut text = format!("{HEAD}\n");
    for layer in report.array_layers() {
        let Some(shape) = shape_of(layer) else {
            continue;
        };
        // Commas and line ends would begin another cell.
        let name: String = layer.name.replace([',', '\n', '\r', '"'], "_");
        for group in 0..shape.groups {
            let suffix = if shape.groups == 1 {
                String::new()
            } else {
                format!("_group{group}")
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name}{suffix}, {}", cells(shape));
        }
    }
    text
}

fn cells(shape: &Shape) -> String {
    let [height, width] = [0, 1].map(|axis| span(shape, axis));
    let [h, w] = [0, 1].map(|axis| padded(shape, axis));
    let (c, k) = (shape.c / shape.groups, shape.k / shape.groups);
    let [sy, sx] = shape.stride;
    let second = if sy == sx {
        String::new()
    } else {
        format!(" {sx},")
    };
    format!("{h}, {w}, {height}, {width}, {c}, {k}, {sy},{second}")
}

/// Positions from the first to the last tap.
fn span(shape: &Shape, axis: usize) -> u64 {
    u64::from(shape.dilation[axis]) * u64::from([shape.r, shape.s][axis] - 1) + 1
}

/// The extent of the input with its padding, up to the last position that a filter reaches.
fn padded(shape: &Shape, axis: usize) -> u64 {
    let outputs = u64::from([shape.out_h, shape.out_w][axis]);
    let steps = (outputs - 1) * u64::from(shape.stride[axis]);
    steps.saturating_add(span(shape, axis))
}

/// Reads a topology.
///
/// # Errors
/// Lines that are no layers, and layers that are impossible.
pub fn read(text: &str) -> Result<Table, BadTable> {
    let mut lines = text
        .lines()
        .zip(1..)
        .filter(|(line, _)| !line.trim().is_empty());
    let bad = |line, reason: String| BadTable {
        line: Some(line),
        reason,
    };
    let Some((head, _)) = lines.next() else {
        return Err(BadTable {
            line: None,
            reason: "the file is empty".to_owned(),
        });
    };
    let columns = Columns::of(head).map_err(|reason| bad(1, reason))?;
    let mut table = Table::new();
    for (line, number) in lines {
        let row = columns.row(line).map_err(|reason| bad(number, reason))?;
        row.check()
            .map_err(|reason| bad(number, format!("layer `{}`: {reason}", row.name)))?;
        table.push(row);
    }
    if table.is_empty() {
        return Err(bad(1, "there are no layers behind the head".to_owned()));
    }
    Ok(table)
}

/// What the lines of a topology describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Convolutions.
    Convolutions,
    /// Matrix products, `Layer, M, N, K`: M rows of K activations times K x N weights.
    Products,
}

/// Where the cells of a line are: the first ones by position, those behind them by their names, which differ between versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Columns {
    form: Form,
    /// The stride of the columns, where it is not that of the rows.
    second_stride: Option<usize>,
    /// The cell behind the first ones, if the head has no name for it.
    nameless: Option<usize>,
    batch: Option<usize>,
    sparsity: Option<usize>,
}

impl Columns {
    fn of(head: &str) -> Result<Self, String> {
        const CONVOLUTIONS: [&str; 8] = [
            "layer", "ifmap", "ifmap", "filter", "filter", "channel", "num", "stride",
        ];
        let names: Vec<String> = head
            .split(',')
            .map(|name| name.trim().to_lowercase())
            .collect();
        let convolutions = names.len() >= CONVOLUTIONS.len()
            && CONVOLUTIONS
                .iter()
                .zip(&names)
                .all(|(word, name)| name.contains(word));
        let products = matches!(&names[..], [layer, m, n, k, ..]
            if layer.contains("layer") && m == "m" && n == "n" && k == "k");
        let (form, first) = match (convolutions, products) {
            (true, _) => (Form::Convolutions, CONVOLUTIONS.len()),
            (false, true) => (Form::Products, 4),
            (false, false) => {
                return Err(format!(
                    "the head is neither `{HEAD}` nor `Layer, M, N, K,`"
                ));
            }
        };
        let named = |word: &str| {
            let mut behind = names.iter().enumerate().skip(first);
            behind
                .find(|(_, name)| name.contains(word))
                .map(|(at, _)| at)
        };
        // Some files have a second stride behind the first without a name for it, and others words.
        let nameless = names
            .get(first)
            .is_none_or(String::is_empty)
            .then_some(first);
        Ok(Self {
            form,
            second_stride: named("stride"),
            nameless,
            batch: named("batch"),
            sparsity: named("sparsity"),
        })
    }

    fn row(self, line: &str) -> Result<Row, String> {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let filled = |at: Option<usize>| {
            let at = at.filter(|&at| cells.get(at).is_some_and(|cell| !cell.is_empty()))?;
            Some((at, cells[at]))
        };
        let number = |at: usize| -> Result<u32, String> {
            let cell = cells.get(at).copied().unwrap_or_default();
            cell.parse()
                .map_err(|_| format!("`{cell}` in cell {} is no whole number", at + 1))
        };
        let first = || {
            let mut values = [0; 7];
            let count = match self.form {
                Form::Convolutions => 7,
                Form::Products => 3,
            };
            for (at, value) in (1..=count).zip(&mut values) {
                *value = number(at)?;
            }
            Ok::<_, String>(values)
        };
        let batch = filled(self.batch).map_or(Ok(1), |(at, _)| number(at))?;
        let (input, outputs, kernel, stride) = match self.form {
            Form::Convolutions => {
                let [h, w, r, s, c, k, rows] = first()?;
                let columns = match filled(self.second_stride) {
                    Some((at, _)) => number(at)?,
                    None => self.nameless.and_then(|at| number(at).ok()).unwrap_or(rows),
                };
                ([batch, c, h, w], k, [r, s], [rows, columns])
            }
            Form::Products => {
                let [m, n, k, ..] = first()?;
                let [h, w] = plane(m);
                ([batch, k, h, w], n, [1, 1], [1, 1])
            }
        };
        let weights = filled(self.sparsity).map(|(_, cell)| ratio(cell));
        Ok(Row {
            name: cells[0].to_owned(),
            input,
            outputs,
            kernel,
            stride,
            dilation: [1, 1],
            groups: 1,
            weights: weights.transpose()?,
            activations: None,
        })
    }
}

/// A plane of that many positions, as near to a square as it can be.
fn plane(positions: u32) -> [u32; 2] {
    let root = positions.isqrt();
    let rows = (1..=root)
        .rev()
        .find(|&rows| positions.is_multiple_of(rows));
    rows.map_or([positions, 1], |rows| [rows, positions / rows])
}

/// `N:M`: N of M weights are not zero.
fn ratio(cell: &str) -> Result<f64, String> {
    let parts = cell
        .split_once(':')
        .and_then(|(n, m)| Some((n.trim().parse::<u32>().ok()?, m.trim().parse::<u32>().ok()?)));
    match parts {
        Some((n, m)) if m > 0 && n <= m => Ok(f64::from(n) / f64::from(m)),
        _ => Err(format!("`{cell}` is no sparsity: give N:M, as in 2:4")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::tests::report;

    #[test]
    fn what_is_written_is_read_again() {
        let report = report();
        let table = read(&write(&report)).unwrap();
        let products: u64 = table.iter().map(|row| row.check().unwrap()).sum();
        assert_eq!(products, report.totals.multiplies.dense);
        assert_eq!(table.len(), report.array_layers().count());
    }

    #[test]
    fn groups_and_paddings_keep_the_multiplications() {
        let mut report = report();
        let shape = report.layers[0].shape.as_mut().unwrap();
        (shape.c, shape.k, shape.groups) = (6, 20, 2);
        (shape.h, shape.w, shape.pad) = (24, 24, [2, 2, 2, 2]);
        let table = read(&write(&report)).unwrap();
        assert_eq!(table[0].name, "/conv1/Conv_group0");
        assert_eq!((table[0].input, table[0].outputs), ([1, 3, 28, 28], 10));
        assert_eq!(
            table[0],
            Row {
                name: table[0].name.clone(),
                ..table[1].clone()
            }
        );
    }

    #[test]
    fn extents_that_no_layer_has_are_left_out() {
        let mut report = report();
        let before = write(&report).lines().count();
        let shapes = report.layers.iter_mut().filter_map(|l| l.shape.as_mut());
        for (shape, at) in shapes.zip(0..3) {
            match at {
                0 => shape.groups = 0,
                1 => shape.r = 0,
                _ => {
                    shape.out_h = u32::MAX;
                    shape.stride[0] = u32::MAX;
                }
            }
        }
        assert_eq!(write(&report).lines().count(), before - 2);
        let problems = super::super::timeloop::write(&report);
        assert_eq!(problems.len(), report.array_layers().count() - 2);
    }

    #[test]
    fn files_as_people_write_them_are_read() {
        let text = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides, Sparsity,\n\
                    Conv1,224,224,7,7,3,64,2,2:4,\n\n FC , 1, 1, 1, 1, 512, 1000, 1,,\n\n";
        let table = read(text).unwrap();
        assert_eq!((table[0].weights, table[1].weights), (Some(0.5), None));
        assert_eq!(
            (table[1].name.as_str(), table[1].input),
            ("FC", [1, 512, 1, 1])
        );
        let text = format!("{HEAD}\nConv2D_1, 96, 96, 3, 3, 3, 8, 2, 1\n");
        assert_eq!(read(&text).unwrap()[0].stride, [2, 1]);
        let text = "Layer name,IFMAP height,IFMAP width,Filter height,Filter width,Channels,Num filter,Stride height,\
                    Stride width,Batch Size,Sparsity,\nc,8,9,3,3,16,4,2,1,5,1:2,\n";
        let row = &read(text).unwrap()[0];
        assert_eq!((row.input, row.stride), ([5, 16, 8, 9], [2, 1]));
        assert_eq!(row.weights, Some(0.5));
        // A batch is no stride.
        let text = "Layer name,IFMAP height,IFMAP width,Filter height,Filter width,Channels,Num filter,Strides,Batch Size,\n\
                    c,8,9,3,3,16,4,2,5,\n";
        let row = &read(text).unwrap()[0];
        assert_eq!((row.input, row.stride), ([5, 16, 8, 9], [2, 2]));
    }

    #[test]
    fn matrix_products_lie_on_a_plane_and_keep_their_multiplications() {
        let text = "Layer,M,N,K,\nL0,196,192,384,\nprime,13,5,16,\n\n";
        let table = read(text).unwrap();
        assert_eq!((table[0].input, table[0].outputs), ([1, 384, 14, 14], 192));
        assert_eq!(table[1].input, [1, 16, 1, 13]);
        let products: Vec<u64> = table.iter().map(|row| row.check().unwrap()).collect();
        assert_eq!(products, [196 * 192 * 384, 13 * 5 * 16]);

        let text = "Layer Name, M, N, K, Batch Size, Sparsity,\nGEMM_1, 3, 5, 16, 2, 3:4,";
        let row = &read(text).unwrap()[0];
        assert_eq!(row.check(), Ok(2 * 3 * 5 * 16));
        assert_eq!(row.weights, Some(0.75));

        let error = |line: &str| {
            read(&format!("Layer,M,N,K,\n{line}\n"))
                .unwrap_err()
                .to_string()
        };
        assert!(error("a, 0, 5, 16").contains("an extent is zero"));
        assert!(error("a, 3, 5").contains("cell 4"));
    }

    #[test]
    fn lines_that_are_no_layers_are_named() {
        let wrong = [
            ("", "the file is empty"),
            ("a,b,c\n", "line 1: the head is neither"),
            (HEAD, "line 1: there are no layers"),
        ];
        for (text, reason) in wrong {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        for (line, reason) in [
            ("a, 8, 8, 3, x, 3, 4, 1,", "`x` in cell 5"),
            (
                "a, 8, 8, 9, 9, 3, 4, 1,",
                "a filter of 9 does not fit into an input of 8",
            ),
            ("a, 8, 8, 3, 3, 3, 0, 1,", "an extent is zero"),
            ("a, 8, 8", "cell 4"),
            (
                "a, 4294967295, 4294967295, 1, 1, 4294967295, 4294967295, 1",
                "more than 2^64",
            ),
        ] {
            let error = read(&format!("{HEAD}\n{line}\n")).unwrap_err().to_string();
            assert!(
                error.starts_with("line 2: ") && error.contains(reason),
                "{error}"
            );
        }
    }
}
