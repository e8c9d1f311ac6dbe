//! Throws every case at one world, and writes down where it came out and what was counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use ipvlan_common::DropReason;

use super::{
    case::{Act, Case, Expect},
    setting::{Family, Place, Setting},
    world::World,
};
use crate::sandbox::{Maker, Marker, Stats, Watch, interrupt, watch::SETTLE};

/// How long something is waited for that may never come.
const PATIENCE: Duration = Duration::from_millis(400);
const PAUSE: Duration = Duration::from_millis(4);

/// A case in one family.
pub(super) type Key = (&'static str, Family);

/// What came of a case.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    /// Where it came out.
    pub(super) seen: BTreeSet<Place>,
    /// Which of the expected reasons was counted.
    pub(super) counted: Option<DropReason>,
    /// What else was counted in that moment.
    pub(super) others: Vec<&'static str>,
    /// Whether it worked, where that is asked.
    pub(super) worked: Option<bool>,
    /// Why it couldn't be tried.
    pub(super) failed: Option<String>,
}

/// Throws `cases` in a world made for it.
pub(super) fn all(setting: Setting, maker: Maker, cases: &[&'static Case]) -> Result<BTreeMap<Key, Trace>> {
    let world = World::build(setting, maker).with_context(|| format!("build a sandbox for {setting}"))?;
    at(&world, cases)
}

/// Throws `cases` at `world`.
pub(super) fn at(world: &World, cases: &[&'static Case]) -> Result<BTreeMap<Key, Trace>> {
    let mut thrower = Thrower { watch: world.watch()?, world, markers: Vec::new(), traces: BTreeMap::new() };
    for case in cases {
        let expect = (case.expect)(world.setting);
        for family in case.families.iter().filter(|family| world.setting.has(**family)) {
            interrupt::check()?;
            if expect.pointless.is_none() {
                thrower.throw(case, *family, &expect)?;
            }
        }
    }
    // A stray copy may still come: the kernel's multicast worker is the slowest path.
    thread::sleep(2 * SETTLE);
    thrower.collect()?;
    Ok(thrower.traces)
}

struct Thrower<'a> {
    world: &'a World,
    watch: Watch,
    markers: Vec<(String, Marker)>,
    traces: BTreeMap<Key, Trace>,
}

impl Thrower<'_> {
    fn throw(&mut self, case: &Case, family: Family, expect: &Expect) -> Result<()> {
        let (world, key) = (self.world, (case.id, family));
        let marker = Marker::unique();
        let before = self.stats()?;
        let act = match case.act {
            Act::Send(door, build) => {
                build(world, family, marker.bytes()).and_then(|frame| world.send(door, &frame))
            }
            Act::Lan(build) => build(world, family, marker.bytes()).and_then(|frame| world.lan_sends(&frame)),
            Act::Do(act) => act(world, family, marker.bytes()),
            Act::Try(attempt) => attempt(world, family).map(|worked| self.trace(key).worked = Some(worked)),
        };
        self.markers.push((name(key), marker));
        if let Err(error) = act {
            self.trace(key).failed = Some(format!("{error:#}"));
            return Ok(());
        }
        self.trace(key);
        self.follow(key, expect, before.as_ref())
    }

    /// Waits for what has to come.
    fn follow(&mut self, key: Key, expect: &Expect, before: Option<&Stats>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.collect()?;
            let now = self.stats()?;
            let rises = match (&now, before) {
                (Some(now), Some(before)) => now.since(before),
                _ => Vec::new(),
            };
            let counted =
                expect.reasons.iter().find(|reason| rises.iter().any(|rise| rise.reason == reason.name()));
            let trace = self.trace(key);
            let arrived = expect.must.iter().all(|place| trace.seen.contains(place));
            let is_counted = before.is_none() || expect.reasons.is_empty() || counted.is_some();
            // On stock ipvlan nobody says that nothing more will come, and the end of the world is early enough to look.
            let is_over = before.is_none() || Instant::now() > deadline;
            if is_over || arrived && is_counted {
                trace.counted = counted.copied();
                trace.others = rises.iter().map(|rise| rise.reason).collect();
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
    }

    fn trace(&mut self, key: Key) -> &mut Trace {
        self.traces.entry(key).or_default()
    }

    fn stats(&self) -> Result<Option<Stats>> {
        self.world.is_enforced().then(|| Stats::read(&self.world.sandbox)).transpose()
    }

    fn collect(&mut self) -> Result<()> {
        for (name_seen, place) in self.watch.seen_of_many(&self.markers)? {
            let found = self.traces.iter_mut().find(|(key, _)| name(**key) == name_seen);
            if let (Some((_, trace)), Some(place)) = (found, Place::from_text(&place)) {
                trace.seen.insert(place);
            }
        }
        Ok(())
    }
}

fn name((id, family): Key) -> String {
    format!("{id} {family}")
}
