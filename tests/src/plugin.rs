//! `ipvlan-ctl serve`, and Docker's calls to it as Docker makes them.

use std::{
    io::{Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::Sandbox;

const START: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// A serving `ipvlan-ctl`; it is killed on drop.
#[derive(Debug)]
pub struct Plugin {
    socket: PathBuf,
    child: Child,
}

impl Plugin {
    /// Starts it on the sandbox's host.
    ///
    /// # Errors
    /// Fails if it doesn't listen.
    pub fn start(sandbox: &Sandbox) -> Result<Self> {
        let socket = sandbox.root().join("plugin.sock");
        let mut command = sandbox.ctl_command()?;
        command.arg("serve").arg("--socket").arg(&socket).stdin(Stdio::null()).stdout(Stdio::null());
        let plugin = Self { child: sandbox.host.spawn(&mut command)?, socket };
        let deadline = Instant::now() + START;
        while UnixStream::connect(&plugin.socket).is_err() {
            ensure!(Instant::now() < deadline, "ipvlan-ctl serve doesn't listen");
            thread::sleep(PAUSE);
        }
        Ok(plugin)
    }

    /// Starts it as systemd does, with a socket that listens already.
    ///
    /// # Errors
    /// Fails if it can't be started.
    pub fn activate(sandbox: &Sandbox) -> Result<Self> {
        let socket = sandbox.root().join("activated.sock");
        let listener = UnixListener::bind(&socket)?;
        let ctl = sandbox.ctl_command()?;
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(r#"LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" serve 3<&0 0</dev/null"#);
        shell.arg(ctl.get_program()).stdin(OwnedFd::from(listener)).stdout(Stdio::null());
        shell.envs(ctl.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Ok(Self { child: sandbox.host.spawn(&mut shell)?, socket })
    }

    /// Ends it as systemd does; returns whether it ended well.
    ///
    /// # Errors
    /// Fails if it has ended already.
    pub fn stop(&mut self) -> Result<bool> {
        kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGTERM)?;
        Ok(self.child.wait()?.success())
    }

    /// Where it listens.
    #[must_use]
    pub const fn socket(&self) -> &PathBuf {
        &self.socket
    }

    /// Sends a call and doesn't wait for the answer.
    ///
    /// # Errors
    /// Fails if nobody listens.
    pub fn send(&self, call: &str, body: &Value) -> Result<UnixStream> {
        let body = body.to_string();
        let mut stream = UnixStream::connect(&self.socket).context("connect")?;
        // Docker names no host and no type.
        let head = format!(
            "POST /NetworkDriver.{call} HTTP/1.1\r\nHost: \r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes())?;
        Ok(stream)
    }

    /// The answer to a call.
    ///
    /// # Errors
    /// Fails if there is none.
    pub fn call(&self, call: &str, body: &Value) -> Result<Value> {
        let mut text = String::new();
        self.send(call, body)?.read_to_string(&mut text)?;
        let (_, answer) =
            text.split_once("\r\n\r\n").with_context(|| format!("{call} is answered: {text}"))?;
        serde_json::from_str(answer).with_context(|| format!("{call} is answered: {text}"))
    }

    /// Kills it as a crash does.
    ///
    /// # Errors
    /// Fails if it has ended already.
    pub fn crash(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ignored = self.child.kill();
        let _ignored = self.child.wait();
    }
}
