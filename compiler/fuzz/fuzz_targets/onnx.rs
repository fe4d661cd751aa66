//! Fuzzes [`scnnc_fuzz::onnx`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| scnnc_fuzz::onnx(bytes));
