//! The QEMU command line.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::Accelerator;
use crate::process::find_program;

/// The firmware that does next to nothing; without it (a distribution that lacks it) QEMU's default boots too, slower.
const QBOOT: &str = "/usr/share/qemu/qboot.rom";

/// Quiet and without the self-tests and waits that only slow an emulated boot; no mitigations, which cost most there.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 quiet loglevel=4 panic=-1 nokaslr mitigations=off cryptomgr.notests \
    audit=0 apparmor=0 no_timer_check tsc=reliable rcupdate.rcu_expedited=1 random.trust_cpu=on";

/// What differs between starts.
pub(super) struct Machine<'a> {
    pub(super) vmlinux: &'a Path,
    pub(super) initrd: &'a Path,
    pub(super) accelerator: Accelerator,
    pub(super) memory: u32,
    pub(super) cpus: u32,
    /// Whether the guest's clock counts instructions.
    pub(super) icount: bool,
    /// virtiofs tags and the sockets of their servers.
    pub(super) sockets: &'a [(&'a str, &'a Path)],
    /// Receives what the guest writes to its second serial port.
    pub(super) status: &'a Path,
}

/// Builds the command; the console is its standard output.
pub(super) fn command(machine: &Machine<'_>) -> Result<Command> {
    let qemu = find_program("qemu-system-x86_64").context("qemu-system-x86_64 is not on PATH")?;
    let memory = format!("{}M", machine.memory);
    let mut command = Command::new(qemu);
    command
        .args(["-M", "q35,memory-backend=memory", "-smp", &machine.cpus.to_string(), "-m", &memory])
        .args(["-object", &format!("memory-backend-memfd,id=memory,size={memory},share=on")])
        .args(machine.accelerator.arguments())
        .args(["-nodefaults", "-no-reboot", "-display", "none", "-monitor", "none"])
        .args(["-serial", "stdio", "-serial", &format!("file:{}", machine.status.display())])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x4"])
        .arg("-kernel")
        .arg(machine.vmlinux)
        .arg("-initrd")
        .arg(machine.initrd)
        .args(["-append", KERNEL_ARGUMENTS]);
    if machine.icount {
        command.args(["-icount", "shift=0,sleep=off"]);
    }
    if Path::new(QBOOT).is_file() {
        command.args(["-bios", QBOOT]);
    }
    for (tag, socket) in machine.sockets {
        command
            .args(["-chardev", &format!("socket,id={tag},path={}", socket.display())])
            .args(["-device", &format!("vhost-user-fs-pci,chardev={tag},tag={tag}")]);
    }
    Ok(command)
}
