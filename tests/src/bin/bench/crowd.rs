//! Maps with a crowd of endpoints, for as long as they are measured.

use std::path::{Path, PathBuf};

use anyhow::Result;
use ipvlan_common::schema;
pub(crate) use ipvlan_ctl::bench::crowd::{MAC, PARENT, endpoint, parent};
use ipvlan_ctl::{bench::crowd, bpf::Dataplane};

/// So many endpoints of one network on one parent.
pub(crate) struct Crowd {
    pub(crate) dataplane: Dataplane,
    pins: PathBuf,
    /// How many.
    pub(crate) endpoints: u16,
}

impl Crowd {
    pub(crate) fn new(endpoints: u16) -> Result<Self> {
        let pins = Path::new("/sys/fs/bpf").join(format!("ipvlan-bench-{}-{endpoints}", std::process::id()));
        let dataplane = Dataplane::create(&pins, endpoints + PARENT)?;
        let mut made = Self { dataplane, pins, endpoints };
        crowd::register(&mut made.dataplane, endpoints)?;
        Ok(made)
    }

    /// Where the map is pinned.
    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.pins.join(format!("v{}/maps/{name}", schema::ABI_VERSION))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        if let Err(error) = Dataplane::remove_all(&self.pins) {
            eprintln!("{error}");
        }
    }
}
