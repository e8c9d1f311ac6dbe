//! What users get wrong: one clear line, another exit status than 0, and nothing made.

#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/containers.rs"]
mod containers;
#[path = "cli/habits.rs"]
mod habits;
#[path = "cli/progress.rs"]
mod progress;

use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode, Output},
};

use anyhow::{Context as _, Result, ensure};
use ipvlan_common::schema::{PROGRAMS, SHARED};
use ipvlan_tests::{
    Door, Maker, Network, Sandbox, Snapshot,
    frame::{self, Link},
    harness::{Need, test},
    sandbox::{HOST, INTERFACE, PARENT_MAC},
};
use libtest_mimic::Arguments;
use nix::libc;
use serde_json::Value;

const NET: Network = Network::bridge("db_net", 1);
/// Stands in a row for a namespace that exists.
const NETNS: &str = "{netns}";

/// A command line, and what its error must name.
type Row = (&'static str, &'static [&'static str]);

/// Bad input that goes together.
struct Table {
    /// Whether [`NET`] with the endpoint `taken` is there.
    with_network: bool,
    rows: &'static [Row],
}

const ROOT: &[Need] = &[Need::Root];
const IPVLAN: &[Need] = &[Need::Root, Need::Ipvlan];

const ANYWHERE: Table = Table {
    with_network: false,
    rows: &[
        ("network create --subnet 192.168.1.0/33 -o parent=eth0 n", &["192.168.1.0/33"]),
        ("network create --subnet 192.168.1.5/24 -o parent=eth0 n", &["192.168.1.0/24"]),
        ("network create --subnet 0.0.0.0/0 -o parent=eth0 n", &["0.0.0.0/0"]),
        ("network create --subnet ::/0 -o parent=eth0 n", &["::/0"]),
        (
            "network create --subnet 10.0.0.0/8 --subnet 10.1.0.0/16 n",
            &["10.0.0.0/8", "10.1.0.0/16", "overlap"],
        ),
        ("network create --gateway 10.0.0.1 n", &["10.0.0.1", "none given"]),
        ("network create --subnet 10.1.0.0/24 --ip-range 10.1.1.0/25 n", &["10.1.1.0/25", "10.1.0.0/24"]),
        ("network create --subnet 10.1.0.0/24 --ip-range 10.1.0.9/25 n", &["10.1.0.9/25", "10.1.0.0/25"]),
        ("network create --subnet 10.1.0.0/24 --aux-address 10.1.0.9 n", &["10.1.0.9", "NAME=IP"]),
        ("network create --subnet 10.1.0.0/24 --aux-address a=10.1.0.1 n", &["10.1.0.1", "gateway"]),
        ("network create --label =x n", &["'=x'", "KEY"]),
        (
            "network create --subnet 192.168.1.0/24 --gateway 10.0.0.1 -o parent=eth0 n",
            &["10.0.0.1", "192.168.1.0/24"],
        ),
        ("network create --subnet 192.168.1.0/24 --gateway gw -o parent=eth0 n", &["gw"]),
        ("network create --subnet 192.168.1.0/24 -o parent=eth0 -o ipvlan_mode=l4 n", &["l4"]),
        ("network create --subnet 192.168.1.0/24 -o parent=eth0 -o multicast=some n", &["some", "multicast"]),
        (
            "network create --subnet 192.168.1.0/24 -o parent=eth0 -o multicast_rate=x n",
            &["'x'", "multicast_rate"],
        ),
        ("network create --subnet 192.168.1.0/24 -o parent=eth0 -o ipvlan_flag=open n", &["open"]),
        ("network create --subnet 192.168.1.0/24 -o parent=eth0 -o colour=red n", &["colour"]),
        ("network create --subnet 192.168.1.0/24 -o parent n", &["parent"]),
        (
            "network create --internal --subnet 192.168.1.0/24 -o parent=eth0 -o internal=false n",
            &["--internal", "internal=false"],
        ),
        ("network create -d bridge --subnet 192.168.1.0/24 -o parent=eth0 n", &["bridge", "ipvlan"]),
        ("network create --frob x n", &["--frob"]),
        ("network create -o internal=false n", &["parent", "internal"]),
        ("network create -o ipvlan_flag=vepa n", &["vepa", "parent"]),
        ("network create --internal -o ipvlan_mode=l3s --subnet fd00:5::/64 n", &["l3s", "IPv6"]),
        ("network create --subnet 192.168.1.0/24 -o parent=lo n", &["loopback"]),
        ("network create --subnet 192.168.1.0/24 -o parent=eth0 a/b", &["a/b"]),
        ("network create --capacity 65534 --subnet 192.168.1.0/24 -o parent=eth0 n", &["65534", "2..=65533"]),
        ("network rm nowhere", &["nowhere"]),
        ("network inspect nowhere", &["nowhere"]),
        ("detach nobody", &["nobody"]),
        ("stats nobody", &["nobody"]),
        ("stats --networks nowhere", &["network 'nowhere' doesn't exist"]),
        ("monitor --endpoint nobody", &["nobody"]),
        ("monitor --reason boredom", &["boredom"]),
        ("frobnicate", &["frobnicate"]),
        ("ps --everything", &["--everything"]),
        ("attach db_net --pid x", &["x"]),
        ("attach db_net --netns red --pid 1", &["--pid"]),
        ("attach db_net --container web --pid 1", &["--pid"]),
        ("attach db_net --container a/b", &["container name 'a/b'"]),
        ("attach db_net --netns red --mac 02:00:00:00:00:01", &["custom mac address", "02:00:00:00:00:01"]),
        ("run --network db_net --mac 02:00:00:00:00:01 -- true", &["custom mac address"]),
        ("inspect nobody", &["nobody"]),
        ("exec nobody -- true", &["nobody"]),
    ],
};

const WITHOUT_IPVLAN: Table = Table {
    with_network: false,
    rows: &[("network create --subnet 192.168.1.0/24 -o parent=eth0 n", &["no ipvlan"])],
};

const WITH_IPVLAN: Table = Table {
    with_network: false,
    rows: &[
        ("network create --subnet 192.168.1.0/24 -o parent=eth7 n", &["eth7"]),
        ("network create -o parent=eth0.10.20 n", &["eth0.10.20", "QinQ"]),
        ("network create -o parent=eth0.x n", &["'x'", "eth0.x"]),
        ("network create -o parent=eth0.0 n", &["1-4094", "received: 0"]),
        ("network create -o parent=eth0.4095 n", &["1-4094", "received: 4095"]),
        ("network create -o parent=eth7.10 n", &["eth7", "eth7.10"]),
        ("network create -o parent=eth0.10 -o mtu=9000 n", &["9000", "1500"]),
        ("attach nowhere --netns {netns}", &["nowhere"]),
        ("run --network nowhere -- true", &["nowhere"]),
    ],
};

const WITH_NETWORK: Table = Table {
    with_network: true,
    rows: &[
        ("network create --subnet 192.168.9.0/24 -o parent=eth0 db_net", &["db_net", "exists"]),
        ("network create --subnet 192.168.0.0/16 -o parent=eth0 n", &["192.168.0.0/16", "db_net"]),
        (
            "network create --subnet 192.168.0.0/16 -o parent=eth0.10 n",
            &["192.168.0.0/16", "192.168.1.0/24", "db_net", "eth0, which eth0.10 lies on"],
        ),
        ("network create --capacity 9 --subnet 192.168.9.0/24 -o parent=eth0 n", &["capacity 9", "4096"]),
        ("network create -o parent=eth0 -o ipvlan_mode=l3 n", &["eth0", "l2", "db_net"]),
        ("network create -o parent=eth0 -o ipvlan_flag=vepa n", &["eth0", "bridge", "db_net"]),
        ("network rm db_net", &["db_net", "taken"]),
        ("attach db_net --netns {netns} --ip 192.168.1.11", &["192.168.1.11", "taken"]),
        ("attach db_net --netns {netns} --ip6 fd00:1::11", &["fd00:1::11", "taken"]),
        ("attach db_net --netns {netns} --ip 192.168.1.1", &["192.168.1.1"]),
        ("attach db_net --netns {netns} --ip 192.168.1.2", &["192.168.1.2"]),
        ("attach db_net --netns {netns} --ip 10.0.0.9", &["10.0.0.9"]),
        ("attach db_net --netns {netns} --ip fd00:1::9", &["fd00:1::9", "IPv4"]),
        ("attach db_net --netns {netns} --ip 192.168.1.9/24", &["192.168.1.9/24"]),
        ("attach db_net --netns {netns} --ip 192.168.1.255", &["192.168.1.255", "broadcast"]),
        ("attach db_net --netns {netns} --name taken", &["taken", "exists"]),
        ("attach db_net --netns no-such-netns", &["no-such-netns"]),
        ("attach db_net --netns /etc/hostname", &["/etc/hostname"]),
        ("attach db_net --pid 4194305", &["4194305"]),
        ("attach db_net --pid 0", &["process 0"]),
        ("attach db_net --netns /proc/self/ns/net", &["the host's own"]),
        ("run --network db_net -- no-such-command", &["no-such-command"]),
    ],
};

fn main() -> ExitCode {
    let mut tests = vec![
        test("bad_input::on_any_kernel", ROOT, || bad_input(&ANYWHERE)),
        test("bad_input::without_ipvlan", &[Need::Root, Need::NoIpvlan], || bad_input(&WITHOUT_IPVLAN)),
        test("bad_input::with_ipvlan", IPVLAN, || bad_input(&WITH_IPVLAN)),
        test("bad_input::with_a_network", IPVLAN, || bad_input(&WITH_NETWORK)),
        test("without_capabilities", ROOT, without_capabilities),
        test("run_as_a_shell", IPVLAN, run_as_a_shell),
        test("tables_fit_80_columns", IPVLAN, tables),
        test("loopback_is_up", IPVLAN, loopback_is_up),
        test("a_mac_is_bad_input", ROOT, mac),
        test("help_of_every_command", &[], help),
        test("programs_pass_the_verifier", ROOT, programs),
        test("what_programs_cost_is_measured", ROOT, bench::programs),
        test("what_comes_through_is_measured", IPVLAN, bench::traffic),
    ];
    tests.extend(containers::tests());
    tests.extend(habits::tests());
    tests.extend(progress::tests());
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

/// Every row of one table in one sandbox: what a row makes by mistake shows at the end.
fn bad_input(table: &Table) -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let netns = sandbox.netns("free")?;
    let _taken = if table.with_network {
        sandbox.network(&NET)?;
        Some(sandbox.endpoint(&NET, "taken", 11)?)
    } else {
        // The host has an address, as hosts do.
        sandbox.host.ip(&format!("addr add {}/24 dev {INTERFACE}", NET.ipv4(HOST)))?;
        None
    };
    let before = Snapshot::take(&sandbox, &[&netns])?;
    let store = sandbox.root().join("store.sqlite");
    let had_store = store.exists();
    let failures: Vec<_> = table
        .rows
        .iter()
        .filter_map(|(words, says)| {
            let words = words.replace(NETNS, netns.name());
            refuses(&sandbox, &words, says).err().map(|error| format!("ipvlan-ctl {words}: {error:#}"))
        })
        .collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    let changes = Snapshot::take(&sandbox, &[&netns])?.changes(&before);
    ensure!(changes.is_empty(), "bad input made something: {changes:#?}");
    ensure!(store.exists() == had_store, "bad input made a store");
    Ok(())
}

/// A command that can't be run ends as in a shell.
fn run_as_a_shell() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.network(&NET)?;
    for (command, status) in [("no-such-command", 127), ("/proc/version", 126), ("false", 1)] {
        let output = sandbox.try_ctl(&format!("run --network db_net -- {command}"))?;
        ensure!(output.status.code() == Some(status), "run of {command} ends with {}", output.status);
    }
    Ok(())
}

/// With both families, many reasons and all flags, tables fit a terminal of 80 columns.
fn tables() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.network(&NET.private().internal())?;
    let endpoint = sandbox.endpoint(&NET, "taken", 11)?;
    for (address, count) in [(NET.ipv4(66), 3), (NET.ipv4(HOST), 2)] {
        for _ in 0..count {
            let link = Link::shared(PARENT_MAC);
            endpoint.send(&frame::udp4(link, address, NET.ipv4(1), b"x")?, Door::Queue)?;
        }
    }
    endpoint.netns.ip(&format!("addr add 192.0.2.9/32 dev {INTERFACE}"))?;
    sandbox.host.ip(&format!("link add link {INTERFACE} name mine type ipvlan mode l2"))?;
    sandbox.host.ip(&format!("link set mine netns {}", endpoint.netns.name()))?;
    for list in ["network ls", "ps", "stats", "reconcile --dry-run", "audit", "programs"] {
        let output = sandbox.try_ctl(list)?;
        let table = String::from_utf8(output.stdout)?;
        ensure!(table.lines().count() > 1, "{list} shows nothing: {table}");
        for line in table.lines() {
            ensure!(line.trim_end().chars().count() <= 80, "{list} is too wide: {line}");
        }
        let has = |part: &str| table.contains(part);
        let shown = match list {
            "network ls" | "ps" => has("fd00:1::"),
            "reconcile --dry-run" | "audit" => has("192.0.2.9") && has("mine"),
            _ => true,
        };
        ensure!(shown, "{list} lacks what it is to show: {table}");
    }
    ensure!(sandbox.ctl("stats")?.contains("5 source-ipv4"), "{}", sandbox.ctl("stats")?);
    Ok(())
}

