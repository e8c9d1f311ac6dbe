//! What the findings on the kernel's features mean.

use super::{BpfFs, Findings, Presence, Row, Setting, Status};

pub(super) fn judge(findings: &Findings) -> Vec<Row> {
    let mut rows = vec![ipvlan(findings.ipvlan), l3s(findings.netfilter), tcx(findings.tcx)];
    if !findings.tcx {
        rows.extend(findings.classifier.iter().map(|(name, presence)| classifier(name, *presence)));
    }
    rows.extend([
        btf(findings.btf),
        bpf_fs(findings),
        bpf(findings.unprivileged_bpf_disabled),
        jit(findings.jit),
        jit_harden(findings.jit_harden),
        unprivileged_bpf(findings.unprivileged_bpf_disabled),
    ]);
    rows
}

fn ipvlan(presence: Presence) -> Row {
    let row = |status, found| Row::new("ipvlan", status, found);
    match presence {
        Presence::Loaded => row(Status::Ok, "loaded, or built in"),
        Presence::Loadable => row(Status::Ok, "a module, loaded with the first endpoint"),
        Presence::Missing => row(Status::Missing, "this kernel has none")
            .advise("boot a kernel built with CONFIG_IPVLAN, or install the package with its modules"),
        Presence::Unknown => row(Status::Unknown, "not loaded, and no list of modules")
            .advise("run as root to have the kernel asked"),
    }
}

/// `CONFIG_IPVLAN_L3S` can't be chosen: ipvlan has it wherever there is netfilter (drivers/net/Kconfig, since Linux 5.1).
fn l3s(netfilter: bool) -> Row {
    if netfilter {
        Row::new("l3s", Status::Ok, "the kernel has netfilter, and so this mode")
    } else {
        Row::new("l3s", Status::Degraded, "the kernel has no netfilter, and so not this mode")
            .advise("use ipvlan_mode l2 or l3, or a kernel built with CONFIG_NETFILTER")
    }
}

fn tcx(has_it: bool) -> Row {
    if has_it {
        return Row::new("tcx", Status::Ok, "programs are pinned links");
    }
    Row::new("tcx", Status::Degraded, "none: programs are filters of a clsact qdisc").advise(
        "root in a container can take its own slave's programs off, after which its plain traffic no longer \
         arrives; Linux 6.6 and newer have TCX",
    )
}

fn classifier(name: &str, presence: Presence) -> Row {
    let config = if name == "cls_bpf" { "CONFIG_NET_CLS_BPF" } else { "CONFIG_NET_SCH_INGRESS" };
    let row = |status, found: &str| Row::new("clsact", status, format!("{name}: {found}"));
    match presence {
        Presence::Loaded => row(Status::Ok, "loaded, or built in"),
        Presence::Loadable => row(Status::Ok, "a module, loaded with the first network"),
        Presence::Missing => row(Status::Missing, "this kernel has none")
            .advise(format!("without TCX, a kernel built with {config} is needed")),
        Presence::Unknown => row(Status::Unknown, "not loaded, and no list of modules")
            .advise(format!("without TCX, {config} is needed")),
    }
}

fn btf(has_it: bool) -> Row {
    let found = if has_it { "/sys/kernel/btf/vmlinux" } else { "none" };
    Row::new("btf", Status::Ok, found).advise("the programs don't need the kernel's BTF")
}

fn bpf_fs(findings: &Findings) -> Row {
    let pin_dir = &findings.pin_dir;
    let row = |status, found: String| Row::new("bpf-fs", status, found);
    match findings.bpf_fs {
        BpfFs::Mounted => row(Status::Ok, "mounted".into()),
        BpfFs::Mountable => row(Status::Ok, "not mounted".into()).advise("the first network mounts it"),
        BpfFs::WouldVanish => row(Status::Missing, "not mounted in this mount namespace".into()).advise(
            "one mounted here would not last: instead of 'ip netns exec NAME' use 'nsenter --net=/run/netns/NAME'",
        ),
        BpfFs::Elsewhere => row(Status::Missing, format!("{pin_dir} is not on one"))
            .advise("mount -t bpf bpf /sys/fs/bpf, and choose a --pin-dir on it"),
    }
}

/// `CONFIG_BPF_SYSCALL`, which the setting comes with.
fn bpf(setting: Setting) -> Row {
    match setting {
        Setting::Absent => Row::new("bpf", Status::Missing, "the kernel has no bpf(2)")
            .advise("boot a kernel built with CONFIG_BPF_SYSCALL"),
        Setting::Value(_) | Setting::Unreadable => Row::new("bpf", Status::Ok, "the kernel has bpf(2)"),
    }
}

