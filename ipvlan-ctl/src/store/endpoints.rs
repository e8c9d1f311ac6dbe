//! Endpoints and their addresses.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use rusqlite::{Params, Row, params};

use super::{Store, StoreError, key, key_bytes, note_slot, optional, parsed};
use crate::model::{Addresses, Endpoint, IfName, Name, NetnsRef, Owner, Slot, State};

const IPV4: &str = "ipv4";
const IPV6: &str = "ipv6";
const LINK_LOCAL: &str = "link-local";
/// Read by number: a row would look for each name among all columns.
const SELECT: &str = "
    SELECT slot, endpoint.key, endpoint.name, network, network.parent, ifname, ifindex, netns_label, netns_path,
        netns_cookie, endpoint.state, endpoint.owner, endpoint.host_access,
        (SELECT address FROM address WHERE endpoint = endpoint.slot AND kind = 'ipv4') AS ipv4,
        (SELECT address FROM address WHERE endpoint = endpoint.slot AND kind = 'ipv6') AS ipv6,
        (SELECT address FROM address WHERE endpoint = endpoint.slot AND kind = 'link-local') AS link_local
    FROM endpoint JOIN network ON network.id = endpoint.network";

/// What every command looks at of all endpoints, however many there are.
#[derive(Debug)]
pub struct Glance {
    /// The endpoint's slot.
    pub slot: Slot,
    /// How far it has come.
    pub state: State,
    /// Whether an engine manages it.
    pub is_owned: bool,
    /// Its namespace.
    pub netns: NetnsRef,
}

impl Store {
    /// All endpoints, by slot.
    pub fn endpoints(&self) -> Result<Vec<Endpoint>, StoreError> {
        self.select("ORDER BY endpoint.slot", [])
    }