/// An endpoint's namespace has a working loopback interface.
fn loopback_is_up() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let netns = sandbox.netns("a")?;
    netns.ip("link set lo down")?;
    sandbox.network(&NET)?;
    sandbox.ctl(&format!("attach db_net --netns {} --name a", netns.name()))?;
    ensure!(netns.pings("127.0.0.1", 56, 20)?, "lo is down");
    Ok(())
}

fn refuses(sandbox: &Sandbox, words: &str, says: &[&str]) -> Result<()> {
    let output = sandbox.try_ctl(words)?;
    let lines = error_lines(&output)?;
    for part in says {
        ensure!(lines[0].contains(part), "the error doesn't name {part}: {}", lines[0]);
    }
    ensure!(output.stdout.is_empty(), "something on stdout: {}", String::from_utf8_lossy(&output.stdout));

    let output = sandbox.try_ctl(&format!("--format json {words}"))?;
    ensure!(!output.status.success(), "with --format json the exit status is 0");
    let text = String::from_utf8_lossy(&output.stdout);
    let answer: Value = serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))?;
    let message = answer["error"]["message"].as_str().context("no error.message in the JSON")?;
    ensure!(lines[0] == format!("error: {message}"), "two messages: {} and {message}", lines[0]);
    Ok(())
}

