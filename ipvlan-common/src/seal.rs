//! The seal: what a program that accepts a frame leaves on it, and every place where it can come out asks for.
//!
//! A keyed hash of who speaks to whom, so that a seal which somebody gets to see, as root inside can on an interface without our
//! programs, is of no use on another frame.

use core::hint::black_box;

use crate::{
    packet::{self, Arp, Frame, Ipv4, Ipv6, Packet, part},
    types::{Key, L3, Mac, SlotEntry},
};

/// Bytes of a broadcast or multicast that its seal covers: all of what ARP and most of neighbour discovery say.
const GROUP_BYTES: usize = 128;
const WORD: usize = size_of::<u64>();

/// On whose behalf a seal is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Behalf {
    /// The endpoint's whose slot it is; the wire's where that is a parent's.
    Slot = 0,
    /// The host's, whose frames to its endpoints are under its parent's slot too. Tells apart what is otherwise sealed as the same bytes.
    Host = 1 << 7,
}

/// The seal of a frame of `sender`.
#[inline(always)]
pub fn seal<P: Packet + ?Sized>(frame: &Frame<'_, P>, sender: &SlotEntry) -> u32 {
    seal_for(Behalf::Slot, frame, sender)
}

/// The seal of a frame on somebody's behalf, under the key of `sender`.
#[inline(always)]
pub fn seal_for<P: Packet + ?Sized>(behalf: Behalf, frame: &Frame<'_, P>, sender: &SlotEntry) -> u32 {
    Unfinished::of(frame, sender).on(behalf)
}

/// On whose behalf `sender` has put the seal `hash` on a frame; `None` where it is no seal of it.
#[inline(always)]
pub(crate) fn behalf<P: Packet + ?Sized>(
    frame: &Frame<'_, P>,
    sender: &SlotEntry,
    hash: u32,
) -> Option<Behalf> {
    let unfinished = Unfinished::of(frame, sender);
    [Behalf::Slot, Behalf::Host].into_iter().find(|&behalf| unfinished.on(behalf) == hash)
}

/// The seal but for whose behalf it is made on.
#[derive(Clone, Copy)]
struct Unfinished {
    hash: SipHash13,
    mac: Mac,
    ethertype: u16,
}

impl Unfinished {
    #[inline(always)]
    fn of<P: Packet + ?Sized>(frame: &Frame<'_, P>, sender: &SlotEntry) -> Self {
        let mut hash = SipHash13::new(sender.key);
        // The host routes it: it gets new MACs, and NAT may change the source.
        let routed = sender.flags & L3 != 0;
        let mask = if routed { 0 } else { !0 };
        let shown = |source: [u8; 4]| if routed { [0; 4] } else { source };
        // Where the addresses are, whether or not the rest holds: what to make of that is for others to say.
        match frame.ethernet.ethertype {
            packet::ARP => {
                let addresses = (frame.packet.load(Arp::SENDER), frame.packet.load(Arp::TARGET));
                if let (Some(sender), Some(target)) = addresses {
                    hash.write(pair(shown(sender), target));
                }
            }
            packet::IPV4 => {
                if let Some([a, b, c, d, destination @ ..]) = frame.packet.load::<8>(Ipv4::ADDRESSES) {
                    hash.write(pair(shown([a, b, c, d]), destination));
                }
            }
            packet::IPV6 => {
                if let Some(addresses) = frame.packet.load::<32>(Ipv6::ADDRESSES) {
                    hash.write(mask & word(&addresses, 0));
                    hash.write(mask & word(&addresses, 8));
                    hash.write(word(&addresses, 16));
                    hash.write(word(&addresses, 24));
                }
            }
            _ => {}
        }
        if !routed && frame.ethernet.is_group() {
            hash.write(digest(frame.packet, sender.key));
        }
        let mac = if routed { [0; 6] } else { frame.ethernet.destination };
        Self { hash, mac, ethertype: frame.ethernet.ethertype }
    }

    #[inline(always)]
    fn on(self, behalf: Behalf) -> u32 {
        let mut last = [0; 7];
        last[..self.mac.len()].copy_from_slice(&self.mac);
        last[self.mac.len()] = kind(self.ethertype) | behalf as u8;
        let seal = self.hash.finish(last) as u32;
        // 0 is no hash: what was sealed shows that it was, whatever is made of it afterwards.
        if seal == 0 { 1 } else { seal }
    }
}

