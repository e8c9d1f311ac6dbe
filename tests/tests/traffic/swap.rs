//! Programs are swapped while traffic goes on: nothing that may pass is lost, and nothing else gets through.

use std::{
    collections::HashSet,
    fs::{self, File},
    net::{SocketAddr, UdpSocket},
    os::unix::{fs::FileExt as _, process::ExitStatusExt as _},
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use aya::programs::{SchedClassifier, TcAttachType};
use ipvlan_tests::{
    Door, Endpoint, Maker, Marker, Netns, Network, Sandbox, Sender, Watch,
    frame::{self, PORT},
    harness::{Need, kernel_version, test},
    sandbox::{HOST, INTERFACE, LAN},
};
use libtest_mimic::Trial;
use nix::{
    errno::Errno,
    libc,
    sys::socket::{setsockopt, sockopt::RcvBufForce},
};
use serde_json::Value;

use crate::{
    lab::{Lab, SHARED, TO_LAN, number, static_neighbor},
    lifecycle::is_enforced,
};

const NET: Network = Network::bridge("db_net", 1);
const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
/// Swaps, and as many that are killed half way, unless `IPVLAN_SWAPS` says otherwise.
const SWAPS: usize = 2;
/// Datagrams a millisecond, each way.
const BURST: u32 = 4;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("swap::l2_loses_nothing_and_lets_nothing_through", NEEDS, || swaps("l2")),
        test("swap::l3_loses_nothing_and_lets_nothing_through", NEEDS, || swaps("l3")),
        test("swap::goes_on_past_a_slave_that_is_gone", NEEDS, slave_gone),
        test("swap::another_abi_version_is_refused", NEEDS, other_version),
    ]
}

fn swaps(mode: &'static str) -> Result<()> {
    let swaps = number("IPVLAN_SWAPS", SWAPS)?;
    let net = NET.mode(mode);
    let lab = Lab::new(&[(net, &["a", "b"]), (Network::bridge("web_net", 2).mode(mode), &["c"])])?;
    let (a, b, c) = (lab.endpoint("a"), lab.endpoint("b"), lab.endpoint("c"));
    static_neighbor(&a.netns, &b.ipv4.to_string())?;
    static_neighbor(&b.netns, &a.ipv4.to_string())?;
    let watch = Watch::new()
        .wire("lan", &lab.sandbox.lan, INTERFACE)?
        .accepted("host", &lab.sandbox.host, INTERFACE)?
        .accepted("host's lo", &lab.sandbox.host, "lo")?
        .accepted("b", &b.netns, INTERFACE)?
        .accepted("c", &c.netns, INTERFACE)?
        .markers_only()?;
    let good = Marker::unique();
    a.send(&frame::udp4(SHARED, a.ipv4, b.ipv4, good.bytes())?, Door::Queue)?;
    ensure!(watch.seen(&good, &["b"])?.contains("b"), "the watch sees no marker that arrives");

    let flows = [Flow::new(a, b)?, Flow::new(b, a)?];
    let bad = Marker::unique();
    let before = (Losses::read(&flows)?, programs(&lab)?);
    let stop = AtomicBool::new(false);
    let (sent, received, attacks, killed) = thread::scope(|scope| -> Result<_> {
        let receivers = flows.each_ref().map(|flow| scope.spawn(|| flow.receive(&stop)));
        let senders = flows.each_ref().map(|flow| scope.spawn(|| flow.send(&stop)));
        let attacker = scope.spawn(|| attack(&stop, [a, b, c], &bad));
        let swapped = swap(&lab, swaps);
        stop.store(true, Ordering::Relaxed);
        let join = |_| anyhow!("a thread panicked");
        let sent = senders.into_iter().map(|it| it.join().map_err(join)?).sum::<Result<u64>>()?;
        let received = receivers.into_iter().map(|it| it.join().map_err(join)?).sum::<Result<u64>>()?;
        Ok((sent, received, attacker.join().map_err(join)??, swapped?))
    })?;
    let losses = Losses::read(&flows)?;
    let figures = format!(
        "{mode}: {swaps} swaps and {killed} of {swaps} killed: {received} of {sent} datagrams arrived, {attacks} attacks"
    );
    ensure!(sent > 100 && attacks > 100, "too little traffic to mean anything: {figures}");
    ensure!(losses == before.0, "the receivers were too slow to tell: {losses:?}, before {:?}", before.0);
    ensure!(received == sent, "{figures}");
    let leaked = watch.seen(&bad, &[])?;
    ensure!(leaked.is_empty(), "{figures}, of which some came out at {leaked:?}");
    let replaced = programs(&lab)?;
    ensure!(
        before.1.iter().zip(&replaced).all(|(old, new)| old != new),
        "not all were swapped: {:?}, then {replaced:?}",
        before.1
    );
    println!("{figures} did not");
    Ok(())
}

