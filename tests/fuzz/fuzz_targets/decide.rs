//! The verdict on any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ipvlan_fuzz::judge(bytes));
