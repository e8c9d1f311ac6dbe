//! Whether an audit would notice a rule that doesn't hold: one rule after the other is switched off, and its cases are thrown again.

use anyhow::{Result, ensure};
use ipvlan_common::DropReason;
use serde::Serialize;

use super::{
    case::Case,
    cases,
    setting::Setting,
    throw::{self, Trace},
    world::World,
};
use crate::{
    model::{Flag, Mode},
    sandbox::Maker,
};

/// Between them, they have a case for every rule.
const SETTINGS: [Setting; 2] = [
    Setting { mode: Mode::L2, flag: Flag::Bridge, internal: false },
    Setting { mode: Mode::L2, flag: Flag::Private, internal: true },
];

/// A rule, and the cases that show that it doesn't hold.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Noticed {
    /// The rule.
    pub reason: &'static str,
    /// The cases that came through or weren't counted any more.
    pub cases: Vec<String>,
}

/// Switches off each rule in turn.
///
/// # Errors
/// As for [`super::run`].
pub fn faults() -> Result<Vec<Noticed>> {
    let rules = DropReason::ALL.iter().map(|reason| Noticed { reason: reason.name(), cases: Vec::new() });
    let mut rules: Vec<_> = rules.collect();
    for setting in SETTINGS {
        let world = World::build(setting, Maker::Ctl)?;
        for (rule, reason) in rules.iter_mut().zip(DropReason::ALL) {
            let concerned = |case: &&Case| (case.expect)(setting).reasons.contains(reason);
            let cases: Vec<_> = cases::all().filter(concerned).collect();
            if cases.is_empty() {
                continue;
            }
            swap(&world, "")?;
            let sound = throw::at(&world, &cases)?;
            swap(&world, reason.name())?;
            let broken = throw::at(&world, &cases)?;
            for (key @ (id, family), trace) in broken {
                let Some(case) = cases.iter().find(|case| case.id == id) else { continue };
                let blocked = |trace: &Trace| {
                    let expect = (case.expect)(setting);
                    !expect.leaked(trace) && !expect.lacks(trace) && trace.counted.is_some()
                };
                let name = format!("{id} {family}");
                if sound.get(&key).is_some_and(&blocked) && !blocked(&trace) && !rule.cases.contains(&name) {
                    rule.cases.push(name);
                }
            }
        }
    }
    Ok(rules)
}

/// Swaps programs in whose rule `name` doesn't hold; all of them do where it is empty.
fn swap(world: &World, name: &str) -> Result<()> {
    let mut command = world.sandbox.ctl_command()?;
    let output = world.sandbox.host.output(command.arg("upgrade").env("IPVLAN_FAULT", name))?;
    ensure!(output.status.success(), "upgrade: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
