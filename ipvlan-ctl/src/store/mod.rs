//! What was asked for, in SQLite. Readers need no lock; whoever writes holds the root's lock.

mod endpoints;
mod networks;
mod schema;
mod settings;

use std::{
    collections::BTreeSet,
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use ipvlan_common::types::Key;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension as _, Row, backup::Backup, types::FromSqlError,
};

use crate::model::Slot;

/// The store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file can't be opened.
    #[error("can't open the store {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file isn't a store any more.
    #[error("the store {path} is damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says of it.
        why: String,
    },
    /// SQLite says no.
    #[error("the store failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Written by a newer version of this program.
    #[error("the store has version {found}, newer than {known}, the newest that this program knows")]
    Newer {
        /// The file's version.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
}

/// How long a command waits for another one's write.
const PATIENCE: Duration = Duration::from_secs(10);

/// The open store.
#[derive(Debug)]
pub struct Store {
    db: Connection,
}

impl Store {
    /// Opens the store at `path`, creates it where it doesn't exist, and brings it up to this version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        // SQLite would create it with the umask's mode.
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        let db = Connection::open(path)?;
        check(&db, path)?;
        Self::prepare(db)
    }

    /// Opens the store at `path` if there is one, to look at it.
    pub fn open_existing(path: &Path) -> Result<Option<Self>, StoreError> {
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(source) => return Err(StoreError::Open { path: path.to_owned(), source }),
        }
        // Not read-only: SQLite itself must be able to take back what a killed writer has left half done.
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        check(&db, path)?;
        if version(&db)? == schema::VERSION {
            return Ok(Some(Self { db }));
        }
        // Of an older version, or of none yet: a copy is brought up to date, and the file stays as it is.
        let mut copy = Connection::open_in_memory()?;
        Backup::new(&db, &mut copy)?.run_to_completion(100, Duration::ZERO, None)?;
        Self::prepare(copy).map(Some)
    }

    fn prepare(mut db: Connection) -> Result<Self, StoreError> {
        db.busy_timeout(PATIENCE)?;
        db.pragma_update(None, "foreign_keys", true)?;
        // Immediate, so that of two programs that open a new store at once one waits for the other.
        let migration = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let found = version(&migration)?;
        let Some(missing) = schema::MIGRATIONS.get(found as usize..) else {
            return Err(StoreError::Newer { found, known: schema::VERSION });
        };
        if !missing.is_empty() {
            for step in missing {
                migration.execute_batch(step)?;
            }
            migration.pragma_update(None, "user_version", schema::VERSION)?;
        }
        migration.commit()?;
        Ok(Self { db })
    }

    /// A slot that nobody has, after the last one given out, so that a late frame of a removed endpoint isn't taken for
    /// a new one's; `None` where all of them are taken.
    pub fn free_slot(&self, capacity: Slot) -> Result<Option<Slot>, StoreError> {
        let taken: BTreeSet<Slot> = self
            .db
            .prepare("SELECT slot FROM parent UNION SELECT slot FROM endpoint")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let last: Slot = self
            .db
            .query_row("SELECT value FROM cursor WHERE name = 'slot'", [], |row| row.get(0))
            .optional()?
            .unwrap_or(0);
        let mut slots = (last.saturating_add(1)..=capacity).chain(1..=last.min(capacity));
        Ok(slots.find(|slot| !taken.contains(slot)))
    }
}

/// Reads the whole file once, which is small, before anything is written to it or taken from it.
fn check(db: &Connection, path: &Path) -> Result<(), StoreError> {
    db.busy_timeout(PATIENCE)?;
    let damaged = |why| Err(StoreError::Damaged { path: path.to_owned(), why });
    let answer = db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match answer {
        Ok(answer) if answer == "ok" => Ok(()),
        Ok(answer) => damaged(answer),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => damaged(error.to_string()),
            _ => Err(error.into()),
        },
    }
}

fn version(db: &Connection) -> rusqlite::Result<u32> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn note_slot(db: &Connection, slot: Slot) -> rusqlite::Result<()> {
    db.execute("INSERT OR REPLACE INTO cursor (name, value) VALUES ('slot', ?1)", [slot])?;
    Ok(())
}

const fn key_bytes([a, b]: Key) -> [u8; 16] {
    (((a as u128) << 64) | b as u128).to_be_bytes()
}

fn key(row: &Row<'_>) -> rusqlite::Result<Key> {
    let both = u128::from_be_bytes(row.get("key")?);
    Ok([(both >> 64) as u64, both as u64])
}

