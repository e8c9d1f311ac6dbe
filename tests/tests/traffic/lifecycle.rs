//! Enforcement outlives the controller however it ends, and leaves nothing behind when it is taken away.

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ipvlan_common::DropReason;
use ipvlan_tests::{
    Door, Maker, Netns, Network, Sandbox, Sender, Snapshot, Watch, frame,
    harness::{Need, test},
    sandbox::{HOST, INTERFACE, LAN, PARENT_MAC},
};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::lab::{Lab, PARENT, SHARED, TO_LAN};

const NET: Network = Network::bridge("db_net", 1);
const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("lifecycle::enforced_with_no_process_left", NEEDS, no_process_left),
        test("lifecycle::killed_while_attaching", NEEDS, killed_while_attaching),
        test("lifecycle::killed_while_running", NEEDS, killed_while_running),
        test("lifecycle::run_leaves_nothing", NEEDS, run_leaves_nothing),
        test(
            "lifecycle::tcx_survives_clsact_removal",
            &[Need::Root, Need::Ipvlan, Need::Tcx],
            tcx_survives_clsact_removal,
        ),
        test(
            "lifecycle::backstops_hold_without_the_own_programs",
            &[Need::Root, Need::Ipvlan, Need::NoTcx],
            backstops,
        ),
        test("lifecycle::removal_leaves_nothing", NEEDS, removal_leaves_nothing),
        test("lifecycle::a_vanished_namespace_is_cleared_away", NEEDS, vanished_namespace),
        test("lifecycle::a_namespace_held_out_of_sight_lives", NEEDS, out_of_sight),
    ]
}

/// What must hold for `a` and `b` of [`NET`] whatever became of the controller.
pub(crate) fn is_enforced(lab: &Lab) -> Result<()> {
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    ensure!(a.netns.pings(&b.ipv4.to_string(), 56, 20)?, "endpoints can't ping each other");
    lab.recount()?;
    lab.refused("a peer's address", (DropReason::SourceIpv4, "a"), ("a", Door::Queue), |marker| {
        frame::udp4(TO_LAN, b.ipv4, NET.ipv4(LAN), marker)
    })?;
    lab.refused("into the host", (DropReason::HostFilter, "a"), ("a", Door::Queue), |marker| {
        frame::udp4(SHARED, a.ipv4, NET.ipv4(HOST), marker)
    })?;
    lab.refused("past tc egress", (DropReason::Unsealed, "b"), ("a", Door::Bypass), |marker| {
        frame::udp4(SHARED, a.ipv4, b.ipv4, marker)
    })
}

fn no_process_left() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    let left = processes_of(&lab.sandbox)?;
    ensure!(left.is_empty(), "processes of ipvlan-ctl are left: {left:?}");
    is_enforced(&lab)
}

/// Numbers of the processes that work on the sandbox's state.
fn processes_of(sandbox: &Sandbox) -> Result<Vec<String>> {
    let mark = format!("IPVLAN_ROOT={}", sandbox.root().display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        // Processes end while they are looked at.
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    Ok(found)
}

/// At whatever instruction attach dies, its endpoint passes nothing that it must not.
fn killed_while_attaching() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    let mut whole = None;
    // Evenly over the time that an undisturbed attach takes.
    for (attempt, eighths) in [(0, 8), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7)] {
        let name = format!("k{attempt}");
        let netns = lab.sandbox.netns(&name)?;
        let start = Instant::now();
        let mut child =
            spawn(&lab.sandbox, &format!("attach {} --netns {} --name {name}", NET.name, netns.name()))?;
        match whole {
            None => {
                ensure!(child.wait()?.success(), "an undisturbed attach fails");
                whole = Some(start.elapsed());
            }
            Some(whole) => {
                thread::sleep(whole * eighths / 8);
                child.kill()?;
                child.wait()?;
            }
        }
        leaks_nothing(&lab, &netns).with_context(|| format!("killed after {eighths}/8"))?;
    }
    is_enforced(&lab)?;
    // Whatever was left half done is undone by the next command that changes something.
    let rows: Vec<Value> = lab.sandbox.ctl_json("ps")?;
    for name in rows.iter().filter_map(|row| row["name"].as_str()) {
        lab.sandbox.try_ctl(&format!("detach {name}"))?;
    }
    lab.sandbox.ctl(&format!("network rm {}", NET.name)).map(|_printed| ())
}

