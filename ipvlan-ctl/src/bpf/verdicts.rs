//! Every verdict, as programs built with the feature `log` tell it.

use std::{
    net::Ipv6Addr,
    os::fd::{AsRawFd, RawFd},
    path::Path,
};

use aya_log::EbpfLogger;
use ipvlan_common::{Hook, Identity, log as verdict, schema};
use log::{Log, Metadata, Record};

use super::{BpfError, object, pins::Pins};

/// The reader of the log.
pub struct Verdicts(EbpfLogger<Lines>);

struct Lines(Box<dyn Fn(&str) + Send + Sync>);

impl Verdicts {
    /// Opens the log below `pin_dir`; `show` gets each line.
    ///
    /// # Errors
    /// Where nothing is pinned, or a pinned map has another layout or can't be opened.
    pub fn open(pin_dir: &Path, show: impl Fn(&str) + Send + Sync + 'static) -> Result<Self, BpfError> {
        let pins = Pins::new(pin_dir);
        if !pins.has_maps() {
            return Err(BpfError::NoLog);
        }
        let mut object = object::load(&pins, &Identity::default(), schema::PARENT_INGRESS)?;
        Ok(Self(EbpfLogger::init_with_logger(&mut object, Lines(Box::new(show)))?))
    }

    /// Shows what is there.
    pub fn flush(&mut self) {
        self.0.flush();
    }
}

/// Readable when there are lines.
impl AsRawFd for Verdicts {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let raw = record.args().to_string();
        (self.0)(&named(&raw).unwrap_or(raw));
    }

    fn flush(&self) {}
}

/// A line with names for the programs' numbers; `None` where a program of another version wrote it.
fn named(line: &str) -> Option<String> {
    let mut words = line.split(' ');
    let hook = Hook::from_number(words.next()?.parse().ok()?)?.name();
    let slot = words.next()?;
    let (verdict, reason) = verdict::name(words.next()?.parse().ok()?)?;
    let reason = reason.map_or(String::new(), |it| format!(" {}", it.name()));
    let mut address = || {
        let address: Ipv6Addr = words.next()?.parse().ok()?;
        Some(if address.is_unspecified() { "?".into() } else { address.to_canonical().to_string() })
    };
    let (source, destination) = (address()?, address()?);
    Some(format!("{hook}  slot {slot}  {verdict}{reason}  {source} → {destination}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_get_names() {
        assert_eq!(
            named("1 3 6 ::ffff:192.168.1.66 ::ffff:192.168.1.1").as_deref(),
            Some("slave-egress  slot 3  drop source-ipv4  192.168.1.66 → 192.168.1.1")
        );
        assert_eq!(
            named("4 1 65538 fd00::1 ::").as_deref(),
            Some("parent-egress  slot 1  open  fd00::1 → ?")
        );
        assert_eq!(named("9 1 65538 fd00::1 ::"), None);
    }
}