/// Numbered datagrams from one endpoint to another.
struct Flow<'l> {
    receiver: &'l Endpoint,
    from: UdpSocket,
    to: SocketAddr,
    socket: UdpSocket,
}

impl<'l> Flow<'l> {
    fn new(sender: &Endpoint, receiver: &'l Endpoint) -> Result<Self> {
        let from = sender.netns.enter(|| Ok(UdpSocket::bind((sender.ipv4, 0))?))?;
        let to = SocketAddr::from((receiver.ipv4, PORT));
        let socket = receiver.netns.enter(|| Ok(UdpSocket::bind(to)?))?;
        // Room for what comes while the receiver doesn't run, so that what is missing at the end was lost on its way.
        setsockopt(&socket, RcvBufForce, &(64 << 20))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        Ok(Self { receiver, from, to, socket })
    }

    fn send(&self, stop: &AtomicBool) -> Result<u64> {
        step_back()?;
        let mut number = 0u64;
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..BURST {
                self.from.send_to(&number.to_be_bytes(), self.to).context("send a datagram")?;
                number += 1;
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(number)
    }

    /// How many different numbers arrive, until none does any more once the sender has stopped.
    fn receive(&self, stop: &AtomicBool) -> Result<u64> {
        let mut received = HashSet::new();
        let mut payload = [0; 64];
        loop {
            match self.socket.recv(&mut payload) {
                Ok(8) => drop(received.insert(*payload.first_chunk::<8>().context("a number")?)),
                Ok(length) => return Err(anyhow!("{length} bytes of somebody else arrived")),
                Err(_) if stop.load(Ordering::Relaxed) => return Ok(received.len() as u64),
                Err(_) => {}
            }
        }
    }
}

/// What was lost for want of room at the receivers, not on the way to them.
#[derive(Debug, PartialEq, Eq)]
struct Losses {
    /// Of the sockets' buffers.
    sockets: Vec<String>,
    /// Of each CPU's backlog.
    backlogs: Vec<String>,
}

impl Losses {
    fn read(flows: &[Flow<'_>]) -> Result<Self> {
        let column = |table: &str, name: &str| -> Option<String> {
            let mut lines = table.lines().filter(|line| line.starts_with("Udp:"));
            let place = lines.next()?.split(' ').position(|word| word == name)?;
            lines.next()?.split(' ').nth(place).map(str::to_owned)
        };
        let sockets = flows.iter().map(|flow| {
            let table =
                flow.receiver.netns.enter(|| Ok(fs::read_to_string("/proc/thread-self/net/snmp")?))?;
            column(&table, "RcvbufErrors").context("no RcvbufErrors")
        });
        let backlogs = fs::read_to_string("/proc/net/softnet_stat")?;
        let dropped = backlogs.lines().filter_map(|line| line.split(' ').nth(1)).map(str::to_owned);
        Ok(Self { sockets: sockets.collect::<Result<_>>()?, backlogs: dropped.collect() })
    }
}

/// What `a` must not send, by all doors, over and over.
fn attack(stop: &AtomicBool, [a, b, c]: [&Endpoint; 3], marker: &Marker) -> Result<u64> {
    step_back()?;
    let bytes = marker.bytes();
    let frames = [
        frame::udp4(SHARED, c.ipv4, b.ipv4, bytes)?,
        frame::udp4(SHARED, a.ipv4, c.ipv4, bytes)?,
        frame::udp4(SHARED, a.ipv4, NET.ipv4(HOST), bytes)?,
        frame::udp4(TO_LAN, b.ipv4, NET.ipv4(LAN), bytes)?,
    ];
    let doors = Door::ALL.map(|door| Sender::new(&a.netns, INTERFACE, door));
    let mut doors = doors.into_iter().collect::<Result<Vec<_>>>()?;
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        for door in &mut doors {
            for frame in &frames {
                door.send(frame)?;
                count += 1;
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(count)
}

/// Leaves a VM's only CPU to the controller first: a flood takes what is left, and no swap waits minutes for its turn.
fn step_back() -> Result<()> {
    // SAFETY: plain numbers; 0 is the calling thread.
    let status = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
    Errno::result(status).map(drop).context("lower a thread's priority")
}

/// Returns how many of those that were to be killed hadn't ended before.
fn swap(lab: &Lab, swaps: usize) -> Result<usize> {
    let start = Instant::now();
    lab.sandbox.ctl("upgrade")?;
    let whole = start.elapsed();
    let mut killed = 0;
    for _ in 0..swaps {
        lab.sandbox.ctl("upgrade")?;
        let mut command = lab.sandbox.ctl_command()?;
        command.arg("upgrade").stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = lab.sandbox.host.spawn(&mut command)?;
        thread::sleep(rand::random_range(Duration::ZERO..whole));
        child.kill()?;
        killed += usize::from(child.wait()?.signal().is_some());
    }
    lab.sandbox.ctl("upgrade").map(|_printed| killed)
}

/// Which programs are on the parent and on the endpoints, as the kernel numbers them.
fn programs(lab: &Lab) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for netns in lab.namespaces().into_iter().chain([&lab.sandbox.host]) {
        for side in ["ingress", "egress"] {
            found.push(programs_on(netns, side)?);
        }
    }
    Ok(found)
}

pub(crate) fn programs_on(netns: &Netns, side: &str) -> Result<String> {
    if kernel_version() < (6, 6) {
        return netns.tc(&format!("filter show dev {INTERFACE} {side}"));
    }
    let attached = if side == "ingress" { TcAttachType::Ingress } else { TcAttachType::Egress };
    let ifindex = netns.ifindex(INTERFACE)?;
    let (_, programs) = netns.enter(|| Ok(SchedClassifier::query_tcx(ifindex, attached)?))?;
    Ok(programs.iter().map(|program| program.id().to_string()).collect::<Vec<_>>().join(" "))
}

fn slave_gone() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    lab.endpoint("a").netns.ip(&format!("link del {INTERFACE}"))?;
    let before = programs_on(&lab.endpoint("b").netns, "egress")?;
    let output = lab.sandbox.try_ctl("upgrade --format json")?;
    ensure!(output.status.code() == Some(1), "it ends with {}", output.status);
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let outcomes: Vec<_> = rows.iter().map(|row| (row["name"].as_str(), row["error"].is_null())).collect();
    ensure!(
        outcomes == [(Some(INTERFACE), true), (Some("a"), false), (Some("b"), true)],
        "other outcomes: {rows:?}"
    );
    ensure!(programs_on(&lab.endpoint("b").netns, "egress")? != before, "the one behind it wasn't swapped");
    let printed = lab.sandbox.try_ctl("upgrade")?;
    ensure!(printed.stdout == b"parent eth0\nendpoint b\n", "unexpected: {printed:?}");
    lab.sandbox.ctl("detach a").map(|_printed| ())
}

fn other_version() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    let spare = lab.sandbox.netns("spare")?;
    let other = lab.sandbox.pins().join("v0");
    fs::create_dir(&other)?;
    let attach = format!("attach {} --netns {}", NET.name, spare.name());
    // The other version must be able to go on with its store, so it doesn't become one of this version's.
    let store = lab.sandbox.root().join("store.sqlite");
    let current = set_store_version(&store, 0)?;
    for words in ["upgrade", &attach] {
        refused(&lab.sandbox, words)?;
    }
    ensure!(set_store_version(&store, current)? == 0, "the store is of this version now");
    refused(&lab.sandbox, "stats")?;
    fs::remove_dir(&other)?;
    is_enforced(&lab)?;

