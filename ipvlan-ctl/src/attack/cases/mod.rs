//! Every case, by class.

mod around;
mod control;
mod forwarded;
mod granted;
mod ip;
mod link;
mod neighbor;
mod network;
mod root;

use super::{
    case::{Case, Expect},
    setting::{Family, Place, Setting},
};
use crate::model::Flag;

const BOTH: &[Family] = &[Family::V4, Family::V6];
const V4: &[Family] = &[Family::V4];
const V6: &[Family] = &[Family::V6];

/// Every case, in the order in which they are tried: those of root last, since they change the place.
pub(super) fn all() -> impl Iterator<Item = &'static Case> {
    [
        control::CASES,
        link::CASES,
        neighbor::CASES,
        ip::CASES,
        network::CASES,
        around::CASES,
        granted::CASES,
        link::STORM,
        forwarded::CASES,
        granted::BY_ROOT,
        root::CASES,
    ]
    .into_iter()
    .flatten()
}

/// Why nothing is expected of a frame to a peer with VEPA in modes l3 and l3s.
const ROUTED: &str = "the host routes it, and ipvlan's own lookup is off";

/// Nowhere, which is found out when it is at the host. With VEPA that is when the switch has sent it back.
fn not_to_host(setting: Setting) -> Expect {
    use ipvlan_common::DropReason::{HostFilter, Internal};
    let expect = Expect::drop(&[HostFilter, Internal]);
    if setting.flag == Flag::Vepa && !setting.internal { expect.or_at(&[Place::Wire]) } else { expect }
}

/// In modes l3 and l3s the host's routes lead it to the wire, where nobody takes it.
fn not_to_loopback(setting: Setting) -> Expect {
    if setting.is_l2() || setting.internal {
        return not_to_host(setting);
    }
    Expect::pass(&[]).or_at(&[Place::Wire])
}

/// Where a broadcast of one's own belongs, and nowhere else: to the peers, unless they are kept apart, and to the wire, unless that is.
const fn own_group(setting: Setting) -> Expect {
    use ipvlan_common::DropReason::{Flood, HostFilter, Internal};
    let private = matches!(setting.flag, Flag::Private);
    match (private, setting.internal) {
        (false, false) => Expect::pass(&[Place::Peer, Place::Wire]),
        (false, true) => Expect::pass(&[Place::Peer]),
        (true, false) => Expect::pass(&[Place::Wire]),
        (true, true) => Expect::pass(&[]),
    }
    .counted(&[Flood, HostFilter, Internal])
}

/// As [`own_group`] in mode l2, nothing in the others, whose slaves send no broadcasts.
fn group_or_nothing(setting: Setting) -> Expect {
    use ipvlan_common::DropReason::{EtherType, GroupMismatch, Internal};
    if setting.is_l2() { own_group(setting) } else { Expect::drop(&[EtherType, GroupMismatch, Internal]) }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

    use super::*;

    #[test]
    fn names_are_unique_and_lines_say_something() {
        let mut names = BTreeSet::new();
        for case in all() {
            assert!(names.insert(case.id), "{} is there twice", case.id);
            assert!(
                case.id
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            );
            assert!(!case.what.is_empty() && !case.families.is_empty(), "{}", case.id);
        }
    }

    #[test]
    fn every_reason_is_some_cases() {
        let named: BTreeSet<_> = all()
            .flat_map(|case| Setting::all().flat_map(|setting| (case.expect)(setting).reasons.iter()))
            .collect();
        let missing: Vec<_> =
            ipvlan_common::DropReason::ALL.iter().filter(|reason| !named.contains(reason)).collect();
        assert!(missing.is_empty(), "no case shows {missing:?}");
    }

    const INTRODUCTION: &str = "\
# Attacks

What `ipvlan-ctl audit --attack` tries, in every mode, with every flag, in an internal network and in one that isn't; each on stock
ipvlan and with enforcement. *Needs* is all that the sender has in its container: its thread gives up every other capability first; the LAN needs nothing there. A
case with advice isn't contained: known to come through, and shown as such.

This page is made from the cases: `IPVLAN_UPDATE_DOCS=1 cargo test --package ipvlan-ctl --lib cases` writes it, and the test fails where
it differs.
";

    #[test]
    fn the_page_says_what_the_cases_are() {
        let mut page = INTRODUCTION.to_owned();
        let mut class = None;
        for case in all() {
            if class.replace(case.class) != Some(case.class) {
                let title =
                    format!("\n## {}\n\n| case | what happens | families | needs | advice |\n", case.class);
                writeln!(page, "{title}|---|---|---|---|---|").unwrap();
            }
            let families: Vec<_> = case.families.iter().map(|family| family.as_str()).collect();
            let (families, advice) = (families.join(", "), case.advice.unwrap_or_default());
            writeln!(page, "| `{}` | {} | {families} | {} | {advice} |", case.id, case.what, case.needs)
                .unwrap();
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/attacks.md");
        if std::env::var_os("IPVLAN_UPDATE_DOCS").is_some() {
            fs::write(&path, &page).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap();
        assert_eq!(
            found, page,
            "docs/attacks.md is not what the cases are; IPVLAN_UPDATE_DOCS=1 writes it anew"
        );
    }
}