/// The seal of an ARP message, with its Ethernet header, from `source` to the one receiver at `mac`.
#[inline(always)]
pub(crate) fn seal_arp(
    sender: &SlotEntry,
    behalf: Behalf,
    source: [u8; 4],
    (mac, destination): (Mac, [u8; 4]),
) -> u32 {
    let mut hash = SipHash13::new(sender.key);
    hash.write(pair(source, destination));
    Unfinished { hash, mac, ethertype: packet::ARP }.on(behalf)
}

/// The seal of an IPv6 packet from `source` to the one receiver at `mac`.
#[inline(always)]
pub(crate) fn seal_ipv6(
    sender: &SlotEntry,
    behalf: Behalf,
    source: [u8; 16],
    (mac, destination): (Mac, [u8; 16]),
) -> u32 {
    let mut hash = SipHash13::new(sender.key);
    for address in [source, destination] {
        hash.write(word(&address, 0));
        hash.write(word(&address, 8));
    }
    Unfinished { hash, mac, ethertype: packet::IPV6 }.on(behalf)
}

#[inline(always)]
fn pair(source: [u8; 4], destination: [u8; 4]) -> u64 {
    u64::from(u32::from_le_bytes(source)) << 32 | u64::from(u32::from_le_bytes(destination))
}

/// Tells apart what may be sealed as the same bytes. Of other EtherTypes only the wire's broadcasts are, whole.
#[inline(always)]
const fn kind(ethertype: u16) -> u8 {
    match ethertype {
        packet::ARP => 1,
        packet::IPV4 => 2,
        packet::IPV6 => 3,
        _ => 0,
    }
}

#[inline(always)]
fn word(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(part(bytes, offset))
}

/// Of length and first bytes, the last ones among them where the frame is shorter. Its own function: it is long, and seldom needed.
#[inline(never)]
fn digest<P: Packet + ?Sized>(packet: &P, key: Key) -> u64 {
    let mut hash = SipHash13::new(key);
    let length = packet.len();
    hash.write(length as u64);
    // Not unrolled, which would make every program four times as long.
    for offset in (0..black_box(GROUP_BYTES).min(GROUP_BYTES)).step_by(WORD) {
        let Some(word) = packet.load_at(offset) else { break };
        hash.write(u64::from_le_bytes(word));
    }
    if let Some(word) = packet.load_at(length.saturating_sub(WORD)).filter(|_| length < GROUP_BYTES) {
        hash.write(u64::from_le_bytes(word));
    }
    hash.finish([0; 7])
}

/// SipHash-1-3 of words and a last seven bytes, a pseudorandom function made for short inputs (Aumasson and Bernstein, 2012).
#[derive(Clone, Copy)]
pub struct SipHash13 {
    v: [u64; 4],
    bytes: u64,
}

impl SipHash13 {
    /// Starts with a secret key.
    #[must_use]
    #[inline(always)]
    pub const fn new([k0, k1]: Key) -> Self {
        let v = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        Self { v, bytes: 0 }
    }

    /// Takes in eight bytes, read as a little-endian word.
    #[inline(always)]
    pub const fn write(&mut self, word: u64) {
        self.bytes += WORD as u64;
        self.compress(word);
    }

    /// The hash of what was written and of `last`.
    #[must_use]
    #[inline(always)]
    pub fn finish(mut self, last: [u8; 7]) -> u64 {
        // By copies: of single bytes LLVM would put the word together one by one.
        let mut word = [0; WORD];
        word[..last.len()].copy_from_slice(&last);
        word[last.len()] = (self.bytes + last.len() as u64) as u8;
        self.compress(u64::from_le_bytes(word));
        self.v[2] ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3]
    }

    #[inline(always)]
    const fn compress(&mut self, word: u64) {
        self.v[3] ^= word;
        self.round();
        self.v[0] ^= word;
    }

    #[inline(always)]
    const fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.v;
        a = a.wrapping_add(b);
        c = c.wrapping_add(d);
        b = b.rotate_left(13) ^ a;
        d = d.rotate_left(16) ^ c;
        a = a.rotate_left(32).wrapping_add(d);
        c = c.wrapping_add(b);
        d = d.rotate_left(21) ^ a;
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.v = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use core::hash::Hasher as _;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_siphash_1_3(key in any::<Key>(), words in proptest::collection::vec(any::<u64>(), 0..40), last: [u8; 7]) {
            let mut ours = SipHash13::new(key);
            let mut theirs = siphasher::sip::SipHasher13::new_with_keys(key[0], key[1]);
            for word in words {
                ours.write(word);
                theirs.write(&word.to_le_bytes());
            }
            theirs.write(&last);
            prop_assert_eq!(ours.finish(last), theirs.finish());
        }
    }
}
