//! What `ipvlan-ctl monitor` shows of drops, while they happen.

use std::{
    fs,
    process::{Child, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ipvlan_tests::{
    Door, Network,
    frame::{self, PORT},
    harness::{Need, test},
    sandbox::{HOST, LAN},
};
use libtest_mimic::Trial;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::lab::{Lab, TO_LAN, datagram, static_neighbor};

const NET: Network = Network::bridge("db_net", 1);
const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
/// Longer than anything here takes on an emulated machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("monitor::shows_a_spoof", NEEDS, shows_a_spoof),
        test("monitor::shows_what_was_asked_for", NEEDS, shows_what_was_asked_for),
        test("monitor::is_one_and_ends_when_told", NEEDS, one_and_ends),
    ]
}

fn lab() -> Result<Lab> {
    Lab::new(&[(NET, &["a", "b"])])
}

/// `ipvlan-ctl monitor`, once it listens: it installs its handlers for signals before it has the programs report.
fn monitor(lab: &Lab, words: &str) -> Result<Child> {
    let mut command = lab.sandbox.ctl_command()?;
    command.arg("monitor").args(words.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = lab.sandbox.host.spawn(&mut command)?;
    let deadline = Instant::now() + PATIENCE;
    while !has_ring(child.id()) {
        ensure!(Instant::now() < deadline, "monitor doesn't come up");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(child)
}

/// Whether the process waits on a ring buffer, as its epoll says.
fn has_ring(pid: u32) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let texts: Vec<_> =
        files.filter_map(|file| fs::read_to_string(file.path()).ok().map(|text| (file, text))).collect();
    let rings = texts.iter().filter(|(_, text)| text.lines().any(|line| line == "map_type:\t27"));
    let numbers: Vec<_> = rings.map(|(file, _)| file.file_name().to_string_lossy().into_owned()).collect();
    texts.iter().flat_map(|(_, text)| text.lines()).any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("tfd:")
            && words.next().is_some_and(|fd| numbers.iter().any(|number| number == fd))
    })
}

/// Sends over and over until the monitor has ended by itself.
fn until_end(mut child: Child, send: impl Fn() -> Result<()>) -> Result<Output> {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
        }
        send()?;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(child.wait_with_output()?)
}

fn lines(output: &Output) -> Result<Vec<Value>> {
    ensure!(output.status.success(), "monitor ends with {}: {output:?}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

fn shows_a_spoof() -> Result<()> {
    let lab = lab()?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    let to = NET.ipv4(LAN);
    let spoof = frame::udp4(TO_LAN, b.ipv4, to, &[7; 100])?;
    let child = monitor(&lab, "--format json --count 1")?;
    let lines = lines(&until_end(child, || a.send(&spoof, Door::Queue))?)?;
    let [line] = &lines[..] else { anyhow::bail!("not one line: {lines:?}") };
    for (field, expected) in [
        ("name", Value::from("a")),
        ("network", NET.name.into()),
        ("hook", "slave-egress".into()),
        ("reason", "source-ipv4".into()),
        ("protocol", "udp".into()),
        ("source", b.ipv4.to_string().into()),
        ("destination", to.to_string().into()),
        ("source_port", PORT.into()),
        ("destination_port", PORT.into()),
        ("length", spoof.len().into()),
    ] {
        ensure!(line[field] == expected, "{field} is not {expected}: {line}");
    }
    Ok(())
}

/// Of two kinds of drops, of two endpoints, only the chosen one.
fn shows_what_was_asked_for() -> Result<()> {
    let lab = lab()?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    let host = NET.ipv4(HOST).to_string();
    static_neighbor(&b.netns, &host)?;
    let spoof = frame::udp4(TO_LAN, b.ipv4, NET.ipv4(LAN), b"x")?;
    let child = monitor(&lab, "--endpoint b --reason host-filter --count 2")?;
    let output = until_end(child, || {
        a.send(&spoof, Door::Queue)?;
        b.send(&spoof, Door::Bypass)?;
        datagram(&b.netns, &host, b"to the host")
    })?;
    ensure!(output.status.success(), "monitor ends with {output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let ends = format!("{} → {host}", b.ipv4);
    let shown: Vec<_> = text.lines().filter(|line| !line.contains("not shown")).collect();
    ensure!(
        shown.len() == 2
            && shown.iter().all(|line| {
                ["  b  ", "parent-ingress  host-filter", &ends].iter().all(|part| line.contains(part))
            }),
        "monitor shows {text}"
    );
    Ok(())
}

fn one_and_ends() -> Result<()> {
    let lab = lab()?;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let first = monitor(&lab, "")?;
        let second = lab.sandbox.try_ctl("monitor --count 1")?;
        kill(Pid::from_raw(first.id().try_into()?), signal)?;
        let first = first.wait_with_output()?;
        ensure!(first.status.success(), "{signal} ends monitor with {first:?}");
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        ensure!(
            second.status.code() == Some(1) && said.contains("another 'ipvlan-ctl monitor' runs"),
            "a second monitor ends with {second:?}"
        );
    }
    Ok(())
}
