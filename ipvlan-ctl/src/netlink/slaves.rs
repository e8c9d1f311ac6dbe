//! Whose slaves are whose: an interface's number alone doesn't say it, since each namespace counts for itself.

use std::os::fd::{AsFd as _, AsRawFd as _};

use futures_util::{StreamExt as _, TryStreamExt as _};
use rtnetlink::{
    packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        link::{InfoData, InfoIpVlan, IpVlanFlags, IpVlanMode, LinkAttribute, LinkInfo, LinkMessage},
        nsid::{NsidAttribute, NsidMessage},
    },
};

use super::{Link, Netlink, NetlinkError, Netns};
use crate::model::Mode;

/// How a slave stands with its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlaveStanding {
    /// The mode that the kernel has for its parent; `None` for one that we don't know.
    pub mode: Option<Mode>,
    /// Whether the parent's flag is vepa.
    pub vepa: bool,
    /// Whether somebody has it take what isn't for it.
    pub promiscuous: bool,
}

impl Netlink {
    /// How the slave with an index stands, if it is one.
    pub fn slave_standing(&self, index: u32) -> Result<Option<SlaveStanding>, NetlinkError> {
        let request = self.handle.link().get().match_index(index);
        Ok(self.one_message(&format!("number {index}"), request)?.as_ref().and_then(standing))
    }

    /// The interfaces here that lie on interface number `parent` of `home`.
    pub fn uppers_on(&self, parent: u32, home: &Netns) -> Result<Vec<Link>, NetlinkError> {
        let dump = self.handle.link().get().execute().try_collect::<Vec<_>>();
        let messages = self.request(|| "list interfaces".into(), dump)?;
        let mut uppers = Vec::new();
        for message in &messages {
            let link = Link::from_message(message);
            if link.lower != Some(parent) {
                continue;
            }
            let lower_netns = message.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::LinkNetNsId(id) => Some(*id),
                _ => None,
            });
            // The kernel leaves the number out where both are in one namespace.
            if lower_netns == self.number_of(home)? {
                uppers.push(link);
            }
        }
        Ok(uppers)
    }

    /// The number that `netns` has here; `None` where it has none, as this one itself.
    fn number_of(&self, netns: &Netns) -> Result<Option<i32>, NetlinkError> {
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(netns.as_fd().as_raw_fd().cast_unsigned()));
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(message));
        request.header.flags = NLM_F_REQUEST;
        let answer = async {
            let mut handle = self.handle.clone();
            Ok(handle.request(request)?.next().await)
        };
        let answer = self.request(|| "ask for a namespace's number".into(), answer)?;
        let Some(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(answer))) =
            answer.map(|message| message.payload)
        else {
            return Ok(None);
        };
        Ok(answer.attributes.into_iter().find_map(|attribute| match attribute {
            NsidAttribute::Id(id) if id >= 0 => Some(id),
            _ => None,
        }))
    }
}

fn standing(message: &LinkMessage) -> Option<SlaveStanding> {
    let mut promiscuous = false;
    let mut data = None;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Promiscuity(count) => promiscuous = *count > 0,
            LinkAttribute::LinkInfo(infos) => {
                data = infos.iter().find_map(|info| match info {
                    LinkInfo::Data(InfoData::IpVlan(data)) => Some(data),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    let data = data?;
    let mode = data.iter().find_map(|info| match info {
        InfoIpVlan::Mode(IpVlanMode::L2) => Some(Mode::L2),
        InfoIpVlan::Mode(IpVlanMode::L3) => Some(Mode::L3),
        InfoIpVlan::Mode(IpVlanMode::L3S) => Some(Mode::L3s),
        _ => None,
    });
    let is_vepa = |info: &InfoIpVlan| matches!(info, InfoIpVlan::Flags(it) if it.contains(IpVlanFlags::Vepa));
    Some(SlaveStanding { mode, vepa: data.iter().any(is_vepa), promiscuous })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_slave_stands() {
        let mut message = LinkMessage::default();
        assert_eq!(standing(&message), None, "it is no slave");
        let data = vec![InfoIpVlan::Mode(IpVlanMode::L3S), InfoIpVlan::Flags(IpVlanFlags::Vepa)];
        message.attributes = vec![
            LinkAttribute::Promiscuity(1),
            LinkAttribute::LinkInfo(vec![LinkInfo::Data(InfoData::IpVlan(data))]),
        ];
        let expected = SlaveStanding { mode: Some(Mode::L3s), vepa: true, promiscuous: true };
        assert_eq!(standing(&message), Some(expected));
    }
}
