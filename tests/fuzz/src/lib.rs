//! The verdict under a fuzzer: it never panics, it reads nothing outside of the frame, and what it accepts keeps the rules as
//! another reader of the frame sees them.

pub mod input;
pub mod oracle;
pub mod request;
pub mod world;

mod own;

pub use input::Input;

use ipvlan_common::{decide, packet::Packet};

/// No frame that the kernel hands to a program is longer than this and all headers that a verdict follows.
const FARTHEST: usize = 1 << 18;

/// A frame that holds whoever reads it to what the kernel's side can serve.
struct Strict<'a>(&'a [u8]);

impl Packet for Strict<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        assert!(N.is_multiple_of(2) && offset.is_multiple_of(2), "{N} bytes at {offset}: not by pairs");
        self.load_at(offset)
    }

    fn load_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        assert!(N > 0 && offset < FARTHEST, "{N} bytes at {offset}");
        self.0.load(offset)
    }
}

/// Judges what `bytes` describe, if they do.
///
/// # Panics
/// Where the verdict breaks a rule.
pub fn judge(bytes: &[u8]) {
    let Some(input) = Input::decode(bytes) else {
        return;
    };
    let (me, world) = (input.identity(), input.world());
    let verdict = decide(input.hook, &Strict(input.frame), &input.metadata, &me, &world);
    if let Err(broken) = oracle::check(&input, verdict) {
        panic!("{broken}: {verdict:?} of {input:x?}");
    }
}
