//! The commands of Docker's own documentation, with our driver's name.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::{
    engine::{Engine, IMAGE, PAGE},
    test,
};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("seed::networks_and_containers", networks_and_containers),
        test("seed::a_container_is_reached_from_the_lan", from_the_lan),
        test("seed::what_cant_be_is_refused", refusals),
    ]
}

fn networks_and_containers(engine: &mut Engine) -> Result<()> {
    engine.docker(
        "network create -d ipvlan-ebpf --subnet=192.168.1.0/24 --gateway=192.168.1.1 -o ipvlan_mode=l2 \
         -o parent=eth0 db_net",
    )?;
    let list = engine.docker("network ls --format={{.Name}}/{{.Driver}}/{{.Scope}}")?;
    ensure!(list.lines().any(|line| line == "db_net/ipvlan-ebpf/local"), "{list}");
    engine.docker("network rm db_net")?;
    engine.is_clean()?;

    // The same network by its defaults.
    engine.docker("network create -d ipvlan-ebpf --subnet=192.168.1.0/24 -o parent=eth0 db_net_ipv")?;
    engine.docker(&format!("run --net=db_net_ipv --name=ipv1 -itd {IMAGE} /bin/sh"))?;
    let ping = engine.docker(&format!("run --net=db_net_ipv --name=ipv2 -i --rm {IMAGE} ping -c 4 ipv1"))?;
    ensure!(ping.contains("4 packets received"), "{ping}");
    let names = engine.docker("ps --format={{.Names}}")?;
    ensure!(names == "ipv1", "docker ps: {names}");

    let address = engine.inspect("ipv1", ".NetworkSettings.Networks.db_net_ipv.IPAddress")?;
    let gateway = engine.inspect("ipv1", ".NetworkSettings.Networks.db_net_ipv.Gateway")?;
    ensure!(
        (address.as_str(), gateway.as_str()) == ("192.168.1.2", "192.168.1.1"),
        "{address} via {gateway}"
    );
    let shown = engine.docker("network inspect db_net_ipv")?;
    ensure!(shown.contains("192.168.1.2/24") && shown.contains("\"ipvlan-ebpf\""), "{shown}");

    // Docker doesn't say when it has taken the slave in: whoever looks finds it there.
    let row = engine.row("192.168.1.2")?;
    ensure!((&row["state"], &row["ifname"]) == (&"up".into(), &"eth0".into()), "{row}");
    let name = row["name"].as_str().unwrap_or_default().to_owned();
    let id = engine.inspect("ipv1", ".NetworkSettings.Networks.db_net_ipv.EndpointID")?;
    ensure!(!name.is_empty() && id.starts_with(&name), "{name} is not of {id}");
    engine.sandbox.ctl(&format!("exec {name} -- ping -c1 -W5 192.168.1.1"))?;
    engine.is_reconciled()?;
    let pings_host = engine.try_docker("exec ipv1 ping -c 1 -W 1 192.168.1.250")?;
    ensure!(!pings_host.status.success(), "the container pings its host");

    for words in ["network prune --force", "network ls"] {
        engine.sandbox.ctl(words)?;
    }
    ensure!(engine.row("192.168.1.2").is_ok(), "a prune of ours takes Docker's networks");

    // A second network for a container that runs.
    engine
        .docker("network create -d ipvlan-ebpf --subnet=192.168.2.0/24 -o parent=eth0 my_ipvlan_network")?;
    engine.docker("network connect my_ipvlan_network ipv1")?;
    let row = engine.row("192.168.2.2")?;
    ensure!((&row["state"], &row["ifname"]) == (&"up".into(), &"eth1".into()), "{row}");
    engine.docker("exec ipv1 ping -c 1 -W 5 192.168.2.1")?;
    engine.docker("network disconnect my_ipvlan_network ipv1")?;
    ensure!(engine.row("192.168.2.2").is_err(), "a disconnect leaves the endpoint");
    engine.is_reconciled()?;

    engine.docker("rm --force ipv1")?;
    engine.docker("network rm db_net_ipv my_ipvlan_network")?;
    engine.is_clean()
}

fn from_the_lan(engine: &mut Engine) -> Result<()> {
    engine.docker(
        "network create -d ipvlan-ebpf --subnet=192.168.1.0/24 --gateway=192.168.1.1 -o parent=eth0 \
         my_ipvlan_network",
    )?;
    // Ports need not be published, and are ignored as by the built-in driver.
    engine.docker(&format!(
        "run -d --network=my_ipvlan_network --ip=192.168.1.80 -p 8080:80 --name my_container {IMAGE} \
         httpd -f -p 80 -h /www"
    ))?;
    let page = engine.sandbox.lan.enter(|| {
        let mut server = TcpStream::connect("192.168.1.80:80")?;
        server.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut page = String::new();
        server.read_to_string(&mut page)?;
        Ok(page)
    })?;
    ensure!(page.contains(PAGE), "{page}");
    // A stop and a start is another endpoint, with the same address.
    engine.docker("restart --time=0 my_container")?;
    let row = engine.row("192.168.1.80")?;
    ensure!(row["state"] == "up", "{row}");
    Ok(())
}

fn refusals(engine: &mut Engine) -> Result<()> {
    let create = "network create -d ipvlan-ebpf --subnet=192.168.1.0/24";
    for (words, says) in [
        (format!("{create} -o parent=eth0 -o ipvlan_mode=l9 n"), "requested ipvlan mode 'l9' is not valid"),
        (format!("{create} -o parent=eth0 -o ipvlan_flag=x n"), "requested ipvlan flag 'x' is not valid"),
        (format!("{create} -o parent=lo n"), "loopback interface is not a valid ipvlan parent link"),
        (format!("{create} -o parent=nosuch n"), "parent interface 'nosuch' doesn't exist"),
        (format!("{create} -o parent=eth0.5000 n"), "vlan id must be between 1-4094, received: 5000"),
        (format!("{create} -o parent=eth0 -o nosuch=1 n"), "unknown network option 'nosuch'"),
    ] {
        let said = engine.refused(&words)?;
        ensure!(said.contains(says) && said.lines().count() == 1, "docker {words}: {said}");
    }
    engine.docker(&format!("{create} -o parent=eth0 n"))?;
    for (options, says) in [
        ("--mac-address=02:00:00:00:00:09", "ipvlan interfaces do not support custom mac address assignment"),
        ("--ip=192.168.1.250", "address 192.168.1.250 is the host's own, on eth0"),
    ] {
        let said = engine.refused(&format!("run --rm --network=n {options} {IMAGE} true"))?;
        ensure!(said.contains(says), "docker run {options}: {said}");
    }
    // Docker's network is for Docker to change.
    let name = engine.docker("network ls --quiet --filter=name=n --filter=driver=ipvlan-ebpf")?;
    let output = engine.sandbox.try_ctl(&format!("network rm {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && said.contains("is docker's"), "network rm {name}: {said}");
    engine.docker("network rm n")?;
    engine.is_clean()
}
