//! Fuzzes [`scnnc_fuzz::report`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| scnnc_fuzz::report(bytes));
