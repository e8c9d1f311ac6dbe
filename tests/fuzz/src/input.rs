//! What a fuzzer's bytes mean: a frame, behind a head of fixed size that says where it is met, and by whom.

use ipvlan_common::{
    Hook, Identity, Slot,
    packet::{Metadata, Sender},
};

use crate::world::{self, World};

const HEAD: usize = 14;
const LOOPED_BACK: u8 = 1 << 0;
const SENT_BY_SLAVE: u8 = 1 << 1;
const AFFORDS: u8 = 1 << 2;
const TAGGED: u8 = 1 << 3;
/// The hash is whatever `tc_index` seals with: found by chance never, and lost by the first change.
const SEALED: u8 = 1 << 4;
const FORWARDED: u8 = 1 << 5;
/// As [`SEALED`], with the seal of what the host sends to an endpoint.
const SEALED_BY_HOST: u8 = 1 << 6;

/// A frame at a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input<'a> {
    /// Where it is met.
    pub hook: Hook,
    /// By whose program.
    pub me: Slot,
    /// Flags of that slot which are the other way round than in the world.
    pub flags: u8,
    /// Whether the sender may send another broadcast.
    pub affords_group: bool,
    /// What is beside the frame.
    pub metadata: Metadata,
    /// The frame.
    pub frame: &'a [u8],
}

impl<'a> Input<'a> {
    /// Any bytes but too few are an input.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (head, frame) = bytes.split_first_chunk::<HEAD>()?;
        let [hook, me, flags, bits, v1, v0, p1, p0, t1, t0, hash @ ..] = *head;
        let tc_index = Slot::from_be_bytes([t1, t0]);
        let hash = u32::from_be_bytes(hash);
        let metadata = Metadata {
            protocol: u16::from_be_bytes([p1, p0]),
            vlan: (bits & TAGGED != 0).then(|| u16::from_be_bytes([v1, v0]) & 0xfff),
            hash,
            tc_index,
            looped_back: bits & LOOPED_BACK != 0,
            unfinished: false,
            origin: match bits & (SENT_BY_SLAVE | FORWARDED) {
                0 => Sender::Host,
                FORWARDED => Sender::Forwarded,
                _ => Sender::Slave,
            },
        };
        let mut input = Self {
            hook: Hook::ALL[usize::from(hook) % Hook::ALL.len()],
            me: world::FIRST + Slot::from(me) % world::LAST,
            flags,
            affords_group: bits & AFFORDS != 0,
            metadata,
            frame,
        };
        if bits & SEALED != 0 {
            input.metadata.hash = input.world().seal(tc_index, frame);
        }
        if bits & SEALED_BY_HOST != 0 {
            input.metadata.hash = input.world().seal_of_host(tc_index, frame);
        }
        Some(input)
    }

    /// The bytes that mean this input.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Metadata { protocol, vlan, hash, tc_index, looped_back, origin, .. } = self.metadata;
        let sealed = hash == self.world().seal(tc_index, self.frame);
        let bits = [
            (looped_back, LOOPED_BACK),
            (origin == Sender::Slave, SENT_BY_SLAVE),
            (origin == Sender::Forwarded, FORWARDED),
            (hash == self.world().seal_of_host(tc_index, self.frame), SEALED_BY_HOST),
            (self.affords_group, AFFORDS),
            (vlan.is_some(), TAGGED),
            (sealed, SEALED),
        ];
        let bits = bits.into_iter().filter(|(set, _)| *set).fold(0, |bits, (_, bit)| bits | bit);
        let hook = Hook::ALL.iter().position(|hook| *hook == self.hook).unwrap_or_default();
        let me = self.me.saturating_sub(world::FIRST);
        let mut bytes = vec![hook as u8, me as u8, self.flags, bits];
        bytes.extend(vlan.unwrap_or_default().to_be_bytes());
        bytes.extend(protocol.to_be_bytes());
        bytes.extend(tc_index.to_be_bytes());
        bytes.extend(hash.to_be_bytes());
        bytes.extend(self.frame);
        bytes
    }

    /// Whose program looks at it.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let mut identity = world::identity(self.me);
        identity.entry.flags ^= world::flips(self.flags);
        identity
    }

    /// What lookups find.
    #[must_use]
    pub fn world(&self) -> World {
        World { me: (self.me, self.identity().entry), affords_group: self.affords_group }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let metadata =
            Metadata { protocol: 0x800, hash: 7, tc_index: 3, vlan: Some(5), ..Metadata::default() };
        for hook in Hook::ALL {
            let input = Input { hook, me: 4, flags: 6, affords_group: true, metadata, frame: &[1, 2, 3] };
            assert_eq!(Input::decode(&input.encode()), Some(input));
            let frame = &[7; 60];
            let hash = input.world().seal(3, frame);
            let metadata = Metadata { hash, looped_back: true, ..metadata };
            let input = Input { metadata, frame, ..input };
            assert_eq!(Input::decode(&input.encode()), Some(input));
        }
        assert_eq!(Input::decode(&[0; 13]), None);
    }
}