/// `error: …` and at most one `hint: …`.
fn error_lines(output: &Output) -> Result<Vec<String>> {
    ensure!(!output.status.success(), "the exit status is 0");
    ensure!(output.status.code().is_some(), "it ended with {}", output.status);
    let text = String::from_utf8(output.stderr.clone()).context("stderr isn't UTF-8")?;
    ensure!(!text.contains("panicked") && !text.contains("RUST_BACKTRACE"), "it panicked: {text}");
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let good = match lines.as_slice() {
        [error] => error.starts_with("error: "),
        [error, hint] => error.starts_with("error: ") && hint.starts_with("hint: "),
        _ => false,
    };
    ensure!(good, "not one error and at most one hint:\n{text}");
    Ok(lines)
}

/// A user without rights: nothing is read, nothing made.
/// Empties the bounding set, so that even root has no capability after exec.
fn drop_capabilities() -> io::Result<()> {
    for capability in 0..64 {
        // SAFETY: this option takes a number and no pointer.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        // The kernel knows no capability of this number, nor of the next ones.
        if result != 0 {
            return if capability > 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        }
    }
    Ok(())
}

fn without_capabilities() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let before = Snapshot::take(&sandbox, &[])?;
    for words in ["network create --subnet 192.168.1.0/24 -o parent=eth0 n", "network ls", "ps"] {
        let mut command = sandbox.ctl_command()?;
        command.args(words.split(' '));
        // Another user might not even reach the binary, wherever it was built.
        // SAFETY: prctl(2) is async-signal-safe, and nothing is allocated.
        unsafe { command.pre_exec(drop_capabilities) };
        let output = sandbox.host.output(&mut command)?;
        let lines = error_lines(&output).with_context(|| words.to_owned())?;
        ensure!(lines[0].contains("CAP_NET_ADMIN"), "the error names no capability: {}", lines[0]);
        ensure!(lines.get(1).is_some_and(|hint| hint.contains("root")), "no hint to be root: {lines:?}");
    }
    let changes = Snapshot::take(&sandbox, &[])?.changes(&before);
    ensure!(changes.is_empty(), "it made something: {changes:#?}");
    Ok(())
}

