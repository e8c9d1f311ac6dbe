//! A parent that carries macvlan carries no ipvlan: that is said before anything is made, and what to do about it.

use anyhow::{Context as _, Result, ensure};
use ipvlan_tests::{
    Maker, Netns, Network, Sandbox, Snapshot,
    harness::{Need, test},
    sandbox::INTERFACE,
};
use libtest_mimic::Trial;
use serde_json::Value;

const NET: Network = Network::bridge("db_net", 1);
const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("macvlan::on_the_host", NEEDS, on_the_host),
        test("macvlan::in_a_container", NEEDS, in_a_container),
        test("macvlan::after_the_network", NEEDS, after_the_network),
    ]
}

fn add(sandbox: &Sandbox, kind: &str) -> Result<()> {
    sandbox.host.ip(&format!("link add link {INTERFACE} name mv0 type {kind} mode bridge")).map(drop)
}

fn create() -> String {
    format!("network create --subnet {}/24 -o parent={INTERFACE} {}", NET.ipv4(0), NET.name)
}

/// `words` ends with 1, one error that names `macvlan`, and a hint that tells how to remove it; as data it is the same. Nothing is
/// made.
fn refuses(sandbox: &Sandbox, others: &[&Netns], words: &str, macvlan: &str, removal: &str) -> Result<()> {
    let before = Snapshot::take(sandbox, others)?;
    let output = sandbox.try_ctl(words)?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{words} ends with {}: {text}", output.status);
    let [error, hint] = text.lines().collect::<Vec<_>>()[..] else {
        anyhow::bail!("{words}: not one error and one hint: {text}")
    };
    let expected = format!("error: parent {INTERFACE} carries macvlan ({macvlan}), ");
    ensure!(error.starts_with(&expected), "{words}: {error}");
    ensure!(hint.starts_with("hint: ") && hint.ends_with(&format!(": {removal}")), "{words}: {hint}");
    let output = sandbox.try_ctl(&format!("--format json {words}"))?;
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    let message = answer["error"]["message"].as_str().context("no message")?;
    ensure!(error == format!("error: {message}"), "two messages: {error} and {message}");
    let changes = Snapshot::take(sandbox, others)?.changes(&before);
    ensure!(changes.is_empty(), "{words} made something: {changes:#?}");
    Ok(())
}

fn on_the_host() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    for kind in ["macvlan", "macvtap"] {
        add(&sandbox, kind)?;
        refuses(&sandbox, &[], &create(), "mv0", "ip link del mv0")?;
        let doctor = sandbox.try_ctl(&format!("doctor {INTERFACE}"))?;
        ensure!(doctor.status.code() == Some(1), "doctor ends with {}", doctor.status);
        let table = String::from_utf8_lossy(&doctor.stdout);
        ensure!(table.contains("mv0"), "doctor doesn't name it: {table}");
        // As it says.
        sandbox.host.ip("link del mv0")?;
    }
    sandbox.ctl(&create()).map(drop)
}

fn in_a_container() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let red = sandbox.netns("red")?;
    add(&sandbox, "macvlan")?;
    sandbox.host.ip(&format!("link set mv0 netns {} name {INTERFACE}", red.name()))?;
    let (macvlan, removal) =
        (format!("{INTERFACE} in '{}'", red.name()), format!("ip -n {} link del {INTERFACE}", red.name()));
    refuses(&sandbox, &[&red], &create(), &macvlan, &removal)?;
    red.ip(&format!("link del {INTERFACE}"))?;
    sandbox.ctl(&create()).map(drop)
}

/// Without an endpoint, ipvlan doesn't hold the parent yet.
fn after_the_network() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let red = sandbox.netns("red")?;
    sandbox.ctl(&create())?;
    add(&sandbox, "macvlan")?;
    let attach = format!("attach {} --netns {} --no-probe", NET.name, red.name());
    refuses(&sandbox, &[&red], &attach, "mv0", "ip link del mv0")?;
    let found = sandbox.try_ctl("reconcile --dry-run")?;
    ensure!(found.status.success(), "something is left: {}", String::from_utf8_lossy(&found.stdout));
    sandbox.host.ip("link del mv0")?;
    sandbox.ctl(&attach).map(drop)
}
