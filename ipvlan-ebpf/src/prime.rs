//! For tests only: BPF_PROG_TEST_RUN can't set `skb->hash` and `skb->tc_index`, so this program sets them, from the mark
//! and the priority that it is given, and tail-calls the program under test.
#![no_std]
#![no_main]
#![expect(clippy::needless_pass_by_value, reason = "the classifier macro hands the context over by value")]

use core::ptr;

use aya_ebpf::{
    bindings::TC_ACT_STOLEN,
    helpers::generated::bpf_set_hash,
    macros::{classifier, map},
    maps::ProgramArray,
    programs::TcContext,
};

#[map]
static UNDER_TEST: ProgramArray = ProgramArray::with_max_entries(1, 0);

#[classifier]
fn prime(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: the kernel hands every classifier a valid context.
    let mark = unsafe { &raw const (*skb).mark };
    // SAFETY: as above.
    let priority = unsafe { &raw const (*skb).priority };
    // SAFETY: as above.
    let hash = unsafe { ptr::read_volatile(mark) };
    // SAFETY: as above.
    let slot = unsafe { ptr::read_volatile(priority) };
    // SAFETY: as above.
    let tc_index = unsafe { &raw mut (*skb).tc_index };
    // SAFETY: as above.
    unsafe { ptr::write_volatile(tc_index, slot & 0xffff) };
    // SAFETY: the helper takes any valid context.
    unsafe { bpf_set_hash(skb, hash) };
    // SAFETY: the map's one element is a classifier.
    unsafe { UNDER_TEST.tail_call(&ctx, 0) };
    TC_ACT_STOLEN
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
