//! SIGKILL at each step of each command that changes something, and what becomes of it then.
//!
//! The one who dies is this binary, started once more: it runs the command as `ipvlan-ctl` does, and kills itself at one of the
//! events that `--verbose` prints. So a new step is covered by itself.

use std::{
    collections::BTreeSet,
    env,
    fmt::Debug,
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitCode},
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::Array;
use clap::Parser as _;
use ipvlan_common::{SlotEntry, schema::SLOT_MAP};
use ipvlan_ctl::{
    cli::{Cli, print_error},
    service::{Attachment, EndpointStep, Foundation, NetworkStep},
};
use ipvlan_tests::{
    Maker, Netns, Sandbox, Snapshot,
    harness::{Need, test},
    sandbox::INTERFACE,
};
use libtest_mimic::Trial;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    layer::{Context as In, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

use crate::{
    lab::{eventually, number},
    reconcile::{link_pin, map, open, slot_of},
    swap::programs_on,
};

const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
/// Asks this binary to die: at which event, and the words of the command.
const POINT: &str = "IPVLAN_KILL_POINT";
/// Has commands die at each so-manieth event instead: 1 is all of them.
const EVERY: &str = "IPVLAN_KILL_EVERY";
/// What an event is announced with on standard error.
const MARK: &str = "event: ";
const CREATE: &str = "network create --subnet 192.168.1.0/24 -o parent=eth0 db_net";
const CREATE_DUMMY: &str = "network create --subnet 10.9.0.0/24 scratch";
const ATTACH_A: &str = "attach db_net --netns {a} --name a --no-probe --host-access";
const ATTACH_B: &str = "attach db_net --netns {b} --name b --no-probe";

/// A command that is killed, and what is around it. `{a}` and `{b}` stand for namespaces.
struct Case {
    name: &'static str,
    /// What is there from the beginning to the end.
    once: &'static [&'static str],
    /// What is done before each kill.
    each: &'static [&'static str],
    /// What somebody else does then.
    damage: Option<fn(&Sandbox, &Netns) -> Result<()>>,
    dies: &'static str,
    /// The next command: the same, or one that wants it gone.
    next: &'static str,
    /// It is killed at each so-manieth event; more than 1 where what it does is killed at each event in another case.
    every: usize,
    /// Events that it must have.
    has: fn() -> Vec<&'static str>,
}

const CASES: [Case; 10] = [
    Case { dies: CREATE, next: "network rm db_net", has: network_steps, ..case("network_create") },
    Case { each: &[CREATE], dies: "network rm db_net", has: network_steps, ..case("network_rm") },
    Case { once: &[CREATE], dies: ATTACH_A, next: "detach a", has: endpoint_steps, ..case("attach") },
    Case { once: &[CREATE], each: &[ATTACH_A], dies: "detach a", has: endpoint_steps, ..case("detach") },
    Case {
        each: &[CREATE, ATTACH_A, ATTACH_B],
        dies: "network rm --force db_net",
        every: 4,
        has: all_steps,
        ..case("network_rm_force")
    },
    Case {
        each: &[CREATE, CREATE_DUMMY],
        dies: "network prune --force",
        every: 4,
        has: network_steps,
        ..case("network_prune")
    },
    Case {
        once: &[CREATE],
        dies: "run --network db_net --name r --no-probe -- true",
        next: "detach r",
        every: 4,
        has: endpoint_steps,
        ..case("run")
    },
    Case {
        once: &[CREATE, ATTACH_A],
        dies: "upgrade",
        has: || vec!["parent_ingress", "parent_egress", "loopback_egress", "slave_ingress", "slave_egress"],
        ..case("upgrade")
    },
    Case {
        once: &[CREATE, ATTACH_A],
        damage: Some(lose_pins),
        dies: "reconcile",
        every: 5,
        has: || vec!["parent_egress", "slave_egress"],
        ..case("reconcile_after_lost_pins")
    },
    Case {
        once: &[CREATE, ATTACH_A],
        damage: Some(meddle),
        dies: "reconcile",
        every: 5,
        has: || vec!["mend", "parent_egress", "slave_egress"],
        ..case("reconcile_after_meddling")
    },
];

