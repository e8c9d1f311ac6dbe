//! What the findings mean.

use super::{Findings, Looked, Row, Status, features, parent};
use crate::service::{
    Facts,
    preflight::{CAPABILITIES, MINIMUM_KERNEL},
};

/// The oldest kernel that the tests run on.
const TESTED: (u32, u32) = (6, 1);

/// What was found, what it means, and how to mend it.
#[must_use]
pub fn judge(findings: &Findings) -> Vec<Row> {
    let mut rows = vec![kernel(findings)];
    rows.extend(features::judge(findings));
    rows.push(capabilities(&findings.facts));
    rows.push(state(findings));
    rows.push(pins(findings));
    if let Err(error) = &findings.interfaces {
        rows.push(Row::new("interfaces", Status::Unknown, error).advise("no parent could be looked at"));
    }
    rows.extend(findings.parents.iter().flat_map(parent::judge));
    rows
}

fn kernel(findings: &Findings) -> Row {
    let release = &findings.facts.release;
    let (major, minor) = MINIMUM_KERNEL;
    match findings.facts.version() {
        None => Row::new("kernel", Status::Unknown, format!("release '{release}'"))
            .advise(format!("Linux {major}.{minor} or newer is needed")),
        Some(version) if version < MINIMUM_KERNEL => Row::new("kernel", Status::Missing, release)
            .advise(format!("boot Linux {major}.{minor} or newer; 6.6 or newer is best")),
        Some(version) if version < TESTED => Row::new("kernel", Status::Degraded, release)
            .advise(format!("older than {}.{}, which is tested", TESTED.0, TESTED.1)),
        Some(_) => Row::new("kernel", Status::Ok, release),
    }
}

fn capabilities(facts: &Facts) -> Row {
    let missing = facts.missing_capabilities();
    if missing.is_empty() {
        return Row::new("capabilities", Status::Ok, CAPABILITIES.map(|(_, name)| name).join(", "));
    }
    Row::new("capabilities", Status::Missing, format!("without {}", missing.join(", "))).advise(
        "run as root, for instance with sudo. CAP_NET_ADMIN is for links, addresses and programs on them; \
         CAP_SYS_ADMIN for namespaces, mounts and all of BPF; CAP_SYS_PTRACE for namespaces that only other \
         processes hold",
    )
}

fn state(findings: &Findings) -> Row {
    let dir = &findings.state_dir;
    looked("state", &findings.state, dir, "the first network makes it")
}

fn pins(findings: &Findings) -> Row {
    let dir = &findings.pin_dir;
    looked("pins", &findings.pins, dir, "the first network makes them")
}

