//! SIGKILL after each step of each command. The steps are those of the plans themselves, so that a new one is covered by itself.
//!
//! The one who dies is this binary, started once more: it works as `ipvlan-ctl` does, but on a part of the plan.

use std::{
    env,
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail, ensure};
use ipvlan_ctl::{
    model::{NetworkSpec, RawNetwork},
    service::{AttachRequest, Attachment, EndpointStep, Foundation, NetworkStep, Root, Session, Target},
};
use ipvlan_tests::{
    Maker, Netns, Network, Sandbox, Snapshot,
    harness::{Need, test},
    sandbox::INTERFACE,
};
use libtest_mimic::Trial;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const NET: Network = Network::bridge("db_net", 1);
const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
/// Asks this binary to die: the command, how many steps of it, and its namespace.
const POINT: &str = "IPVLAN_KILL_POINT";
const ENDPOINT: &str = "k";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("kill_points::network_create", NEEDS, || networks("create")),
        test("kill_points::network_rm", NEEDS, || networks("rm")),
        test("kill_points::attach", NEEDS, || endpoints("attach")),
        test("kill_points::detach", NEEDS, || endpoints("detach")),
    ]
}

/// What this process is to die of, if it is.
pub(crate) fn asked_for() -> Option<String> {
    env::var(POINT).ok()
}

/// Does so many steps of a command and kills itself; returns only where it can't.
pub(crate) fn die(point: &str) -> ExitCode {
    let Err(error) = steps(point);
    eprintln!("{point}: {error:?}");
    ExitCode::FAILURE
}

fn steps(point: &str) -> Result<std::convert::Infallible> {
    let [command, count, netns] = point.split(' ').collect::<Vec<_>>()[..] else { bail!("not a kill point") };
    let count: usize = count.parse()?;
    let path = |name| env::var_os(name).with_context(|| format!("no {name}"));
    let root = Root::new(Some(path("IPVLAN_ROOT")?.as_ref()), Some(path("IPVLAN_PIN_DIR")?.as_ref()))?;
    let mut session = Session::begin(&root)?;
    match command {
        "create" => {
            let spec = NetworkSpec::parse(&RawNetwork {
                name: NET.name.into(),
                subnets: vec![format!("{}/24", NET.ipv4(0))],
                options: vec![format!("parent={INTERFACE}")],
                ..RawNetwork::default()
            })?;
            let mut foundation = session.found(spec, None)?;
            let applied = NetworkStep::plan().first(count).apply(&mut foundation);
            applied.map_err(|failure| failure.cause)?;
            end()
        }
        "rm" => {
            let left = NetworkStep::plan().last(count).undo(&mut session.network_to_remove(NET.name)?);
            ensure!(left.is_empty(), "{left:?}");
            end()
        }
        "attach" => {
            let request = AttachRequest {
                network: NET.name.into(),
                name: Some(ENDPOINT.into()),
                ifname: INTERFACE.into(),
                ..AttachRequest::default()
            };
            let mut attachment = session.prepare_attach(&request, Target::Named(netns.into()).open()?)?;
            let applied = EndpointStep::plan().first(count).apply(&mut attachment);
            applied.map_err(|failure| failure.cause)?;
            end()
        }
        "detach" => {
            let left = EndpointStep::plan().last(count).undo(&mut session.endpoint_to_detach(ENDPOINT)?);
            ensure!(left.is_empty(), "{left:?}");
            end()
        }
        other => bail!("no command {other}"),
    }
}

/// Called while the session, with its lock, is still held.
fn end() -> Result<std::convert::Infallible> {
    kill(Pid::this(), Signal::SIGKILL)?;
    bail!("SIGKILL was survived")
}

