//! For tests only: BPF_PROG_TEST_RUN can't set what the kernel keeps beside a frame, nor show it. This program sets it, as the
//! context's scratch words say, and tail-calls the program under test; run again on the same frame, as `repeat` has it, it leaves
//! there what the program under test has made of it.
#![no_std]
#![no_main]
#![expect(clippy::needless_pass_by_value, reason = "the classifier macro hands the context over by value")]

mod license;

use core::ptr;

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_STOLEN},
    helpers::generated::{bpf_set_hash, bpf_skb_change_tail, bpf_skb_change_type, bpf_skb_vlan_push},
    macros::{classifier, map},
    maps::ProgramArray,
    programs::TcContext,
};

/// Scratch words: the seal, in and out,
const HASH: usize = 0;
const TC_INDEX: usize = 1;
/// the frame's length, since the kernel's test run itself refuses some short ones,
const LENGTH: usize = 2;
/// an offloaded VLAN tag, with this bit, or 0 for none,
const VLAN: usize = 3;
const VLAN_PRESENT: u32 = 1 << 16;
/// In the same word: that the frame has the packet type of what a stack sends.
const SENT: u32 = 1 << 17;
/// and the program under test, by its index; [`PRIMED`] the second time.
const PROGRAM: usize = 4;
const PRIMED: u32 = u32::MAX;

const ETH_P_8021Q: u16 = 0x8100;
const PACKET_HOST: u32 = 0;

#[map]
static UNDER_TEST: ProgramArray = ProgramArray::with_max_entries(256, 0);

#[classifier]
fn prime(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    let program = get(skb, PROGRAM);
    // SAFETY: the kernel hands every classifier a valid context.
    let tc_index = unsafe { &raw mut (*skb).tc_index };
    if program == PRIMED {
        // SAFETY: as above.
        let hash = unsafe { &raw const (*skb).hash };
        // SAFETY: as above.
        set(skb, HASH, unsafe { ptr::read_volatile(hash) });
        // SAFETY: as above.
        set(skb, TC_INDEX, unsafe { ptr::read_volatile(tc_index) });
        return TC_ACT_STOLEN;
    }
    // SAFETY: as above.
    let length = unsafe { &raw const (*skb).len };
    // SAFETY: as above.
    if get(skb, LENGTH) != unsafe { ptr::read_volatile(length) } {
        // SAFETY: the helper takes any valid context.
        unsafe { bpf_skb_change_tail(skb, get(skb, LENGTH), 0) };
    }
    let vlan = get(skb, VLAN);
    if vlan & VLAN_PRESENT != 0 {
        // SAFETY: as above.
        unsafe { bpf_skb_vlan_push(skb, ETH_P_8021Q.to_be(), vlan as u16) };
    }
    if vlan & SENT != 0 {
        // SAFETY: as above.
        unsafe { bpf_skb_change_type(skb, PACKET_HOST) };
    }
    // SAFETY: the kernel hands every classifier a valid context.
    unsafe { ptr::write_volatile(tc_index, get(skb, TC_INDEX) & 0xffff) };
    // SAFETY: the helper takes any valid context.
    unsafe { bpf_set_hash(skb, get(skb, HASH)) };
    set(skb, PROGRAM, PRIMED);
    // SAFETY: the map's elements are classifiers.
    unsafe { UNDER_TEST.tail_call(&ctx, program) };
    TC_ACT_STOLEN
}

#[inline(always)]
fn get(skb: *mut __sk_buff, index: usize) -> u32 {
    // SAFETY: the kernel hands every classifier a valid context, with five scratch words.
    let word = unsafe { &raw const (*skb).cb[index] };
    // SAFETY: as above; volatile, since the verifier refuses loads merged into one.
    unsafe { ptr::read_volatile(word) }
}

#[inline(always)]
fn set(skb: *mut __sk_buff, index: usize, value: u32) {
    // SAFETY: as in `get`.
    let word = unsafe { &raw mut (*skb).cb[index] };
    // SAFETY: as above.
    unsafe { ptr::write_volatile(word, value) };
}
