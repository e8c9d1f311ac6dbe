//! A slave's own programs, which say whose it is and call those that all slaves share. In an object of their own: it is all that the
//! controller has to read to attach an endpoint.
#![no_std]
#![no_main]
#![expect(clippy::needless_pass_by_value, reason = "the classifier macro hands the context over by value")]

mod identity;
mod license;
mod shared;

use core::ptr;

use aya_ebpf::{macros::classifier, programs::TcContext};
use shared::{NOWHERE, Shared, Words};

#[classifier]
fn slave_egress(ctx: TcContext) -> i32 {
    hand_over(&ctx, Shared::Egress)
}

#[classifier]
fn slave_ingress(ctx: TcContext) -> i32 {
    hand_over(&ctx, Shared::Ingress)
}

/// Leaves the frame to a shared program. Where there is none, nothing passes.
#[inline(always)]
fn hand_over(ctx: &TcContext, to: Shared) -> i32 {
    let me = identity::load();
    let [a, b, c, d, e, f] = me.mac;
    let [g, h] = me.pad;
    let slots = bytemuck::cast([me.slot, me.parent]);
    let words: Words =
        [slots, me.group_interval, u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])];
    for (index, word) in words.into_iter().enumerate() {
        // SAFETY: the kernel hands every classifier a valid context, with five scratch words.
        let scratch = unsafe { &raw mut (*ctx.skb.skb).cb[index] };
        // SAFETY: as above; volatile, since the verifier refuses stores merged into one.
        unsafe { ptr::write_volatile(scratch, word) };
    }
    shared::call(ctx, to);
    NOWHERE
}
