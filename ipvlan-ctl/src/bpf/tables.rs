//! The shared maps from the controller's side.

use std::net::IpAddr;

use aya::maps::{Array, HashMap, Map, MapData, MapError, MapInfo, PerCpuArray, PerCpuHashMap, PerCpuValues};
use ipvlan_common::{
    DropReason, Slot, SlotEntry,
    event::EventBudget,
    schema::{
        BUDGET_MAP, DROP_MAP, EVENT_BYTES, EVENT_MAP, GROUP_MAP, IPV4_MAP, IPV6_MAP, MONITOR_MAP, SHARED,
        SHARED_MAP, SLOT_MAP, TRAFFIC_MAP, entries,
    },
    types::{DropKey, Ipv4Key, Ipv6Key, Traffic},
};

use super::{BpfError, Counters, pins::Pins};

pub(super) struct Tables {
    pub(super) slots: Array<MapData, SlotEntry>,
    pub(super) ipv4: HashMap<MapData, Ipv4Key, Slot>,
    pub(super) ipv6: HashMap<MapData, Ipv6Key, Slot>,
    traffic: PerCpuArray<MapData, Traffic>,
    drops: PerCpuHashMap<MapData, DropKey, u64>,
    pub(super) capacity: Slot,
}

/// Compares each pinned map's sizes with this version's; returns the capacity that they were made for.
pub(super) fn check_layout(pins: &Pins) -> Result<Slot, BpfError> {
    let expected = [
        (SLOT_MAP, size_of::<u32>(), size_of::<SlotEntry>()),
        (IPV4_MAP, size_of::<Ipv4Key>(), size_of::<Slot>()),
        (IPV6_MAP, size_of::<Ipv6Key>(), size_of::<Slot>()),
        (TRAFFIC_MAP, size_of::<u32>(), size_of::<Traffic>()),
        (DROP_MAP, size_of::<DropKey>(), size_of::<u64>()),
        (GROUP_MAP, size_of::<u32>(), size_of::<u64>()),
        (EVENT_MAP, 0, 0),
        (MONITOR_MAP, size_of::<u32>(), size_of::<u64>()),
        (BUDGET_MAP, size_of::<u32>(), size_of::<EventBudget>()),
        (SHARED_MAP, size_of::<u32>(), size_of::<u32>()),
    ];
    let info = |name| MapInfo::from_pin(pins.map(name)).map_err(map(name, "open its pin"));
    let capacity = Slot::try_from(info(SLOT_MAP)?.max_entries().saturating_sub(1))
        .map_err(|_| BpfError::Layout(pins.map(SLOT_MAP)))?;
    for (name, key, value) in expected {
        let info = info(name)?;
        let found = (info.key_size() as usize, info.value_size() as usize, info.max_entries());
        let fixed = match name {
            EVENT_MAP => EVENT_BYTES,
            SHARED_MAP => SHARED.len() as u32,
            _ => 1,
        };
        let entries = entries(name, capacity).unwrap_or(fixed);
        if found != (key, value, entries) {
            return Err(BpfError::Layout(pins.map(name)));
        }
    }
    Ok(capacity)
}

/// Whether the programs that all slaves' call are there.
pub(super) fn has_shared(pins: &Pins) -> Result<bool, BpfError> {
    // To user space, such an array has the programs' numbers in it.
    let data = MapData::from_pin(pins.map(SHARED_MAP)).map_err(map(SHARED_MAP, "open its pin"))?;
    let programs = Array::<_, u32>::try_from(Map::Array(data)).map_err(map(SHARED_MAP, "use its pin"))?;
    for index in 0..SHARED.len() as u32 {
        match programs.get(&index, 0) {
            Ok(_number) => {}
            Err(MapError::KeyNotFound) => return Ok(false),
            Err(error) => return Err(map(SHARED_MAP, "read")(error)),
        }
    }
    Ok(true)
}

impl Tables {
    pub(super) fn open(pins: &Pins) -> Result<Self, BpfError> {
        let capacity = check_layout(pins)?;
        Ok(Self {
            capacity,
            slots: open(pins, SLOT_MAP)?,
            ipv4: open(pins, IPV4_MAP)?,
            ipv6: open(pins, IPV6_MAP)?,
            traffic: open(pins, TRAFFIC_MAP)?,
            drops: open(pins, DROP_MAP)?,
        })
    }

    pub(super) fn set_slot(&mut self, slot: Slot, entry: SlotEntry) -> Result<(), BpfError> {
        self.slots.set(u32::from(slot), &entry, 0).map_err(map(SLOT_MAP, "write"))
    }

