//! The codes of problems with runs, reports and snapshots.

scnn_isa::codes! {
    NotAReport "E0121" "this is no report" "Reports are the JSON that `scnnc run --report` and `scnnc compare --report` write." remedy "give a file that `scnnc run --report R.json` wrote";
    ReportSchema "E0122" "the report has another version" "It was written by another version of scnnc. Run the model again with `--report`." remedy "run the model again with `--report`";
    Overflow "E0701" "an accumulator overflowed" "The program was compiled with calibrated ranges, and this input exceeds them. Calibrate with such inputs, or use proven ranges.";
    SnapshotForm "E0804" "a snapshot has another form" "Its first line names the version of its form, and this scnnc writes another. `--update` writes a snapshot of any form anew; a file that is no snapshot is left alone.";
}
