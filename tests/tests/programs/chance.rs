//! Frames made by chance: almost what an endpoint, the host or the wire would send, and wrong in a place or two.

use anyhow::{Context as _, Result};
use ipvlan_common::{Hook, Slot, Verdict};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::{
    host_verdict,
    rows::{self, Origin, Row},
    world::{
        self, A, B, HOST, HOST6, LAN, LAN_MAC, LAN6, MAC, PARENT, VEPA_PARENT, ip4, ip6, link_local, seal,
    },
};

/// Makes the frames.
pub(crate) struct Chance {
    random: StdRng,
    rows: Vec<Row>,
    /// Endpoints and their networks.
    endpoints: Vec<(Slot, u32)>,
}

impl Chance {
    /// The same frames for the same seed.
    pub(crate) fn new(seed: u64) -> Result<Self> {
        let endpoints = world::endpoints().iter().map(|it| (it.slot, it.network)).collect();
        Ok(Self { random: StdRng::seed_from_u64(seed), rows: rows::rows()?, endpoints })
    }

    /// A row of the table, or one that is alike with other people in it, and up to three mistakes.
    pub(crate) fn row(&mut self) -> Result<Row> {
        let hook = *Hook::ALL.choose(&mut self.random).context("no hook")?;
        let mut row = if self.one_in(2) { self.known(hook)? } else { self.compose(hook)? };
        // Half of them stay as they are.
        for _ in 0..[0, 0, 0, 1, 2, 3][self.random.random_range(0..6)] {
            self.spoil(&mut row);
        }
        row.verdict = host_verdict(&row)?;
        Ok(row)
    }

    fn one_in(&mut self, number: u32) -> bool {
        self.random.random_ratio(1, number)
    }

    fn slot(&mut self) -> Slot {
        self.endpoints.choose(&mut self.random).map_or(A, |(slot, _)| *slot)
    }

    /// One whom `sender` mostly may speak to.
    fn receiver(&mut self, sender: Slot) -> Slot {
        let network = self.endpoints.iter().find(|(slot, _)| *slot == sender).map(|(_, network)| *network);
        let peers: Vec<_> = self.endpoints.iter().filter(|it| Some(it.1) == network).collect();
        match peers.choose(&mut self.random) {
            Some((slot, _)) if self.random.random_ratio(3, 4) => *slot,
            _ => self.slot(),
        }
    }

    fn known(&mut self, hook: Hook) -> Result<Row> {
        let accepted = !self.one_in(3);
        let rows: Vec<_> = self
            .rows
            .iter()
            .filter(|row| row.hook == hook && (!accepted || !matches!(row.verdict, Verdict::Drop { .. })))
            .collect();
        Ok((*rows.choose(&mut self.random).context("no row")?).clone())
    }

    /// What A sends in a row, sent by somebody to somebody, and met at `hook`.
    fn compose(&mut self, hook: Hook) -> Result<Row> {
        let accepted = !self.one_in(5);
        let sent: Vec<_> = self
            .rows
            .iter()
            .filter(|row| row.hook == Hook::SlaveEgress && row.me == A)
            .filter(|row| !accepted || matches!(row.verdict, Verdict::Seal { .. }))
            .collect();
        let mut row = (*sent.choose(&mut self.random).context("no row")?).clone();
        let sender = self.slot();
        let receiver = self.receiver(sender);
        let from_endpoint = match hook {
            Hook::SlaveEgress | Hook::SlaveIngress => true,
            Hook::ParentIngress | Hook::ParentXdp => false,
            Hook::ParentEgress => !self.one_in(4),
            Hook::LoopbackEgress => self.one_in(3),
        };
        let (source4, source6) = match hook {
            _ if from_endpoint => (ip4(sender), ip6(sender)),
            Hook::ParentIngress | Hook::ParentXdp if !self.one_in(8) => (LAN, LAN6),
            _ => (HOST, HOST6),
        };
        row.hook = hook;
        row.me = match hook {
            Hook::SlaveEgress => sender,
            Hook::SlaveIngress => receiver,
            _ => PARENT,
        };
        if matches!(hook, Hook::ParentIngress | Hook::ParentXdp) {
            write(&mut row.frame, 6, &LAN_MAC);
            if self.one_in(3) {
                write(&mut row.frame, 0, &MAC);
            }
        }
        let link_source = if from_endpoint { link_local(sender) } else { LAN6 };
        for (old, new) in [(ip4(A), source4), (ip4(B), ip4(receiver))] {
            replace(&mut row.frame, &old.octets(), &new.octets());
        }
        for (old, new) in [(ip6(A), source6), (link_local(A), link_source), (ip6(B), ip6(receiver))] {
            replace(&mut row.frame, &old.octets(), &new.octets());
        }
        row.seal = if from_endpoint && hook != Hook::SlaveEgress {
            (sender, seal(sender, &row.frame))
        } else {
            (0, 0)
        };
        Ok(row)
    }

