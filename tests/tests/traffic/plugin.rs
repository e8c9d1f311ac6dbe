//! Docker's calls, without Docker: each may come again, and `serve` may die at any of them. With a daemon: the suite `docker`.

use std::{os::unix::fs::PermissionsExt as _, process::Command, thread, time::Instant};

use anyhow::{Context as _, Result, ensure};
use ipvlan_common::DropReason;
use ipvlan_tests::{
    Door, Maker, Netns, Network, Plugin, Sandbox, Sender, Snapshot, Stats, Watch, frame,
    harness::{Need, test},
    sandbox::{INTERFACE, LAN},
    watch::Marker,
};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::{
    lab::{TO_LAN, eventually},
    shown,
};

const NET: Network = Network::bridge("db_net", 1);
const ID: &str = "74fa00000000a1b2c3d4e5f60718293a4b5c6d7e8f9001122334455667788990";
const ENDPOINT: &str = "bd8100000000a1b2c3d4e5f60718293a4b5c6d7e8f9001122334455667788990";
const TCX: &[Need] = &[Need::Root, Need::Ipvlan, Need::Tcx];

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("plugin::a_call_may_come_again", TCX, again),
        test("plugin::a_socket_of_systemds_is_used_and_stays", &[Need::Root], sockets),
        test("plugin::killed_at_a_call", TCX, killed),
        test("plugin::what_has_died_is_cleared_away", &[Need::Root, Need::Ipvlan], died),
        test("plugin::what_docker_released_is_given_again", TCX, given_again),
        test(
            "plugin::refused_where_it_couldnt_be_enforced",
            &[Need::Root, Need::Ipvlan, Need::NoTcx],
            refused,
        ),
    ]
}

fn create_network() -> Value {
    json!({
        "NetworkID": ID,
        "Options": {
            "com.docker.network.enable_ipv6": false,
            "com.docker.network.generic": {"ipvlan_mode": "l2", "parent": "eth0"},
        },
        "IPv4Data": [{"AddressSpace": "LocalDefault", "Gateway": "192.168.1.1/24", "Pool": "192.168.1.0/24"}],
        "IPv6Data": [],
    })
}

fn create_endpoint(id: &str) -> Value {
    json!({
        "NetworkID": ID,
        "EndpointID": id,
        "Interface": {"Address": "192.168.1.11/24", "AddressIPv6": "", "MacAddress": ""},
        "Options": {},
    })
}

fn ids() -> Value {
    json!({"NetworkID": ID, "EndpointID": ENDPOINT})
}

fn join(sandbox: &str) -> Value {
    json!({"NetworkID": ID, "EndpointID": ENDPOINT, "SandboxKey": sandbox, "Options": {}})
}

/// A sandbox with the addresses of [`NET`], and the driver.
fn start() -> Result<(Sandbox, Plugin)> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.addresses(&NET)?;
    let plugin = Plugin::start(&sandbox)?;
    Ok((sandbox, plugin))
}

/// Twice, with the same answer.
fn twice(plugin: &Plugin, call: &str, body: &Value) -> Result<Value> {
    let (first, second) = (plugin.call(call, body)?, plugin.call(call, body)?);
    ensure!(first == second, "{call} is answered {first}, then {second}");
    ensure!(first.get("Err").is_none(), "{call} is answered {first}");
    Ok(first)
}

fn rows(sandbox: &Sandbox) -> Result<Vec<Value>> {
    sandbox.ctl_json("ps")
}

fn only_row(sandbox: &Sandbox) -> Result<Value> {
    let rows = rows(sandbox)?;
    ensure!(rows.len() == 1, "not one endpoint, but {rows:?}");
    Ok(rows[0].clone())
}

fn is_reconciled(sandbox: &Sandbox) -> Result<()> {
    let output = sandbox.try_ctl("--format json reconcile")?;
    let found = String::from_utf8_lossy(&output.stdout);
    ensure!(found.trim() == "[]", "reconcile finds {found}");
    Ok(())
}

