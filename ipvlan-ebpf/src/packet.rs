//! A frame, read from the context.

use core::{mem::MaybeUninit, ptr};

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_skb_load_bytes, bpf_skb_pull_data},
};
use ipvlan_common::packet::{ETHERNET_LEN, HEADERS_LEN, Packet};

/// Reads a context field. Volatile: LLVM would merge neighbouring fields into a load that the verifier refuses.
macro_rules! field {
    ($skb:expr, $field:ident) => {{
        // SAFETY: the kernel hands every classifier a valid context.
        let field = unsafe { &raw const (*$skb).$field };
        // SAFETY: as above; the verifier rewrites the load into one from the socket buffer.
        unsafe { core::ptr::read_volatile(field) }
    }};
}
pub(crate) use field;

/// The frame behind a context.
pub(crate) struct Frame {
    skb: *mut __sk_buff,
}

impl Frame {
    #[inline(always)]
    pub(crate) fn new(skb: *mut __sk_buff) -> Self {
        // Where it fails, the loads find too little.
        let _pulled = pull(skb, field!(skb, len).min(HEADERS_LEN as u32));
        Self { skb }
    }
}

/// Moves the first bytes into the linear part, which is the kernel's own. What lies behind it may be shared memory, as with
/// PACKET_TX_RING, that the sender changes once it was judged.
#[inline(always)]
fn pull(skb: *mut __sk_buff, end: u32) -> bool {
    let linear = field!(skb, data_end) - field!(skb, data);
    // SAFETY: the helper takes any valid context.
    end <= linear || unsafe { bpf_skb_pull_data(skb, end) } == 0
}

/// Copies `length` bytes to `bytes`, which has room for them; returns whether they are there. Its own function, since it is asked for
/// at many places.
#[inline(never)]
fn copy(skb: *mut __sk_buff, offset: u32, bytes: *mut u8, length: u32) -> bool {
    if !pull(skb, offset + length) {
        return false;
    }
    // SAFETY: the helper writes `length` bytes or fails.
    unsafe { bpf_skb_load_bytes(skb.cast(), offset, bytes.cast(), length) == 0 }
}

/// The `N` bytes at `offset` of what is at `start`, if `end` isn't before theirs: in words, as far as an IP header would have them
/// aligned, else in halves.
#[inline(always)]
pub(crate) fn direct<const N: usize>(start: usize, offset: usize, end: usize) -> Option<[u8; N]> {
    const { assert!(N.is_multiple_of(2)) };
    let first = start + offset;
    if first + N > end {
        return None;
    }
    let mut bytes = [0; N];
    let (before, words) = bytes.split_at_mut(if offset % 4 == ETHERNET_LEN % 4 { 0 } else { 2 });
    let (words, after) = words.as_chunks_mut::<4>();
    let behind = before.len() + 4 * words.len();
    for (to, at) in words.iter_mut().zip((first + before.len()..).step_by(4)) {
        // SAFETY: inside `first..first + N`, which the kernel has there; it aligns IP headers (NET_IP_ALIGN) for hardware that wants
        // words aligned, and the verifier knows which does.
        *to = unsafe { ptr::read(at as *const u32) }.to_ne_bytes();
    }
    for (half, at) in [(before, first), (after, first + behind)] {
        if let Ok(to) = <&mut [u8; 2]>::try_from(half) {
            // SAFETY: as above.
            *to = unsafe { ptr::read(at as *const u16) }.to_ne_bytes();
        }
    }
    Some(bytes)
}

impl Packet for Frame {
    #[inline(always)]
    fn len(&self) -> usize {
        field!(self.skb, len) as usize
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        const { assert!(N <= HEADERS_LEN) };
        direct(field!(self.skb, data) as usize, offset, field!(self.skb, data_end) as usize)
    }

    /// By the helper, which checks what the verifier can't.
    #[inline(always)]
    fn load_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        let copied = copy(self.skb, offset as u32, bytes.as_mut_ptr().cast(), N as u32);
        // SAFETY: all of it was written.
        copied.then(|| unsafe { bytes.assume_init() })
    }
}
