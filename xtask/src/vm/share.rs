//! Folders of the host that the guest sees: one virtiofsd each.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::die_with_parent;

/// Where distributions keep the daemon, off PATH: the Rust one first, then QEMU's own of before 8.0.
const DAEMONS: [(&str, Flavour); 4] = [
    ("/usr/libexec/virtiofsd", Flavour::Rust),
    ("/usr/lib/virtiofsd", Flavour::Rust),
    ("/usr/lib/qemu/virtiofsd", Flavour::C),
    ("/usr/libexec/qemu/virtiofsd", Flavour::C),
];

/// A daemon is there at once; this is for a machine under load.
const START: Duration = Duration::from_secs(10);

/// The two daemons take different options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Options in long form.
    Rust,
    /// Options behind `-o`.
    C,
}

/// A folder to show.
pub(super) struct Share<'a> {
    tag: &'static str,
    source: &'a Path,
    writable: bool,
}

/// The daemon that shows a folder; it ends with this value.
pub(super) struct Server {
    tag: &'static str,
    socket: PathBuf,
    child: Child,
}

/// The daemon's path and kind, if it is installed.
pub(crate) fn file_server() -> Option<(&'static str, Flavour)> {
    DAEMONS.into_iter().find(|(path, _)| Path::new(path).is_file())
}

impl<'a> Share<'a> {
    /// A folder that the guest only reads, so that the guest may keep what it saw.
    pub(super) fn read_only(tag: &'static str, source: &'a Path) -> Self {
        Self { tag, source, writable: false }
    }

    /// A folder that the guest writes to.
    pub(super) fn writable(tag: &'static str, source: &'a Path) -> Self {
        Self { tag, source, writable: true }
    }

    /// Starts the daemon, with its socket and log in `dir`.
    pub(super) fn serve(&self, dir: &Path) -> Result<Server> {
        let (program, flavour) = file_server().context("virtiofsd is not installed")?;
        let root = nix::unistd::geteuid().is_root();
        if flavour == Flavour::C && !root {
            bail!(
                "{program} is the one of QEMU before 8.0, which takes root: run this as root, or install the newer virtiofsd"
            );
        }
        let socket = dir.join(self.tag);
        let log = dir.join(format!("{}.log", self.tag));
        let log_file = File::create(&log)?;
        let mut command = self.command(program, flavour, root, &socket);
        command.stdin(Stdio::null()).stdout(log_file.try_clone()?).stderr(log_file);
        let child = die_with_parent(&mut command).spawn().with_context(|| format!("can't run {program}"))?;
        let mut server = Server { tag: self.tag, socket, child };
        server.wait_for_socket(&log)?;
        Ok(server)
    }

    fn command(&self, program: &str, flavour: Flavour, root: bool, socket: &Path) -> Command {
        let cache = if self.writable { "auto" } else { "always" };
        let (socket, source) = (socket.display(), self.source.display());
        let mut command = Command::new(program);
        match flavour {
            Flavour::Rust => command
                .arg(format!("--socket-path={socket}"))
                .arg(format!("--shared-dir={source}"))
                .arg(format!("--cache={cache}"))
                .arg(format!("--sandbox={}", if root { "chroot" } else { "none" })),
            Flavour::C => command
                .arg(format!("--socket-path={socket}"))
                .args(["-o", &format!("source={source},cache={cache},sandbox=chroot,log_level=err")]),
        };
        command
    }
}

impl Server {
    pub(super) fn tag(&self) -> &str {
        self.tag
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    fn wait_for_socket(&mut self, log: &Path) -> Result<()> {
        let deadline = Instant::now() + START;
        while !self.socket.exists() {
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("virtiofsd doesn't start:\n{}", fs::read_to_string(log)?.trim());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends by itself when QEMU hangs up; both fail only if it has.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