fn again() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.addresses(&NET)?;
    let container = sandbox.netns("c")?;
    let before = Snapshot::take(&sandbox, &[&container])?;
    let plugin = Plugin::start(&sandbox)?;
    let mode = std::fs::metadata(plugin.socket())?.permissions().mode();
    ensure!(mode & 0o777 == 0o600, "the socket's mode is {mode:o}");

    twice(&plugin, "CreateNetwork", &create_network())?;
    twice(&plugin, "CreateEndpoint", &create_endpoint(ENDPOINT))?;
    ensure!(only_row(&sandbox)?["state"] == "offered", "{:?}", rows(&sandbox)?);
    is_reconciled(&sandbox)?;
    // What Docker's network hook does not make before the container's process is there is awaited.
    let path = format!("/run/netns/{}", container.name());
    let joined = twice(&plugin, "Join", &join(&path))?;
    ensure!(joined["Gateway"] == "192.168.1.1" && joined["DisableGatewayService"] == true, "{joined}");
    is_reconciled(&sandbox)?;
    ensure!(only_row(&sandbox)?["state"] == "offered", "{:?}", rows(&sandbox)?);

    take_in(&sandbox, &container, &joined)?;
    enforced_at_once(&sandbox, &container)?;
    let row = only_row(&sandbox)?;
    ensure!((&row["state"], &row["ifname"]) == (&"up".into(), &INTERFACE.into()), "{row}");
    ensure!(row["name"] == ENDPOINT[..12] && row["owner"] == format!("docker:{ENDPOINT}"), "{row}");
    ensure!(container.pings("192.168.1.1", 56, 10)?, "the gateway isn't reached");
    sandbox.ctl(&format!("exec {} -- ping -c1 -W5 192.168.1.1", &ENDPOINT[..12]))?;
    is_reconciled(&sandbox)?;

    twice(&plugin, "EndpointOperInfo", &ids())?;
    twice(&plugin, "Leave", &ids())?;
    let name = joined["InterfaceName"]["SrcName"].as_str().context("a name")?;
    container.ip(&format!("link set {INTERFACE} down name {name}"))?;
    container.ip(&format!("link set {name} netns {}", sandbox.host.name()))?;
    twice(&plugin, "DeleteEndpoint", &ids())?;
    twice(&plugin, "DeleteNetwork", &json!({"NetworkID": ID}))?;
    drop(plugin);
    let changes = Snapshot::take(&sandbox, &[&container])?.changes(&before);
    ensure!(changes.is_empty(), "left: {changes:#?}");
    Ok(())
}

/// As Docker does.
fn take_in(sandbox: &Sandbox, container: &Netns, joined: &Value) -> Result<()> {
    let name = joined["InterfaceName"]["SrcName"].as_str().context("a name")?;
    sandbox.host.ip(&format!("link set {name} netns {}", container.name()))?;
    container.sysctl(&format!("net/ipv6/conf/{name}/disable_ipv6"), "1")?;
    container.ip_batch(&format!(
        "link set {name} name {INTERFACE}\naddr add 192.168.1.11/24 dev {INTERFACE}\nlink set {INTERFACE} up\n\
         route add default via 192.168.1.1\n"
    ))
}

/// Nobody but the engine has touched the slave, and its first frame is judged.
fn enforced_at_once(sandbox: &Sandbox, container: &Netns) -> Result<()> {
    let before = Stats::read(sandbox)?;
    let watch = Watch::new().wire("lan", &sandbox.lan, INTERFACE)?;
    let marker = Marker::unique();
    let frame = frame::udp4(TO_LAN, NET.ipv4(66), NET.ipv4(LAN), marker.bytes())?;
    Sender::new(container, INTERFACE, Door::Queue)?.send(&frame)?;
    let seen = watch.seen(&marker, &[])?;
    ensure!(seen.is_empty(), "another's address came out at {seen:?}");
    let rises = Stats::read(sandbox)?.since(&before);
    let reason = DropReason::SourceIpv4;
    ensure!(rises.iter().any(|rise| rise.reason == reason.name()), "counted: {rises:?}");
    shown::add(reason);
    Ok(())
}

