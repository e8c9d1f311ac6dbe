//! What must hold of the verdict for any frame at all.

use std::collections::HashMap;

use ipvlan_common::{
    DropReason, Hook, Identity, Slot, SlotEntry, Verdict, decide,
    packet::{ARP, ETHERNET_LEN, Ethernet, Frame, IPV4, IPV6, Metadata, Packet, Sender},
    seal::seal,
    tables::Tables,
    types::{HOST_ACCESS, INTERNAL, L3, Mac, PRIVATE, WIRE},
};
use proptest::prelude::*;

const MAC: Mac = [2, 0, 0, 0, 0, 1];
const OWN4: [u8; 4] = [192, 168, 1, 2];
const PEER4: [u8; 4] = [192, 168, 1, 3];
const OWN6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const PEER6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3];
const LINK_LOCAL: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const PARENT: Slot = 1;
const ME: Slot = 2;
const PEER: Slot = 3;
const STRANGER: Slot = 4;

struct World(HashMap<Slot, SlotEntry>);

impl World {
    fn new(flags: u32) -> Self {
        Self(HashMap::from([
            (PARENT, SlotEntry { key: [11, 0], flags: WIRE, ..SlotEntry::default() }),
            (ME, me(flags).entry),
            (
                PEER,
                SlotEntry {
                    key: [33, 0],
                    network: 1,
                    flags,
                    ipv4: PEER4,
                    ipv6: PEER6,
                    ..SlotEntry::default()
                },
            ),
            (STRANGER, SlotEntry { key: [44, 0], network: 2, ..SlotEntry::default() }),
        ]))
    }
}

impl Tables for World {
    fn slot(&self, slot: Slot) -> Option<&SlotEntry> {
        self.0.get(&slot)
    }
    fn afford_group(&self, _: Slot, _: u32) -> bool {
        true
    }
    fn ipv4(&self, _: Slot, address: [u8; 4]) -> Option<Slot> {
        [(OWN4, ME), (PEER4, PEER)].iter().find(|(ip, _)| *ip == address).map(|(_, slot)| *slot)
    }
    fn ipv6(&self, _: Slot, address: [u8; 16]) -> Option<Slot> {
        [(OWN6, ME), (LINK_LOCAL, ME), (PEER6, PEER)]
            .iter()
            .find(|(ip, _)| *ip == address)
            .map(|(_, slot)| *slot)
    }
}

fn me(flags: u32) -> Identity {
    let entry = SlotEntry {
        key: [22, 0],
        network: 1,
        flags,
        ipv4: OWN4,
        broadcast: [192, 168, 1, 255],
        ipv6: OWN6,
        link_local: LINK_LOCAL,
    };
    Identity { entry, slot: ME, mac: MAC, parent: PARENT, ..Identity::default() }
}

