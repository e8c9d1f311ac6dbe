//! Network namespaces that go away with the value that names them.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, setns},
};

/// A named network namespace, deleted on drop.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: File,
}

impl Netns {
    /// Makes the namespace `name`, with `lo` up and without IPv6's start-up chatter.
    ///
    /// Duplicate address detection and router solicitation would delay the addresses by seconds and put frames of
    /// their own on the wire; tests about them turn them on again.
    ///
    /// # Errors
    /// Fails without root, or if the name is taken.
    pub fn create(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let netns = Self::open(name)?;
        for conf in ["all", "default"] {
            for (key, value) in [("accept_dad", "0"), ("accept_ra", "0"), ("router_solicitations", "0")] {
                netns.sysctl(&format!("net/ipv6/conf/{conf}/{key}"), value)?;
            }
        }
        netns.ip("link set lo up")?;
        Ok(netns)
    }

    /// Names the namespace of a process; on drop only the name goes.
    ///
    /// # Errors
    /// Fails if there is no such process.
    pub fn of_process(name: impl Into<String>, pid: u32) -> Result<Self> {
        let name = name.into();
        run(Command::new("ip").args(["netns", "attach", &name, &pid.to_string()]))?;
        Self::open(name)
    }

    /// The file that `ip netns exec` mounts over /etc/hosts.
    #[must_use]
    pub fn hosts(&self) -> PathBuf {
        files(&self.name).join("hosts")
    }

    /// The name, as `ip netns` lists it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn open(name: String) -> Result<Self> {
        let path = PathBuf::from("/run/netns").join(&name);
        match File::open(&path) {
            Ok(file) => Ok(Self { name, file }),
            Err(error) => {
                delete(&name);
                Err(error).with_context(|| format!("open {}", path.display()))
            }
        }
    }

    /// Runs `work` on a thread inside the namespace. Sockets and processes it makes stay there.
    ///
    /// A thread of its own, because `setns` is for life: the caller's thread never leaves its namespace.
    ///
    /// # Errors
    /// Fails if the namespace can't be entered or `work` fails.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&self.file, CloneFlags::CLONE_NEWNET)
                        .with_context(|| format!("enter the network namespace {}", self.name))?;
                    work()
                })
                .join()
                .map_err(|_panic| anyhow!("a thread inside {} panicked", self.name))?
        })
    }

    /// Runs `command` inside the namespace to its end.
    ///
    /// Only the network namespace changes: `ip netns exec` would hide bpffs by remounting /sys.
    ///
    /// # Errors
    /// Fails if the command can't be started; its exit status is the caller's to judge.
    pub fn output(&self, command: &mut Command) -> Result<Output> {
        self.enter(|| command.output().with_context(|| format!("run {command:?}")))
    }

    /// Starts `command` inside the namespace.
    ///
    /// # Errors
    /// Fails if the command can't be started.
    pub fn spawn(&self, command: &mut Command) -> Result<Child> {
        self.enter(|| command.spawn().with_context(|| format!("run {command:?}")))
    }

    /// Runs one `ip` command given as words, e.g. `link set eth0 up`.
    ///
    /// # Errors
    /// Fails with what `ip` said.
    pub fn ip(&self, words: &str) -> Result<String> {
        run(Command::new("ip").args(["-n", &self.name]).args(words.split_whitespace()))
    }

    /// Runs one `ip` command per line, in one process.
    ///
    /// # Errors
    /// Fails at the first command that fails.
    pub fn ip_batch(&self, lines: &str) -> Result<()> {
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("run ip -batch")?;
        let mut stdin = child.stdin.take().context("ip -batch has no stdin")?;
        stdin.write_all(lines.as_bytes()).context("write to ip -batch")?;
        drop(stdin);
        let output = child.wait_with_output().context("wait for ip -batch")?;
        ensure!(output.status.success(), "ip -n {}: {}\nin: {lines}", self.name, stderr(&output));
        Ok(())
    }

    /// Runs one `tc` command given as words.
    ///
    /// # Errors
    /// Fails with what `tc` said.
    pub fn tc(&self, words: &str) -> Result<String> {
        run(Command::new("tc").args(["-n", &self.name]).args(words.split_whitespace()))
    }

    /// Sets `key` below /proc/sys.
    ///
    /// # Errors
    /// Fails if there is no such key here.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.enter(|| {
            fs::write(format!("/proc/sys/{key}"), value).with_context(|| format!("set {key}={value}"))
        })
    }

    /// Whether one echo of `size` bytes to `address` is answered within `seconds`.
    ///
    /// # Errors
    /// Fails if ping can't be run.
    pub fn pings(&self, address: &str, size: u16, seconds: u8) -> Result<bool> {
        let output = self.output(Command::new("ping").args([
            "-n",
            "-c1",
            "-s",
            &size.to_string(),
            "-W",
            &seconds.to_string(),
            address,
        ]))?;
        ensure!(output.status.code() != Some(2), "ping {address} in {}: {}", self.name, stderr(&output));
        Ok(output.status.success())
    }

    /// The number of the interface `name`.
    ///
    /// # Errors
    /// Fails if there is none of that name.
    pub fn ifindex(&self, name: &str) -> Result<u32> {
        self.enter(|| if_nametoindex(name).with_context(|| format!("no interface {name} in {}", self.name)))
    }
}

/// Where `ip netns exec NAME` looks for files to mount over those of /etc.
const FILES: &str = "/etc/netns";

fn files(name: &str) -> PathBuf {
    Path::new(FILES).join(name)
}

impl Drop for Netns {
    fn drop(&mut self) {
        delete(&self.name);
    }
}

/// Best effort: the one caller is giving up the namespace, and has nobody to tell.
fn delete(name: &str) {
    let _ignored = run(Command::new("ip").args(["netns", "del", name]));
    // An endpoint that nobody detached leaves its names there.
    let _ignored = fs::remove_dir_all(files(name)).and_then(|()| fs::remove_dir(FILES));
}

/// Runs `command` and returns what it printed.
///
/// # Errors
/// Fails with the command and its standard error if it can't be run or exits with another status than 0.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", stderr(&output));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(crate) fn stderr(output: &Output) -> String {
    format!("{}, {}", output.status, String::from_utf8_lossy(&output.stderr).trim())
}