/// Runs `count` steps of `command` on the host, and has the process die there.
fn killed(sandbox: &Sandbox, command: &str, count: usize, netns: &Netns) -> Result<()> {
    let mut child = Command::new(env::current_exe()?);
    child.env(POINT, format!("{command} {count} {}", netns.name()));
    child.env("IPVLAN_ROOT", sandbox.root()).env("IPVLAN_PIN_DIR", sandbox.pins());
    let output = sandbox.host.output(&mut child)?;
    let signal = output.status.signal();
    ensure!(
        signal == Some(Signal::SIGKILL as i32),
        "it wasn't killed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The next command is `reconcile` after every second step, and `other`, which wants the thing gone, after the others.
fn clean_up(sandbox: &Sandbox, count: usize, other: &str) -> Result<()> {
    if count.is_multiple_of(2) {
        let output = sandbox.try_ctl("reconcile")?;
        ensure!(output.status.success(), "reconcile: {}", String::from_utf8_lossy(&output.stdout));
    }
    // Killed after the last step of all, it is complete, or gone.
    let output = sandbox.try_ctl(other)?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() || text.contains("doesn't exist"), "{other}: {text}");
    ensure!(!text.contains("warning"), "{other}: {text}");
    let output = sandbox.try_ctl("reconcile --dry-run")?;
    ensure!(output.status.success(), "something is left: {}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

fn networks(command: &str) -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let netns = sandbox.netns("none")?;
    let before = Snapshot::take(&sandbox, &[])?;
    let names = NetworkStep::plan().names::<Foundation<'_>>();
    for (count, name) in (1..).zip(&names) {
        if command == "rm" {
            let create =
                format!("network create --subnet {}/24 -o parent={INTERFACE} {}", NET.ipv4(0), NET.name);
            sandbox.ctl(&create)?;
        }
        killed(&sandbox, command, count, &netns)
            .and_then(|()| clean_up(&sandbox, count, &format!("network rm {}", NET.name)))
            .with_context(|| format!("{command}, {count} steps of {names:?}, with {name} as one"))?;
    }
    // What one of them leaves, no later one takes away.
    let changes = Snapshot::take(&sandbox, &[])?.changes(&before);
    ensure!(changes.is_empty(), "{command} leaves: {changes:#?}");
    Ok(())
}

fn endpoints(command: &str) -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let netns = sandbox.netns("k")?;
    sandbox.network(&NET)?;
    let before = Snapshot::take(&sandbox, &[&netns])?;
    let names = EndpointStep::plan().names::<Attachment<'_>>();
    let mut were_up = 0;
    for (count, name) in (1..).zip(&names) {
        if command == "detach" {
            sandbox.ctl(&format!("attach {} --netns {} --name {ENDPOINT}", NET.name, netns.name()))?;
        }
        let at = || format!("{command}, {count} steps of {names:?}, with {name} as one");
        killed(&sandbox, command, count, &netns).with_context(at)?;
        were_up += usize::from(is_confined(&sandbox, &netns).with_context(at)?);
        clean_up(&sandbox, count, &format!("detach {ENDPOINT}")).with_context(at)?;
    }
    ensure!(were_up > 0, "{command}: no slave was ever up, so nothing was shown");
    let changes = Snapshot::take(&sandbox, &[&netns])?.changes(&before);
    ensure!(changes.is_empty(), "{command} leaves: {changes:#?}");
    Ok(())
}

/// A slave that is up has its programs; returns whether one is up.
fn is_confined(sandbox: &Sandbox, netns: &Netns) -> Result<bool> {
    let links = netns.ip("-oneline link show type ipvlan")?;
    if !links.contains(",UP") {
        return Ok(false);
    }
    // What a killed command left is found, but no slave without a program.
    let output = sandbox.try_ctl("--format json reconcile --dry-run")?;
    let found = String::from_utf8_lossy(&output.stdout);
    ensure!(!found.contains("slave-unenforced"), "a slave is up without its programs: {links}\n{found}");
    let programs = Snapshot::take(sandbox, &[netns])?.programs_on(netns, INTERFACE);
    ensure!(programs >= 2, "{programs} programs on the slave that is up: {links}");
    Ok(true)
}