/// Every program is accepted by this kernel's verifier, and measuring leaves nothing.
fn programs() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let before = Snapshot::take(&sandbox, &[])?;
    let costs: Value = serde_json::from_str(&sandbox.ctl("programs --format json")?)?;
    let costs = costs.as_array().context("no list of programs")?;
    ensure!(costs.len() == PROGRAMS.len() + SHARED.len(), "{} programs", costs.len());
    for cost in costs {
        ensure!(cost["jited"].as_u64().is_some_and(|bytes| bytes > 0), "no machine code: {cost}");
    }
    let changes = Snapshot::take(&sandbox, &[])?.changes(&before);
    ensure!(changes.is_empty(), "it left something: {changes:#?}");
    Ok(())
}

/// Bad input, whether or not the rest of the line could be used.
fn mac() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    for words in ["attach n --netns red --mac 02:00:00:00:00:01", "run --network n --mac-address x -- true"] {
        for format in ["table", "json"] {
            let output = sandbox.try_ctl(&format!("--format {format} {words}"))?;
            ensure!(output.status.code() == Some(2), "{words} ends with {}", output.status);
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            ensure!(said.contains("parent's MAC"), "{words} gives no hint: {said}");
        }
    }
    Ok(())
}

fn help() -> Result<()> {
    let ctl = ipvlan_tests::sandbox::ctl_path()?;
    for words in [
        "",
        "network",
        "network create",
        "network ls",
        "network rm",
        "network inspect",
        "attach",
        "detach",
        "ps",
        "inspect",
        "exec",
        "stats",
        "programs",
        "bench",
        "upgrade",
        "doctor",
        "audit",
        "man",
        "reconcile",
        "run",
    ] {
        let output = Command::new(&ctl).args(words.split_whitespace()).arg("--help").output()?;
        ensure!(output.status.success(), "{words} --help ends with {}", output.status);
        ensure!(String::from_utf8_lossy(&output.stdout).contains("Usage:"), "{words} --help shows no usage");
    }
    Ok(())
}
