//! Controller library.

pub mod bpf;
