//! Fuzzes [`scnnc_fuzz::program`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| scnnc_fuzz::program(bytes));
