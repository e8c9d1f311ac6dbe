//! A frame, read from the context.

use core::{mem::MaybeUninit, ptr};

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_skb_load_bytes};
use ipvlan_common::packet::Packet;

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
    pub(crate) const fn new(skb: *mut __sk_buff) -> Self {
        Self { skb }
    }
}

impl Packet for Frame {
    #[inline(always)]
    fn len(&self) -> usize {
        field!(self.skb, len) as usize
    }

    /// Straight from the linear part, by two bytes, which every architecture can load there; by the helper where the bytes
    /// lie in a fragment.
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        const { assert!(N.is_multiple_of(2)) };
        let start = field!(self.skb, data) as usize + offset;
        if start + N > field!(self.skb, data_end) as usize {
            return self.load_at(offset);
        }
        let mut bytes = [0; N];
        for (index, pair) in bytes.chunks_exact_mut(2).enumerate() {
            let half = (start as *const u16).wrapping_add(index);
            // SAFETY: inside `start..start + N`, which is in the linear part; a header starts at an even address.
            pair.copy_from_slice(&unsafe { ptr::read(half) }.to_ne_bytes());
        }
        Some(bytes)
    }

    #[inline(always)]
    fn load_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: the helper writes N bytes or fails.
        let result = unsafe {
            bpf_skb_load_bytes(self.skb.cast(), offset as u32, bytes.as_mut_ptr().cast(), N as u32)
        };
        // SAFETY: the helper has written all of it.
        (result == 0).then(|| unsafe { bytes.assume_init() })
    }
}
