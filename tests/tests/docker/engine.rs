//! A Docker daemon of the VM's own, with one image, and our driver beside it.

use std::{
    env, fs,
    os::unix::{fs::symlink, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use ipvlan_ctl::frontend::docker::SOCKET;
use ipvlan_tests::{Maker, Netns, Sandbox, netns::run, sandbox::INTERFACE};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// The image: a tar with busybox.
pub(crate) const IMAGE: &str = "box";
/// What its web server has.
pub(crate) const PAGE: &str = "straight on the LAN";
/// Programs of the image.
const APPLETS: [&str; 8] = ["sh", "ping", "httpd", "sleep", "ip", "nc", "wget", "true"];
/// Where containerd listens.
const CONTAINERD: &str = "/run/containerd/containerd.sock";
/// How long a daemon may take to start, where all is emulated.
const START: Duration = Duration::from_secs(180);

/// Where the packages of Docker are unpacked.
pub(crate) fn packages() -> Option<PathBuf> {
    let directory = PathBuf::from(env::var_os("IPVLAN_DOCKER")?);
    directory.join("usr/sbin/dockerd").exists().then_some(directory)
}

/// The daemons, and the machine that they work on.
pub(crate) struct Engine {
    pub(crate) sandbox: Sandbox,
    packages: PathBuf,
    scratch: tempfile::TempDir,
    containerd: Option<Child>,
    dockerd: Option<Child>,
    serve: Option<Child>,
}

impl Engine {
    /// Starts both daemons and imports the image.
    pub(crate) fn start() -> Result<Self> {
        let mut engine = Self {
            sandbox: Sandbox::on_this_machine(Maker::Ctl)?,
            packages: packages().context("IPVLAN_DOCKER names no folder with dockerd")?,
            scratch: tempfile::Builder::new().prefix("ipvlan-docker-").tempdir()?,
            containerd: None,
            dockerd: None,
            serve: None,
        };
        // overlay2 can't lie on an overlay, which the VM's root is.
        run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(engine.scratch.path()))?;
        // The example of Docker's documentation: the host is in the network's subnet.
        for number in [1, 2] {
            for (netns, part) in [(&engine.sandbox.lan, "1"), (&engine.sandbox.host, "250")] {
                netns.ip_batch(&format!(
                    "addr add 192.168.{number}.{part}/24 dev {INTERFACE}\n\
                     addr add fd00:{number}::{part}/64 dev {INTERFACE} nodad\n"
                ))?;
            }
        }
        engine.start_containerd()?;
        engine.start_serve()?;
        engine.start_dockerd()?;
        engine.import()?;
        Ok(engine)
    }

    pub(crate) fn start_serve(&mut self) -> Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log("serve"))?;
        let mut command = self.sandbox.ctl_command()?;
        command.args(["serve", "-v"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.serve = Some(command.spawn().context("start ipvlan-ctl serve")?);
        wait("serve to listen", || Ok(UnixStream::connect(SOCKET).is_ok()))
    }

    /// By itself, as Debian runs it: dockerd gives one of its own fifteen seconds to start.
    fn start_containerd(&mut self) -> Result<()> {
        let log = fs::File::create(self.log("containerd"))?;
        let mut command = self.command("usr/bin/containerd");
        command.args(["--state=/run/containerd", "--address", CONTAINERD]).arg("--root");
        command.arg(self.scratch.path().join("containerd")).stdin(Stdio::null());
        self.containerd =
            Some(command.stdout(log.try_clone()?).stderr(log).spawn().context("start containerd")?);
        wait("containerd to listen", || Ok(UnixStream::connect(CONTAINERD).is_ok()))
    }

    pub(crate) fn start_dockerd(&mut self) -> Result<()> {
        let data = self.scratch.path().join("data");
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log("dockerd"))?;
        let mut command = self.command("usr/sbin/dockerd");
        command.args(["--containerd", CONTAINERD]).arg("--data-root").arg(data).args([
            "--bridge=none",
            "--iptables=false",
            "--ip-forward=false",
            "--ip-masq=false",
            "--userland-proxy=false",
            "--add-runtime=crun=/usr/bin/crun",
            "--default-runtime=crun",
        ]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut dockerd = command.spawn().context("start dockerd")?;
        let answer = wait("dockerd to answer", || {
            if let Some(status) = dockerd.try_wait()? {
                bail!("dockerd has ended, {status}: {}", self.log_of("dockerd"));
            }
            Ok(self.try_docker("version")?.status.success())
        });
        self.dockerd = Some(dockerd);
        answer
    }

    fn import(&self) -> Result<()> {
        let bin = self.scratch.path().join("image/bin");
        fs::create_dir_all(&bin)?;
        fs::copy(self.packages.join("bin/busybox"), bin.join("busybox")).context("copy busybox")?;
        for applet in APPLETS {
            symlink("busybox", bin.join(applet))?;
        }
        // Where a program that a container is lent finds its libraries, with /usr.
        for directory in ["lib", "lib64"] {
            symlink(Path::new("usr").join(directory), self.scratch.path().join("image").join(directory))?;
        }
        let www = self.scratch.path().join("image/www");
        fs::create_dir(&www)?;
        fs::write(www.join("index.html"), PAGE)?;
        let (image, tar) = (self.scratch.path().join("image"), self.scratch.path().join("image.tar"));
        run(Command::new("tar").arg("-C").arg(&image).arg("-cf").arg(&tar).arg("."))?;
        self.docker(&format!("import {} {IMAGE}", tar.display())).map(drop)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.scratch.path().join(format!("{name}.log"))
    }

    /// The end of what a daemon wrote.
    pub(crate) fn log_of(&self, name: &str) -> String {
        let text = fs::read_to_string(self.log(name)).unwrap_or_default();
        let lines: Vec<_> = text.lines().filter(|line| !line.contains("level=info")).collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Ours, which finds the Docker client.
    pub(crate) fn ctl(&self, words: &str) -> Result<Output> {
        let mut command = self.sandbox.ctl_command()?;
        self.on_path(command.args(words.split_whitespace()));
        command.output().context("run ipvlan-ctl")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.packages.join(program));
        self.on_path(&mut command);
        command
    }

    /// Has a command find Docker's programs.
    fn on_path(&self, command: &mut Command) {
        let own = ["usr/bin", "usr/sbin"].map(|directory| self.packages.join(directory));
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(own.into_iter().chain(env::split_paths(&path)));
        command.env("PATH", path.unwrap_or_default());
    }

    /// Runs the Docker client with arguments given as words, and returns what it printed.
    pub(crate) fn docker(&self, words: &str) -> Result<String> {
        let output = self.try_docker(words)?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "docker {words}: {}, {}", output.status, error.trim());
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// What the client says where it must fail.
    pub(crate) fn refused(&self, words: &str) -> Result<String> {
        let output = self.try_docker(words)?;
        ensure!(!output.status.success(), "docker {words} succeeds");
        Ok(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    pub(crate) fn try_docker(&self, words: &str) -> Result<Output> {
        self.client().args(words.split_whitespace()).output().context("run docker")
    }

    /// The Docker client.
    pub(crate) fn client(&self) -> Command {
        self.command("usr/bin/docker")
    }

    /// Ends a daemon as a crash does.
    pub(crate) fn crash(&mut self, name: &str) -> Result<()> {
        self.stop(name, Signal::SIGKILL)
    }

    /// Ends a daemon, and waits for its end.
    pub(crate) fn stop(&mut self, name: &str, signal: Signal) -> Result<()> {
        let daemon = match name {
            "serve" => &mut self.serve,
            "dockerd" => &mut self.dockerd,
            _ => &mut self.containerd,
        };
        let Some(mut child) = daemon.take() else { return Ok(()) };
        kill(Pid::from_raw(child.id().try_into()?), signal)?;
        child.wait()?;
        Ok(())
    }

    /// One field of `docker inspect`.
    pub(crate) fn inspect(&self, container: &str, field: &str) -> Result<String> {
        self.docker(&format!("inspect --type=container --format={{{{{field}}}}} {container}"))
    }

    /// The network namespace of a container.
    pub(crate) fn netns(&self, container: &str) -> Result<Netns> {
        let pid = self.inspect(container, ".State.Pid")?.parse()?;
        Netns::of_process(format!("docker-{container}-{pid}"), pid)
    }

    /// What `ipvlan-ctl ps` says of the only endpoint with `address`.
    pub(crate) fn row(&self, address: &str) -> Result<Value> {
        let rows: Vec<Value> = self.sandbox.ctl_json("ps")?;
        let row = rows.iter().find(|row| row["ipv4"] == address);
        row.cloned().with_context(|| format!("no endpoint has {address}: {rows:?}"))
    }

    /// Nothing of Docker's is left in the store, and `reconcile` finds nothing.
    pub(crate) fn is_clean(&self) -> Result<()> {
        for list in ["ps", "network ls"] {
            let rows: Vec<Value> = self.sandbox.ctl_json(list)?;
            ensure!(rows.is_empty(), "{list}: {rows:?}");
        }
        self.is_reconciled()
    }

    /// `reconcile` finds nothing to mend.
    pub(crate) fn is_reconciled(&self) -> Result<()> {
        let findings: Vec<Value> = self.sandbox.ctl_json("reconcile --dry-run")?;
        ensure!(findings.is_empty(), "reconcile finds: {findings:?}");
        Ok(())
    }

    /// Removes every container and every network of the test before.
    pub(crate) fn clear(&self) -> Result<()> {
        let containers = self.docker("ps --all --quiet")?.split_whitespace().collect::<Vec<_>>().join(" ");
        if !containers.is_empty() {
            self.docker(&format!("rm --force {containers}"))?;
        }
        self.docker("network prune --force").map(drop)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The VM is at its end; what fails here is in nobody's way.
        for name in ["dockerd", "serve", "containerd"] {
            let _ignored = self.stop(name, Signal::SIGTERM);
        }
        let _ignored = run(Command::new("umount").arg("--lazy").arg(self.scratch.path()));
    }
}

/// Waits for what a daemon does in its own time.
pub(crate) fn wait(what: &str, mut happens: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + START;
    while !happens()? {
        if Instant::now() > deadline {
            bail!("it never came to: {what}");
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
