//! What every command has in common, and what a machine is told of itself.

use anyhow::{Context as _, Result, ensure};
use ipvlan_tests::{
    Maker, Sandbox, Snapshot,
    harness::{has_ipvlan, test},
    sandbox::INTERFACE,
};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{IPVLAN, NET, ROOT};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("doctor", ROOT, doctor),
        test("json_is_documented", IPVLAN, json_is_documented),
        test("quiet_and_verbose", IPVLAN, quiet_and_verbose),
        test("least_privilege", ROOT, least_privilege),
        test("run_gives_all_privileges", IPVLAN, run_gives_all_privileges),
    ]
}

fn checks(sandbox: &Sandbox, parents: &str) -> Result<(Vec<Value>, Option<i32>)> {
    let output = sandbox.try_ctl(&format!("--format json doctor {parents}"))?;
    let text = String::from_utf8(output.stdout)?;
    Ok((serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))?, output.status.code()))
}

/// Names what stands in a parent's way, fails where something is missing, and changes nothing.
fn doctor() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.host.ip_batch(
        "link add br0 type bridge\nlink add port0 type veth peer name port1\nlink set port0 master br0\n",
    )?;
    let before = Snapshot::take(&sandbox, &[])?;
    let check = |parent: &str, check: &str, status: &str, names: &str| -> Result<()> {
        let (rows, _) = checks(&sandbox, parent)?;
        let row = rows.iter().find(|row| row["check"] == check && row["parent"] == parent);
        let row = row.with_context(|| format!("no {check} of {parent}: {rows:#?}"))?;
        let found = row["found"].as_str().unwrap_or_default();
        ensure!(row["status"] == status && found.contains(names), "{row:#?}");
        Ok(())
    };
    check(INTERFACE, "place", "ok", "can be a parent")?;
    check(INTERFACE, "xdp", "ok", "veth")?;
    check("port0", "place", "missing", "bridge (br0)")?;
    check("nowhere", "link", "missing", "no such interface")?;
    let (_, code) = checks(&sandbox, "nowhere")?;
    ensure!(code == Some(1), "something is missing, and the exit status is {code:?}");
    let (rows, code) = checks(&sandbox, INTERFACE)?;
    let missing: Vec<_> = rows.iter().filter(|row| row["status"] == "missing").collect();
    ensure!(code == Some(i32::from(!missing.is_empty())), "exit status {code:?} with {missing:#?}");
    ensure!(missing.is_empty() == has_ipvlan(), "is ipvlan missing? {missing:#?}");
    let table = String::from_utf8(sandbox.try_ctl("doctor")?.stdout)?;
    for line in table.lines() {
        ensure!(line.chars().count() <= 80, "too wide: {line}");
    }
    let changes = Snapshot::take(&sandbox, &[])?.changes(&before);
    ensure!(changes.is_empty(), "it changed something: {changes:#?}");
    Ok(())
}

/// Paths of the fields in a result, as docs/commands.md writes them.
fn paths(prefix: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        // Its fields are the reasons, of docs/rules.md.
        Value::Object(_) if prefix == "drops_by_reason." => {}
        Value::Object(fields) => {
            for (name, value) in fields {
                found.push(format!("{prefix}{name}"));
                paths(&format!("{prefix}{name}."), value, found);
            }
        }
        Value::Array(items) => {
            let prefix = prefix.strip_suffix('.').map_or_else(String::new, |name| format!("{name}[]."));
            items.iter().for_each(|item| paths(&prefix, item, found));
        }
        _ => {}
    }
}

/// Every field that a command prints is on the page, in that command's section.
fn json_is_documented() -> Result<()> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/commands.md"))?;
    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.network(&NET)?;
    let _endpoint = sandbox.endpoint(&NET, "taken", 11)?;
    for command in ["network ls", "network inspect db_net", "ps", "stats", "programs", "upgrade", "doctor"] {
        let name = format!("`{}`", command.trim_end_matches(" db_net"));
        let is_of = |section: &&str| section.lines().next().is_some_and(|heading| heading.contains(&name));
        let section = page.split("\n### ").find(is_of).with_context(|| format!("no section of {name}"))?;
        let printed: Value = serde_json::from_str(&sandbox.ctl(&format!("--format json {command}"))?)?;
        let mut found = Vec::new();
        paths("", &printed, &mut found);
        ensure!(!found.is_empty(), "{command} printed no field: {printed}");
        for path in found {
            ensure!(section.contains(&format!("| `{path}` |")), "{name} prints {path}: not documented");
        }
    }
    Ok(())
}

/// `-v` names the steps, `-q` leaves warnings out, and neither changes the result.
fn quiet_and_verbose() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.network(&NET)?;
    let netns = sandbox.netns("a")?;
    let output = sandbox.try_ctl(&format!("attach db_net --netns {} --name a -v", netns.name()))?;
    let (result, said) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success() && said.contains("apply") && said.contains("took="), "-v says: {said}");
    ensure!(result.starts_with("a ") && result.lines().count() == 1, "-v changes the result: {result}");
    // Pins that are lost are a warning of the next command.
    for (words, warns) in [("upgrade -q", false), ("upgrade", true)] {
        std::fs::remove_dir_all(sandbox.pins())?;
        let output = sandbox.try_ctl(words)?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.success() && said.contains("warning: ") == warns, "{words} says: {said}");
    }
    Ok(())
}

/// A command keeps what it needs of all that root has.
fn least_privilege() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let mut monitor = sandbox.ctl_command()?.arg("monitor").spawn()?;
    let kept = ipvlan_ctl::cli::KEPT.iter().fold(0, |kept, capability| kept | capability.bitmask());
    let status = format!("/proc/{}/status", monitor.id());
    let sets = || {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        ["CapPrm:", "CapEff:", "CapBnd:"].map(|set| {
            let hex = status.lines().find_map(|line| line.strip_prefix(set));
            hex.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        })
    };
    // It drops them some time after it has been started.
    let mut tries = 0;
    while sets() != [Some(kept); 3] && tries < 100 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        tries += 1;
    }
    let found = sets();
    monitor.kill()?;
    monitor.wait()?;
    ensure!(found == [Some(kept); 3], "permitted, effective, bounding: {found:x?}, not {kept:x}");
    Ok(())
}

/// What `run` starts has what its user has.
fn run_gives_all_privileges() -> Result<()> {
    let effective = |status: &str| status.lines().find(|line| line.starts_with("CapEff:")).map(str::to_owned);
    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.network(&NET)?;
    let inside = effective(&sandbox.ctl("run --network db_net -- cat /proc/self/status")?);
    let outside = effective(&std::fs::read_to_string("/proc/self/status")?);
    ensure!(inside.is_some() && inside == outside, "inside {inside:?}, outside {outside:?}");
    Ok(())
}
