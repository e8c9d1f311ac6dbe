//! The parent's XDP program: what the wire may not send ends in the driver, and all else goes on as without it.

use std::{
    ffi::CString,
    fs,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use anyhow::{Result, ensure};
use ipvlan_common::DropReason;
use ipvlan_tests::{
    Door, Maker, Marker, Network, Sandbox, Watch, frame,
    harness::{Need, test},
    sandbox::{HOST, INTERFACE, LAN},
};
use libtest_mimic::Trial;
use nix::{errno::Errno, libc};
use serde_json::Value;

use crate::{
    lab::{FROM_LAN, Lab, PARENT, SHARED, TO_LAN},
    reconcile::{link_pin, reconcile},
};

const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
const NET: Network = Network::bridge("db_net", 1);

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        test("xdp::auto_falls_back", NEEDS, falls_back),
        test("xdp::one_setting_a_parent", NEEDS, one_setting),
    ];
    for (setting, early) in [("native", true), ("generic", true), ("auto", true), ("off", false)] {
        tests.push(test(&format!("xdp::{setting}"), NEEDS, move || refuses_early(setting, early)));
    }
    for setting in ["auto", "native", "generic"] {
        tests.push(test(&format!("xdp::{setting}_is_put_back"), NEEDS, move || put_back(setting)));
    }
    tests
}

/// A packet tap sees what comes in before tc does, but nothing that the driver has dropped already.
fn refuses_early(setting: &'static str, early: bool) -> Result<()> {
    let net = NET.xdp(setting);
    let inner = Network::bridge("vault_net", 2).internal();
    let lab = Lab::new(&[(net, &["a", "b"]), (inner, &["c"])])?;
    let (a, b, c) = (lab.endpoint("a"), lab.endpoint("b"), lab.endpoint("c"));
    let tap = Watch::new().wire("tap", &lab.sandbox.host, INTERFACE)?;
    let expected: &[&str] = if early { &[] } else { &["tap"] };
    let dropped = |what: &str, count, build: &dyn Fn(&[u8]) -> Result<Vec<u8>>| -> Result<()> {
        let marker = Marker::unique();
        lab.dropped(what, count, |_| lab.lan_sends(&build(marker.bytes())?))?;
        let seen = tap.seen(&marker, expected)?;
        ensure!(seen.iter().eq(expected), "{what}, xdp={setting}: seen at {seen:?}, not at {expected:?}");
        Ok(())
    };
    let spoof = (DropReason::WireSpoof, PARENT);
    dropped("an endpoint's address", spoof, &|marker| frame::udp4(FROM_LAN, b.ipv4, a.ipv4, marker))?;
    dropped("an endpoint's address, IPv6", spoof, &|marker| frame::udp6(FROM_LAN, b.ipv6, a.ipv6, marker))?;
    dropped("to an internal endpoint", (DropReason::Internal, "c"), &|marker| {
        frame::udp4(FROM_LAN, inner.ipv4(LAN), c.ipv4, marker)
    })?;

    for to in [net.ipv4(LAN).to_string(), net.ipv6(LAN).to_string(), b.ipv4.to_string()] {
        ensure!(a.netns.pings(&to, 56, 20)?, "a can't ping {to} with xdp={setting}");
    }
    ensure!(lab.sandbox.lan.pings(&net.ipv4(HOST).to_string(), 56, 20)?, "the host is not reached");
    lab.recount()?;
    lab.delivered("from the wire", &["a"], |marker| {
        lab.lan_sends(&frame::udp4(FROM_LAN, net.ipv4(LAN), a.ipv4, marker)?)
    })?;
    // Generic XDP sees these too, and leaves them to tc.
    lab.refused("to the host", (DropReason::HostFilter, "a"), ("a", Door::Queue), |marker| {
        frame::udp4(SHARED, a.ipv4, net.ipv4(HOST), marker)
    })?;
    lab.refused(
        "past the program, as a peer",
        (DropReason::Unsealed, PARENT),
        ("a", Door::Bypass),
        |marker| frame::udp4(TO_LAN, b.ipv4, net.ipv4(LAN), marker),
    )?;
    lab.sandbox.ctl("upgrade")?;
    dropped("an endpoint's address, after a swap", spoof, &|marker| {
        frame::udp4(FROM_LAN, b.ipv4, a.ipv4, marker)
    })?;

    for name in ["a", "b", "c"] {
        lab.sandbox.ctl(&format!("detach {name}"))?;
    }
    lab.sandbox.ctl(&format!("network rm {} {}", net.name, inner.name))?;
    ensure!(!has_xdp(&lab.sandbox, INTERFACE)?, "the program stays behind with xdp={setting}");
    Ok(())
}

fn has_xdp(sandbox: &Sandbox, interface: &str) -> Result<bool> {
    let links: Vec<Value> = serde_json::from_str(&sandbox.host.ip(&format!("-j link show {interface}"))?)?;
    Ok(links.iter().any(|link| !link["xdp"].is_null()))
}