    /// A glance at each endpoint, by slot.
    pub fn glances(&self) -> Result<Vec<Glance>, StoreError> {
        let mut statement = self.db.prepare_cached(
            "SELECT slot, state, owner IS NOT NULL, netns_label, netns_path, netns_cookie FROM endpoint ORDER BY slot",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(Glance {
                slot: row.get(0)?,
                state: parsed(row, 1, State::from_text)?,
                is_owned: row.get(2)?,
                netns: netns(row, 3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Those that have come as far as `state`, by slot.
    pub fn endpoints_in(&self, state: State) -> Result<Vec<Endpoint>, StoreError> {
        self.select("WHERE endpoint.state = ?1 ORDER BY endpoint.slot", [state.as_str()])
    }

    /// The endpoint called `name`.
    pub fn endpoint(&self, name: &str) -> Result<Option<Endpoint>, StoreError> {
        Ok(self.select("WHERE endpoint.name = ?1", [name])?.pop())
    }

    /// The endpoint that has `slot`.
    pub fn endpoint_at(&self, slot: Slot) -> Result<Option<Endpoint>, StoreError> {
        Ok(self.select("WHERE endpoint.slot = ?1", [slot])?.pop())
    }

    /// The endpoint that an engine manages as `owner`.
    pub fn endpoint_of(&self, owner: &Owner) -> Result<Option<Endpoint>, StoreError> {
        Ok(self.select("WHERE endpoint.owner = ?1", [owner.to_string()])?.pop())
    }

    fn select(&self, which: &str, parameters: impl Params) -> Result<Vec<Endpoint>, StoreError> {
        let mut statement = self.db.prepare_cached(&format!("{SELECT} {which}"))?;
        Ok(statement.query_map(parameters, read)?.collect::<Result<_, _>>()?)
    }

    /// Whether `network` has any.
    pub fn has_endpoints(&self, network: u32) -> Result<bool, StoreError> {
        let mut statement = self.db.prepare_cached("SELECT 1 FROM endpoint WHERE network = ?1")?;
        Ok(statement.exists([network])?)
    }

    /// Every address that endpoints on a parent hold, with the endpoint's name.
    pub fn addresses(&self, parent: Slot) -> Result<BTreeMap<IpAddr, Name>, StoreError> {
        let mut statement = self.db.prepare_cached(
            "SELECT address.address, endpoint.name
             FROM address JOIN endpoint ON endpoint.slot = address.endpoint WHERE address.parent = ?1",
        )?;
        let rows = statement.query_map([parent], |row| {
            Ok((
                parsed(row, 0, |text| text.parse().ok())?,
                parsed(row, 1, |text| Name::parse("endpoint", text).ok())?,
            ))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Writes a new endpoint and takes its addresses.
    pub fn insert_endpoint(&mut self, endpoint: &Endpoint) -> Result<(), StoreError> {
        let pools = self.pools(endpoint.network)?;
        let write = self.db.transaction()?;
        write.execute(
            "INSERT INTO endpoint
                (slot, key, name, network, ifname, ifindex, netns_label, netns_path, netns_cookie, state, owner,
                 host_access)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                endpoint.slot,
                key_bytes(endpoint.key),
                endpoint.name.as_str(),
                endpoint.network,
                endpoint.ifname.as_str(),
                endpoint.ifindex,
                endpoint.netns.label,
                endpoint.netns.path.to_string_lossy(),
                endpoint.netns.cookie.cast_signed(),
                endpoint.state.as_str(),
                endpoint.owner.as_ref().map(ToString::to_string),
                endpoint.host_access
            ],
        )?;
        let Addresses { ipv4, ipv6, link_local } = endpoint.addresses;
        for (kind, address) in [
            (IPV4, ipv4.map(IpAddr::V4)),
            (IPV6, ipv6.map(IpAddr::V6)),
            (LINK_LOCAL, link_local.map(IpAddr::V6)),
        ] {
            let Some(address) = address else { continue };
            write.execute(
                "INSERT INTO address (parent, address, kind, endpoint) VALUES (?1, ?2, ?3, ?4)",
                params![endpoint.parent, address.to_string(), kind, endpoint.slot],
            )?;
        }
        for address in ipv4.map(IpAddr::V4).into_iter().chain(ipv6.map(IpAddr::V6)) {
            let Some(pool) = pools.iter().find(|pool| pool.subnet.contains(&address)) else { continue };
            write.execute(
                "UPDATE pool SET last = ?1 WHERE network = ?2 AND subnet = ?3",
                params![address.to_string(), endpoint.network, pool.subnet.to_string()],
            )?;
        }
        note_slot(&write, endpoint.slot)?;
        write.commit()?;
        Ok(())
    }

    /// Says how far an endpoint has come.
    pub fn set_endpoint_state(&mut self, slot: Slot, state: State) -> Result<(), StoreError> {
        self.db.execute("UPDATE endpoint SET state = ?2 WHERE slot = ?1", params![slot, state.as_str()])?;
        Ok(())
    }

    /// Gives an endpoint a link-local address.
    pub fn add_link_local(&mut self, endpoint: &Endpoint, address: Ipv6Addr) -> Result<(), StoreError> {
        self.db.execute(
            "INSERT INTO address (parent, address, kind, endpoint) VALUES (?1, ?2, ?3, ?4)",
            params![endpoint.parent, address.to_string(), LINK_LOCAL, endpoint.slot],
        )?;
        Ok(())
    }

    /// Notes in which namespace an endpoint's slave is or is to be, what it is called, and how far the endpoint has come.
    pub fn set_endpoint_place(&mut self, endpoint: &Endpoint) -> Result<(), StoreError> {
        self.db.execute(
            "UPDATE endpoint SET netns_label = ?2, netns_path = ?3, netns_cookie = ?4, ifname = ?5, state = ?6
             WHERE slot = ?1",
            params![
                endpoint.slot,
                endpoint.netns.label,
                endpoint.netns.path.to_string_lossy(),
                endpoint.netns.cookie.cast_signed(),
                endpoint.ifname.as_str(),
                endpoint.state.as_str()
            ],
        )?;
        Ok(())
    }

    /// Forgets an endpoint and releases its addresses.
    pub fn delete_endpoint(&mut self, slot: Slot) -> Result<(), StoreError> {
        self.db.execute("DELETE FROM endpoint WHERE slot = ?1", [slot])?;
        Ok(())
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Endpoint> {
    let address = |column: usize| optional(row, column, |text| text.parse::<IpAddr>().ok());
    let ipv4 = |address: IpAddr| -> Option<Ipv4Addr> {
        if let IpAddr::V4(address) = address { Some(address) } else { None }
    };
    let ipv6 = |address: IpAddr| -> Option<Ipv6Addr> {
        if let IpAddr::V6(address) = address { Some(address) } else { None }
    };
    Ok(Endpoint {
        slot: row.get(0)?,
        key: key(row, 1)?,
        name: parsed(row, 2, |text| Name::parse("endpoint", text).ok())?,
        network: row.get(3)?,
        parent: row.get(4)?,
        ifname: parsed(row, 5, |text| IfName::parse(text).ok())?,
        ifindex: row.get(6)?,
        netns: netns(row, 7)?,
        state: parsed(row, 10, State::from_text)?,
        owner: optional(row, 11, Owner::from_text)?,
        host_access: row.get(12)?,
        addresses: Addresses {
            ipv4: address(13)?.and_then(ipv4),
            ipv6: address(14)?.and_then(ipv6),
            link_local: address(15)?.and_then(ipv6),
        },
    })
}

/// Out of three columns, of which `first` is the first.
fn netns(row: &Row<'_>, first: usize) -> rusqlite::Result<NetnsRef> {
    let path: String = row.get(first + 1)?;
    let cookie: i64 = row.get(first + 2)?;
    Ok(NetnsRef { label: row.get(first)?, path: path.into(), cookie: cookie.cast_unsigned() })
}
