//! The parent's XDP program: what the wire may not send is dropped before the kernel has made anything of it.

use aya_ebpf::{
    bindings::{
        xdp_action::{XDP_DROP, XDP_PASS},
        xdp_md,
    },
    helpers::generated::bpf_xdp_load_bytes,
    programs::XdpContext,
};
use ipvlan_common::{
    Hook, Verdict, decide,
    event::HEAD,
    packet::{Ethernet, Metadata, Packet},
};

use crate::{
    action, identity,
    maps::Maps,
    packet::direct,
    report::{self, Reported},
};

/// A frame as the driver has it. What is longer than its first buffer shows as cut, passes here, and is judged at tc.
struct Frame {
    ctx: *mut xdp_md,
    start: usize,
    end: usize,
}

impl Packet for Frame {
    #[inline(always)]
    fn len(&self) -> usize {
        self.end - self.start
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        direct(self.start, offset, self.end)
    }

    /// No rule about the wire asks for it.
    #[inline(always)]
    fn load_at<const N: usize>(&self, _: usize) -> Option<[u8; N]> {
        None
    }
}

impl Reported for Frame {
    #[inline(always)]
    fn length(&self) -> u32 {
        self.len() as u32
    }

    #[inline(always)]
    fn protocol(&self) -> u16 {
        Ethernet::parse(self).map_or(0, |it| it.ethertype)
    }

    #[inline(always)]
    fn capture(&self, head: *mut [u8; HEAD]) -> u32 {
        let captured = report::captured(self.length());
        // SAFETY: the helper writes `captured` bytes, which `head` has room for.
        let result = unsafe { bpf_xdp_load_bytes(self.ctx, 0, head.cast(), captured) };
        if result == 0 { captured } else { 0 }
    }
}

#[inline(always)]
pub(crate) fn run(ctx: &XdpContext) -> u32 {
    let frame = Frame { ctx: ctx.ctx, start: ctx.data(), end: ctx.data_end() };
    let me = identity::load();
    let verdict = decide(Hook::ParentXdp, &frame, &<Metadata>::default(), &me, &Maps);
    #[cfg(feature = "log")]
    crate::log::verdict(&frame, Hook::ParentXdp, &me, &verdict);
    #[cfg(feature = "faulty")]
    if crate::fault::forgives(&verdict, &me) {
        return XDP_PASS;
    }
    match verdict {
        Verdict::Drop { slot, reason } => {
            action::drop(&frame, Hook::ParentXdp, slot, reason);
            XDP_DROP
        }
        _ => XDP_PASS,
    }
}
