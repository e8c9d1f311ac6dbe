//! The host and the endpoints that it may speak with, both ways; for all others the host filter stands.

use std::{
    net::{IpAddr, Ipv4Addr},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use etherparse::ArpOperation;
use ipvlan_common::DropReason;
use ipvlan_tests::{
    Door, Endpoint, Maker, Netns, Network, Sandbox, Snapshot, Stats,
    frame::{self, Arp, Link},
    harness::{Need, test},
    sandbox::{HOST, INTERFACE, LAN, PARENT_MAC},
};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::lab::{FROM_LAN, Lab, PARENT, SHARED, TO_LAN, datagram, eventually, static_neighbor};

const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
const NET: Network = Network::bridge("db_net", 1);
const GRANTED: (&str, Door) = ("g", Door::Queue);

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        test("host_access::inside_and_by_settings", NEEDS, by_settings),
        test("host_access::is_shown", NEEDS, is_shown),
        test("host_access::not_with_vepa", NEEDS, not_with_vepa),
        test("host_access::not_by_another_parent", NEEDS, not_by_another_parent),
    ];
    for mode in ["l2", "l3", "l3s"] {
        tests.extend([
            test(&format!("host_access::{mode}_both_ways"), NEEDS, move || both_ways(mode)),
            test(&format!("host_access::{mode}_others_are_filtered"), NEEDS, move || others(mode)),
            test(&format!("host_access::{mode}_leaves_nothing"), NEEDS, move || leaves_nothing(mode)),
        ]);
    }
    tests
}

/// Endpoint g may speak with the host, its peers a and b may not.
fn lab(network: Network) -> Result<Lab> {
    let mut lab = Lab::new(&[(network, &["a", "b"])])?;
    lab.grant(&network, "g", 21)?;
    Ok(lab)
}

fn addresses(endpoint: &Endpoint) -> Vec<(IpAddr, IpAddr)> {
    let network = &endpoint.network;
    let ipv6 = network.has_ipv6().then(|| (endpoint.ipv6.into(), network.ipv6(HOST).into()));
    [(endpoint.ipv4.into(), network.ipv4(HOST).into())].into_iter().chain(ipv6).collect()
}

/// The host and the endpoint ping each other; 3,000 bytes are fragments.
fn ping_each_other(lab: &Lab, endpoint: &Endpoint) -> Result<()> {
    for (own, host) in addresses(endpoint) {
        for size in [56, 3_000] {
            for (netns, to) in [(&lab.sandbox.host, own), (&endpoint.netns, host)] {
                ensure!(netns.pings(&to.to_string(), size, 20)?, "{} can't ping {to}", netns.name());
            }
        }
    }
    Ok(())
}

/// Megabits in a second of iperf3's TCP.
fn tcp(from: &Netns, to: &Netns, address: IpAddr) -> Result<f64> {
    let address = address.to_string();
    let mut server =
        to.spawn(Command::new("iperf3").args(["-s", "-1", "-B", &address]).stdout(Stdio::null()))?;
    let report = client(from, to, &address);
    if report.is_err() {
        server.kill()?;
    }
    server.wait()?;
    let report = report.with_context(|| format!("iperf3 from {} to {address}", from.name()))?;
    let bits = report["end"]["sum_received"]["bits_per_second"].as_f64();
    Ok(bits.context("no rate in iperf3's JSON")? / 1e6)
}

fn client(from: &Netns, to: &Netns, address: &str) -> Result<Value> {
    eventually("the server listens", || {
        let listening = to.output(Command::new("ss").args(["-H", "-tln", "sport = 5201"]))?;
        Ok(!listening.stdout.is_empty())
    })?;
    let words = ["-J", "-n", "32M", "--connect-timeout", "5000", "-c", address];
    let output = from.output(Command::new("iperf3").args(words))?;
    let report: Value = serde_json::from_slice(&output.stdout).context("read its JSON")?;
    ensure!(output.status.success(), "{}", report["error"]);
    Ok(report)
}

