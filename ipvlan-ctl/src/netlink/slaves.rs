//! Whose slaves are whose: an interface's number alone doesn't say it, since each namespace counts for itself.

use std::os::fd::{AsFd as _, AsRawFd as _};

use futures_util::{StreamExt as _, TryStreamExt as _};
use rtnetlink::{
    packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        link::LinkAttribute,
        nsid::{NsidAttribute, NsidMessage},
    },
};

use super::{Link, Netlink, NetlinkError, Netns};

impl Netlink {
    /// The ipvlan slaves here that lie on interface number `parent` of `home`.
    pub fn slaves_on(&self, parent: u32, home: &Netns) -> Result<Vec<Link>, NetlinkError> {
        let dump = self.handle.link().get().execute().try_collect::<Vec<_>>();
        let messages = self.request(|| "list interfaces".into(), dump)?;
        let mut slaves = Vec::new();
        for message in &messages {
            let link = Link::from_message(message);
            if !link.is_slave() || link.lower != Some(parent) {
                continue;
            }
            let lower_netns = message.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::LinkNetNsId(id) => Some(*id),
                _ => None,
            });
            // The kernel leaves the number out where both are in one namespace.
            if lower_netns == self.number_of(home)? {
                slaves.push(link);
            }
        }
        Ok(slaves)
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
