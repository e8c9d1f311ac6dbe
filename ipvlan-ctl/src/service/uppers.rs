//! What lies on parents, in whichever namespace it is.

use std::{collections::BTreeMap, fmt};

use super::Error;
use crate::netlink::{Link, Netlink, Netns};

/// An interface that lies on a parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upper {
    /// The parent's name.
    pub(super) parent: String,
    /// The interface, as its own namespace numbers and names it.
    pub(super) link: Link,
    /// The cookie of its namespace.
    pub(super) cookie: u64,
    /// The name of its namespace, or the path to it; `None` for the one that asks.
    pub(super) place: Option<String>,
}

impl Upper {
    /// The command that removes it.
    pub(super) fn removal(&self) -> String {
        let name = &self.link.name;
        match &self.place {
            None => format!("ip link del {name}"),
            Some(path) if path.contains('/') => format!("nsenter --net={path} ip link del {name}"),
            Some(netns) => format!("ip -n {netns} link del {name}"),
        }
    }
}

impl fmt::Display for Upper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.link.name)?;
        self.place.as_ref().map_or(Ok(()), |place| write!(formatter, " in '{place}'"))
    }
}

/// All that lies on these interfaces of the calling thread's namespace.
pub(super) fn uppers(parents: &[Link]) -> Result<Vec<Upper>, Error> {
    let mut found = Vec::new();
    if parents.is_empty() {
        return Ok(found);
    }
    let home = Netns::current()?;
    let named: BTreeMap<u64, String> = Netns::names()
        .into_iter()
        .filter_map(|name| Some((Netns::named(&name).ok()?.identity().cookie, name)))
        .collect();
    for netns in Netns::all() {
        // It may end while it is looked at.
        let Ok(inside) = Netlink::open_in(&netns) else { continue };
        let cookie = netns.identity().cookie;
        let place = named.get(&cookie).unwrap_or(&netns.identity().label);
        let place = (cookie != home.identity().cookie).then(|| place.clone());
        for parent in parents {
            let links = inside.uppers_on(parent.index, &home)?;
            let upper = |link| Upper { parent: parent.name.clone(), link, cookie, place: place.clone() };
            found.extend(links.into_iter().map(upper));
        }
    }
    Ok(found)
}

/// What macvlan has on an interface, which then can't carry ipvlan.
pub(super) fn macvlans(parent: Link) -> Result<Vec<Upper>, Error> {
    let mut found = uppers(&[parent])?;
    found.retain(|upper| upper.link.is_macvlan());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::network::tests::link;

    #[test]
    fn its_removal_is_a_command() {
        let at = |place: Option<&str>| {
            let link = Link { name: "mv0".into(), ..link() };
            Upper { parent: "eth0".into(), link, cookie: 1, place: place.map(str::to_owned) }
        };
        for (place, text, removal) in [
            (None, "mv0", "ip link del mv0"),
            (Some("red"), "mv0 in 'red'", "ip -n red link del mv0"),
            (
                Some("/proc/7/ns/net"),
                "mv0 in '/proc/7/ns/net'",
                "nsenter --net=/proc/7/ns/net ip link del mv0",
            ),
        ] {
            assert_eq!((at(place).to_string().as_str(), at(place).removal().as_str()), (text, removal));
        }
    }
}
