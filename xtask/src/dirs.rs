//! The folders that xtask works in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The workspace's root.
pub(crate) fn workspace() -> PathBuf {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().map_or_else(|| xtask.clone(), Path::to_path_buf)
}

/// Cargo's target folder.
pub(crate) fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    workspace().join(target)
}

/// The cache that outlives `cargo clean`: kernels and what was probed once.
pub(crate) fn cache() -> Result<PathBuf> {
    let given = std::env::var_os("IPVLAN_CACHE").map(PathBuf::from);
    let xdg = || Some(PathBuf::from(std::env::var_os("XDG_CACHE_HOME")?).join("ipvlan-ebpf"));
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/ipvlan-ebpf"));
    let dir = given
        .or_else(xdg)
        .or_else(home)
        .context("no cache folder: none of IPVLAN_CACHE, XDG_CACHE_HOME and HOME is set")?;
    fs::create_dir_all(&dir).with_context(|| format!("can't create the cache folder {}", dir.display()))?;
    Ok(dir)
}

/// Writes a file so that a reader sees all of it or none, even after an interruption.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let dir = path.parent().context("a file needs a folder")?;
    fs::create_dir_all(dir)?;
    let write = || -> Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        std::io::Write::write_all(&mut file, content)?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("can't write {}", path.display()))
}