/// A dummy has no XDP of its own.
fn falls_back() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.host.ip("link add plain type dummy")?;
    let create = |setting: &str| {
        sandbox.try_ctl(&format!("network create --subnet 10.1.0.0/24 -o parent=plain -o xdp={setting} n"))
    };
    let refused = create("native")?;
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1), "xdp=native ends with {}: {error}", refused.status);
    ensure!(error.starts_with("error: `plain` takes no XDP program"), "{error}");
    ensure!(sandbox.ctl("network ls --format json")?.trim() == "[]", "something was half made");

    let made = create("auto")?;
    let warning = String::from_utf8_lossy(&made.stderr).into_owned();
    ensure!(made.status.success(), "xdp=auto: {warning}");
    ensure!(warning.starts_with("warning: `plain` takes no XDP program"), "no warning: {warning}");
    ensure!(!has_xdp(&sandbox, "plain")?, "a dummy has an XDP program");
    let found = reconcile(&sandbox, "--dry-run")?;
    ensure!(found.is_empty(), "it misses what there never was: {found:?}");
    sandbox.ctl("network rm n").map(|_printed| ())
}

/// ip(8) can't take it off, and whoever can is found out.
fn put_back(setting: &'static str) -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.network(&NET.xdp(setting))?;
    for mode in ["xdp", "xdpdrv", "xdpgeneric"] {
        // Refused, or of no effect where another mode has the program.
        let _refused = sandbox.host.ip(&format!("link set {INTERFACE} {mode} off"));
        ensure!(has_xdp(&sandbox, INTERFACE)?, "'{mode} off' takes the program off");
    }
    let pin = link_pin(&sandbox, "1", "parent_xdp");
    for take_off in [detach_link, unpin] {
        take_off(&pin)?;
        ensure!(!has_xdp(&sandbox, INTERFACE)?, "the program is still there");
        let missing = |outcome: &str| vec![("xdp-missing".to_owned(), outcome.to_owned())];
        let found = reconcile(&sandbox, "--dry-run")?;
        ensure!(found == missing("mendable"), "xdp={setting}: {found:?}");
        let audit = sandbox.try_ctl("--format json audit")?;
        let audit = String::from_utf8_lossy(&audit.stdout).into_owned();
        ensure!(audit.contains("xdp-missing"), "the audit doesn't find it: {audit}");
        let found = reconcile(&sandbox, "")?;
        ensure!(found == missing("mended"), "xdp={setting}: {found:?}");
        ensure!(has_xdp(&sandbox, INTERFACE)?, "it isn't back");
    }
    Ok(())
}

fn unpin(pin: &Path) -> Result<()> {
    Ok(fs::remove_file(pin)?)
}

/// What `bpftool link detach` does: the link stays, on nothing.
fn detach_link(pin: &Path) -> Result<()> {
    const BPF_OBJ_GET: libc::c_int = 7;
    const BPF_LINK_DETACH: libc::c_int = 34;
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let get = [path.as_ptr() as u64, 0];
    let bpf = |command: libc::c_int, attributes: &[u64]| {
        // SAFETY: the attributes are plain numbers, of the size given, and the path outlives the call.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(attributes)) };
        Errno::result(result)
    };
    let link = i32::try_from(bpf(BPF_OBJ_GET, &get)?)?;
    // SAFETY: the kernel has just opened it for us.
    let link = unsafe { OwnedFd::from_raw_fd(link) };
    bpf(BPF_LINK_DETACH, &[u64::try_from(link.as_raw_fd())?])?;
    Ok(())
}

fn one_setting() -> Result<()> {
    let lab = Lab::new(&[(NET.xdp("native"), &["a"])])?;
    let create = |option: &str, name: &str| {
        let words = format!("network create --subnet 10.1.0.0/24 -o parent={INTERFACE} {option} {name}");
        lab.sandbox.try_ctl(&words)
    };
    let refused = create("-o xdp=off", "n")?;
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && error.contains("xdp=native by network 'db_net'"), "{error}");
    let follows = create("", "n")?;
    ensure!(follows.status.success(), "{}", String::from_utf8_lossy(&follows.stderr));
    let networks: Vec<Value> = lab.sandbox.ctl_json("network ls")?;
    ensure!(networks.iter().all(|network| network["xdp"] == "native"), "{networks:?}");
    // It is the parent's, so it goes with the last network.
    lab.sandbox.ctl("network rm n")?;
    let spoof = (DropReason::WireSpoof, PARENT);
    lab.dropped("an endpoint's address", spoof, |marker| {
        let own = lab.endpoint("a").ipv4;
        lab.lan_sends(&frame::udp4(FROM_LAN, own, own, marker)?)
    })
}
