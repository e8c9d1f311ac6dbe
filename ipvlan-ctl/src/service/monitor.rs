//! Drops as they happen.

use std::{collections::BTreeMap, net::IpAddr, time::SystemTime};

use etherparse::{LaxNetSlice, LaxSlicedPacket, LinkSlice, TransportSlice};
use ipvlan_common::{DropEvent, DropReason, Slot};
use nix::fcntl::Flock;
use serde::Serialize;
use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{Signal, SignalKind, signal},
    time::{Duration, Interval, MissedTickBehavior, interval},
};

use super::{Error, Report, Root};
use crate::{
    bpf::{Events, Lost},
    model::mac_text,
};

/// A dropped frame. The field names are those of `--format json`, and stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Dropped {
    /// When, in RFC 3339.
    pub time: String,
    /// The name of the endpoint or of the parent that is charged; none where it is gone already.
    pub name: Option<String>,
    /// The endpoint's network.
    pub network: Option<String>,
    /// Where it was dropped.
    pub hook: &'static str,
    /// Why.
    pub reason: &'static str,
    /// What the frame says.
    #[serde(flatten)]
    pub packet: Packet,
    /// Length of the frame.
    pub length: u32,
}

/// What a frame says, as far as its first bytes go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Packet {
    /// Source MAC.
    pub source_mac: Option<String>,
    /// Destination MAC.
    pub destination_mac: Option<String>,
    /// `arp`, the name of an IP protocol, or the EtherType where it is another.
    pub protocol: String,
    /// Source address; ARP's sender.
    pub source: Option<IpAddr>,
    /// Destination address; ARP's target.
    pub destination: Option<IpAddr>,
    /// Source port.
    pub source_port: Option<u16>,
    /// Destination port.
    pub destination_port: Option<u16>,
}

/// What a monitor sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A dropped frame.
    Dropped(Box<Dropped>),
    /// Drops of any endpoint and reason that can't be shown.
    Lost(Lost),
    /// A signal says that it is enough.
    End,
}

/// The reader of the events.
pub struct Monitor {
    root: Root,
    endpoints: Vec<String>,
    reasons: Vec<DropReason>,
    events: Option<AsyncFd<Events>>,
    lost: Lost,
    names: BTreeMap<Slot, (String, Option<String>)>,
    tick: Interval,
    interrupt: Signal,
    terminate: Signal,
    _lock: Flock<std::fs::File>,
}

impl Monitor {
    /// Has the programs report drops of `endpoints` for `reasons`; of all where none are given.
    ///
    /// To be called inside a tokio runtime.
    pub fn start(root: &Root, endpoints: &[String], reasons: &[String]) -> Result<Self, Error> {
        let reason = |name: &String| {
            let found = DropReason::ALL.iter().find(|reason| reason.name() == name);
            found.copied().ok_or_else(|| Error::NoReason(name.clone()))
        };
        let reasons = reasons.iter().map(reason).collect::<Result<_, _>>()?;
        let names = names(root)?;
        let known = || names.values().map(|(name, _)| name);
        if let Some(name) = endpoints.iter().find(|name| !known().any(|known| known == *name)) {
            return Err(Error::NotMonitored { name: name.clone(), known: known().cloned().collect() });
        }
        let lock = root.lock_events()?;
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut monitor = Self {
            root: root.clone(),
            endpoints: endpoints.to_vec(),
            reasons,
            events: None,
            lost: Lost::default(),
            names,
            tick,
            interrupt: signal(SignalKind::interrupt()).map_err(Error::Wait)?,
            terminate: signal(SignalKind::terminate()).map_err(Error::Wait)?,
            _lock: lock,
        };
        monitor.open()?;
        Ok(monitor)
    }

    /// Waits for something to show.
    pub async fn next(&mut self) -> Result<Seen, Error> {
        loop {
            while let Some(event) = self.events.as_mut().and_then(|events| events.get_mut().next_event()) {
                if let Some(dropped) = self.chosen(&event) {
                    return Ok(Seen::Dropped(Box::new(dropped)));
                }
            }
            tokio::select! {
                _ = self.interrupt.recv() => return Ok(Seen::End),
                _ = self.terminate.recv() => return Ok(Seen::End),
                _ = self.tick.tick() => {
                    self.renew()?;
                    let lost = self.take_lost()?;
                    if lost.total() > 0 {
                        return Ok(Seen::Lost(lost));
                    }
                }
                ready = readable(self.events.as_ref()) => ready?,
            }
        }
    }