fn jit(setting: Setting) -> Row {
    let row = |status, found| Row::new("jit", status, found);
    match setting {
        Setting::Value(0) => row(Status::Degraded, "off").advise(
            "every frame costs more: sysctl net.core.bpf_jit_enable=1 for what is loaded from then on",
        ),
        Setting::Value(1) => row(Status::Ok, "on"),
        Setting::Value(_) => row(Status::Degraded, "on, and its output goes to the kernel's log")
            .advise("sysctl net.core.bpf_jit_enable=1"),
        Setting::Absent => row(Status::Degraded, "the kernel has none")
            .advise("every frame costs more than with CONFIG_BPF_JIT"),
        Setting::Unreadable => row(Status::Unknown, "may not read net.core.bpf_jit_enable")
            .advise("run as root to have it checked"),
    }
}

fn jit_harden(setting: Setting) -> Row {
    let row = |status, found| Row::new("jit-harden", status, found);
    match setting {
        Setting::Value(2) => row(Status::Degraded, "for all programs")
            .advise("every frame costs a little more; net.core.bpf_jit_harden=1 spares root's programs"),
        Setting::Value(1) => row(Status::Ok, "for users' programs, not for these"),
        Setting::Value(_) => row(Status::Ok, "off"),
        Setting::Absent => row(Status::Ok, "the kernel has none"),
        Setting::Unreadable => row(Status::Unknown, "may not read net.core.bpf_jit_harden")
            .advise("run as root to have it checked"),
    }
}

fn unprivileged_bpf(setting: Setting) -> Row {
    let row = |status, found| Row::new("unprivileged-bpf", status, found);
    match setting {
        Setting::Value(0) => row(Status::Degraded, "every user may load programs").advise(
            "these programs don't need it, and it widens what a user can attack: \
             sysctl kernel.unprivileged_bpf_disabled=2",
        ),
        Setting::Value(_) | Setting::Absent => row(Status::Ok, "only with capabilities"),
        Setting::Unreadable => row(Status::Unknown, "may not read kernel.unprivileged_bpf_disabled")
            .advise("run as root to have it checked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::doctor::judge::tests::row;

    fn check(name: &str, status: Status, change: impl FnOnce(&mut Findings)) {
        let row = row(name, change);
        assert_eq!(row.status, status, "{row:?}");
    }

    #[test]
    fn every_feature_in_every_state() {
        check("ipvlan", Status::Ok, |it| it.ipvlan = Presence::Loaded);
        check("ipvlan", Status::Ok, |it| it.ipvlan = Presence::Loadable);
        check("ipvlan", Status::Missing, |it| it.ipvlan = Presence::Missing);
        check("ipvlan", Status::Unknown, |it| it.ipvlan = Presence::Unknown);
        check("l3s", Status::Degraded, |it| it.netfilter = false);
        check("tcx", Status::Degraded, |it| it.tcx = false);
        check("btf", Status::Ok, |it| it.btf = false);
        check("bpf-fs", Status::Ok, |it| it.bpf_fs = BpfFs::Mountable);
        check("bpf-fs", Status::Missing, |it| it.bpf_fs = BpfFs::WouldVanish);
        check("bpf-fs", Status::Missing, |it| it.bpf_fs = BpfFs::Elsewhere);
    }

    #[test]
    fn without_tcx_the_classifier_counts() {
        let rows = |presence| {
            let mut findings = crate::service::doctor::judge::tests::good();
            findings.tcx = false;
            findings.classifier[1].1 = presence;
            judge(&findings).into_iter().filter(|row| row.check == "clsact").collect::<Vec<_>>()
        };
        for (presence, status) in [
            (Presence::Loaded, Status::Ok),
            (Presence::Loadable, Status::Ok),
            (Presence::Missing, Status::Missing),
            (Presence::Unknown, Status::Unknown),
        ] {
            let rows = rows(presence);
            assert_eq!((rows.len(), rows[1].status), (2, status), "{rows:?}");
            assert!(rows[1].found.starts_with("cls_bpf: "));
        }
        let advice = rows(Presence::Missing)[1].advice.clone().unwrap();
        assert!(advice.contains("CONFIG_NET_CLS_BPF"), "{advice}");
    }

    #[test]
    fn every_setting_in_every_state() {
        use Setting::{Absent, Unreadable, Value};
        for (setting, jit, harden, unprivileged, bpf) in [
            (Value(0), Status::Degraded, Status::Ok, Status::Degraded, Status::Ok),
            (Value(1), Status::Ok, Status::Ok, Status::Ok, Status::Ok),
            (Value(2), Status::Degraded, Status::Degraded, Status::Ok, Status::Ok),
            (Absent, Status::Degraded, Status::Ok, Status::Ok, Status::Missing),
            (Unreadable, Status::Unknown, Status::Unknown, Status::Unknown, Status::Ok),
        ] {
            check("jit", jit, |it| it.jit = setting);
            check("jit-harden", harden, |it| it.jit_harden = setting);
            check("unprivileged-bpf", unprivileged, |it| it.unprivileged_bpf_disabled = setting);
            check("bpf", bpf, |it| it.unprivileged_bpf_disabled = setting);
        }
    }
}
