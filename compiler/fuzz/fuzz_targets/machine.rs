//! Fuzzes [`scnnc_fuzz::machine`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| scnnc_fuzz::machine(bytes));