    /// What was lost since the last look.
    pub fn take_lost(&mut self) -> Result<Lost, Error> {
        let Some(events) = &self.events else { return Ok(Lost::default()) };
        let now = events.get_ref().lost()?;
        Ok(now.since(std::mem::replace(&mut self.lost, now)))
    }

    /// Opens the events, if there are any yet.
    fn open(&mut self) -> Result<(), Error> {
        let Some(events) = Events::open(self.root.pin_dir())? else { return Ok(()) };
        self.lost = events.lost()?;
        // SAFETY: the ring's map stays open, under one number, as long as its events.
        let events = unsafe { AsyncFd::register_with_interest(events, Interest::READABLE) };
        self.events = Some(events.map_err(|error| Error::Wait(error.into()))?);
        Ok(())
    }

    fn renew(&mut self) -> Result<(), Error> {
        self.names = names(&self.root)?;
        match &mut self.events {
            Some(events) if events.get_ref().is_current() => events.get_mut().renew()?,
            _ => {
                self.events = None;
                // What is half made or half removed now is whole, or gone, at the next tick.
                let _half_made = self.open();
            }
        }
        Ok(())
    }

    /// The event in names, if it was asked for.
    fn chosen(&mut self, event: &DropEvent) -> Option<Dropped> {
        let reason = DropReason::from_number(event.reason);
        if !self.reasons.is_empty() && !reason.is_some_and(|reason| self.reasons.contains(&reason)) {
            return None;
        }
        if !self.names.contains_key(&event.slot) {
            // Attached since the last tick; a store that can't be read now is an error at the next.
            self.names.extend(names(&self.root).into_iter().flatten());
        }
        let (name, network) = self.names.get(&event.slot).cloned().unzip();
        if !self.endpoints.is_empty() && !name.as_ref().is_some_and(|name| self.endpoints.contains(name)) {
            return None;
        }
        Some(Dropped {
            time: humantime::format_rfc3339_millis(SystemTime::now() - Events::age(event)).to_string(),
            name,
            network: network.flatten(),
            hook: event.hook().map_or(UNKNOWN, ipvlan_common::Hook::name),
            reason: reason.map_or(UNKNOWN, DropReason::name),
            packet: Packet::of(event),
            length: event.length,
        })
    }
}

/// Written by a newer program.
const UNKNOWN: &str = "unknown";

async fn readable(events: Option<&AsyncFd<Events>>) -> Result<(), Error> {
    let Some(events) = events else { return std::future::pending().await };
    // What there is gets read in full before the next wait.
    events.readable().await.map(|mut ready| ready.clear_ready()).map_err(Error::Wait)
}

fn names(root: &Root) -> Result<BTreeMap<Slot, (String, Option<String>)>, Error> {
    let counted = Report::read(root)?.counted();
    Ok(counted.into_iter().map(|(name, slot, network)| (slot, (name, network))).collect())
}

impl Packet {
    fn of(event: &DropEvent) -> Self {
        let mut packet = Self { protocol: format!("{:#06x}", event.protocol), ..Self::default() };
        let Ok(sliced) = LaxSlicedPacket::from_ethernet(event.frame()) else { return packet };
        if let Some(LinkSlice::Ethernet2(ethernet)) = &sliced.link {
            (packet.source_mac, packet.destination_mac) =
                (Some(mac_text(ethernet.source())), Some(mac_text(ethernet.destination())));
        }
        match &sliced.net {
            Some(LaxNetSlice::Arp(arp)) => {
                let address = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
                packet.protocol = "arp".into();
                (packet.source, packet.destination) =
                    (address(arp.sender_protocol_addr()), address(arp.target_protocol_addr()));
            }
            Some(LaxNetSlice::Ipv4(ip)) => {
                let header = ip.header();
                (packet.source, packet.destination) =
                    (Some(header.source_addr().into()), Some(header.destination_addr().into()));
            }
            Some(LaxNetSlice::Ipv6(ip)) => {
                let header = ip.header();
                (packet.source, packet.destination) =
                    (Some(header.source_addr().into()), Some(header.destination_addr().into()));
            }
            None => {}
        }
        if let Some(payload) = sliced.net.as_ref().and_then(LaxNetSlice::ip_payload_ref) {
            let number = payload.ip_number;
            packet.protocol =
                number.keyword_str().map_or_else(|| format!("ip-{}", number.0), str::to_ascii_lowercase);
        }
        let ports = match &sliced.transport {
            Some(TransportSlice::Udp(udp)) => Some((udp.source_port(), udp.destination_port())),
            Some(TransportSlice::Tcp(tcp)) => Some((tcp.source_port(), tcp.destination_port())),
            _ => None,
        };
        (packet.source_port, packet.destination_port) = ports.unzip();
        packet
    }
}
