//! What holds for all networks together.

use ipvlan_common::schema;
use rusqlite::{OptionalExtension as _, types::FromSqlError};

use super::{Store, StoreError};
use crate::model::Slot;

const CAPACITY: &str = "capacity";

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

    fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let value = self.db.query_row("SELECT value FROM setting WHERE name = ?1", [name], |row| row.get(0));
        Ok(value.optional()?)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), StoreError> {
        self.db.execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?1, ?2)", [name, value])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ipvlan_common::schema;

    use crate::store::tests::in_memory;

    #[test]
    fn the_capacity_is_kept() {
        let mut store = in_memory();
        assert_eq!(store.capacity().unwrap(), schema::CAPACITY);
        store.set_capacity(7).unwrap();
        store.set_capacity(9).unwrap();
        assert_eq!(store.capacity().unwrap(), 9);
    }
}
