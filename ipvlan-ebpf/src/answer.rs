//! Requests for a neighbour's address, made into what the verdict says.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_INGRESS, BPF_F_RECOMPUTE_CSUM},
    helpers::generated::{bpf_redirect, bpf_skb_store_bytes},
};
use ipvlan_common::{
    Hook,
    packet::Frame,
    resolve::{self, ArpRequest, Solicitation},
    types::Mac,
};

use crate::packet::{self, field};

/// Makes the reply of it. Its own function: the two replies need stack.
#[inline(never)]
pub(crate) fn write(skb: *mut __sk_buff, mac: &Mac) {
    let packet = packet::Frame::new(skb);
    let Ok(frame) = Frame::parse(&packet) else { return };
    if let Some(request) = ArpRequest::parse(&frame) {
        store(skb, &request.reply(*mac));
    } else if let Some(request) = Solicitation::parse(&frame) {
        store(skb, &request.reply(*mac));
    }
}

/// Sends it to another MAC.
#[inline(always)]
pub(crate) fn address(skb: *mut __sk_buff, destination: Mac) {
    store(skb, &destination);
}

/// Sends it to its group again.
#[inline(always)]
pub(crate) fn restore(skb: *mut __sk_buff) {
    let packet = packet::Frame::new(skb);
    if let Some(group) = Frame::parse(&packet).ok().and_then(|frame| resolve::group(&frame)) {
        address(skb, group);
    }
}

/// Has it go back to where it came from: up an endpoint's stack, or out to the wire.
#[inline(always)]
pub(crate) fn send_back(hook: Hook, skb: *mut __sk_buff) -> i32 {
    let flags = if hook == Hook::SlaveEgress { u64::from(BPF_F_INGRESS) } else { 0 };
    let ifindex = field!(skb, ifindex);
    // SAFETY: the helper has no precondition.
    unsafe { bpf_redirect(ifindex, flags) as i32 }
}

/// Where it fails, the frame's seal doesn't fit it, and it arrives nowhere.
#[inline(always)]
fn store<const N: usize>(skb: *mut __sk_buff, bytes: &[u8; N]) {
    // SAFETY: the helper reads so many bytes.
    let _stored = unsafe {
        bpf_skb_store_bytes(skb, 0, bytes.as_ptr().cast(), N as u32, u64::from(BPF_F_RECOMPUTE_CSUM))
    };
}
