//! Fuzzes [`scnnc_fuzz::onnx`].

#![no_main]

libfuzzer_sys::fuzz_target!(
    // A panic of tract is contained and becomes an error of the model; the fuzzer's own hook would end at it. Any other
    // panic unwinds to the fuzzer, which keeps the input; the tests tell its words.
    init: std::panic::set_hook(Box::new(|_| ())),
    |bytes: &[u8]| scnnc_fuzz::onnx(bytes)
);