fn looked(check: &'static str, looked: &Looked, path: &str, absent: &str) -> Row {
    match looked {
        Looked::Absent => Row::new(check, Status::Ok, format!("none yet in {path}")).advise(absent),
        Looked::Good => Row::new(check, Status::Ok, path),
        Looked::Unreadable => Row::new(check, Status::Unknown, format!("may not read {path}"))
            .advise("run as root to have them checked"),
        Looked::Bad { error, hint } => {
            let row = Row::new(check, Status::Missing, error);
            match hint {
                Some(hint) => row.advise(hint),
                None => row.advise(format!("nothing can be done with {path} as it is")),
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::service::doctor::{BpfFs, Presence, Setting};

    const ROOT: u64 = 0x1ff_ffff_ffff;

    pub(in crate::service::doctor) fn good() -> Findings {
        Findings {
            facts: Facts { release: "6.12.57".into(), capabilities: ROOT },
            ipvlan: Presence::Loaded,
            netfilter: true,
            tcx: true,
            classifier: [("sch_ingress", Presence::Unknown), ("cls_bpf", Presence::Unknown)],
            btf: true,
            pin_dir: "/sys/fs/bpf/x".into(),
            bpf_fs: BpfFs::Mounted,
            jit: Setting::Value(1),
            jit_harden: Setting::Value(0),
            unprivileged_bpf_disabled: Setting::Value(2),
            state_dir: "/var/lib/x".into(),
            state: Looked::Good,
            pins: Looked::Good,
            parents: Vec::new(),
            interfaces: Ok(()),
        }
    }

    /// Judges [`good`] findings after `change`, and returns the row of `check`.
    pub(in crate::service::doctor) fn row(check: &str, change: impl FnOnce(&mut Findings)) -> Row {
        let mut findings = good();
        change(&mut findings);
        judge(&findings).into_iter().find(|row| row.check == check).unwrap()
    }

    fn release(release: &str) -> Row {
        row("kernel", |it| it.facts.release = release.into())
    }

    #[test]
    fn a_good_machine_is_good() {
        let rows = judge(&good());
        assert!(rows.iter().all(|row| row.status == Status::Ok), "{rows:#?}");
    }

    #[test]
    fn all_but_ok_says_what_it_means() {
        let mut bad = good();
        bad.facts = Facts { release: "5.4.0".into(), capabilities: 0 };
        (bad.ipvlan, bad.netfilter, bad.tcx, bad.bpf_fs) =
            (Presence::Missing, false, false, BpfFs::Elsewhere);
        (bad.jit, bad.jit_harden) = (Setting::Absent, Setting::Unreadable);
        bad.unprivileged_bpf_disabled = Setting::Value(0);
        (bad.state, bad.pins) = (Looked::Unreadable, Looked::Bad { error: "x".into(), hint: None });
        bad.interfaces = Err("can't list interfaces".into());
        bad.parents = vec![parent::tests::parent()];
        let rows = judge(&bad);
        let page = include_str!("../../../../docs/commands.md");
        for row in &rows {
            assert!(page.contains(&format!("`{}`", row.check)), "{} is not documented", row.check);
        }
        for row in &rows {
            let is_silent = row.status == Status::Ok || row.check == "l3s";
            assert!(is_silent || row.advice.as_ref().is_some_and(|it| !it.is_empty()), "{row:?}");
        }
        assert!(rows.iter().filter(|row| row.status != Status::Ok).count() >= 12, "{rows:#?}");
    }

    #[test]
    fn kernels() {
        assert_eq!(release("6.12.57+deb13").status, Status::Ok);
        assert_eq!(release("6.1.0").status, Status::Ok);
        assert_eq!(release("5.15.0").status, Status::Degraded);
        assert_eq!(release("5.14.21").status, Status::Missing);
        assert_eq!(release("").status, Status::Unknown);
    }

    #[test]
    fn what_is_not_permitted_is_named() {
        let with = |capabilities| row("capabilities", |it| it.facts.capabilities = capabilities);
        assert_eq!(with(ROOT).status, Status::Ok);
        let row = with(1 << 12 | 1 << 19);
        assert_eq!((row.status, row.found.as_str()), (Status::Missing, "without CAP_SYS_ADMIN"));
        assert_eq!(with(0).found, "without CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYS_PTRACE");
        assert_eq!(with(1 << 12 | 1 << 21).status, Status::Missing);
    }

    #[test]
    fn state_and_pins() {
        let with = |looked: Looked| {
            let state = row("state", |it| it.state = looked.clone());
            let pins = row("pins", |it| it.pins = looked.clone());
            assert_eq!(state.status, pins.status);
            state
        };
        assert_eq!(with(Looked::Absent).status, Status::Ok);
        assert_eq!(with(Looked::Good).found, "/var/lib/x");
        assert_eq!(with(Looked::Unreadable).status, Status::Unknown);
        let bad = with(Looked::Bad { error: "v9 is newer".into(), hint: Some("use that one".into()) });
        assert_eq!((bad.status, bad.advice.as_deref()), (Status::Missing, Some("use that one")));
        assert_eq!(row("interfaces", |it| it.interfaces = Err("no".into())).status, Status::Unknown);
    }
}
