//! Networks, their pools and their parents.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use rusqlite::{OptionalExtension as _, Row, params};

use super::{Store, StoreError, key, key_bytes, note_slot, optional, parsed};
use crate::model::{
    ArpSuppress, Flag, IfName, Made, Mode, Multicast, Name, Network, NetworkSpec, Owner, Parent, Pool, Slot,
    Snat, State, Xdp,
};

impl Store {
    /// All networks, by name.
    pub fn networks(&self) -> Result<Vec<Network>, StoreError> {
        let mut statement = self.db.prepare_cached(
            "SELECT network.*, parent.name AS parent_name, parent.mode AS mode,
                    parent.xdp AS xdp, parent.made AS made
             FROM network JOIN parent ON parent.slot = network.parent ORDER BY network.name",
        )?;
        let mut networks = statement.query_map([], read_network)?.collect::<Result<Vec<_>, _>>()?;
        for network in &mut networks {
            network.spec.pools = self.pools(network.id)?;
        }
        Ok(networks)
    }

    /// The network called `name`.
    pub fn network(&self, name: &str) -> Result<Option<Network>, StoreError> {
        Ok(self.networks()?.into_iter().find(|network| network.spec.name.as_str() == name))
    }

    /// The network that an engine manages as `owner`.
    pub fn network_of(&self, owner: &Owner) -> Result<Option<Network>, StoreError> {
        Ok(self.networks()?.into_iter().find(|network| network.spec.owner.as_ref() == Some(owner)))
    }

    pub(super) fn pools(&self, network: u32) -> Result<Vec<Pool>, StoreError> {
        let mut statement = self.db.prepare_cached(
            "SELECT subnet, gateway, range, aux FROM pool WHERE network = ?1 ORDER BY rowid",
        )?;
        let pools = statement.query_map([network], |row| {
            Ok(Pool {
                subnet: parsed(row, "subnet", |text| text.parse().ok())?,
                gateway: parsed(row, "gateway", |text| text.parse().ok())?,
                range: optional(row, "range", |text| text.parse().ok())?,
                aux: parsed(row, "aux", |text| serde_json::from_str(text).ok())?,
            })
        })?;
        Ok(pools.collect::<Result<_, _>>()?)
    }

    /// The address given out last in a subnet of a network.
    pub fn last_address(&self, network: u32, subnet: IpNet) -> Result<Option<IpAddr>, StoreError> {
        let last: Option<Option<String>> = self
            .db
            .query_row(
                "SELECT last FROM pool WHERE network = ?1 AND subnet = ?2",
                params![network, subnet.to_string()],
                |row| row.get(0),
            )
            .optional()?;
        Ok(last.flatten().and_then(|text| text.parse().ok()))
    }

