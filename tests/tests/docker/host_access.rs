//! The host and the containers that it may speak with: by their network's setting, or their own.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::{
    engine::{Engine, IMAGE},
    test,
};

const HOST: &str = "192.168.1.250";
const NETWORK: &str =
    "network create -d ipvlan-ebpf --subnet=192.168.1.0/24 --gateway=192.168.1.1 -o parent=eth0";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("host_access::by_a_networks_option", by_network),
        test("host_access::of_one_container", by_container),
    ]
}

fn address(engine: &Engine, container: &str, network: &str) -> Result<String> {
    engine.inspect(container, &format!(".NetworkSettings.Networks.{network}.IPAddress"))
}

/// Whether the host reaches a container, and is reached.
fn reach(engine: &Engine, container: &str, network: &str, seconds: u8) -> Result<(bool, bool)> {
    let there = engine.sandbox.host.pings(&address(engine, container, network)?, 56, seconds)?;
    Ok((there, engine.netns(container)?.pings(HOST, 56, seconds)?))
}

fn by_network(engine: &mut Engine) -> Result<()> {
    engine.docker(&format!("{NETWORK} -o host_access=true open"))?;
    engine.docker(&format!("run -d --network=open --name=one {IMAGE} sleep 9999"))?;
    ensure!(
        reach(engine, "one", "open", 10)? == (true, true),
        "the host and the container don't reach each other"
    );
    nothing_is_left(engine, &address(engine, "one", "open")?)
}

fn by_container(engine: &mut Engine) -> Result<()> {
    engine.docker(&format!("{NETWORK} shut"))?;
    let granted = "--network=name=shut,driver-opt=host_access=true";
    engine.docker(&format!("run -d {granted} --name=granted {IMAGE} sleep 9999"))?;
    engine.docker(&format!("run -d --network=shut --name=other {IMAGE} sleep 9999"))?;
    ensure!(reach(engine, "granted", "shut", 10)? == (true, true), "granted, but not reached");
    ensure!(reach(engine, "other", "shut", 2)? == (false, false), "not granted, but reached");
    // Its setting comes back with it.
    engine.docker("restart --time=0 granted")?;
    ensure!(
        reach(engine, "granted", "shut", 10)? == (true, true),
        "granted, but not reached after a restart"
    );
    let maybe = "--network=name=shut,driver-opt=host_access=maybe";
    let said = engine.refused(&format!("run -d {maybe} --name=third {IMAGE} sleep 9999"))?;
    ensure!(said.contains("host_access") && said.contains("maybe"), "refused with: {said}");
    nothing_is_left(engine, &address(engine, "granted", "shut")?)
}

/// Neither route nor neighbour of the container that had `address`.
fn nothing_is_left(engine: &Engine, address: &str) -> Result<()> {
    engine.clear()?;
    for of_hosts in ["route show", "neigh show to"] {
        let left = engine.sandbox.host.ip(&format!("{of_hosts} {address}"))?;
        ensure!(left.is_empty(), "{of_hosts}: {left}");
    }
    engine.is_reconciled()
}