    pub(super) fn add_address(&mut self, parent: Slot, ip: IpAddr, slot: Slot) -> Result<(), BpfError> {
        match ip {
            IpAddr::V4(ip) => self
                .ipv4
                .insert(&Ipv4Key::new(parent, ip.octets()), &slot, 0)
                .map_err(|error| full_or(IPV4_MAP, "add an address", self.capacity, error)),
            IpAddr::V6(ip) => self
                .ipv6
                .insert(&Ipv6Key::new(parent, ip.octets()), &slot, 0)
                .map_err(|error| full_or(IPV6_MAP, "add an address", self.capacity, error)),
        }
    }

    pub(super) fn holder(&self, parent: Slot, ip: IpAddr) -> Result<Option<Slot>, BpfError> {
        let (name, holder) = match ip {
            IpAddr::V4(ip) => (IPV4_MAP, self.ipv4.get(&Ipv4Key::new(parent, ip.octets()), 0)),
            IpAddr::V6(ip) => (IPV6_MAP, self.ipv6.get(&Ipv6Key::new(parent, ip.octets()), 0)),
        };
        match holder {
            Ok(slot) => Ok(Some(slot)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(map(name, "read")(error)),
        }
    }

    pub(super) fn remove_address(&mut self, parent: Slot, ip: IpAddr) -> Result<(), BpfError> {
        match ip {
            IpAddr::V4(ip) => absent_is_fine(self.ipv4.remove(&Ipv4Key::new(parent, ip.octets())))
                .map_err(map(IPV4_MAP, "remove an address")),
            IpAddr::V6(ip) => absent_is_fine(self.ipv6.remove(&Ipv6Key::new(parent, ip.octets())))
                .map_err(map(IPV6_MAP, "remove an address")),
        }
    }

    pub(super) fn zero_counters(&mut self, slot: Slot) -> Result<(), BpfError> {
        let cpus = aya::util::nr_cpus().map_err(|(path, error)| BpfError::Pin {
            action: "read",
            path: path.into(),
            source: error,
        })?;
        let zero =
            PerCpuValues::try_from(vec![Traffic::default(); cpus.get() as usize]).map_err(|source| {
                BpfError::Pin { action: "size counters for", path: TRAFFIC_MAP.into(), source }
            })?;
        self.traffic.set(u32::from(slot), zero, 0).map_err(map(TRAFFIC_MAP, "zero counters"))?;
        for reason in DropReason::ALL {
            absent_is_fine(self.drops.remove(&key(slot, *reason)))
                .map_err(map(DROP_MAP, "remove a counter"))?;
        }
        Ok(())
    }

    pub(super) fn counters(&self, slot: Slot) -> Result<Counters, BpfError> {
        let mut counters = Counters::default();
        let traffic = self.traffic.get(&u32::from(slot), 0).map_err(map(TRAFFIC_MAP, "read"))?;
        for cpu in traffic.iter() {
            counters.tx_packets += cpu.tx_packets;
            counters.tx_bytes += cpu.tx_bytes;
            counters.rx_packets += cpu.rx_packets;
            counters.rx_bytes += cpu.rx_bytes;
            counters.answered += cpu.answered;
            counters.aside += cpu.aside;
        }
        for reason in DropReason::ALL {
            match self.drops.get(&key(slot, *reason), 0) {
                Ok(values) => counters.drops.push((*reason, values.iter().sum())),
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(map(DROP_MAP, "read")(error)),
            }
        }
        Ok(counters)
    }
}

fn key(slot: Slot, reason: DropReason) -> DropKey {
    DropKey { slot, reason: reason as u16 }
}

pub(super) fn open<T>(pins: &Pins, name: &'static str) -> Result<T, BpfError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let data = MapData::from_pin(pins.map(name)).map_err(map(name, "open its pin"))?;
    Map::from_map_data(data).and_then(T::try_from).map_err(map(name, "use its pin"))
}

pub(super) fn map(map: &'static str, action: &'static str) -> impl FnOnce(MapError) -> BpfError {
    move |source| BpfError::Map { map, action, source }
}

fn full_or(name: &'static str, action: &'static str, capacity: Slot, source: MapError) -> BpfError {
    match source {
        MapError::SyscallError(error) if error.io_error.raw_os_error() == Some(nix::libc::E2BIG) => {
            BpfError::Full { map: name, entries: entries(name, capacity).unwrap_or_default() }
        }
        other => map(name, action)(other),
    }
}

fn absent_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