fn both_ways(mode: &'static str) -> Result<()> {
    let lab = lab(NET.mode(mode))?;
    let (a, g, host) = (lab.endpoint("a"), lab.endpoint("g"), &lab.sandbox.host);
    let before = Stats::read(&lab.sandbox)?;
    ping_each_other(&lab, g)?;
    for ((own, address), peer) in addresses(g).into_iter().zip([IpAddr::from(a.ipv4), a.ipv6.into()]) {
        let (there, back) = (tcp(host, &g.netns, own)?, tcp(&g.netns, host, address)?);
        println!(
            "{mode}: host to endpoint {there:.0} Mbit/s, endpoint to host {back:.0}, endpoint to endpoint {:.0}",
            tcp(&g.netns, &a.netns, peer)?
        );
    }
    let after = Stats::read(&lab.sandbox)?;
    let rise = |name: &str| -> Result<(u64, u64)> {
        let (now, then) = (after.row(name).context("no row")?, before.row(name).context("no row")?);
        Ok((now.tx_bytes - then.tx_bytes, now.rx_bytes - then.rx_bytes))
    };
    let (sent, received) = rise("g")?;
    ensure!(
        sent > 48 << 20 && received > 48 << 20,
        "g sent {sent} bytes and received {received}, as counted"
    );
    let (sent, received) = rise(PARENT)?;
    ensure!(sent < 1 << 20 && received < 1 << 20, "as the wire's count {sent} and {received} bytes");
    // The host's last acknowledgements over IPv6 have no socket to know them by (Linux 6.1, 6.12).
    let known = if mode == "l2" { (DropReason::HostFilter, "g") } else { (DropReason::Unsealed, PARENT) };
    let mut rises = lab.rises()?;
    rises.retain(|it| (it.reason, &*it.charged) != (known.0.name(), known.1));
    ensure!(rises.is_empty(), "drops were counted: {rises:?}");
    is_made_sure_of(&lab, g)
}

/// The host asks the one neighbour whether it is still there, and is answered.
fn is_made_sure_of(lab: &Lab, endpoint: &Endpoint) -> Result<()> {
    let host = &lab.sandbox.host;
    for (family, (own, _)) in ["ipv4", "ipv6"].into_iter().zip(addresses(endpoint)) {
        let neighbour = || host.ip(&format!("neigh show {own} dev {INTERFACE}"));
        for (key, value) in [("base_reachable_time_ms", "1000"), ("delay_first_probe_time", "0")] {
            host.sysctl(&format!("net/{family}/neigh/{INTERFACE}/{key}"), value)?;
        }
        host.ip(&format!("neigh replace {own} lladdr 02:1b:00:00:00:02 dev {INTERFACE} nud stale"))?;
        // What goes there has it asked; nothing of it is answered.
        datagram(host, &own.to_string(), b"are you there?")?;
        eventually(&format!("{own} is reachable"), || Ok(neighbour()?.contains("REACHABLE")))?;
    }
    Ok(())
}

/// Whoever isn't granted stays filtered, and whoever is can't be more than itself.
fn others(mode: &'static str) -> Result<()> {
    let network = NET.mode(mode);
    let lab = lab(network)?;
    let (a, b, g) = (lab.endpoint("a"), lab.endpoint("b"), lab.endpoint("g"));
    let host = &lab.sandbox.host;
    ping_each_other(&lab, g)?;
    host.sysctl("net/ipv4/ip_forward", "1")?;
    lab.recount()?;
    for (own, address) in addresses(a) {
        ensure!(!host.pings(&own.to_string(), 56, 1)?, "the host pings a, {own}, in {mode}");
        let neighbour = host.ip(&format!("neigh show {own} dev {INTERFACE}"))?;
        ensure!(!neighbour.contains("lladdr"), "the host was answered for a: {neighbour}");
        if mode == "l2" {
            static_neighbor(&a.netns, &address.to_string())?;
        }
        lab.dropped(&format!("a datagram of a to {address}"), (DropReason::HostFilter, "a"), |marker| {
            datagram(&a.netns, &address.to_string(), marker)
        })?;
    }
    static_neighbor(host, &a.ipv4.to_string())?;
    lab.dropped("the host to a, by its MAC", (DropReason::HostFilter, "a"), |marker| {
        datagram(host, &a.ipv4.to_string(), marker)
    })?;
    let (own, lan) = (network.ipv4(HOST), network.ipv4(LAN));
    for (what, source) in
        [("as a peer", b.ipv4), ("as the host", own), ("as a stranger", Ipv4Addr::new(203, 0, 113, 5))]
    {
        lab.refused(&format!("g to the host, {what}"), (DropReason::SourceIpv4, "g"), GRANTED, |marker| {
            frame::udp4(SHARED, source, own, marker)
        })?;
    }
    if mode == "l2" {
        lab.refused("g to what the host would route", (DropReason::HostFilter, "g"), GRANTED, |marker| {
            frame::udp4(SHARED, g.ipv4, lan, marker)
        })?;
        lab.refused("a's ARP for the host", (DropReason::HostFilter, "a"), ("a", Door::Queue), |marker| {
            let operation = ArpOperation::REQUEST;
            let ask = Arp { operation, sender_mac: PARENT_MAC, sender: a.ipv4, target: own };
            frame::arp(Link::broadcast(PARENT_MAC), ask, marker)
        })?;
    }
    for (what, charged, from, source, to) in [
        ("g to the host past its egress", PARENT, "g", g.ipv4, own),
        ("a to g as the host past its egress", "g", "a", own, g.ipv4),
    ] {
        lab.refused(what, (DropReason::Unsealed, charged), (from, Door::Bypass), |marker| {
            frame::udp4(SHARED, source, to, marker)
        })?;
    }
    lab.refused("a to g as the host", (DropReason::SourceIpv4, "a"), ("a", Door::Queue), |marker| {
        frame::udp4(SHARED, own, g.ipv4, marker)
    })?;
    lab.refused("a to the wire as the host", (DropReason::SourceIpv4, "a"), ("a", Door::Queue), |marker| {
        frame::udp4(TO_LAN, own, lan, marker)
    })?;
    for (what, frame) in [("IPv4", Ok(own)), ("IPv6", Err(network.ipv6(HOST)))] {
        lab.dropped(
            &format!("the wire to g as the host, {what}"),
            (DropReason::WireSpoof, PARENT),
            |marker| {
                lab.lan_sends(&match frame {
                    Ok(host) => frame::udp4(FROM_LAN, host, g.ipv4, marker)?,
                    Err(host) => frame::udp6(FROM_LAN, host, g.ipv6, marker)?,
                })
            },
        )?;
    }
    lab.dropped("the wire to g with the parent's MAC", (DropReason::Unsealed, PARENT), |marker| {
        lab.lan_sends(&frame::udp4(SHARED, own, g.ipv4, marker)?)
    })
}