const fn case(name: &'static str) -> Case {
    Case { name, once: &[], each: &[], damage: None, dies: "", next: "", every: 1, has: Vec::new }
}

pub(crate) fn tests() -> Vec<Trial> {
    CASES.iter().map(|case| test(&format!("kill_points::{}", case.name), NEEDS, || kills(case))).collect()
}

fn network_steps() -> Vec<&'static str> {
    NetworkStep::plan().names::<Foundation<'_>>()
}

fn endpoint_steps() -> Vec<&'static str> {
    EndpointStep::plan().names::<Attachment<'_>>()
}

fn all_steps() -> Vec<&'static str> {
    [network_steps(), endpoint_steps()].concat()
}

fn lose_pins(sandbox: &Sandbox, _: &Netns) -> Result<()> {
    Ok(std::fs::remove_dir_all(sandbox.pins())?)
}

/// A program of the slave and one of the parent are off, the maps don't know the endpoint, and know one that isn't there.
fn meddle(sandbox: &Sandbox, a: &Netns) -> Result<()> {
    let slot = slot_of(sandbox, "a")?;
    if Need::Tcx.missing().is_none() {
        std::fs::remove_file(link_pin(sandbox, &slot, "slave_egress"))?;
        std::fs::remove_file(link_pin(sandbox, "1", "parent_egress"))?;
    } else {
        a.tc(&format!("qdisc del dev {INTERFACE} clsact"))?;
        sandbox.host.tc(&format!("filter del dev {INTERFACE} egress"))?;
    }
    let mut slots: Array<_, SlotEntry> = open(&map(sandbox, SLOT_MAP))?;
    slots.set(slot.parse()?, &SlotEntry::default(), 0)?;
    Ok(slots.set(99, &SlotEntry { network: 1, ..SlotEntry::default() }, 0)?)
}

/// What this process is to die of, if it is.
pub(crate) fn asked_for() -> Option<String> {
    env::var(POINT).ok()
}

/// Runs a command and kills itself at an event of it; returns where it has fewer.
pub(crate) fn die(point: &str) -> ExitCode {
    let mut words = point.split(' ');
    let Some(left) = words.next().and_then(|count| count.parse().ok()) else { return ExitCode::FAILURE };
    tracing_subscriber::registry().with(Killer(AtomicUsize::new(left))).init();
    let Ok(cli) = Cli::try_parse_from(["ipvlan-ctl"].into_iter().chain(words)) else {
        return ExitCode::FAILURE;
    };
    let format = cli.format();
    cli.execute().unwrap_or_else(|error| print_error(&error, format)).into()
}

/// Kills this process at the event that the count comes to.
struct Killer(AtomicUsize);

impl<S: Subscriber> Layer<S> for Killer {
    fn on_event(&self, event: &Event<'_>, _: In<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() > Level::DEBUG || !metadata.target().starts_with("ipvlan_ctl") {
            return;
        }
        event.record(&mut Announce);
        if self.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            // The process' own, which comes before this returns.
            let _ = kill(Pid::this(), Signal::SIGKILL);
        }
    }
}

/// Prints what tells an event from others.
struct Announce;

impl Visit for Announce {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if ["message", "step", "program"].contains(&field.name()) {
            eprintln!("{MARK}{}", format!("{value:?}").trim_matches('"'));
        }
    }
}

/// What a command had come to when it was killed, or that it had ended before.
struct Outcome {
    killed: bool,
    events: Vec<String>,
}

