//! What the programs tell a monitor of the frames that they drop.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, Map, MapData};
use etherparse::ArpOperation;
use ipvlan_common::{
    DropEvent, DropReason, Hook,
    event::{PER_WINDOW, WINDOW},
    schema,
};
use ipvlan_ctl::bpf::Events;
use ipvlan_tests::frame;

use crate::{
    kernel::{Kernel, maps},
    rows::{Origin, Row, drop_for},
    world::{A, B, LAN, LAN_MAC, MAC, PARENT, ip4},
};

/// A deadline that no test outlasts.
const NEVER: u64 = u64::MAX / 2;

/// A's frame in B's name.
pub(crate) fn spoof() -> Result<Row> {
    let link = frame::Link { source: MAC, destination: LAN_MAC };
    Ok(Row {
        name: "peer's IPv4 source",
        hook: Hook::SlaveEgress,
        me: A,
        frame: frame::udp4(link, ip4(B), LAN, &[7; 100])?,
        seal: (0, 0),
        vlan: None,
        origin: Origin::Here,
        verdict: drop_for(A, DropReason::SourceIpv4),
    })
}

fn set_deadline(kernel: &Kernel, deadline: u64) -> Result<()> {
    let data = MapData::from_pin(maps(kernel.pins()).join(schema::MONITOR_MAP))?;
    Array::<_, u64>::try_from(Map::from_map_data(data)?)?.set(0, &deadline, 0)?;
    Ok(())
}

fn open(kernel: &Kernel) -> Result<Events> {
    Events::open(kernel.pins())?.context("nothing is pinned")
}

/// With the deadline in the future, and at no other time.
pub(crate) fn reported(kernel: &mut Kernel) -> Result<()> {
    let spoof = spoof()?;
    // Another test may have used up this window's share.
    std::thread::sleep(Duration::from_nanos(WINDOW));
    let mut events = open(kernel)?;
    kernel.repeat(&spoof, 1)?;
    let event = events.next_event().context("no event")?;
    let expected = DropEvent {
        time: event.time,
        slot: A,
        reason: DropReason::SourceIpv4 as u16,
        hook: Hook::SlaveEgress as u16,
        protocol: 0x0800,
        length: spoof.frame.len() as u32,
        captured: 64,
        head: *spoof.frame.first_chunk().context("a short frame")?,
    };
    ensure!(event == expected, "the event is {event:?}, not {expected:?}");
    ensure!(Events::age(&event) < Duration::from_secs(10), "the event is from another time: {}", event.time);

    let arp = spoof.frame.get(..14).context("a short frame")?;
    let mut short = [arp, &[0; 10]].concat();
    short[12..14].copy_from_slice(&0x0806u16.to_be_bytes());
    let short = Row { frame: short, ..spoof };
    kernel.repeat(&short, 1)?;
    let event = events.next_event().context("no event of a short frame")?;
    ensure!(event.frame() == short.frame, "a short frame's event has {:?}", event.frame());

    let link = frame::Link::broadcast(LAN_MAC);
    let arp =
        frame::Arp { operation: ArpOperation::REPLY, sender_mac: LAN_MAC, sender: ip4(A), target: ip4(A) };
    let wire = Row {
        hook: Hook::ParentXdp,
        me: PARENT,
        frame: frame::arp(link, arp, &[])?,
        verdict: drop_for(PARENT, DropReason::WireSpoof),
        ..short.clone()
    };
    kernel.check(&wire)?;
    for _ in 0..Kernel::RUNS {
        let event = events.next_event().context("no event of XDP's")?;
        ensure!(event.frame() == wire.frame, "XDP's event of a short frame has {:?}", event.frame());
    }

    // One that has passed, as a killed monitor leaves it, and none at all.
    for deadline in [1, 0] {
        set_deadline(kernel, deadline)?;
        kernel.repeat(&short, 1)?;
        ensure!(events.next_event().is_none(), "an event with the deadline {deadline}");
    }
    drop(events);
    kernel.repeat(&short, 1)?;
    ensure!(open(kernel)?.next_event().is_none(), "an event from before the monitor");
    Ok(())
}

/// Each drop is read, or counted as lost.
pub(crate) fn limited(kernel: &mut Kernel) -> Result<()> {
    const RUNS: u32 = 100_000;
    let spoof = spoof()?;
    let mut events = open(kernel)?;
    let before = events.lost()?;
    set_deadline(kernel, NEVER)?;
    let start = Instant::now();
    let mut runs = u64::from(RUNS);
    kernel.repeat(&spoof, RUNS)?;
    let lost = events.lost()?.since(before);
    ensure!(lost.rate_limited > 0, "nothing of {RUNS} drops in {:?} is over the rate", start.elapsed());
    // Unread, the ring fills up, however slowly.
    let mut rounds = 0;
    while events.lost()?.since(before).ring_full == 0 {
        rounds += 1;
        ensure!(rounds < 2_000, "the ring doesn't fill up");
        kernel.repeat(&spoof, PER_WINDOW)?;
        runs += u64::from(PER_WINDOW);
        std::thread::sleep(Duration::from_millis(5));
    }
    let lost = events.lost()?.since(before);
    let read = std::iter::from_fn(|| events.next_event()).count() as u64;
    ensure!(read + lost.total() == runs, "{read} read, {lost:?} lost, of {runs}");
    let ring = u64::from(schema::EVENT_BYTES) / (size_of::<DropEvent>() as u64 + 8);
    ensure!((ring / 2..=ring).contains(&read), "the ring held {read} events");
    Ok(())
}