/// The host has a route to the endpoint for as long as it needs one, and no neighbour left.
fn leaves_nothing(mode: &'static str) -> Result<()> {
    let network = NET.mode(mode);
    let mut lab = Lab::new(&[(network, &["a"])])?;
    let host = format!("-n {} neigh show dev {INTERFACE}", lab.sandbox.host.name());
    let before = Snapshot::take(&lab.sandbox, &[])?;
    let is_left = |lab: &Lab, address: IpAddr| -> Result<bool> {
        let mut command = Command::new("ip");
        let shown = command.args(host.split_whitespace()).output()?;
        let (neighbours, address) = (String::from_utf8(shown.stdout)?, format!("{address} "));
        let routes =
            lab.sandbox.host.ip("route show table all")? + &lab.sandbox.host.ip("-6 route show table all")?;
        Ok([neighbours, routes].iter().flat_map(|it| it.lines()).any(|line| line.starts_with(&address)))
    };
    lab.grant(&network, "g", 21)?;
    let addresses = addresses(lab.endpoint("g"));
    // The host's subnet goes, and with it the host's way there.
    for (own, host) in &addresses {
        let length = if own.is_ipv4() { 24 } else { 64 };
        lab.sandbox.host.ip(&format!("addr del {host}/{length} dev {INTERFACE}"))?;
        let length = if own.is_ipv4() { 32 } else { 128 };
        lab.sandbox.host.ip(&format!("addr add {host}/{length} dev {INTERFACE}"))?;
    }
    let look = || -> Result<String> {
        Ok(String::from_utf8(lab.sandbox.try_ctl("--format json reconcile --dry-run")?.stdout)?)
    };
    ensure!(look()?.contains("host-route"), "no route, and not found: {}", look()?);
    lab.sandbox.ctl("reconcile")?;
    ensure!(!look()?.contains("host-route"), "found still: {}", look()?);
    ping_each_other(&lab, lab.endpoint("g"))?;
    for (own, _) in &addresses {
        ensure!(is_left(&lab, *own)?, "nothing to remove of {own}");
    }
    lab.sandbox.ctl("detach g")?;
    for (own, _) in &addresses {
        ensure!(!is_left(&lab, *own)?, "something of {own} is left");
    }
    // The same where its namespace dies.
    lab.remove("g");
    lab.grant(&network, "g", 21)?;
    ping_each_other(&lab, lab.endpoint("g"))?;
    lab.remove("g");
    lab.sandbox.ctl("reconcile")?;
    for (own, _) in &addresses {
        ensure!(!is_left(&lab, *own)?, "something of {own} is left");
    }
    let changes = Snapshot::take(&lab.sandbox, &[])?.changes(&before);
    ensure!(changes.is_empty(), "something is left: {changes:#?}");
    Ok(())
}