/// Sends from `netns` what no endpoint may send, if it has an interface at all.
pub(crate) fn leaks_nothing(lab: &Lab, netns: &Netns) -> Result<()> {
    if netns.ifindex(INTERFACE).is_err() {
        return Ok(());
    }
    // Down, it passes nothing: an endpoint with CAP_NET_ADMIN sets it up itself.
    netns.ip(&format!("link set {INTERFACE} up"))?;
    let b = lab.endpoint("b");
    let spoof = NET.ipv4(66);
    for (what, link, to) in [
        ("a spoof to a peer", SHARED, b.ipv4),
        ("a spoof to the host", SHARED, NET.ipv4(HOST)),
        ("a spoof as a peer to the wire", TO_LAN, NET.ipv4(LAN)),
    ] {
        for door in Door::ALL {
            let source = if link.destination == PARENT_MAC { spoof } else { b.ipv4 };
            let watch = Watch::new()
                .wire("lan", &lab.sandbox.lan, INTERFACE)?
                .accepted("host", &lab.sandbox.host, INTERFACE)?
                .accepted("b", &b.netns, INTERFACE)?;
            let marker = ipvlan_tests::Marker::unique();
            let frame = frame::udp4(link, source, to, marker.bytes())?;
            Sender::new(netns, INTERFACE, door)?.send(&frame)?;
            let seen = watch.seen(&marker, &[])?;
            ensure!(seen.is_empty(), "{what} through {door:?} came out at {seen:?}");
        }
    }
    Ok(())
}

pub(crate) fn spawn(sandbox: &Sandbox, words: &str) -> Result<Child> {
    let mut command = sandbox.ctl_command()?;
    command.args(words.split_whitespace()).stdout(Stdio::null()).stderr(Stdio::null());
    sandbox.host.spawn(&mut command)
}

fn killed_while_running() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    let mut run = spawn(
        &lab.sandbox,
        &format!("run --network {} --name r --ip {} -- sleep 600", NET.name, NET.ipv4(77)),
    )?;
    let sleeper = child_of(run.id())?;
    run.kill()?;
    run.wait()?;
    let outcome = orphan(&lab, sleeper);
    // The command outlives the killed run: it is ours to end.
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(sleeper.try_into()?),
        nix::sys::signal::Signal::SIGKILL,
    )?;
    outcome
}

/// The endpoint of a `run` that was killed is as confined as before.
fn orphan(lab: &Lab, sleeper: u32) -> Result<()> {
    let netns = Netns::of_process(format!("{}-run", lab.endpoint("a").netns.name()), sleeper)?;
    let b = lab.endpoint("b");
    ensure!(netns.pings(&b.ipv4.to_string(), 56, 20)?, "the command's endpoint can't ping a peer");
    leaks_nothing(lab, &netns)
}

/// The command that `run` with the number `pid` has started.
fn child_of(pid: u32) -> Result<u32> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let children =
            fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).context("run has ended")?;
        if let Some(child) = children.split_whitespace().next() {
            let name = fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
            if name.trim() == "sleep" {
                return Ok(child.parse()?);
            }
        }
        ensure!(Instant::now() < deadline, "run has not started its command");
        thread::sleep(Duration::from_millis(20));
    }
}

fn run_leaves_nothing() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a"])])?;
    let before = Snapshot::take(&lab.sandbox, &lab.namespaces())?;
    let gateway = NET.ipv4(LAN);
    lab.sandbox.ctl(&format!("run --network {} --name r -- ping -c1 -W5 {gateway}", NET.name))?;
    let failed = lab.sandbox.try_ctl(&format!("run --network {} --name r -- false", NET.name))?;
    ensure!(failed.status.code() == Some(1), "run of a command that fails ends with {}", failed.status);
    let changes = Snapshot::take(&lab.sandbox, &lab.namespaces())?.changes(&before);
    ensure!(changes.is_empty(), "run left: {changes:#?}");
    Ok(())
}

/// What a container with CAP_NET_ADMIN can do to its own interface.
fn strip(netns: &Netns) -> Result<()> {
    // There is nothing to delete where TCX is used.
    let _already_there = netns.tc(&format!("qdisc add dev {INTERFACE} clsact"));
    netns.tc(&format!("qdisc del dev {INTERFACE} clsact")).map(|_printed| ())
}

fn tcx_survives_clsact_removal() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    strip(&lab.endpoint("a").netns)?;
    is_enforced(&lab)
}

