//! For benchmarks only: what the programs' cost is held against, and a frame of another sender at each run of BPF_PROG_TEST_RUN's
//! `repeat`, which by itself would measure one endpoint's entries in the CPU's nearest cache.
#![no_std]
#![no_main]
#![expect(clippy::needless_pass_by_value, reason = "the macros hand the context over by value")]

mod license;

use core::ptr;

use aya_ebpf::{
    bindings::{
        TC_ACT_UNSPEC,
        xdp_action::{XDP_DROP, XDP_PASS},
    },
    helpers::generated::{bpf_get_prandom_u32, bpf_redirect, bpf_set_hash},
    macros::{classifier, map, xdp},
    maps::{Array, HashMap, PerCpuArray, ProgramArray},
    programs::{TcContext, XdpContext},
};

/// Where an IPv4 frame has its source.
const SOURCE: usize = 26;
/// An endpoint: its address as it is in a frame, its slot, and the hash of its seal.
type Sender = [u32; 3];
/// Among how many to choose, less one; where in the frame the address goes; and the program under test, by its index.
type Choice = [u32; 3];

#[map]
static KNOWN: HashMap<[u8; 4], u32> = HashMap::with_max_entries(1 << 17, 0);
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
#[map]
static SENDERS: Array<Sender> = Array::with_max_entries(1 << 16, 0);
#[map]
static CHOICE: Array<Choice> = Array::with_max_entries(1, 0);
#[map]
static UNDER_TEST: ProgramArray = ProgramArray::with_max_entries(16, 0);

#[classifier]
fn empty(_: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

#[xdp]
fn empty_xdp(_: XdpContext) -> u32 {
    XDP_PASS
}

/// Where frames go that the wire sends; 0 for nowhere.
#[unsafe(no_mangle)]
static WIRE: u32 = 0;

/// Sends a frame that the kernel makes for it to the wire; at the other end, where it goes nowhere, the least that a filter does who
/// refuses and counts.
#[xdp]
fn send_xdp(ctx: XdpContext) -> u32 {
    // SAFETY: aligned and initialised; volatile, since the compiler would otherwise fold the zero above.
    let wire = unsafe { ptr::read_volatile(&raw const WIRE) };
    if wire == 0 {
        if is_ipv4(&ctx)
            && let Some(counter) = COUNTERS.get_ptr_mut(0)
        {
            // SAFETY: the element is this CPU's own.
            unsafe { *counter += 1 };
        }
        return XDP_DROP;
    }
    // SAFETY: the helper has no precondition.
    unsafe { bpf_redirect(wire, 0) as u32 }
}

#[inline(always)]
fn is_ipv4(ctx: &XdpContext) -> bool {
    let ethertype = ctx.data() + 12;
    // SAFETY: inside the frame, whatever its alignment.
    ethertype + 2 <= ctx.data_end() && unsafe { ptr::read_unaligned(ethertype as *const [u8; 2]) } == [8, 0]
}

/// The least that a filter with counters does: one exact match and one count.
#[classifier]
fn lookup_and_count(ctx: TcContext) -> i32 {
    let Ok(source) = ctx.load::<[u8; 4]>(SOURCE) else { return TC_ACT_UNSPEC };
    // SAFETY: nobody writes to the map while it is read.
    if unsafe { KNOWN.get(source) }.is_some()
        && let Some(counter) = COUNTERS.get_ptr_mut(0)
    {
        // SAFETY: the element is this CPU's own.
        unsafe { *counter += 1 };
    }
    TC_ACT_UNSPEC
}

/// Makes it a frame of somebody's among so many, or to somebody, and hands it to the program under test.
#[classifier]
fn anybody(ctx: TcContext) -> i32 {
    let Some(&[mask, place, program]) = CHOICE.get(0) else { return TC_ACT_UNSPEC };
    // SAFETY: the helper has no precondition.
    let random = unsafe { bpf_get_prandom_u32() };
    let Some(&[address, slot, hash]) = SENDERS.get(random & mask) else { return TC_ACT_UNSPEC };
    let skb = ctx.skb.skb;
    if ctx.store(place as usize, &address, 0).is_err() {
        return TC_ACT_UNSPEC;
    }
    // SAFETY: the kernel hands every classifier a valid context.
    let tc_index = unsafe { &raw mut (*skb).tc_index };
    // SAFETY: as above; volatile, since the verifier wants the store as it is.
    unsafe { ptr::write_volatile(tc_index, slot) };
    // SAFETY: the helper takes any valid context.
    unsafe { bpf_set_hash(skb, hash) };
    // SAFETY: the map's elements are classifiers.
    unsafe { UNDER_TEST.tail_call(&ctx, program) };
    TC_ACT_UNSPEC
}