/// Networks that have it for all: without a way to the wire, with XDP before it, and where everybody is asked.
fn by_settings() -> Result<()> {
    let inner = NET.internal().host_access().xdp("generic");
    let loud = Network::bridge("loud_net", 2).host_access().asking_all().xdp("generic");
    let lab = Lab::new(&[(inner, &["a", "b"]), (loud, &["c"])])?;
    for name in ["a", "c"] {
        ping_each_other(&lab, lab.endpoint(name))?;
    }
    let a = lab.endpoint("a");
    let rate = tcp(&lab.sandbox.host, &a.netns, a.ipv4.into())?;
    println!("past generic XDP, host to endpoint {rate:.0} Mbit/s");
    ensure!(a.netns.pings(&lab.endpoint("b").ipv4.to_string(), 56, 20)?, "a can't ping b");
    lab.recount()?;
    lab.refused("inside, to the LAN", (DropReason::Internal, "a"), ("a", Door::Queue), |marker| {
        frame::udp4(TO_LAN, a.ipv4, inner.ipv4(LAN), marker)
    })?;
    lab.dropped("inside, from the LAN", (DropReason::Internal, "a"), |marker| {
        lab.lan_sends(&frame::udp4(FROM_LAN, inner.ipv4(LAN), a.ipv4, marker)?)
    })
}

fn is_shown() -> Result<()> {
    let lab = lab(NET)?;
    lab.sandbox.network(&Network::bridge("open_net", 2).host_access())?;
    let shown = |words: &str| lab.sandbox.ctl_json::<Value>(words);
    for (words, place, expected) in [
        ("network inspect db_net", "/0/host_access", false),
        ("network inspect db_net", "/0/endpoints/2/host_access", true),
        ("network inspect open_net", "/0/host_access", true),
        ("inspect g", "/0/host_access", true),
        ("inspect a", "/0/host_access", false),
    ] {
        let shown = shown(words)?;
        ensure!(shown.pointer(place) == Some(&Value::Bool(expected)), "{words}: {shown:#}");
    }
    let networks = lab.sandbox.ctl("network ls")?;
    ensure!(networks.contains("host-access"), "network ls: {networks}");
    Ok(())
}

fn not_with_vepa() -> Result<()> {
    let lab = Lab::new(&[(NET.vepa(), &[])])?;
    let netns = lab.sandbox.netns("v")?;
    for words in [
        format!("attach db_net --netns {} --host-access", netns.name()),
        format!("network create -o parent={INTERFACE} -o ipvlan_flag=vepa -o host_access=true second"),
    ] {
        let refused = lab.sandbox.try_ctl(&words)?;
        let said = String::from_utf8_lossy(&refused.stderr);
        ensure!(!refused.status.success() && said.contains("vepa"), "{words}: {said}");
    }
    Ok(())
}

/// What root inside forwards in mode l3 leaves by whichever parent the host's IPv6 routes lead to: as the host's own, but for a socket.
fn not_by_another_parent() -> Result<()> {
    const OTHER: &str = "eth1";
    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.host.ip(&format!("link add {OTHER} type veth peer name {OTHER} netns {}", sandbox.lan.name()))?;
    for netns in [&sandbox.host, &sandbox.lan] {
        netns.ip(&format!("link set {OTHER} up"))?;
    }
    let routed = Network::bridge("far_net", 2).mode("l3").on(OTHER);
    let mut lab = Lab::inside(sandbox, &[(NET, &[]), (routed, &["b"])])?;
    lab.grant(&NET, "g", 21)?;
    let (b, g, inside) = (lab.endpoint("b"), lab.endpoint("g"), lab.sandbox.netns("inside")?);
    ping_each_other(&lab, g)?;
    b.netns.ip(&format!("link add in0 type veth peer name {INTERFACE} netns {}", inside.name()))?;
    b.netns.ip_batch("addr add fe80::1/64 dev in0 nodad\nlink set in0 up\n")?;
    inside.ip_batch(&format!(
        "addr add {}/128 dev {INTERFACE} nodad\naddr add fe80::2/64 dev {INTERFACE} nodad\n\
         link set {INTERFACE} up\nroute add default via fe80::1 dev {INTERFACE}\n",
        b.ipv6
    ))?;
    b.netns.sysctl("net/ipv6/conf/all/forwarding", "1")?;
    // Where there is no TCX, ours is on it already.
    let _already_there = b.netns.tc(&format!("qdisc add dev {INTERFACE} clsact"));
    b.netns.tc(&format!(
        "filter add dev {INTERFACE} egress protocol ipv6 prio 60000 matchall classid 1:7777 \
         action pedit ex munge ip6 src set {} pipe action csum udp ok",
        NET.ipv6(HOST)
    ))?;
    lab.recount()?;
    lab.dropped("as the host, by the host's routes", (DropReason::HostFilter, "g"), |marker| {
        datagram(&inside, &g.ipv6.to_string(), marker)
    })
}
