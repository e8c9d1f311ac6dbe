//! Names of networks, endpoints and interfaces.

use std::fmt;

use serde::Serialize;

use super::Invalid;

/// The name of a network or an endpoint: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(String);

impl Name {
    /// Checks `text`; `what` says in an error what carries the name.
    pub fn parse(what: &'static str, text: &str) -> Result<Self, Invalid> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts_well && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::Name { what, text: text.to_owned() })
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The name of a network interface, as the kernel accepts it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct IfName(String);

impl IfName {
    /// Checks `text` as the kernel's `dev_valid_name` does.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let fits = (1..=15).contains(&text.len()) && text != "." && text != "..";
        if fits && text.chars().all(|c| c.is_ascii_graphic() && c != '/' && c != ':') {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::IfName(text.to_owned()))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A MAC address as ip(8) writes it.
#[must_use]
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["db_net", "a", "0", "web.1", "A-b"] {
            assert_eq!(Name::parse("network", good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", ".a", "_a", "a b", "a/b", "é", "a\n"] {
            let error = Name::parse("network", bad).unwrap_err();
            assert_eq!(error.to_string(), format!("invalid network name '{bad}'"));
        }
    }

    #[test]
    fn interface_names() {
        for good in ["eth0", "eth0.10", "a23456789012345"] {
            assert!(IfName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "a234567890123456"] {
            let error = IfName::parse(bad).unwrap_err();
            assert_eq!(error.to_string(), format!("invalid interface name '{bad}'"));
        }
    }
}