/// Bytes that get far into the parser: likely MACs, EtherTypes, addresses and headers, in any mixture, cut anywhere.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let mac = prop_oneof![Just(MAC), Just([2, 0, 0, 0, 0, 9]), Just([0xff; 6]), any::<Mac>()];
    let v4 = || prop_oneof![Just(OWN4), Just(PEER4), Just([0; 4]), any::<[u8; 4]>()];
    let v6 = || prop_oneof![Just(OWN6), Just(PEER6), Just(LINK_LOCAL), Just([0; 16]), any::<[u8; 16]>()];
    let tail = || proptest::collection::vec(any::<u8>(), 0..80);
    let arp = (0u16..4, mac.clone(), v4(), v4()).prop_map(|(operation, sender, ip, target)| {
        [&[0, 1, 8, 0, 6, 4][..], &operation.to_be_bytes(), &sender, &ip, &[0; 6], &target].concat()
    });
    let ipv4 = (prop_oneof![Just(0x45u8), any::<u8>()], v4(), v4(), tail()).prop_map(
        |(first, source, destination, tail)| {
            let total = (20 + tail.len()) as u16;
            [&[first, 0][..], &total.to_be_bytes(), &[0, 0, 0, 0, 64, 17, 0, 0], &source, &destination, &tail]
                .concat()
        },
    );
    let next =
        || prop_oneof![Just(58u8), Just(0), Just(43), Just(44), Just(51), Just(60), Just(17), any::<u8>()];
    let header = (next(), 0u8..3, any::<[u8; 6]>()).prop_map(|(next, units, rest)| {
        [&[next, units][..], &rest, &vec![0; usize::from(units) * 8]].concat()
    });
    let message = (130u8..138, v6(), proptest::collection::vec((1u8..3, 0u8..3, any::<Mac>()), 0..6))
        .prop_map(|(kind, target, options)| {
            let options =
                options.into_iter().flat_map(|(kind, length, mac)| [&[kind, length][..], &mac].concat());
            [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &target, &options.collect::<Vec<u8>>()].concat()
        });
    let ipv6 = (next(), v6(), v6(), proptest::collection::vec(header, 0..8), message).prop_map(
        |(next, source, destination, headers, message)| {
            let payload = [headers.concat(), message].concat();
            [
                &[0x60, 0, 0, 0][..],
                &(payload.len() as u16).to_be_bytes(),
                &[next, 255],
                &source,
                &destination,
                &payload,
            ]
            .concat()
        },
    );
    let body = prop_oneof![
        arp.prop_map(|it| (ARP, it)),
        ipv4.prop_map(|it| (IPV4, it)),
        ipv6.prop_map(|it| (IPV6, it)),
        (any::<u16>(), tail()),
    ];
    (mac.clone(), mac, body, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(destination, source, (kind, body), cut, whole)| {
            let mut frame = [&destination[..], &source, &kind.to_be_bytes(), &body].concat();
            if !whole {
                frame.truncate(cut.index(frame.len()));
            }
            frame
        },
    )
}

/// Those that are long enough to have a seal.
fn sealable() -> impl Strategy<Value = Vec<u8>> {
    frames().prop_filter("has an Ethernet header", |frame| frame.len() >= ETHERNET_LEN)
}

/// Metadata with a slot; the seal, which depends on the frame, comes with [`seal_by`].
fn metadata() -> impl Strategy<Value = Metadata> {
    let protocol = prop_oneof![Just(ARP), Just(IPV4), Just(IPV6), any::<u16>()];
    let slot = prop_oneof![Just(0), Just(PARENT), Just(ME), Just(PEER), Just(STRANGER), any::<u16>()];
    let vlan = proptest::option::weighted(0.1, 0u16..4096);
    let sender = prop_oneof![Just(Sender::Host), Just(Sender::Slave), Just(Sender::Forwarded)];
    (protocol, vlan, slot, any::<u32>(), sender).prop_map(|(protocol, vlan, tc_index, hash, origin)| {
        Metadata { protocol, vlan, hash, tc_index, looped_back: false, unfinished: false, origin }
    })
}

/// The seal that `slot` puts on `frame`; 0 where either is none.
fn seal_by(world: &World, slot: Slot, frame: &[u8]) -> u32 {
    match (world.slot(slot), Frame::parse(frame)) {
        (Some(sender), Ok(frame)) => seal(&frame, sender),
        _ => 0,
    }
}

/// Whether it goes on, or comes back, under a seal.
const fn is_sealed(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Seal { .. } | Verdict::Answer { .. } | Verdict::Aside { .. })
}

