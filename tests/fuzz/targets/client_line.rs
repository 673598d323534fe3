#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::client_line::check(bytes));
