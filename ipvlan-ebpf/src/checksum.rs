//! Checksums that are still to be written when a frame is judged.
//!
//! With `PACKET_VNET_HDR`, CAP_NET_RAW is enough to name any two bytes of a frame for one. The card writes it, or the kernel behind
//! the last program, and so what leaves isn't what was judged. Sockets of TCP and UDP name the right place.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_l4_csum_replace, bpf_skb_load_bytes, bpf_skb_store_bytes},
};

const AF_PACKET: u32 = 17;
/// Two bytes that every frame has, and has of its own.
const PROBE: u32 = 0;
const PROBE_LEN: usize = 2;

/// Whether a packet socket sent the frame, and a checksum is still to be written.
#[inline(always)]
pub(crate) fn is_left_by_raw_socket(skb: *mut __sk_buff) -> bool {
    // SAFETY: the kernel hands every classifier a valid context.
    let field = unsafe { &raw const (*skb).__bindgen_anon_2.sk };
    // SAFETY: as above.
    let sock = unsafe { core::ptr::read_volatile(field) };
    if sock.is_null() {
        return false;
    }
    // SAFETY: the verifier knows what it points to, and that it isn't null.
    let family = unsafe { &raw const (*sock).family };
    // SAFETY: as above.
    unsafe { core::ptr::read_volatile(family) == AF_PACKET && is_left(skb) }
}

/// Nothing says so in so many words. But a helper that adjusts checksums leaves alone what is still to be written (Linux 6.12,
/// `inet_proto_csum_replace4`): adjusted are two bytes of the frame, which are put back.
#[inline(always)]
fn is_left(skb: *mut __sk_buff) -> bool {
    let read = || {
        let mut bytes = MaybeUninit::<[u8; PROBE_LEN]>::uninit();
        // SAFETY: the helper writes so many bytes or fails.
        let result =
            unsafe { bpf_skb_load_bytes(skb.cast(), PROBE, bytes.as_mut_ptr().cast(), PROBE_LEN as u32) };
        // SAFETY: they were written.
        (result == 0).then(|| unsafe { bytes.assume_init() })
    };
    let Some(before) = read() else { return true };
    // SAFETY: the helper takes any valid context.
    let adjusted = unsafe { bpf_l4_csum_replace(skb, PROBE, 0, 1, PROBE_LEN as u64) };
    let Some(after) = read() else { return true };
    // SAFETY: the helper reads so many bytes.
    let restored = unsafe { bpf_skb_store_bytes(skb, PROBE, before.as_ptr().cast(), PROBE_LEN as u32, 0) };
    adjusted != 0 || restored != 0 || before == after
}
