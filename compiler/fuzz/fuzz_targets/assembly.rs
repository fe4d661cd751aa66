//! Fuzzes [`scnnc_fuzz::assembly`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| scnnc_fuzz::assembly(bytes));
