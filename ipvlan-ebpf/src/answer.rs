//! Requests for a neighbour's address, made into what the verdict says.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_INGRESS, BPF_F_RECOMPUTE_CSUM},
    helpers::generated::{bpf_redirect, bpf_skb_load_bytes, bpf_skb_store_bytes},
};
use ipvlan_common::{
    Hook,
    packet::Frame,
    resolve::{self, Edit},
    types::Mac,
};

use crate::packet::{self, field};

struct Skb(*mut __sk_buff);

impl Edit for Skb {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: the helper writes so many bytes, or fails.
        let result =
            unsafe { bpf_skb_load_bytes(self.0.cast(), offset as u32, bytes.as_mut_ptr().cast(), N as u32) };
        // SAFETY: all of it was written.
        (result == 0).then(|| unsafe { bytes.assume_init() })
    }

    /// Where it fails, the frame's seal doesn't fit it, and it arrives nowhere.
    #[inline(always)]
    fn store(&mut self, offset: usize, bytes: &[u8]) {
        let (start, length) = (bytes.as_ptr().cast(), bytes.len() as u32);
        // SAFETY: the helper reads so many bytes.
        let _stored = unsafe {
            bpf_skb_store_bytes(self.0, offset as u32, start, length, u64::from(BPF_F_RECOMPUTE_CSUM))
        };
    }
}

/// Makes the reply of it. Its own function, which needs stack.
#[inline(never)]
pub(crate) fn write(skb: *mut __sk_buff, mac: &Mac) {
    let _answered = resolve::answer(&mut Skb(skb), mac);
}

/// Sends it to another MAC.
#[inline(always)]
pub(crate) fn address(skb: *mut __sk_buff, destination: Mac) {
    Skb(skb).store(0, &destination);
}

/// Sends it to its group again.
#[inline(always)]
pub(crate) fn restore(skb: *mut __sk_buff) {
    let packet = packet::Frame::new(skb);
    if let Some(group) = Frame::parse(&packet).ok().and_then(|frame| resolve::group(&frame)) {
        address(skb, group);
    }
}

/// Has it turn round at its device: up the stack what goes out, and out what comes in.
#[inline(always)]
pub(crate) fn turn(hook: Hook, skb: *mut __sk_buff) -> i32 {
    let goes_out = matches!(hook, Hook::SlaveEgress | Hook::ParentEgress);
    let flags = if goes_out { u64::from(BPF_F_INGRESS) } else { 0 };
    let ifindex = field!(skb, ifindex);
    // SAFETY: the helper has no precondition.
    unsafe { bpf_redirect(ifindex, flags) as i32 }
}
