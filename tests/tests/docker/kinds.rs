//! Every kind of network that the built-in driver has.

use anyhow::{Result, ensure};
use ipvlan_tests::sandbox::{INTERFACE, PARENT_MAC, mac};
use libtest_mimic::Trial;

use crate::{
    engine::{Engine, IMAGE, wait},
    test,
};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("kinds::internal", internal),
        test("kinds::without_a_parent", without_a_parent),
        test("kinds::vlan", vlan),
        test("kinds::l3", |engine| routed(engine, "l3")),
        test("kinds::l3s", |engine| routed(engine, "l3s")),
        test("kinds::ipv6", ipv6),
        test("kinds::our_network_for_a_container", by_attach),
    ]
}

fn network(engine: &Engine, options: &str) -> Result<()> {
    engine.docker(&format!("network create -d ipvlan-ebpf {options} net")).map(drop)
}

fn container(engine: &Engine, name: &str) -> Result<()> {
    engine.docker(&format!("run -d --network=net --name={name} {IMAGE} sleep 9999")).map(drop)
}

/// The built-in driver only leaves the default route out; a route is soon made.
fn internal(engine: &mut Engine) -> Result<()> {
    network(engine, "--subnet=192.168.1.0/24 --internal -o parent=eth0")?;
    container(engine, "one")?;
    let netns = engine.netns("one")?;
    ensure!(netns.ip("route show default")?.is_empty(), "it has a default route");
    ensure!(netns.ip("-json link show")?.matches("ifname").count() == 2, "it has another way out");
    ensure!(!netns.pings("192.168.1.1", 56, 1)?, "an internal network reaches the wire");
    container(engine, "two")?;
    engine.docker("exec one ping -c 1 -W 10 two").map(drop)
}

fn without_a_parent(engine: &mut Engine) -> Result<()> {
    network(engine, "--subnet=192.168.1.0/24")?;
    container(engine, "one")?;
    container(engine, "two")?;
    engine.docker("exec one ping -c 1 -W 10 two")?;
    let links = engine.sandbox.host.ip("-br link show type dummy")?;
    ensure!(links.starts_with("di-"), "{links}");
    engine.clear()?;
    let links = engine.sandbox.host.ip("-br link show type dummy")?;
    ensure!(links.is_empty(), "{links}");
    engine.is_clean()
}

fn vlan(engine: &mut Engine) -> Result<()> {
    let lan = &engine.sandbox.lan;
    lan.ip(&format!("link add link {INTERFACE} name {INTERFACE}.10 type vlan id 10"))?;
    lan.ip_batch(&format!("addr add 192.168.10.1/24 dev {INTERFACE}.10\nlink set {INTERFACE}.10 up\n"))?;
    network(engine, "--subnet=192.168.10.0/24 -o parent=eth0.10")?;
    container(engine, "one")?;
    engine.docker("exec one ping -c 1 -W 10 192.168.10.1")?;
    engine.clear()?;
    ensure!(engine.sandbox.host.ifindex("eth0.10").is_err(), "the VLAN outlives its network");
    lan.ip(&format!("link del {INTERFACE}.10")).map(drop)
}

fn routed(engine: &mut Engine, mode: &str) -> Result<()> {
    network(engine, &format!("--subnet=192.168.30.0/24 -o parent=eth0 -o ipvlan_mode={mode}"))?;
    container(engine, "one")?;
    let netns = engine.netns("one")?;
    let route = netns.ip("route show default")?;
    ensure!(route.trim().starts_with("default dev eth0"), "{route}");
    engine.sandbox.host.sysctl("net/ipv4/ip_forward", "1")?;
    let lan = &engine.sandbox.lan;
    lan.ip(&format!("route replace 192.168.30.0/24 via 192.168.1.250 dev {INTERFACE}"))?;
    ensure!(netns.pings("192.168.1.1", 56, 10)?, "{mode}: the LAN can't be reached");
    ensure!(!netns.pings("192.168.1.250", 56, 1)?, "{mode}: the host can be reached");
    let answer = engine.row("192.168.30.2")?;
    ensure!(answer["state"] == "up", "{answer}");
    Ok(())
}

fn ipv6(engine: &mut Engine) -> Result<()> {
    network(
        engine,
        "--ipv6 --subnet=192.168.1.0/24 --subnet=fd00:1::/64 --gateway=fd00:1::1 -o parent=eth0 -o mtu=1400",
    )?;
    for (name, address) in [("one", "fd00:1::11"), ("two", "fd00:1::12")] {
        engine.docker(&format!("run -d --network=net --ip6={address} --name={name} {IMAGE} sleep 9999"))?;
    }
    let (one, row) = (engine.netns("one")?, engine.row("192.168.1.2")?);
    ensure!(row["ipv6"] == "fd00:1::11", "{row}");
    for address in ["fd00:1::12", "fd00:1::1"] {
        ensure!(one.pings(address, 56, 10)?, "{address} isn't reached");
    }
    ensure!(one.ip("-6 route show default")?.contains("via fd00:1::1"), "there is no default route");
    // The kernel gives the slave its link-local address, and we must have foreseen which.
    let link_local = row["link_local"].as_str().unwrap_or_default().to_owned();
    let shown = one.ip("-6 addr show scope link dev eth0")?;
    ensure!(shown.contains(&format!("inet6 {link_local}/64")), "{link_local} isn't in {shown}");
    ensure!(
        one.pings(&format!("{}%eth0", link_local_of(engine, "192.168.1.3")?), 56, 10)?,
        "the other's isn't reached"
    );
    let link = one.ip("link show eth0")?;
    ensure!(link.contains("mtu 1400") && link.contains(&mac(PARENT_MAC)), "{link}");
    Ok(())
}

fn link_local_of(engine: &Engine, address: &str) -> Result<String> {
    Ok(engine.row(address)?["link_local"].as_str().unwrap_or_default().to_owned())
}

/// A container of Docker's on a network that Docker doesn't know.
fn by_attach(engine: &mut Engine) -> Result<()> {
    let ctl = |words: &str| -> Result<String> {
        let output = engine.ctl(words)?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{words}: {}", error.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    engine.docker(&format!("run -d --network=none --name=lone {IMAGE} sleep 9999"))?;
    ctl("network create --subnet 192.168.1.0/24 -o parent=eth0 own")?;
    ctl("attach own --container lone --ip 192.168.1.40")?;
    engine.docker("exec lone ping -c 1 -W 10 192.168.1.1")?;
    ensure!(!engine.netns("lone")?.pings("192.168.1.250", 56, 1)?, "the host can be reached");
    let row = engine.row("192.168.1.40")?;
    ensure!((&row["netns"], &row["state"]) == (&"container:lone".into(), &"up".into()), "{row}");

    let output = engine.ctl("attach own --container nobody")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success() && error.contains("container 'nobody' doesn't exist (docker)"),
        "{error}"
    );
    // The container ends, and its endpoint with it.
    engine.docker("rm --force lone")?;
    eventually_gone(engine, "192.168.1.40")?;
    ctl("network rm own")?;
    engine.is_clean()
}

/// The kernel takes its time to end a namespace, and the next command sees that it has.
fn eventually_gone(engine: &Engine, address: &str) -> Result<()> {
    wait("the endpoint to go with its container", || {
        engine.ctl("reconcile")?;
        Ok(engine.row(address).is_err())
    })
}
