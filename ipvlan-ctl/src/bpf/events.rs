//! The events of dropped frames, as they come in.

use std::{
    os::fd::{AsRawFd, RawFd},
    path::{Path, PathBuf},
    time::Duration,
};

use aya::maps::{Array, MapData, MapInfo, PerCpuArray, RingBuf};
use ipvlan_common::{
    DropEvent,
    event::EventBudget,
    schema::{BUDGET_MAP, EVENT_MAP, MONITOR_MAP},
};
use nix::time::{ClockId, clock_gettime};

use super::{BpfError, pins::Pins, tables};

/// How long the programs go on reporting to a reader that renews nothing.
const PATIENCE: Duration = Duration::from_secs(3);

/// Drops that the programs could not report, since counting began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Lost {
    /// Those that were more than a CPU may report in a time.
    pub rate_limited: u64,
    /// Those that found the ring buffer full.
    pub ring_full: u64,
}

impl Lost {
    /// What was lost since `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            rate_limited: self.rate_limited.wrapping_sub(earlier.rate_limited),
            ring_full: self.ring_full.wrapping_sub(earlier.ring_full),
        }
    }

    /// How many that is.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.rate_limited + self.ring_full
    }
}

/// The one reader of the events: while it renews, the programs report.
pub struct Events {
    ring: RingBuf<MapData>,
    deadline: Array<MapData, u64>,
    budget: PerCpuArray<MapData, EventBudget>,
    pin: PathBuf,
    map_id: u32,
    /// What is in the ring from before is an earlier reader's.
    since: u64,
}

impl Events {
    /// Opens the events below `pin_dir` and has the programs report; `None` where nothing is pinned.
    ///
    /// # Errors
    /// Where a pinned map is missing, has another layout, or refuses.
    pub fn open(pin_dir: &Path) -> Result<Option<Self>, BpfError> {
        let pins = Pins::new(pin_dir);
        if !pins.has_maps() {
            return Ok(None);
        }
        tables::check_layout(&pins)?;
        let pin = pins.map(EVENT_MAP);
        let mut events = Self {
            ring: tables::open(&pins, EVENT_MAP)?,
            deadline: tables::open(&pins, MONITOR_MAP)?,
            budget: tables::open(&pins, BUDGET_MAP)?,
            map_id: id(&pin).ok_or_else(|| BpfError::Layout(pin.clone()))?,
            pin,
            since: now(),
        };
        events.renew()?;
        Ok(Some(events))
    }

    /// Whether what is pinned still is what this reads: with the last network the maps go, and others come.
    #[must_use]
    pub fn is_current(&self) -> bool {
        id(&self.pin) == Some(self.map_id)
    }

    /// Has the programs go on reporting; to be called each second or so.
    ///
    /// # Errors
    /// Where the map refuses.
    pub fn renew(&mut self) -> Result<(), BpfError> {
        let deadline = now() + PATIENCE.as_nanos() as u64;
        self.deadline.set(0, &deadline, 0).map_err(tables::map(MONITOR_MAP, "write"))
    }

    /// The next event that is there.
    pub fn next_event(&mut self) -> Option<DropEvent> {
        while let Some(record) = self.ring.next() {
            if let Ok(event) = bytemuck::try_pod_read_unaligned::<DropEvent>(&record)
                && event.time >= self.since
            {
                return Some(event);
            }
        }
        None
    }

    /// How long ago a frame was dropped.
    #[must_use]
    pub fn age(event: &DropEvent) -> Duration {
        Duration::from_nanos(now().saturating_sub(event.time))
    }

    /// What was never reported, since the maps were made.
    ///
    /// # Errors
    /// Where the map refuses.
    pub fn lost(&self) -> Result<Lost, BpfError> {
        let budgets = self.budget.get(&0, 0).map_err(tables::map(BUDGET_MAP, "read"))?;
        Ok(budgets.iter().fold(Lost::default(), |lost, cpu| Lost {
            rate_limited: lost.rate_limited + cpu.rate_limited,
            ring_full: lost.ring_full + cpu.ring_full,
        }))
    }
}

/// Readable when there are events.
impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // Where it fails, the deadline passes.
        let _ignored = self.deadline.set(0, &0, 0);
    }
}

fn id(pin: &Path) -> Option<u32> {
    MapInfo::from_pin(pin).ok().map(|info| info.id())
}

/// The clock that the programs read.
fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| Duration::from(time).as_nanos() as u64)
}
