//! VLANs by the names that Docker knows them by.

use super::{IfName, Invalid};

/// A VLAN of an interface, as `eth0.10` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vlan {
    /// The interface that it lies on.
    pub base: IfName,
    /// Its number, 1 to 4094.
    pub id: u16,
}

impl Vlan {
    /// Reads the name of an interface that isn't there; `None` where it isn't that of a VLAN.
    pub fn parse(name: &IfName) -> Result<Option<Self>, Invalid> {
        let name = name.as_str();
        let Some((base, id)) = name.split_once('.') else { return Ok(None) };
        if id.contains('.') {
            return Err(Invalid::Qinq(name.to_owned()));
        }
        let digits = id.bytes().all(|byte| byte.is_ascii_digit());
        let number = id.parse().ok().filter(|_| digits);
        let number: u64 = number.ok_or_else(|| Invalid::VlanId(id.to_owned(), name.to_owned()))?;
        match u16::try_from(number) {
            Ok(id @ 1..=4094) => Ok(Some(Self { base: IfName::parse(base)?, id })),
            _ => Err(Invalid::VlanRange(number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str) -> Result<Option<Vlan>, String> {
        Vlan::parse(&IfName::parse(name).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn names() {
        assert_eq!(parse("eth0"), Ok(None));
        assert_eq!(parse("eth0.10"), Ok(Some(Vlan { base: IfName::parse("eth0").unwrap(), id: 10 })));
        for (name, message) in [
            ("eth0.10.20", "can't create parent eth0.10.20: it would be a VLAN in a VLAN"),
            ("eth0.x", "unable to parse a valid VLAN id from 'x' in parent eth0.x"),
            ("eth0.", "unable to parse a valid VLAN id from '' in parent eth0."),
            ("eth0.+1", "unable to parse a valid VLAN id from '+1' in parent eth0.+1"),
            ("eth0.-1", "unable to parse a valid VLAN id from '-1' in parent eth0.-1"),
            ("eth0.0", "vlan id must be between 1-4094, received: 0"),
            ("eth0.4095", "vlan id must be between 1-4094, received: 4095"),
            ("eth0.99999999", "vlan id must be between 1-4094, received: 99999999"),
            (".10", "invalid interface name ''"),
        ] {
            let error = parse(name).unwrap_err();
            assert!(error.starts_with(message), "{name}: {error}");
        }
    }
}