fn killed(sandbox: &Sandbox, words: &str, count: usize) -> Result<Outcome> {
    let mut child = Command::new(env::current_exe()?);
    child.env(POINT, format!("{count} {words}"));
    child.env("IPVLAN_ROOT", sandbox.root()).env("IPVLAN_PIN_DIR", sandbox.pins());
    let output = sandbox.host.output(&mut child)?;
    let text = String::from_utf8_lossy(&output.stderr);
    let killed = output.status.signal() == Some(Signal::SIGKILL as i32);
    ensure!(killed || output.status.success(), "it ends with {}: {text}", output.status);
    let events = text.lines().filter_map(|line| line.strip_prefix(MARK)).map(str::to_owned).collect();
    Ok(Outcome { killed, events })
}

fn kills(case: &Case) -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let (a, b) = (sandbox.netns("a")?, sandbox.netns("b")?);
    let words = |words: &str| words.replace("{a}", a.name()).replace("{b}", b.name());
    let look = || Snapshot::take(&sandbox, &[&a, &b]);
    let empty = look()?;
    for command in case.once {
        sandbox.ctl(&words(command))?;
    }
    let (dies, next) = (words(case.dies), words(if case.next.is_empty() { case.dies } else { case.next }));
    let (mut events, mut were_up) = (BTreeSet::new(), 0);
    let every = number(EVERY, case.every)?;
    for count in (1..).step_by(every) {
        for command in case.each {
            sandbox.ctl(&words(command))?;
        }
        if let Some(damage) = case.damage {
            damage(&sandbox, &a)?;
        }
        let outcome = killed(&sandbox, &dies, count)?;
        let at = || format!("{dies}, killed at event {count}: {:?}", outcome.events);
        if case.damage.is_none() {
            for netns in [&a, &b] {
                were_up += usize::from(is_confined(netns).with_context(at)?);
            }
        }
        // The kernel takes its time to end a namespace whose last process was killed.
        if case.dies.starts_with("run ") {
            eventually("the end of a namespace", || Ok(sandbox.try_ctl("reconcile")?.status.success()))?;
        }
        clean_up(&sandbox, count, &next).with_context(at)?;
        events.extend(outcome.events);
        if !outcome.killed {
            break;
        }
    }
    let missing: Vec<_> = (case.has)().into_iter().filter(|event| !events.contains(*event)).collect();
    ensure!(missing.is_empty(), "it never comes to {missing:?}, but to {events:?}");
    let attaches = [case.once, case.each, &[case.dies]].concat().iter().any(|it| it.starts_with("attach"));
    ensure!(were_up > 0 || !attaches || case.damage.is_some(), "no slave was ever up, so nothing was shown");

    // What one of them leaves, no later one takes away.
    let rows: Vec<serde_json::Value> = sandbox.ctl_json("network ls")?;
    for name in rows.iter().filter_map(|row| row["name"].as_str()) {
        sandbox.ctl(&format!("network rm --force {name}"))?;
    }
    let changes = look()?.changes(&empty);
    ensure!(changes.is_empty(), "{dies} leaves: {changes:#?}");
    Ok(())
}

/// The next command is `reconcile` after every second kill, and `next` after the others.
fn clean_up(sandbox: &Sandbox, count: usize, next: &str) -> Result<()> {
    if count.is_multiple_of(2) {
        let output = sandbox.try_ctl("reconcile")?;
        ensure!(output.status.success(), "reconcile: {}", String::from_utf8_lossy(&output.stdout));
    }
    // Killed after the last step of all, it is complete, or gone.
    let output = sandbox.try_ctl(next)?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() || text.contains("doesn't exist"), "{next}: {text}");
    ensure!(!text.contains("warning"), "{next}: {text}");
    if !count.is_multiple_of(2) {
        let output = sandbox.try_ctl("reconcile --dry-run")?;
        ensure!(output.status.success(), "something is left: {}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}

/// A slave that is up has its programs; returns whether one is up.
fn is_confined(netns: &Netns) -> Result<bool> {
    let links = netns.ip("-oneline link show type ipvlan")?;
    if !links.contains(",UP") {
        return Ok(false);
    }
    for side in ["ingress", "egress"] {
        ensure!(!programs_on(netns, side)?.trim().is_empty(), "no {side} program, and it is up: {links}");
    }
    Ok(true)
}
