//! The programs, but for the two of each slave's own (`slave.rs`): one entry point a hook, each parse → decide → act → count.
#![no_std]
#![no_main]
#![expect(clippy::needless_pass_by_value, reason = "the classifier macro hands the context over by value")]

mod action;
mod answer;
mod checksum;
mod endpoint;
#[cfg(feature = "faulty")]
mod fault;
mod identity;
mod license;
#[cfg(feature = "log")]
mod log;
mod maps;
mod metadata;
mod netns;
mod packet;
mod report;
mod seal;
mod shared;
mod xdp;

use aya_ebpf::{
    bindings::__sk_buff,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use ipvlan_common::{Hook, Identity, Verdict};
use shared::{NOWHERE, Shared};

/// Called by all slaves' egress programs.
#[classifier]
fn endpoint_egress(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    let Some(me) = endpoint::identity(skb) else { return NOWHERE };
    if ipvlan_common::resolve::asks(&packet::Frame::new(skb), &me, &maps::Maps) {
        shared::call(&ctx, Shared::Request);
    }
    run(Hook::SlaveEgress, skb, &endpoint::leaves_requests(me))
}

/// Called by all slaves' ingress programs.
#[classifier]
fn endpoint_ingress(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    let Some(me) = endpoint::identity(skb) else { return NOWHERE };
    run(Hook::SlaveIngress, skb, &me)
}

/// Called by `endpoint_egress`.
#[classifier]
fn endpoint_request(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    let Some(me) = endpoint::identity(skb) else { return NOWHERE };
    carry_out(endpoint::judge_request(skb, &me), Hook::SlaveEgress, skb, &packet::Frame::new(skb), &me)
}

#[classifier]
fn parent_ingress(ctx: TcContext) -> i32 {
    run(Hook::ParentIngress, ctx.skb.skb, &identity::load())
}

#[classifier]
fn parent_egress(ctx: TcContext) -> i32 {
    run(Hook::ParentEgress, ctx.skb.skb, &identity::load())
}

#[classifier]
fn loopback_egress(ctx: TcContext) -> i32 {
    run(Hook::LoopbackEgress, ctx.skb.skb, &identity::load())
}

#[xdp]
fn parent_xdp(ctx: XdpContext) -> u32 {
    xdp::run(&ctx)
}

/// Run by the controller, never attached: where the kernel keeps a socket's netns.
#[classifier]
fn socket_netns(ctx: TcContext) -> i32 {
    netns::report(ctx.skb.skb)
}

#[inline(always)]
fn run(hook: Hook, skb: *mut __sk_buff, me: &Identity) -> i32 {
    let frame = packet::Frame::new(skb);
    let verdict = ipvlan_common::decide(hook, &frame, &metadata::read(hook, skb, me), me, &maps::Maps);
    carry_out(verdict, hook, skb, &frame, me)
}

#[inline(always)]
#[cfg_attr(
    not(any(feature = "log", feature = "faulty")),
    expect(unused_variables, reason = "only those builds look at the frame")
)]
fn carry_out(verdict: Verdict, hook: Hook, skb: *mut __sk_buff, frame: &packet::Frame, me: &Identity) -> i32 {
    #[cfg(feature = "log")]
    log::verdict(frame, hook, me, &verdict);
    #[cfg(feature = "faulty")]
    if fault::forgives(&verdict, me) {
        fault::accept(hook, skb, frame, me);
        return action::GO_ON;
    }
    action::act(verdict, hook, skb, me)
}