    /// Writes a new network, and its parent where this is the first network on it.
    pub fn insert_network(&mut self, spec: &NetworkSpec, parent: &Parent) -> Result<Network, StoreError> {
        let write = self.db.transaction()?;
        let known = write
            .query_row("SELECT 1 FROM parent WHERE slot = ?1", [parent.slot], |_| Ok(()))
            .optional()?
            .is_some();
        if !known {
            write.execute(
                "INSERT INTO parent (slot, key, ifindex, name, mac, mode, made_qdisc, xdp, made, has_xdp)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    parent.slot,
                    key_bytes(parent.key),
                    parent.ifindex,
                    parent.name.as_str(),
                    parent.mac,
                    parent.mode.as_str(),
                    parent.made_qdisc,
                    parent.xdp.as_str(),
                    parent.made.map(Made::as_str),
                    parent.has_xdp
                ],
            )?;
            note_slot(&write, parent.slot)?;
        }
        let id: u32 = write.query_row(
            "INSERT INTO network (name, parent, flag, internal, mtu, state, multicast, multicast_rate, labels,
                                  owner, arp_suppress, snat, host_access)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) RETURNING id",
            params![
                spec.name.as_str(),
                parent.slot,
                spec.flag.as_str(),
                spec.internal,
                spec.mtu,
                State::Creating.as_str(),
                spec.multicast.as_str(),
                spec.multicast_rate,
                json(&spec.labels),
                spec.owner.as_ref().map(ToString::to_string),
                spec.arp_suppress.as_str(),
                spec.snat.as_str(),
                spec.host_access
            ],
            |row| row.get(0),
        )?;
        for pool in &spec.pools {
            write.execute(
                "INSERT INTO pool (network, subnet, gateway, range, aux) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    id,
                    pool.subnet.to_string(),
                    pool.gateway.to_string(),
                    pool.range.map(|range| range.to_string()),
                    json(&pool.aux)
                ],
            )?;
        }
        write.commit()?;
        let spec = NetworkSpec { xdp: Some(parent.xdp), ..spec.clone() };
        let (parent, parent_name) = (parent.slot, parent.name.clone());
        Ok(Network { id, spec, parent, parent_name, state: State::Creating })
    }

    /// Says how far a network has come.
    pub fn set_network_state(&mut self, id: u32, state: State) -> Result<(), StoreError> {
        self.db.execute("UPDATE network SET state = ?2 WHERE id = ?1", params![id, state.as_str()])?;
        Ok(())
    }

    /// Forgets a network, and its parent where it was the last network on it.
    pub fn delete_network(&mut self, id: u32) -> Result<(), StoreError> {
        let write = self.db.transaction()?;
        write.execute("DELETE FROM network WHERE id = ?1", [id])?;
        write.execute("DELETE FROM parent WHERE slot NOT IN (SELECT parent FROM network)", [])?;
        write.commit()?;
        Ok(())
    }

    /// All parents, by slot.
    pub fn parents(&self) -> Result<Vec<Parent>, StoreError> {
        let mut statement = self.db.prepare_cached("SELECT * FROM parent ORDER BY slot")?;
        Ok(statement.query_map([], read_parent)?.collect::<Result<_, _>>()?)
    }

    /// Notes which interfaces these parents are now; those that are none get a number that no interface has. An interface that
    /// comes back is another one, whose qdisc we didn't make, and which may not take an XDP program.
    pub fn set_parent_ifindexes(&mut self, parents: &[(Slot, Option<u32>)]) -> Result<(), StoreError> {
        let write = self.db.transaction()?;
        let update = "UPDATE parent SET ifindex = ?2, made_qdisc = 0, has_xdp = 0 WHERE slot = ?1";
        // Out of the way first: they may have each other's numbers.
        for (slot, _) in parents {
            write.execute(update, params![slot, i32::MAX - i32::from(*slot)])?;
        }
        for (slot, ifindex) in parents {
            if let Some(ifindex) = ifindex {
                write.execute(update, params![slot, ifindex])?;
            }
        }
        Ok(write.commit()?)
    }

    /// Notes whether we gave the parent its clsact qdisc.
    pub fn set_made_qdisc(&mut self, slot: Slot, made: bool) -> Result<(), StoreError> {
        self.db.execute("UPDATE parent SET made_qdisc = ?2 WHERE slot = ?1", params![slot, made])?;
        Ok(())
    }

    /// Notes which addresses of the host's the maps may have for the parent.
    pub fn set_host_addresses(&mut self, slot: Slot, addresses: &BTreeSet<IpAddr>) -> Result<(), StoreError> {
        let update = "UPDATE parent SET host_addresses = ?2 WHERE slot = ?1";
        self.db.execute(update, params![slot, json(addresses)])?;
        Ok(())
    }

    /// Notes that the parent has taken an XDP program.
    pub fn set_has_xdp(&mut self, slot: Slot) -> Result<(), StoreError> {
        self.db.execute("UPDATE parent SET has_xdp = 1 WHERE slot = ?1", [slot])?;
        Ok(())
    }
}

/// What is of texts can't fail.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn read_made(row: &Row<'_>) -> rusqlite::Result<Option<Made>> {
    optional(row, "made", Made::from_text)
}

fn read_network(row: &Row<'_>) -> rusqlite::Result<Network> {
    let parent_name = parsed(row, "parent_name", |text| IfName::parse(text).ok())?;
    Ok(Network {
        id: row.get("id")?,
        spec: NetworkSpec {
            name: parsed(row, "name", |text| Name::parse("network", text).ok())?,
            parent: (read_made(row)? != Some(Made::Dummy)).then(|| parent_name.clone()),
            mode: parsed(row, "mode", Mode::from_text)?,
            flag: parsed(row, "flag", Flag::from_text)?,
            internal: row.get("internal")?,
            multicast: parsed(row, "multicast", Multicast::from_text)?,
            multicast_rate: row.get("multicast_rate")?,
            arp_suppress: parsed(row, "arp_suppress", ArpSuppress::from_text)?,
            snat: parsed(row, "snat", Snat::from_text)?,
            host_access: row.get("host_access")?,
            xdp: Some(parsed(row, "xdp", Xdp::from_text)?),
            mtu: row.get("mtu")?,
            pools: Vec::new(),
            labels: parsed(row, "labels", |text| serde_json::from_str(text).ok())?,
            owner: optional(row, "owner", Owner::from_text)?,
        },
        parent: row.get("parent")?,
        parent_name,
        state: parsed(row, "state", State::from_text)?,
    })
}

fn read_parent(row: &Row<'_>) -> rusqlite::Result<Parent> {
    Ok(Parent {
        slot: row.get("slot")?,
        key: key(row, "key")?,
        ifindex: row.get("ifindex")?,
        name: parsed(row, "name", |text| IfName::parse(text).ok())?,
        mac: row.get("mac")?,
        mode: parsed(row, "mode", Mode::from_text)?,
        xdp: parsed(row, "xdp", Xdp::from_text)?,
        made_qdisc: row.get("made_qdisc")?,
        has_xdp: row.get("has_xdp")?,
        made: read_made(row)?,
        host_addresses: parsed(row, "host_addresses", |text| serde_json::from_str(text).ok())?,
    })
}