/// Docker sends a call again if it is cut off, and finds it done once.
fn killed() -> Result<()> {
    let (sandbox, mut plugin) = start()?;
    twice(&plugin, "CreateNetwork", &create_network())?;
    let begin = Instant::now();
    twice(&plugin, "CreateEndpoint", &create_endpoint(ENDPOINT))?;
    let whole = begin.elapsed();
    for eighths in [0, 1, 2, 4, 6] {
        twice(&plugin, "DeleteEndpoint", &ids())?;
        let call = plugin.send("CreateEndpoint", &create_endpoint(ENDPOINT))?;
        thread::sleep(whole * eighths / 8);
        plugin.crash()?;
        drop(call);
        plugin = Plugin::start(&sandbox)?;
        twice(&plugin, "CreateEndpoint", &create_endpoint(ENDPOINT))?;
        let joined = twice(&plugin, "Join", &join("/run/netns/none"))?;
        let name = joined["InterfaceName"]["SrcName"].as_str().context("a name")?;
        ensure!(sandbox.host.ifindex(name).is_ok(), "there is no {name} to take in");
        ensure!(only_row(&sandbox)?["state"] == "offered", "{:?}", rows(&sandbox)?);
        is_reconciled(&sandbox)?;
    }
    twice(&plugin, "DeleteEndpoint", &ids())?;
    ensure!(rows(&sandbox)?.is_empty(), "left: {:?}", rows(&sandbox)?);
    is_reconciled(&sandbox)
}

/// No command runs, and nothing is detached: the driver sees that the namespace has ended.
fn died() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.network(&NET)?;
    let endpoint = sandbox.endpoint(&NET, "dies", 11)?;
    let address = endpoint.ipv4.to_string();
    let _plugin = Plugin::start(&sandbox)?;
    ensure!(only_row(&sandbox)?["state"] == "up", "{:?}", rows(&sandbox)?);
    ensure!(sandbox.lan.pings(&address, 56, 20)?, "the endpoint doesn't answer");
    drop(endpoint);
    eventually("the end of the endpoint", || Ok(rows(&sandbox)?.is_empty()))?;
    // Nobody answers for it: another machine can take the address.
    let mut arping = Command::new("arping");
    let asked = sandbox.lan.output(arping.args(["-D", "-c1", "-w2", "-I", INTERFACE, &address]))?;
    ensure!(asked.status.success(), "{address} is answered for still");
    is_reconciled(&sandbox)
}

/// A container that never started, whose end Docker couldn't tell us.
fn given_again() -> Result<()> {
    let (sandbox, plugin) = start()?;
    twice(&plugin, "CreateNetwork", &create_network())?;
    twice(&plugin, "CreateEndpoint", &create_endpoint(ENDPOINT))?;
    let other = ENDPOINT.replace("bd81", "bd82");
    twice(&plugin, "CreateEndpoint", &create_endpoint(&other))?;
    let row = only_row(&sandbox)?;
    ensure!(row["owner"] == format!("docker:{other}"), "{row}");
    let name = &other[..12];
    for words in [format!("attach {} --netns {}", &ID[..12], sandbox.lan.name()), format!("detach {name}")] {
        let refused = sandbox.try_ctl(&words)?;
        let said = String::from_utf8_lossy(&refused.stderr);
        ensure!(!refused.status.success() && said.contains("is docker's"), "{words}: {said}");
    }
    sandbox.ctl(&format!("detach --force {name}"))?;
    sandbox.ctl(&format!("network rm --force {}", &ID[..12]))?;
    is_reconciled(&sandbox)
}

fn sockets() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let mut own = Plugin::start(&sandbox)?;
    let output = sandbox.try_ctl(&format!("serve --socket {}", own.socket().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && said.contains("another server listens at"), "{said}");
    ensure!(own.stop()? && !own.socket().exists(), "it doesn't end well, or leaves its socket");
    let mut given = Plugin::activate(&sandbox)?;
    let capabilities = given.call("GetCapabilities", &Value::Null)?;
    ensure!(capabilities["Scope"] == "local", "{capabilities}");
    ensure!(given.stop()? && given.socket().exists(), "it doesn't end well, or takes systemd's socket away");
    Ok(())
}

fn refused() -> Result<()> {
    let (sandbox, plugin) = start()?;
    let answer = plugin.call("CreateNetwork", &create_network())?;
    let text = answer["Err"].as_str().unwrap_or_default();
    ensure!(text.contains("has no TCX") && text.contains("ipvlan-ctl attach --container"), "{answer}");
    let networks: Vec<Value> = sandbox.ctl_json("network ls")?;
    ensure!(networks.is_empty(), "made: {networks:?}");
    Ok(())
}
