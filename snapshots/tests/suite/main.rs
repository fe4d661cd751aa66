//! The snapshot suite: what the libraries print, one file for each thing that a person reads.
//!
//! | path | what |
//! |---|---|
//! | `<model>/graph/<number>-<pass>.snap` | the graph after import, and after each transform that changes it |
//! | `<model>/<machine>-<mapping>/mapping.snap` | tiles, groups, places |
//! | `<model>/<machine>-<mapping>/program.snap` | `scnnc disasm --code` |
//! | `<model>/<machine>-<mapping>/report.snap` | `scnnc snapshot`, exact timing, seeded noise |
//! | `machines/`, `instructions/` | presets, and the instruction reference |
//!
//! Every `.onnx` of `models/` is covered. What the binary prints (`command-line/`, `diagnostics/`) is tested where
//! the binary is, in `compiler/tests/`.

mod mapping_table;
mod models;
mod reference;

use insta::{assert_snapshot, with_settings};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

/// Compares `text` with the snapshot `name` in `folder`; tells whether it holds, after insta has shown the difference.
fn holds(folder: &str, name: &str, text: &str) -> bool {
    // One at a time, so that the differences are not shown through each other.
    static SHOWN: Mutex<()> = Mutex::new(());
    let _shown = SHOWN
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let compare = || {
        with_settings!({
            snapshot_path => format!("../../{folder}"), prepend_module_to_snapshot => false, omit_expression => true
        }, { assert_snapshot!(name, text) });
    };
    catch_unwind(AssertUnwindSafe(compare)).is_ok()
}