    let empty = Sandbox::new(Maker::Ctl)?;
    fs::create_dir_all(empty.pins().join("v0"))?;
    let create = format!("network create --subnet {}/24 -o parent={INTERFACE} n", NET.ipv4(0));
    refused(&empty, &create)?;
    ensure!(empty.pins().join("v0").exists(), "the other version's pins were removed");
    Ok(())
}

/// Sets SQLite's `user_version`, which is 60 bytes into a file; returns what it was.
fn set_store_version(store: &Path, version: u32) -> Result<u32> {
    const PLACE: u64 = 60;
    let file = File::options().read(true).write(true).open(store)?;
    let mut before = [0; 4];
    file.read_exact_at(&mut before, PLACE)?;
    file.write_all_at(&version.to_be_bytes(), PLACE)?;
    Ok(u32::from_be_bytes(before))
}

/// `words` ends with one error that names the other version, and a hint.
fn refused(sandbox: &Sandbox, words: &str) -> Result<()> {
    let output = sandbox.try_ctl(words)?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<_> = errors.lines().filter(|line| !line.starts_with("warning: ")).collect();
    ensure!(output.status.code() == Some(1), "{words} ends with {}: {errors}", output.status);
    let [error, hint] = lines[..] else { return Err(anyhow!("{words}: not an error and a hint: {errors}")) };
    ensure!(error.starts_with("error: ") && error.contains("/v0`"), "{words}: {error}");
    ensure!(hint.starts_with("hint: "), "{words}: {hint}");
    Ok(())
}