/// With clsact an endpoint can take its own programs off. What it sends then has no seal.
fn backstops() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    strip(&a.netns)?;
    let queue = ("a", Door::Queue);
    lab.refused("to a peer", (DropReason::Unsealed, "b"), queue, |marker| {
        frame::udp4(SHARED, a.ipv4, b.ipv4, marker)
    })?;
    lab.refused("to a peer as the gateway", (DropReason::Unsealed, "b"), queue, |marker| {
        frame::udp4(SHARED, NET.ipv4(LAN), b.ipv4, marker)
    })?;
    lab.refused("to the host", (DropReason::Unsealed, PARENT), queue, |marker| {
        frame::udp4(SHARED, a.ipv4, NET.ipv4(HOST), marker)
    })?;
    lab.refused("to the wire", (DropReason::Unsealed, PARENT), queue, |marker| {
        frame::udp4(TO_LAN, a.ipv4, NET.ipv4(LAN), marker)
    })
}

fn removal_leaves_nothing() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let (first, second) = (sandbox.netns("a")?, sandbox.netns("b")?);
    let look = || Snapshot::take(&sandbox, &[&first, &second]);
    let empty = look()?;
    let attach = |netns: &Netns, name: &str| {
        sandbox.ctl(&format!("attach {} --netns {} --name {name}", NET.name, netns.name()))
    };

    sandbox.network(&NET)?;
    attach(&first, "a")?;
    let one = look()?;
    attach(&second, "b")?;
    ensure!(look()? != one, "attach changes nothing that the snapshot sees");
    sandbox.ctl("detach b")?;
    let changes = look()?.changes(&one);
    ensure!(changes.is_empty(), "detach left: {changes:#?}");

    let refused = sandbox.try_ctl(&format!("network rm {}", NET.name))?;
    ensure!(!refused.status.success(), "a network with an endpoint is removed");
    ensure!(look()? == one, "a refused network rm changes something");

    sandbox.ctl("detach a")?;
    sandbox.ctl(&format!("network rm {}", NET.name))?;
    let changes = look()?.changes(&empty);
    ensure!(changes.is_empty(), "network rm left: {changes:#?}");
    Ok(())
}

fn vanished_namespace() -> Result<()> {
    let mut lab = Lab::new(&[(NET, &["a"])])?;
    let before = Snapshot::take(&lab.sandbox, &lab.namespaces())?;
    let gone = lab.sandbox.netns("gone")?;
    lab.sandbox.ctl(&format!(
        "attach {} --netns {} --name gone --ip {}",
        NET.name,
        gone.name(),
        NET.ipv4(99)
    ))?;
    drop(gone);
    lab.sandbox.ctl("detach gone")?;
    let changes = Snapshot::take(&lab.sandbox, &lab.namespaces())?.changes(&before);
    ensure!(changes.is_empty(), "detach left: {changes:#?}");
    // The address is free again, and enforced for whoever has it now.
    lab.sandbox.ctl(&format!("detach {}", lab.endpoint("a").name))?;
    lab.remove("a");
    lab.sandbox.ctl(&format!("network rm {}", NET.name)).map(|_printed| ())
}

/// Nothing but a mount in a mount namespace of another process holds the endpoint's namespace: it isn't taken for gone.
fn out_of_sight() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a"])])?;
    let netns = lab.sandbox.netns("hidden")?;
    let attach = format!("attach {} --netns {} --name hidden --ip {}", NET.name, netns.name(), NET.ipv4(99));
    lab.sandbox.ctl(&attach)?;
    let place = tempfile::NamedTempFile::new()?;
    let path = Path::new("/run/netns").join(netns.name());
    let script = "mount --bind \"$0\" \"$1\" && echo && exec sleep 600";
    let mut holder = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .args([&path, place.path()])
        .stdout(Stdio::piped())
        .spawn()?;
    let is_held = holder.stdout.take().context("no output")?.read(&mut [0]).map(|count| count == 1);
    drop(netns);
    let outcome = is_held.map_err(Into::into).and_then(|held| {
        ensure!(held, "the namespace isn't mounted");
        lab.sandbox.ctl("upgrade")?;
        let rows: Vec<Value> = lab.sandbox.ctl_json("ps")?;
        let row = rows.iter().find(|row| row["name"] == "hidden");
        ensure!(row.is_some_and(|row| row["state"] == "up"), "it is taken for gone: {rows:?}");
        ensure!(lab.endpoint("a").netns.pings(&NET.ipv4(99).to_string(), 56, 20)?, "it doesn't answer");
        Ok(())
    });
    holder.kill()?;
    holder.wait()?;
    outcome?;
    lab.sandbox.ctl("detach hidden").map(drop)
}
