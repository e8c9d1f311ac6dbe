//! Checksums that somebody else is to write: a sender that asks for one, and a card that doesn't.

use std::{ffi::CString, os::fd::AsRawFd as _};

use anyhow::{Context as _, Result, ensure};
use nix::{
    errno::Errno,
    libc,
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, socket},
};

use super::packet::{PacketSocket, ethertype};

/// `struct virtio_net_hdr`, as packet sockets with `PACKET_VNET_HDR` have it in front of each frame, in the machine's byte order.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct VirtioNetHeader {
    flags: u8,
    gso_type: u8,
    header_length: u16,
    gso_size: u16,
    checksum_start: u16,
    checksum_offset: u16,
}

const NEEDS_CHECKSUM: u8 = 1;

impl PacketSocket {
    /// Sends `frame` and asks for a checksum over all from `start` on, to be written `offset` bytes behind that.
    ///
    /// # Errors
    /// Fails if the kernel can't send. Frames that a program or the driver drops are sent.
    pub fn send_with_checksum(&self, frame: &[u8], start: u16, offset: u16) -> Result<()> {
        let header = VirtioNetHeader {
            flags: NEEDS_CHECKSUM,
            gso_type: 0,
            header_length: 0,
            gso_size: 0,
            checksum_start: start,
            checksum_offset: offset,
        };
        let on: libc::c_int = 1;
        self.set_to(libc::SOL_PACKET, libc::PACKET_VNET_HDR, &on).context("set PACKET_VNET_HDR")?;
        let bytes = [bytemuck::bytes_of(&header), frame].concat();
        self.send_bytes(&bytes, ethertype(frame)?, MsgFlags::empty()).map(drop)
    }
}

/// Two bytes to put behind `covered`, whose checksum then is `wanted`.
#[must_use]
pub fn filler(covered: &[u8], wanted: u16) -> [u8; 2] {
    let words =
        covered.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum = words.sum::<u32>() + u32::from(wanted);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // As little as any other sum can it be all ones.
    (!(sum as u16)).to_be_bytes()
}

/// What an interface can do in the kernel's place, by the number of ethtool's command that switches it.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Offload {
    /// `ETHTOOL_STXCSUM`: off, the kernel writes the checksums of what is sent itself.
    TransmitChecksums = 0x17,
    /// `ETHTOOL_SGRO`: on, a veth polls for what it receives, and takes XDP frames.
    GenericReceive = 0x2c,
}

/// Switches `offload` of `interface`, in the namespace of the calling thread.
///
/// # Errors
/// Fails without CAP_NET_ADMIN or such an interface.
pub fn switch(interface: &str, offload: Offload, on: bool) -> Result<()> {
    const SIOCETHTOOL: libc::c_ulong = 0x8946;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let name = CString::new(interface)?;
    ensure!(
        name.as_bytes_with_nul().len() <= libc::IFNAMSIZ,
        "{interface} is too long for an interface's name"
    );
    let mut value = [offload as u32, u32::from(on)];
    // SAFETY: all zero is a valid value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
    // SAFETY: the request and the value that it points to outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    Errno::result(result).with_context(|| format!("switch {offload:?} of {interface}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filler_makes_the_checksum() {
        let checksum = |bytes: &[u8]| {
            let sum = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum::<u32>();
            let sum = (sum & 0xffff) + (sum >> 16);
            !(((sum & 0xffff) + (sum >> 16)) as u16)
        };
        for wanted in [0x010c, 0x0102, 0xfffe] {
            let covered = [0xde, 0xad, 0xbe, 0xef, 0x01, 0x02];
            let whole = [&covered[..], &filler(&covered, wanted)].concat();
            assert_eq!(checksum(&whole), wanted);
        }
    }
}
