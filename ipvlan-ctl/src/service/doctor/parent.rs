//! Interfaces that carry endpoints, or could.

use super::{Row, Status, gather::sysfs_of};
use crate::{model::mac_text, netlink::Standing, service::network::check_parent};

/// What frames travel over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// A cable, or none at all.
    Wired,
    /// Radio.
    Wireless,
    /// It couldn't be found out.
    Unknown,
}

/// What was found of an interface.
#[derive(Debug, Clone)]
pub struct ParentFindings {
    /// Its name.
    pub name: String,
    /// What the kernel says of it, if it is there.
    pub standing: Option<Standing>,
    /// What frames travel over.
    pub medium: Medium,
    /// The driver of the device, or the kind of a virtual one.
    pub driver: Option<String>,
    /// Whether networks are on it.
    pub used: bool,
    /// Whether the user asked for it.
    pub asked: bool,
}

impl ParentFindings {
    pub(super) fn gather(name: &str, standing: Option<&Standing>, [used, asked]: [bool; 2]) -> Self {
        let sysfs = standing.and_then(|it| sysfs_of(name, it.link.index));
        let kind = standing.map(|it| it.link.kind.clone()).filter(|kind| !kind.is_empty());
        let driver = || {
            let link = std::fs::read_link(sysfs.as_ref()?.join("device/driver")).ok()?;
            Some(link.file_name()?.to_string_lossy().into_owned())
        };
        let has = |file| sysfs.as_ref().is_some_and(|sysfs| sysfs.join(file).exists());
        let medium = match (&kind, &sysfs) {
            (Some(_), _) => Medium::Wired,
            (None, None) => Medium::Unknown,
            _ if has("wireless") || has("phy80211") => Medium::Wireless,
            _ => Medium::Wired,
        };
        let driver = kind.or_else(driver);
        Self { name: name.to_owned(), standing: standing.cloned(), medium, driver, used, asked }
    }
}

pub(super) fn judge(parent: &ParentFindings) -> Vec<Row> {
    let name = |row: Row| {
        // What can't be a parent is no lack where nobody wants it to be one.
        let idle = row.status == Status::Missing && !parent.used && !parent.asked;
        let status = if idle { Status::Degraded } else { row.status };
        Row { parent: Some(parent.name.clone()), status, ..row }
    };
    let Some(standing) = &parent.standing else {
        let advice = if parent.used {
            "its networks work again once it is back with its MAC address"
        } else {
            "'ip link' lists the interfaces"
        };
        return vec![name(Row::new("link", Status::Missing, "no such interface").advise(advice))];
    };
    let rows = [link(standing), place(standing), medium(parent.medium), xdp(parent.driver.as_deref())];
    rows.into_iter().map(name).collect()
}

fn link(standing: &Standing) -> Row {
    let Standing { link, up, running, .. } = standing;
    let mac = link.mac.map_or("no MAC".into(), |mac| format!("MAC {}", mac_text(mac)));
    let state = match (up, running) {
        (true, true) => "up",
        (true, false) => "up, without carrier",
        (false, _) => "down",
    };
    let row = |status| Row::new("link", status, format!("{state}, {mac}, MTU {}", link.mtu));
    match (up, running) {
        (true, true) => row(Status::Ok),
        (true, false) => {
            row(Status::Degraded).advise("nothing is at the other end: nothing reaches the wire")
        }
        (false, _) => row(Status::Degraded)
            .advise(format!("endpoints can't speak while it is down: ip link set {} up", link.name)),
    }
}

fn place(standing: &Standing) -> Row {
    let Standing { link, controller, above, .. } = standing;
    let row = |status, found: String| Row::new("place", status, found);
    if let Some(kind) = link.port_of.as_ref().filter(|kind| *kind != "vrf") {
        let role = if kind == "bond" { "a slave of a bond" } else { "a port of a KIND" };
        let master = controller.as_deref().unwrap_or(kind);
        return row(Status::Missing, format!("{} ({master})", role.replace("KIND", kind)))
            .advise(format!("can't be a parent: all its frames go to {master}; use -o parent={master}"));
    }
    if let Err(error) = check_parent(link) {
        return row(Status::Missing, error.to_string()).advise("use another interface");
    }
    let of = |kinds: &[&str]| {
        let found = above.iter().filter(|(kind, _)| kinds.contains(&kind.as_str()));
        found.map(|(_, name)| name.as_str()).collect::<Vec<_>>()
    };
    let macvlan = of(&["macvlan", "macvtap"]);
    if !macvlan.is_empty() {
        return row(Status::Missing, format!("holds macvlan: {}", macvlan.join(", "))).advise(
            "can't be a parent: an interface carries macvlan or ipvlan, not both; remove those first",
        );
    }
    let slaves = of(&["ipvlan", "ipvtap"]);
    if !slaves.is_empty() {
        return row(Status::Degraded, format!("has ipvlan slaves in this namespace: {}", slaves.join(", ")))
            .advise(
                "nothing enforces what they send, and they set the parent's mode; ours are in namespaces",
            );
    }
    row(Status::Ok, "can be a parent".into())
}

fn medium(medium: Medium) -> Row {
    match medium {
        Medium::Wired => Row::new("medium", Status::Ok, "not wireless"),
        Medium::Wireless => Row::new("medium", Status::Degraded, "wireless").advise(
            "ipvlan works where macvlan doesn't, since its endpoints send with the MAC that the access point \
             knows. One that answers ARP for its clients, or allows one address a client, still drops frames \
             for the endpoints; vepa can't work",
        ),
        Medium::Unknown => Row::new("medium", Status::Unknown, "sysfs doesn't show this interface")
            .advise("it shows another network namespace, or isn't mounted"),
    }
}

