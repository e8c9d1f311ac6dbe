//! cargo-fuzz, and the C++ compiler that libFuzzer is built with.

use std::process::Command;

use anyhow::Result;

use super::Status;
use super::apt::Apt;
use crate::process::{capture, find_program};

const VERSION: &str = "0.13.2";

pub(super) fn check() -> Status {
    if find_program("c++").is_none() {
        return Status::Missing("no C++ compiler".to_owned());
    }
    match capture(Command::new("cargo-fuzz").arg("--version")) {
        Ok(version) if version.trim().ends_with(VERSION) => Status::Have(VERSION.to_owned()),
        Ok(version) => Status::Missing(format!("{} is there, {VERSION} is needed", version.trim())),
        Err(_) => Status::Missing("cargo-fuzz is not on PATH".to_owned()),
    }
}

pub(super) fn install(apt: &Apt) -> Result<()> {
    if find_program("c++").is_none() {
        apt.install(&["g++"])?;
    }
    let mut command = Command::new("cargo");
    command.args(["install", "cargo-fuzz", "--version", VERSION, "--locked", "--force"]);
    capture(command.env_remove("CARGO_TARGET_DIR")).map(drop)
}
