//! Programs that packages provide.

use anyhow::Result;

use super::Status;
use super::apt::Apt;
use crate::process::find_program;
use crate::vm;

/// A program and the package that has it.
type Tool = (&'static str, &'static str);

/// Programs that are needed together.
pub(super) struct Group {
    tools: &'static [Tool],
    /// virtiofsd is not on PATH.
    file_server: bool,
}

impl Group {
    pub(super) const EMULATOR: Self =
        Self { tools: &[("qemu-system-x86_64", "qemu-system-x86")], file_server: true };

    pub(super) const UNPACKING: Self =
        Self { tools: &[("zstd", "zstd"), ("lz4", "lz4"), ("depmod", "kmod")], file_server: false };

    pub(super) const NETWORK: Self = Self {
        tools: &[
            ("ip", "iproute2"),
            ("nft", "nftables"),
            ("iperf3", "iperf3"),
            ("ping", "iputils-ping"),
            ("arping", "iputils-arping"),
            ("tcpdump", "tcpdump"),
        ],
        file_server: false,
    };

    /// What the benchmark makes Docker's rules with.
    pub(super) const FILTERS: Self = Self { tools: &[("iptables", "iptables")], file_server: false };

    /// What Docker starts; none of them is a daemon.
    pub(super) const CONTAINERS: Self =
        Self { tools: &[("crun", "crun"), ("iptables", "iptables")], file_server: false };

    pub(super) fn check(&self) -> Status {
        let mut missing: Vec<_> = self.missing().map(|(program, _)| program).collect();
        if self.lacks_file_server() {
            missing.push("virtiofsd");
        }
        if !missing.is_empty() {
            return Status::Missing(format!("no {}", missing.join(", ")));
        }
        let mut have: Vec<_> = self.tools.iter().map(|(program, _)| *program).collect();
        if self.file_server {
            have.push("virtiofsd");
        }
        Status::Have(have.join(", "))
    }

    pub(super) fn install(&self, apt: &Apt) -> Result<()> {
        let packages: Vec<_> = self.missing().map(|(_, package)| package).collect();
        if !packages.is_empty() {
            apt.install(&packages)?;
        }
        // QEMU brought its own up to 7.2; since then it is a package of its own.
        if self.lacks_file_server() {
            apt.install(&["virtiofsd"])?;
        }
        Ok(())
    }

    fn missing(&self) -> impl Iterator<Item = Tool> {
        self.tools.iter().copied().filter(|(program, _)| find_program(program).is_none())
    }

    fn lacks_file_server(&self) -> bool {
        self.file_server && vm::file_server().is_none()
    }
}
