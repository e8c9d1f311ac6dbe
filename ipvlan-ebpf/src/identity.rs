//! Whom this copy of the programs works for. The controller writes it into `.rodata` before the load; the verifier then
//! knows the values and drops the branches that they rule out.

use core::ptr;

use ipvlan_common::{Identity, SlotEntry};

const WORDS: usize = size_of::<Identity>() / size_of::<u64>();

/// All zero owns no address and no key, so a copy that was never given an identity lets nothing through.
#[unsafe(no_mangle)]
static IDENTITY: Identity = Identity {
    entry: SlotEntry {
        key: [0; 2],
        network: 0,
        flags: 0,
        ipv4: [0; 4],
        broadcast: [0; 4],
        ipv6: [0; 16],
        link_local: [0; 16],
    },
    netns: 0,
    group_interval: 0,
    slot: 0,
    parent: 0,
    mac: [0; 6],
    pad: [0; 2],
};

/// Volatile, since the compiler would otherwise fold the zeros above; by words, since that is what the verifier folds.
#[inline(always)]
pub(crate) fn load() -> Identity {
    let first = (&raw const IDENTITY).cast::<u64>();
    let words: [u64; WORDS] = core::array::from_fn(|index| {
        // SAFETY: `index` is inside the static.
        let word = unsafe { first.add(index) };
        // SAFETY: aligned, since the type has words in it, initialised, never written while a program runs.
        unsafe { ptr::read_volatile(word) }
    });
    bytemuck::cast(words)
}