/// Reads a column as a type of the model. A value that the model refuses was not written by this program.
fn parsed<T>(row: &Row<'_>, column: &str, parse: impl FnOnce(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    parse(&text).ok_or_else(|| {
        let error = FromSqlError::Other(format!("'{text}' in column {column}").into());
        let index = row.as_ref().column_index(column).unwrap_or(0);
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// As [`parsed`], where there may be nothing.
fn optional<T>(
    row: &Row<'_>,
    column: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|_| parsed(row, column, parse)).transpose()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::{
        Addresses, Endpoint, IfName, Made, Name, NetnsRef, NetworkSpec, Parent, RawNetwork, State, link_local,
    };

    pub(crate) fn in_memory() -> Store {
        Store::prepare(Connection::open_in_memory().unwrap()).unwrap()
    }

    pub(crate) fn spec(name: &str, subnets: &[&str]) -> NetworkSpec {
        NetworkSpec::parse(&RawNetwork {
            name: name.into(),
            subnets: subnets.iter().map(ToString::to_string).collect(),
            options: vec!["parent=eth0".into(), "mtu=1400".into()],
            ..RawNetwork::default()
        })
        .unwrap()
    }

    pub(crate) fn parent(slot: Slot) -> Parent {
        Parent {
            slot,
            key: [u64::MAX, 1],
            ifindex: 3,
            name: IfName::parse("eth0").unwrap(),
            mac: [2, 0, 0, 0, 0, 1],
            mode: crate::model::Mode::L2,
            xdp: crate::model::Xdp::Auto,
            made_qdisc: false,
            made: None,
        }
    }

    pub(crate) fn endpoint(slot: Slot, name: &str, network: u32, ipv4: &str) -> Endpoint {
        Endpoint {
            slot,
            key: [2, u64::MAX - 3],
            name: Name::parse("endpoint", name).unwrap(),
            network,
            parent: 1,
            addresses: Addresses {
                ipv4: ipv4.parse().ok(),
                ipv6: None,
                link_local: Some(link_local([2, 0, 0, 0, 0, 1], slot)),
            },
            ifname: IfName::parse("eth0").unwrap(),
            ifindex: 44,
            netns: NetnsRef { label: "red".into(), path: "/run/netns/red".into(), cookie: u64::MAX - 1 },
            state: State::Creating,
        }
    }

    #[test]
    fn round_trip() {
        let mut store = in_memory();
        let mut asked = spec("db_net", &["10.0.0.0/24", "fd00::/64", "10.1.0.0/24"]);
        asked.labels.insert("a".into(), "b=\"c\"".into());
        asked.pools[0].set_range("10.0.0.0/25".parse().unwrap()).unwrap();
        asked.pools[0].aux.insert("nas".into(), "10.0.0.7".parse().unwrap());
        let vlan = Parent { made: Some(Made::Vlan), ..parent(1) };
        let network = store.insert_network(&asked, &vlan).unwrap();
        assert_eq!(store.networks().unwrap(), std::slice::from_ref(&network));
        assert_eq!(store.parents().unwrap(), [vlan]);

        let written = endpoint(2, "ipv1", network.id, "10.0.0.9");
        store.insert_endpoint(&written).unwrap();
        assert_eq!(store.endpoints().unwrap(), std::slice::from_ref(&written));
        assert_eq!(store.addresses(1).unwrap()[&"10.0.0.9".parse().unwrap()], written.name);
        let subnet = network.spec.pools[0].subnet;
        assert_eq!(store.last_address(network.id, subnet).unwrap(), "10.0.0.9".parse().ok());
        let other = network.spec.pools[2].subnet;
        assert_eq!(store.last_address(network.id, other).unwrap(), None, "each subnet goes its own round");

        store.set_endpoint_state(2, State::Up).unwrap();
        let read = store.endpoints().unwrap().remove(0);
        assert_eq!(read.state, State::Up);

        store.set_made_qdisc(1, true).unwrap();
        store.set_network_state(network.id, State::Up).unwrap();
        assert!(store.parents().unwrap()[0].made_qdisc);
        assert_eq!(store.networks().unwrap()[0].state, State::Up);
    }

    #[test]
    fn an_address_is_given_once_on_a_parent() {
        let mut store = in_memory();
        let network = store.insert_network(&spec("a", &["10.0.0.0/24"]), &parent(1)).unwrap();
        store.insert_endpoint(&endpoint(2, "one", network.id, "10.0.0.9")).unwrap();
        assert!(store.insert_endpoint(&endpoint(3, "two", network.id, "10.0.0.9")).is_err());
        assert_eq!(store.endpoints().unwrap().len(), 1, "a refused endpoint leaves no row");
    }

    #[test]
    fn the_last_network_takes_its_parent_along() {
        let mut store = in_memory();
        let first = store.insert_network(&spec("a", &["10.0.0.0/24"]), &parent(1)).unwrap();
        let second = store.insert_network(&spec("b", &["10.1.0.0/24"]), &parent(1)).unwrap();
        store.delete_network(first.id).unwrap();
        assert_eq!(store.parents().unwrap().len(), 1);
        store.delete_network(second.id).unwrap();
        assert!(store.parents().unwrap().is_empty());
        let third = store.insert_network(&spec("a", &["10.0.0.0/24"]), &parent(1)).unwrap();
        assert!(third.id > second.id, "a network's number is never used again");
    }

    #[test]
    fn slots_are_reused_last() {
        let mut store = in_memory();
        assert_eq!(store.free_slot(4).unwrap(), Some(1));
        let network = store.insert_network(&spec("a", &["10.0.0.0/24"]), &parent(1)).unwrap();
        store.insert_endpoint(&endpoint(2, "one", network.id, "10.0.0.2")).unwrap();
        store.delete_endpoint(2).unwrap();
        assert_eq!(store.free_slot(4).unwrap(), Some(3));
        store.insert_endpoint(&endpoint(4, "two", network.id, "10.0.0.3")).unwrap();
        assert_eq!(store.free_slot(4).unwrap(), Some(2));
        store.insert_endpoint(&endpoint(2, "three", network.id, "10.0.0.4")).unwrap();
        store.insert_endpoint(&endpoint(3, "four", network.id, "10.0.0.5")).unwrap();
        assert_eq!(store.free_slot(4).unwrap(), None);
        assert_eq!(store.free_slot(5).unwrap(), Some(5), "the store itself sets no bound");
    }

    #[test]
    fn a_file_is_private_and_reopens() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.sqlite");
        assert!(Store::open_existing(&path).unwrap().is_none());
        let mut store = Store::open(&path).unwrap();
        store.insert_network(&spec("a", &["10.0.0.0/24"]), &parent(1)).unwrap();
        drop(store);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Store::open_existing(&path).unwrap().unwrap().networks().unwrap().len(), 1);
    }

    #[test]
    fn a_reader_leaves_an_older_store_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.sqlite");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(schema::MIGRATIONS[0]).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        let insert = "INSERT INTO parent (slot, seal, ifindex, name, mac, mode) VALUES (1, 7, 3, 'eth0', x'020000000001', 'l2');
             INSERT INTO network (name, parent, flag, internal, state) VALUES ('a', 1, 'bridge', 0, 'up');";
        old.execute_batch(insert).unwrap();
        let reader = Store::open_existing(&path).unwrap().unwrap();
        assert_eq!(reader.networks().unwrap()[0].spec.multicast_rate, 500);
        assert_eq!(version(&old).unwrap(), 1);
        assert_eq!(version(&Store::open(&path).unwrap().db).unwrap(), schema::VERSION);
    }

    #[test]
    fn every_older_store_is_brought_up_to_date() {
        let rows = |key: &str, value: &str| {
            format!(
                "INSERT INTO parent (slot, {key}, ifindex, name, mac, mode) VALUES (1, {value}, 3, 'eth0', x'020000000001', 'l2');
                 INSERT INTO network (name, parent, flag, internal, state) VALUES ('a', 1, 'bridge', 0, 'up');
                 INSERT INTO pool (network, subnet, gateway) VALUES (1, '10.0.0.0/24', '10.0.0.1');
                 INSERT INTO endpoint (slot, {key}, name, network, ifname, ifindex, netns_label, netns_path, netns_cookie, state)
                 VALUES (2, {value}, 'one', 1, 'eth0', 44, 'red', '/run/netns/red', 7, 'up');
                 INSERT INTO address (parent, address, kind, endpoint) VALUES (1, '10.0.0.9', 'ipv4', 2);"
            )
        };
        for age in 1..schema::MIGRATIONS.len() {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("store.sqlite");
            let old = Connection::open(&path).unwrap();
            schema::MIGRATIONS[..age].iter().for_each(|step| old.execute_batch(step).unwrap());
            old.pragma_update(None, "user_version", age as u32).unwrap();
            let insert = if age < 3 { rows("seal", "7") } else { rows("key", "randomblob(16)") };
            old.execute_batch(&insert).unwrap();
            drop(old);
            let store = Store::open(&path).unwrap();
            assert_eq!(version(&store.db).unwrap(), schema::VERSION, "from version {age}");
            assert_eq!(store.networks().unwrap()[0].spec.pools.len(), 1, "from version {age}");
            let endpoint = store.endpoints().unwrap().remove(0);
            assert_eq!(endpoint.addresses.ipv4, "10.0.0.9".parse().ok(), "from version {age}");
            assert_ne!(endpoint.key, [0, 0], "from version {age}");
        }
    }

    #[test]
    fn a_damaged_store_is_named_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.sqlite");
        let mut store = Store::open(&path).unwrap();
        store.insert_network(&spec("a", &["10.0.0.0/24"]), &parent(1)).unwrap();
        drop(store);
        let whole = std::fs::read(&path).unwrap();
        let mut overwritten = whole.clone();
        overwritten[4096..8192].fill(0xa5);
        for bytes in
            [b"no database, whatever it is".repeat(9), whole[..whole.len() / 2].to_vec(), overwritten]
        {
            std::fs::write(&path, &bytes).unwrap();
            for error in [Store::open(&path).unwrap_err(), Store::open_existing(&path).unwrap_err()] {
                assert!(
                    matches!(&error, StoreError::Damaged { path: named, .. } if *named == path),
                    "{error}"
                );
            }
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn a_newer_store_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.sqlite");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let error = Store::open(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "the store has version 99, newer than {}, the newest that this program knows",
                schema::VERSION
            )
        );
    }
}