    /// Changes the frame, or what is beside it.
    fn spoil(&mut self, row: &mut Row) {
        let someone = self.slot();
        match self.random.random_range(0..8) {
            0 => {
                row.seal = [(0, 0), (PARENT, seal(PARENT, &row.frame)), (someone, seal(someone, &row.frame))]
                    [self.random.random_range(0..3)];
            }
            1 => {
                row.seal = (someone, seal(self.slot(), &row.frame));
                if self.random.random() {
                    row.seal = (self.random.random(), self.random.random());
                }
            }
            2 => {
                row.vlan = [None, Some(0), Some(2), Some(0x800), Some(0xfff)][self.random.random_range(0..5)];
            }
            3 => match row.hook {
                Hook::SlaveEgress | Hook::SlaveIngress => row.me = someone,
                Hook::ParentIngress | Hook::ParentXdp => {
                    row.me = [PARENT, VEPA_PARENT][self.random.random_range(0..2)];
                }
                Hook::ParentEgress => {
                    row.origin = [Origin::Here, Origin::Elsewhere, Origin::Forwarded, Origin::Queue]
                        [self.random.random_range(0..4)];
                }
                Hook::LoopbackEgress => {
                    row.origin = [Origin::Here, Origin::Elsewhere][self.random.random_range(0..2)];
                }
            },
            _ => self.mutate(&mut row.frame),
        }
    }

    /// Changes a few bytes: to anything, to something that means something here, or to nothing.
    fn mutate(&mut self, frame: &mut Vec<u8>) {
        let someone = self.slot();
        let random = &mut self.random;
        let at = random.random_range(0..frame.len());
        match random.random_range(0..9) {
            0 => frame[at] = random.random(),
            1 => frame[at] ^= 1 << random.random_range(0..8),
            2 => write(
                frame,
                [0, 6, 22][random.random_range(0..3)],
                &[MAC, LAN_MAC, [0xff; 6]][random.random_range(0..3)],
            ),
            3 => write(frame, [26, 28, 30, 38][random.random_range(0..4)], &ip4(someone).octets()),
            4 => {
                let address = if random.random() { ip6(someone) } else { link_local(someone) };
                write(frame, [22, 38, 62][random.random_range(0..3)], &address.octets());
            }
            5 => {
                let headers = [0u8, 6, 17, 43, 44, 51, 58, 60, 133, 134, 135, 136, 137, 143];
                let value = headers[random.random_range(0..headers.len())];
                write(frame, [20, 23, 54, 55, 62][random.random_range(0..5)], &[value]);
            }
            6 => {
                let port: u16 = [67, 68, 546, 547][random.random_range(0..4)];
                write(frame, [34, 36, 54, 56][random.random_range(0..4)], &port.to_be_bytes());
            }
            7 => {
                let kind: u16 =
                    [0x0800, 0x0806, 0x86dd, 0x8100, 0x88a8, 0x9100, 0x88cc, 50][random.random_range(0..8)];
                write(frame, 12, &kind.to_be_bytes());
            }
            _ => frame.resize(random.random_range(14..160), 0),
        }
    }
}

/// Overwrites what is there, as far as it is there.
fn write(frame: &mut [u8], at: usize, bytes: &[u8]) {
    for (place, byte) in frame.iter_mut().skip(at).zip(bytes) {
        *place = *byte;
    }
}

/// Puts `new` wherever `old` is.
fn replace(frame: &mut [u8], old: &[u8], new: &[u8]) {
    for at in 0..frame.len() {
        if frame[at..].starts_with(old) {
            write(frame, at, new);
        }
    }
}
