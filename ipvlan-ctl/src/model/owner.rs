//! Container engines that manage networks and endpoints here, under ids of their own.

use std::fmt;

use crate::text_enum::text_enum;

text_enum!(
    /// A container engine.
    Engine {
        /// Docker, by its network plugin protocol.
        Docker = "docker",
    }
);

/// Whose a network or an endpoint is, where an engine manages it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The engine.
    pub engine: Engine,
    /// What the engine calls it.
    pub id: String,
}

impl Owner {
    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let (engine, id) = text.split_once(':')?;
        Some(Self { engine: Engine::from_text(engine)?, id: id.to_owned() })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.engine, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let owner = Owner { engine: Engine::Docker, id: "a:b".into() };
        assert_eq!(Owner::from_text(&owner.to_string()), Some(owner));
        assert_eq!(Owner::from_text("a"), None);
        assert_eq!(Owner::from_text("x:a"), None);
    }
}
