//! What the kernel says that its objects take.

use std::{
    fs,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use anyhow::{Context as _, Result};

/// Bytes that the kernel charges for a map: `memlock` of its fdinfo.
///
/// # Errors
/// Fails if the kernel doesn't say.
pub fn of_map(map: BorrowedFd<'_>) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_raw_fd()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    Ok(line.context("a map's fdinfo has memlock")?.trim().parse()?)
}
