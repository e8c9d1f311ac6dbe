//! How an interface stands among others.

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

use super::{Link, Netlink, NetlinkError};

/// An interface, and how it stands among the others of its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The interface.
    pub link: Link,
    /// Whether it is set up.
    pub up: bool,
    /// Whether it has a carrier.
    pub running: bool,
    /// The name of the interface that it is a port of.
    pub controller: Option<String>,
    /// Kinds and names of the interfaces of this namespace that lie on it.
    pub above: Vec<(String, String)>,
}

impl Netlink {
    /// All interfaces, and how they stand.
    pub fn standings(&self) -> Result<Vec<Standing>, NetlinkError> {
        let messages = self.handle.link().get().execute().try_collect::<Vec<_>>();
        let messages = self.request(|| "list interfaces".into(), messages)?;
        Ok(standings(&messages))
    }
}

fn standings(messages: &[LinkMessage]) -> Vec<Standing> {
    let links: Vec<_> = messages.iter().map(Link::from_message).collect();
    let standing = |(message, link): (&LinkMessage, &Link)| {
        let controller = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Controller(index) => Some(*index),
            _ => None,
        });
        let lies_on = |(upper, message): &(&Link, &LinkMessage)| {
            // Another namespace's interfaces have numbers of their own.
            let foreign = message.attributes.iter().any(|it| matches!(it, LinkAttribute::LinkNetNsId(_)));
            upper.lower == Some(link.index) && !foreign
        };
        Standing {
            link: link.clone(),
            up: message.header.flags.contains(LinkFlags::Up),
            running: message.header.flags.contains(LinkFlags::Running),
            controller: controller
                .and_then(|index| links.iter().find(|link| link.index == index))
                .map(|link| link.name.clone()),
            above: links
                .iter()
                .zip(messages)
                .filter(lies_on)
                .map(|(upper, _)| (upper.kind.clone(), upper.name.clone()))
                .collect(),
        }
    };
    messages.iter().zip(&links).map(standing).collect()
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::link::{InfoKind, LinkInfo};

    use super::*;

    fn message(index: u32, name: &str, attributes: &[LinkAttribute]) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes = [&[LinkAttribute::IfName(name.into())], attributes].concat();
        message
    }

    #[test]
    fn what_lies_on_it_and_what_it_is_a_port_of() {
        let macvlan = |lower| {
            [LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::MacVlan)]), LinkAttribute::Link(lower)]
        };
        let mut foreign = macvlan(2).to_vec();
        foreign.push(LinkAttribute::LinkNetNsId(0));
        let mut eth0 = message(2, "eth0", &[LinkAttribute::Controller(3)]);
        eth0.header.flags = LinkFlags::Up;
        let messages =
            [eth0, message(3, "br0", &[]), message(4, "mv0", &macvlan(2)), message(5, "mv1", &foreign)];
        let standing = &standings(&messages)[0];
        assert_eq!((standing.up, standing.running), (true, false));
        assert_eq!(standing.controller.as_deref(), Some("br0"));
        assert_eq!(standing.above, [("macvlan".to_owned(), "mv0".to_owned())]);
    }
}