/// Drivers, and kinds of virtual interfaces, that run XDP programs themselves (`ndo_bpf` in Linux 6.12).
const WITH_XDP: [&str; 25] = [
    "atlantic",
    "bnxt_en",
    "ena",
    "fsl_dpaa2_eth",
    "fsl_enetc",
    "gve",
    "hv_netvsc",
    "i40e",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "ixgbevf",
    "mana",
    "mlx4_core",
    "mlx5_core",
    "mvneta",
    "mvpp2",
    "nfp",
    "qede",
    "sfc",
    "tsnep",
    "tun",
    "veth",
    "virtio_net",
];

/// Those that don't.
const WITHOUT_XDP: [&str; 13] = [
    "8139cp", "8139too", "bridge", "dummy", "e1000", "e1000e", "geneve", "macvlan", "r8169", "team", "tg3",
    "vlan", "vxlan",
];

fn xdp(driver: Option<&str>) -> Row {
    let row = |status, found: String| Row::new("xdp", status, found);
    match driver {
        Some(driver) if WITH_XDP.contains(&driver) => row(Status::Ok, format!("native, by driver {driver}")),
        Some(driver) if WITHOUT_XDP.contains(&driver) => {
            row(Status::Degraded, format!("not in driver {driver}"))
                .advise("-o xdp=auto leaves it to tc, which judges all that XDP would")
        }
        Some(driver) => row(Status::Unknown, format!("driver {driver}"))
            .advise("-o xdp=auto tries it, and leaves it to tc where it can't be had"),
        None => row(Status::Unknown, "driver not known".into())
            .advise("-o xdp=auto tries it, and leaves it to tc where it can't be had"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::service::doctor) fn parent() -> ParentFindings {
        let link = crate::service::network::tests::link();
        let standing = Standing { link, up: true, running: true, controller: None, above: Vec::new() };
        ParentFindings {
            name: "eth0".into(),
            standing: Some(standing),
            medium: Medium::Wired,
            driver: Some("virtio_net".into()),
            used: false,
            asked: true,
        }
    }

    fn with(check: &str, change: impl FnOnce(&mut Standing)) -> Row {
        let mut parent = parent();
        change(parent.standing.as_mut().unwrap());
        judge(&parent).into_iter().find(|row| row.check == check).unwrap()
    }

    #[test]
    fn a_good_parent_is_good() {
        let rows = judge(&parent());
        assert!(rows.iter().all(|row| row.status == Status::Ok), "{rows:#?}");
        assert_eq!(rows[0].found, "up, MAC 02:00:00:00:00:01, MTU 1500");
        assert!(rows.iter().all(|row| row.parent.as_deref() == Some("eth0")));
    }

    #[test]
    fn one_that_is_gone() {
        for (used, says) in [(false, "ip link"), (true, "MAC address")] {
            let rows = judge(&ParentFindings { standing: None, used, ..parent() });
            assert_eq!((rows.len(), rows[0].status), (1, Status::Missing));
            assert!(rows[0].advice.as_ref().unwrap().contains(says));
        }
    }

    #[test]
    fn links() {
        let row = with("link", |it| it.up = false);
        assert_eq!(row.status, Status::Degraded);
        assert!(row.advice.unwrap().contains("ip link set eth0 up"));
        assert_eq!(with("link", |it| it.running = false).status, Status::Degraded);
    }

    #[test]
    fn places_are_named() {
        let port = |kind: &str, master: &str| {
            with("place", |it| {
                it.link.port_of = Some(kind.into());
                it.controller = Some(master.into());
            })
        };
        for (row, says) in [
            (port("bridge", "br0"), "a port of a bridge (br0)"),
            (port("team", "team0"), "a port of a team (team0)"),
            (port("bond", "bond0"), "a slave of a bond (bond0)"),
            (with("place", |it| it.above = vec![("macvlan".into(), "mv0".into())]), "holds macvlan: mv0"),
            (with("place", |it| it.above = vec![("macvtap".into(), "mt0".into())]), "holds macvlan: mt0"),
            (with("place", |it| it.link.mac = None), "eth0 can't be a parent: it has no Ethernet address"),
        ] {
            assert_eq!((row.status, row.found.as_str()), (Status::Missing, says));
            assert!(row.advice.is_some());
        }
        assert_eq!(port("vrf", "vrf0").status, Status::Ok);
        let slaves = with("place", |it| it.above = vec![("ipvlan".into(), "iv0".into())]);
        assert_eq!(slaves.status, Status::Degraded);
        let vlan = with("place", |it| it.above = vec![("vlan".into(), "eth0.10".into())]);
        assert_eq!(vlan.status, Status::Ok);
    }

    #[test]
    fn what_nobody_wants_is_not_missing() {
        let mut parent = parent();
        parent.standing.as_mut().unwrap().link.port_of = Some("bridge".into());
        for (used, asked, status) in
            [(true, false, Status::Missing), (false, true, Status::Missing), (false, false, Status::Degraded)]
        {
            assert_eq!(judge(&ParentFindings { used, asked, ..parent.clone() })[1].status, status);
        }
    }

    #[test]
    fn media() {
        for (medium, status) in [
            (Medium::Wired, Status::Ok),
            (Medium::Wireless, Status::Degraded),
            (Medium::Unknown, Status::Unknown),
        ] {
            assert_eq!(judge(&ParentFindings { medium, ..parent() })[2].status, status);
        }
    }

    #[test]
    fn drivers() {
        for (driver, status) in [
            (Some("veth"), Status::Ok),
            (Some("e1000e"), Status::Degraded),
            (Some("frobnicator"), Status::Unknown),
            (None, Status::Unknown),
        ] {
            let driver = driver.map(str::to_owned);
            assert_eq!(judge(&ParentFindings { driver, ..parent() })[3].status, status);
        }
    }
}
