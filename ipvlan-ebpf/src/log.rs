//! For debugging, in builds with the feature `log` alone: each verdict as a line of aya-log's.

use aya_log_ebpf::debug;
use ipvlan_common::{
    Hook, Identity, Verdict, log,
    packet::{ARP, Arp, Ethernet, IPV4, IPV6, Ipv4, Ipv6, Packet},
};

/// Of the two protocol addresses, sender's first.
type Addresses = [[u8; 16]; 2];

/// Says what becomes of a frame.
#[inline(always)]
pub(crate) fn verdict(packet: &impl Packet, hook: Hook, me: &Identity, verdict: &Verdict) {
    let slot = if let Verdict::Drop { slot, .. } = verdict { *slot } else { me.slot };
    let mut addresses = Addresses::default();
    read(packet, &mut addresses);
    line(hook as u32, u32::from(slot), log::number(verdict), &addresses);
}

/// Stay unspecified where there are none. One load for both: of two, LLVM makes paths that the verifier can't follow.
#[inline(always)]
fn read(packet: &impl Packet, addresses: &mut Addresses) {
    match Ethernet::parse(packet).map(|it| it.ethertype) {
        Ok(ARP) => {
            if let Some([a, b, c, d, _, _, _, _, _, _, e, f, g, h]) = packet.load(Arp::SENDER) {
                write(addresses, [mapped([a, b, c, d]), mapped([e, f, g, h])]);
            }
        }
        Ok(IPV4) => {
            if let Some([a, b, c, d, e, f, g, h]) = packet.load(Ipv4::ADDRESSES) {
                write(addresses, [mapped([a, b, c, d]), mapped([e, f, g, h])]);
            }
        }
        Ok(IPV6) => {
            if let Some(both) = packet.load::<{ size_of::<Addresses>() }>(Ipv6::ADDRESSES) {
                write(addresses, bytemuck::cast(both));
            }
        }
        _ => {}
    }
}

/// Volatile: LLVM would merge the stores of all branches into one of what a register happens to hold, even a pointer.
#[inline(always)]
fn write(to: &mut Addresses, addresses: Addresses) {
    // SAFETY: a reference is valid and aligned.
    unsafe { core::ptr::write_volatile(to, addresses) };
}

/// So that both families are of one size.
#[inline(always)]
fn mapped([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// Once in a program, however many verdicts end here.
#[inline(never)]
fn line(hook: u32, slot: u32, verdict: u32, addresses: &Addresses) {
    let [source, destination] = *addresses;
    // The macro asks for a context, and doesn't use it.
    debug!((), "{} {} {} {:i} {:i}", hook, slot, verdict, source, destination);
}