/// Whether the frame speaks with one of the endpoint's own addresses, or with none; read without the parser under test.
fn speaks_as_itself(frame: &[u8]) -> bool {
    match u16::from_be_bytes([frame[12], frame[13]]) {
        ARP => {
            frame[22..28] == MAC
                && (frame[28..32] == OWN4 || (frame[28..32] == [0; 4] && frame[38..42] == OWN4))
        }
        IPV4 => frame[26..30] == OWN4 || (frame[26..30] == [0; 4] && frame[30..34] == [255; 4]),
        IPV6 => [OWN6, LINK_LOCAL, [0; 16]].iter().any(|own| frame[22..38] == *own),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn never_panics_and_ends_in_one_of_the_verdicts_of_its_hook(frame in frames(), mut metadata in metadata(), sealed: bool, flags in 0u32..256, granted: bool) {
        let flags = flags | if granted { HOST_ACCESS } else { 0 };
        let world = World::new(flags);
        if sealed {
            metadata.hash = seal_by(&world, metadata.tc_index, &frame);
        }
        for hook in Hook::ALL {
            let verdict = decide(hook, frame.as_slice(), &metadata, &me(flags), &world);
            match hook {
                Hook::SlaveEgress => prop_assert!(matches!(verdict, Verdict::Seal { slot: ME, .. } | Verdict::Answer { .. } | Verdict::Aside { .. } | Verdict::Drop { slot: ME, .. }), "{:?}", verdict),
                Hook::LoopbackEgress | Hook::ParentXdp => {
                    prop_assert!(matches!(verdict, Verdict::Pass | Verdict::Drop { .. }), "{:?}", verdict);
                }
                Hook::SlaveIngress => prop_assert!(matches!(verdict, Verdict::Open | Verdict::Drop { .. }), "{:?}", verdict),
                Hook::ParentIngress => prop_assert!(!matches!(verdict, Verdict::Open | Verdict::Restore | Verdict::Aside { .. }), "{:?}", verdict),
                Hook::ParentEgress => prop_assert!(!is_sealed(verdict) || granted),
            }
        }
    }

    #[test]
    fn only_own_frames_are_sealed(frame in frames(), metadata in metadata()) {
        if is_sealed(decide(Hook::SlaveEgress, frame.as_slice(), &metadata, &me(0), &World::new(0))) {
            prop_assert_eq!(&frame[6..12], &MAC);
            prop_assert_eq!(metadata.vlan, None);
            prop_assert_eq!(metadata.protocol, u16::from_be_bytes([frame[12], frame[13]]));
            prop_assert!(speaks_as_itself(&frame));
        }
    }

    #[test]
    fn what_is_still_to_be_written_is_not_sealed(frame in sealable(), metadata in metadata()) {
        let metadata = Metadata { unfinished: true, ..metadata };
        let verdict = decide(Hook::SlaveEgress, frame.as_slice(), &metadata, &me(0), &World::new(0));
        prop_assert_eq!(verdict, Verdict::Drop { slot: ME, reason: DropReason::Malformed });
    }

    #[test]
    fn what_comes_out_is_still_the_senders_own(frame in sealable(), mut metadata in metadata()) {
        let world = World::new(0);
        (metadata.tc_index, metadata.hash) = (ME, seal_by(&world, ME, &frame));
        let sent = decide(Hook::SlaveEgress, frame.as_slice(), &metadata, &me(0), &world);
        let receiver = Identity { slot: PEER, ..me(0) };
        for hook in [Hook::SlaveIngress, Hook::ParentEgress] {
            let verdict = decide(hook, frame.as_slice(), &metadata, &receiver, &world);
            let expected = if is_sealed(sent) { Verdict::Open } else { sent };
            prop_assert_eq!(verdict, expected, "at {:?}", hook);
        }
    }

    #[test]
    fn nothing_unsealed_reaches_an_endpoint(frame in frames(), mut metadata in metadata(), flags in 0u32..8) {
        let world = World::new(flags);
        if seal_by(&world, metadata.tc_index, &frame) == metadata.hash {
            metadata.hash = metadata.hash.wrapping_add(1);
        }
        let verdict = decide(Hook::SlaveIngress, frame.as_slice(), &metadata, &me(flags), &world);
        prop_assert_eq!(verdict, Verdict::Drop { slot: ME, reason: DropReason::Unsealed });
    }

    #[test]
    fn nothing_passes_between_an_internal_network_and_the_wire(frame in sealable(), mut metadata in metadata()) {
        let world = World::new(INTERNAL);
        (metadata.tc_index, metadata.hash) = (PARENT, seal_by(&world, PARENT, &frame));
        let inward = decide(Hook::SlaveIngress, frame.as_slice(), &metadata, &me(INTERNAL), &world);
        prop_assert!(matches!(inward, Verdict::Drop { .. }), "{:?}", inward);
        (metadata.tc_index, metadata.hash) = (ME, seal_by(&world, ME, &frame));
        let outward = decide(Hook::ParentEgress, frame.as_slice(), &metadata, &me(INTERNAL), &world);
        prop_assert!(matches!(outward, Verdict::Drop { .. }), "{:?}", outward);
    }

    #[test]
    fn nothing_passes_between_networks_private_peers_or_to_the_host(frame in sealable(), mut metadata in metadata()) {
        let world = World::new(PRIVATE);
        for slot in [PEER, STRANGER] {
            (metadata.tc_index, metadata.hash) = (slot, seal_by(&world, slot, &frame));
            let verdict = decide(Hook::SlaveIngress, frame.as_slice(), &metadata, &me(PRIVATE), &world);
            prop_assert!(matches!(verdict, Verdict::Drop { .. }), "from slot {}", slot);
            let verdict = decide(Hook::ParentIngress, frame.as_slice(), &metadata, &me(PRIVATE), &world);
            prop_assert_eq!(verdict, Verdict::Drop { slot, reason: DropReason::HostFilter });
            // Nor is what isn't for the host itself passed on, whoever may speak to it.
            let verdict = decide(Hook::ParentIngress, frame.as_slice(), &metadata, &me(PRIVATE), &World::new(PRIVATE | HOST_ACCESS));
            prop_assert!(matches!(verdict, Verdict::Drop { .. }), "from slot {}", slot);
        }
    }

    #[test]
    fn nothing_that_only_a_slave_can_have_sent_passes_parent_ingress_unsealed(frame in frames(), mut metadata in metadata()) {
        (metadata.tc_index, metadata.hash) = (0, 0);
        let mut frame = frame;
        if let Ok(ethernet) = Ethernet::parse(frame.as_slice()) {
            frame[..6].copy_from_slice(&ethernet.source);
            let verdict = decide(Hook::ParentIngress, frame.as_slice(), &metadata, &me(0), &World::new(0));
            prop_assert_eq!(verdict, Verdict::Drop { slot: ME, reason: DropReason::Unsealed });
        }
    }

    #[test]
    fn nothing_that_a_slave_sent_comes_out_unsealed(frame in frames(), mut metadata in metadata()) {
        (metadata.tc_index, metadata.hash, metadata.origin) = (0, 0, Sender::Slave);
        for hook in [Hook::ParentEgress, Hook::LoopbackEgress] {
            let verdict = decide(hook, frame.as_slice(), &metadata, &me(0), &World::new(0));
            prop_assert_eq!(verdict, Verdict::Drop { slot: ME, reason: DropReason::Unsealed });
        }
    }

    #[test]
    fn loads_stay_inside_the_frame(frame in proptest::collection::vec(any::<u8>(), 0..64), offset in 0usize..80) {
        let loaded: Option<[u8; 4]> = Packet::load(frame.as_slice(), offset);
        prop_assert_eq!(loaded.map(|it| it.to_vec()), frame.get(offset..offset + 4).map(<[u8]>::to_vec));
    }

    /// Whoever sees a seal can put it on that frame alone: not on one with other addresses, and no other broadcast at all.
    #[test]
    fn a_seal_is_of_no_use_on_another_frame(frame in frames(), other in frames(), flags in 0u32..256) {
        let world = World::new(flags & !L3);
        if told_apart(&frame) != told_apart(&other) {
            prop_assert_ne!(seal_by(&world, PEER, &frame), seal_by(&world, PEER, &other));
        }
    }
}

/// What a seal covers of a frame, read without the parser under test; `None` where it is too short to have a seal.
fn told_apart(frame: &[u8]) -> Option<Vec<u8>> {
    let (head, kind) = (frame.get(..6)?, u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]));
    let addresses: Vec<u8> = match kind {
        ARP => [frame.get(28..32), frame.get(38..42)]
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .map(|it| it.concat()),
        IPV4 => frame.get(26..34).map(<[u8]>::to_vec),
        IPV6 => frame.get(22..54).map(<[u8]>::to_vec),
        _ => None,
    }
    .unwrap_or_default();
    let whole = if head[0] & 1 == 1 { &frame[..frame.len().min(128)] } else { &[] };
    let kind = if [ARP, IPV4, IPV6].contains(&kind) { kind } else { 0 };
    let length = if whole.is_empty() { 0 } else { frame.len() as u64 };
    Some([head, &kind.to_be_bytes(), &addresses, whole, &length.to_be_bytes()].concat())
}
