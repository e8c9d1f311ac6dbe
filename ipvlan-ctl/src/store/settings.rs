//! What holds for all networks together.

use std::path::{Path, PathBuf};

use ipvlan_common::schema;
use rusqlite::{OptionalExtension as _, types::FromSqlError};

use super::{Store, StoreError};
use crate::model::Slot;

const CAPACITY: &str = "capacity";
const BOOT: &str = "boot";
const PIN_DIR: &str = "pin_dir";
const RESTORING: &str = "restoring";
const MADE_LOOPBACK_QDISC: &str = "made_loopback_qdisc";

impl Store {
    /// How many endpoints and parents the shared maps are made for.
    pub fn capacity(&self) -> Result<Slot, StoreError> {
        let Some(text) = self.setting(CAPACITY)? else {
            return Ok(schema::CAPACITY);
        };
        text.parse().map_err(|_| {
            let error = FromSqlError::Other(format!("'{text}' as setting {CAPACITY}").into());
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error)).into()
        })
    }

    /// Notes how many endpoints and parents the shared maps are to be made for.
    pub fn set_capacity(&mut self, capacity: Slot) -> Result<(), StoreError> {
        self.set(CAPACITY, &capacity.to_string())
    }

    /// The boot that namespaces and qdiscs are of, once it is known.
    pub fn boot(&self) -> Result<Option<String>, StoreError> {
        self.setting(BOOT)
    }

    /// Notes the boot that it is now. Where it was another one, no namespace of it exists any more, nor a qdisc.
    pub fn note_boot(&mut self, boot: &str) -> Result<(), StoreError> {
        let known = self.boot()?;
        if known.as_deref() == Some(boot) {
            return Ok(());
        }
        let write = self.db.transaction()?;
        if known.is_some() {
            // A cookie starts anew with each boot; none is 0.
            write.execute("UPDATE endpoint SET netns_cookie = 0", [])?;
            write.execute("UPDATE endpoint SET state = 'closing' WHERE state = 'offered'", [])?;
            write.execute("UPDATE parent SET made_qdisc = 0", [])?;
            write.execute("DELETE FROM setting WHERE name = ?1", [MADE_LOOPBACK_QDISC])?;
        }
        write.execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?1, ?2)", [BOOT, boot])?;
        Ok(write.commit()?)
    }

    /// Where the networks' pins are.
    pub fn pin_dir(&self) -> Result<Option<PathBuf>, StoreError> {
        Ok(self.setting(PIN_DIR)?.map(PathBuf::from))
    }

    /// Notes where the networks' pins are.
    pub fn set_pin_dir(&mut self, pin_dir: &Path) -> Result<(), StoreError> {
        self.set(PIN_DIR, &pin_dir.to_string_lossy())
    }

    /// Whether we gave `lo` its clsact qdisc.
    pub fn made_loopback_qdisc(&self) -> Result<bool, StoreError> {
        Ok(self.setting(MADE_LOOPBACK_QDISC)?.is_some_and(|value| value == "true"))
    }

    /// Notes whether we gave `lo` its clsact qdisc.
    pub fn set_made_loopback_qdisc(&mut self, made: bool) -> Result<(), StoreError> {
        self.set(MADE_LOOPBACK_QDISC, &made.to_string())
    }

    /// Whether new maps may lack entries.
    pub fn is_restoring(&self) -> Result<bool, StoreError> {
        Ok(self.setting(RESTORING)?.is_some_and(|value| value == "true"))
    }

    /// Notes whether new maps may lack entries.
    pub fn set_restoring(&mut self, restoring: bool) -> Result<(), StoreError> {
        self.set(RESTORING, &restoring.to_string())
    }

    fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let mut statement = self.db.prepare_cached("SELECT value FROM setting WHERE name = ?1")?;
        Ok(statement.query_row([name], |row| row.get(0)).optional()?)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), StoreError> {
        self.db.execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?1, ?2)", [name, value])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ipvlan_common::schema;

    use crate::store::tests::{endpoint, in_memory, parent, spec};

    #[test]
    fn a_reboot_ends_namespaces_and_qdiscs() {
        let mut store = in_memory();
        let network = store.insert_network(&spec("a", &["10.0.0.0/24"]), &parent(1)).unwrap();
        store.insert_endpoint(&endpoint(2, "one", network.id, "10.0.0.2")).unwrap();
        store.set_made_qdisc(1, true).unwrap();
        store.set_made_loopback_qdisc(true).unwrap();
        // A store of a version that noted no boot is of this one.
        for _ in 0..2 {
            store.note_boot("first").unwrap();
            assert_ne!(store.endpoints().unwrap()[0].netns.cookie, 0);
            assert!(store.parents().unwrap()[0].made_qdisc && store.made_loopback_qdisc().unwrap());
        }
        store.note_boot("second").unwrap();
        assert_eq!(store.endpoints().unwrap()[0].netns.cookie, 0);
        assert!(!store.parents().unwrap()[0].made_qdisc && !store.made_loopback_qdisc().unwrap());
    }

    #[test]
    fn the_capacity_is_kept() {
        let mut store = in_memory();
        assert_eq!(store.capacity().unwrap(), schema::CAPACITY);
        store.set_capacity(7).unwrap();
        store.set_capacity(9).unwrap();
        assert_eq!(store.capacity().unwrap(), 9);
    }
}
