//! Endpoints of a network reach each other by name, as they come and go.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use ipvlan_tests::{
    Maker, Netns, Network, Sandbox,
    harness::{Need, test},
    netns::run,
};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::lab::{Lab, eventually};

const NET: Network = Network::bridge("db_net", 1);
const OTHER: Network = Network::bridge("web_net", 2);
const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("names::of_named_namespaces", NEEDS, of_named_namespaces),
        test("names::while_run_and_exec_last", NEEDS, while_run_and_exec_last),
        test("names::of_private_networks", NEEDS, of_private_networks),
        test("names::beside_lines_of_the_user", NEEDS, beside_lines_of_the_user),
    ]
}

/// A shell whose /etc/hosts was mounted before the names that it is asked for came.
struct Shell {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Shell {
    fn start(netns: &Netns, command: &mut Command) -> Result<Self> {
        let mut child = netns.spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let stdin = child.stdin.take().context("no stdin")?;
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        Ok(Self { child, stdin, stdout })
    }

    /// The first word that `command` prints; nothing where it fails.
    fn ask(&mut self, command: &str) -> Result<String> {
        writeln!(self.stdin, "set -- $({command}); echo \"$1\"")?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    fn address(&mut self, family: &str, name: &str) -> Result<String> {
        self.ask(&format!("getent -s files {family} {name}"))
    }

    fn pings(&mut self, name: &str) -> Result<bool> {
        Ok(self.ask(&format!("ping -c1 -W5 {name} > /dev/null && echo yes"))? == "yes")
    }

    fn end(self) -> Result<bool> {
        let Self { mut child, stdin, stdout: _ } = self;
        drop(stdin);
        Ok(child.wait()?.success())
    }
}

/// A shell by `ip netns exec`.
fn netns_shell(lab: &Lab, name: &str) -> Result<Shell> {
    let netns = &lab.endpoint(name).netns;
    Shell::start(&lab.sandbox.host, Command::new("ip").args(["netns", "exec", netns.name(), "sh"]))
}

fn of_named_namespaces() -> Result<()> {
    let lab = Lab::new(&[(NET, &["ipv1", "ipv2"]), (OTHER, &["web"])])?;
    let (one, two) = (lab.endpoint("ipv1"), lab.endpoint("ipv2"));
    let (address, address6) = (two.ipv4.to_string(), two.ipv6.to_string());
    let mut shell = netns_shell(&lab, "ipv1")?;
    ensure!(shell.pings("ipv2")?, "ipv1 can't ping ipv2 by name");
    ensure!(shell.address("ahostsv4", "ipv2")? == address, "ipv2 has another IPv4 address");
    ensure!(shell.address("ahostsv6", "ipv2")? == address6, "ipv2 has another IPv6 address");
    ensure!(shell.address("ahostsv4", "ipv1")? == one.ipv4.to_string(), "ipv1 doesn't know itself");
    ensure!(shell.address("ahostsv4", "web")?.is_empty(), "a name of another network is known");
    ensure!(shell.address("ahostsv4", "localhost")? == "127.0.0.1", "localhost is gone");

    let late = lab.sandbox.endpoint(&NET, "late", 77)?;
    ensure!(shell.pings("late")?, "who comes later isn't reached by name");
    lab.sandbox.ctl("detach late")?;
    ensure!(shell.address("ahostsv4", "late")?.is_empty(), "who went still has a name");
    ensure!(!late.netns.hosts().exists(), "detach left the hosts file");
    ensure!(late.netns.hosts().parent().is_some_and(|it| !it.exists()), "detach left its directory");
    ensure!(shell.pings("ipv2")?, "who stays has lost its name");

    // A namespace that goes takes its names along with the next command.
    let hosts = two.netns.hosts();
    run(Command::new("ip").args(["netns", "del", two.netns.name()]))?;
    lab.sandbox.ctl("detach web")?;
    ensure!(shell.address("ahostsv4", "ipv2")?.is_empty(), "a vanished namespace still has a name");
    ensure!(!hosts.exists(), "a vanished namespace left its hosts file");
    lab.sandbox.ctl("detach ipv1")?;
    // Without an address of its own to use them from, a resolver hides all addresses.
    let left = shell.ask("grep -w ipv1 /etc/hosts")?;
    ensure!(left.is_empty(), "a shell from before knows who was detached: {left}");
    let localhost = shell.ask("grep -w localhost /etc/hosts")?;
    ensure!(localhost == "127.0.0.1", "of localhost is left: {localhost}");
    ensure!(shell.end()?, "the shell failed");
    ensure!(!lab.endpoint("ipv1").netns.hosts().exists(), "detach left the hosts file");
    Ok(())
}

fn while_run_and_exec_last() -> Result<()> {
    let lab = Lab::new(&[(NET, &["ipv1"])])?;
    let start =
        |words: &str| Shell::start(&lab.sandbox.host, lab.sandbox.ctl_command()?.args(words.split(' ')));
    let mut run = start("run --rm --network db_net --name job -- sh")?;
    ensure!(run.pings("ipv1")?, "a command can't ping ipv1 by name");
    ensure!(run.pings("job")?, "a command can't ping itself by name");
    let mut exec = start("exec job -- sh")?;
    ensure!(exec.pings("ipv1")?, "exec in a run can't ping ipv1 by name");
    let mut inside = start("exec ipv1 -- sh")?;
    ensure!(inside.pings("job")?, "exec in ipv1 can't ping the command by name");
    let _late = lab.sandbox.endpoint(&NET, "late", 77)?;
    for shell in [&mut run, &mut exec, &mut inside] {
        ensure!(shell.pings("late")?, "who comes later isn't reached by name");
    }
    lab.sandbox.ctl("detach late")?;
    for shell in [&mut run, &mut exec, &mut inside] {
        ensure!(shell.address("ahostsv4", "late")?.is_empty(), "who went still has a name");
    }
    let shown: Vec<Value> = lab.sandbox.ctl_json("inspect job ipv1")?;
    ensure!(shown.len() == 2 && shown[0]["name"] == "job", "inspect shows {shown:?}");

    ensure!(exec.end()? && run.end()?, "a shell failed");
    eventually("the command's name being gone", || Ok(inside.address("ahostsv4", "job")?.is_empty()))?;
    ensure!(inside.end()?, "a shell failed");
    ensure!(!lab.sandbox.root().join("hosts").exists(), "run left a hosts file");
    for (command, status) in [("false", 1), ("no-such-command", 127), ("/proc/version", 126)] {
        let output = lab.sandbox.try_ctl(&format!("exec ipv1 -- {command}"))?;
        ensure!(output.status.code() == Some(status), "exec of {command} ends with {}", output.status);
    }
    // The machine's own file is as it was.
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    ensure!(!hosts.contains("ipvlan-ctl"), "the host has the names: {hosts}");
    Ok(())
}

fn of_private_networks() -> Result<()> {
    let lab = Lab::new(&[(NET.private(), &["a", "b"])])?;
    let mut shell = netns_shell(&lab, "a")?;
    ensure!(shell.pings("a")?, "an endpoint doesn't know itself");
    ensure!(shell.address("ahostsv4", "b")?.is_empty(), "a peer that can't be reached has a name");
    ensure!(shell.end()?, "the shell failed");
    Ok(())
}

fn beside_lines_of_the_user() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.network(&NET)?;
    let netns = sandbox.netns("a")?;
    let theirs = "127.0.0.1 localhost\n192.0.2.9 printer\n";
    fs::create_dir_all(netns.hosts().parent().context("no directory")?)?;
    fs::write(netns.hosts(), theirs)?;
    sandbox.ctl(&format!("attach db_net --netns {} --name a", netns.name()))?;
    let text = fs::read_to_string(netns.hosts())?;
    ensure!(text.starts_with(theirs) && text.contains("\ta\n"), "the file is: {text}");
    sandbox.ctl("detach a")?;
    let text = fs::read_to_string(netns.hosts())?;
    ensure!(text == theirs, "detach left: {text}");

    // A link leads to somebody else's file: the endpoint is made, and a warning says what it lacks.
    let elsewhere = sandbox.root().join("elsewhere");
    fs::write(&elsewhere, theirs)?;
    fs::remove_file(netns.hosts())?;
    std::os::unix::fs::symlink(&elsewhere, netns.hosts())?;
    let output = sandbox.try_ctl(&format!("attach db_net --netns {} --name a", netns.name()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.contains("warning: can't keep names in"), "it said: {said}");
    ensure!(fs::read_to_string(&elsewhere)? == theirs, "a link was followed");
    sandbox.ctl("detach a").map(drop)
}
