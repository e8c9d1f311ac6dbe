//! What the evidence means.

use super::{EndpointEvidence, Evidence, Privileged, Risk, Severity};
use crate::service::{Finding, Kind, doctor::Setting};

/// The risks, the heaviest first.
#[must_use]
pub fn judge(evidence: &Evidence) -> Vec<Risk> {
    let survey = evidence.survey.iter().map(|Finding { kind, object, found, action, .. }| {
        let advice = format!("{action}; 'ipvlan-ctl reconcile' mends what can be mended");
        Risk::new(weight(*kind), kind.as_str(), object, found, advice)
    });
    let mut risks: Vec<_> = survey.collect();
    risks.extend(evidence.endpoints.iter().flat_map(endpoint));
    risks.extend(host(evidence));
    risks.sort_by_key(|risk| std::cmp::Reverse(risk.severity));
    risks
}

const fn weight(kind: Kind) -> Severity {
    match kind {
        Kind::Rebooted | Kind::MapsGone | Kind::ParentUnenforced | Kind::SlaveUnenforced => {
            Severity::Critical
        }
        // What the maps don't know passes for the host in some modes.
        Kind::EntryMissing | Kind::SlaveMoved | Kind::ForeignSlave | Kind::ForeignAddress => Severity::High,
        Kind::HalfMade | Kind::XdpMissing | Kind::HostAddress => Severity::Medium,
        Kind::ParentGone
        | Kind::NetnsGone
        | Kind::SlaveGone
        | Kind::HostRoute
        | Kind::StrayEntry
        | Kind::StrayPin
        | Kind::StrayMaps => Severity::Low,
    }
}

const SWITCHED: &str = "somebody who is root in a container has switched it: end that container, detach all endpoints of the parent, attach them again";

fn endpoint(endpoint: &EndpointEvidence) -> Vec<Risk> {
    let EndpointEvidence { name, parent, mode, vepa, slave, accept_ra, privileged } = endpoint;
    let risk = |severity, check, evidence: String, advice| {
        Risk::new(severity, check, format!("endpoint {name}"), evidence, advice)
    };
    let mut risks = Vec::new();
    if let Some(slave) = slave {
        if slave.mode != Some(*mode) {
            let found = slave.mode.map_or("an unknown mode", |mode| mode.as_str());
            let evidence = format!("parent {parent} is in mode {found}, not {mode}");
            risks.push(risk(Severity::Critical, "mode", evidence, SWITCHED));
        }
        if slave.vepa != *vepa {
            let [found, asked] =
                [slave.vepa, *vepa].map(|vepa| if vepa { "vepa" } else { "bridge or private" });
            let evidence = format!("parent {parent} has the flag {found}, not {asked}");
            risks.push(risk(Severity::Critical, "flag", evidence, SWITCHED));
        }
        if slave.promiscuous {
            let advice = "it hears the broadcasts of others before they are dropped: end what listens inside, or take CAP_NET_RAW from it";
            risks.push(risk(Severity::Medium, "promiscuous", "its slave is promiscuous".into(), advice));
        }
    }
    for Privileged { pid, name: process, capabilities } in privileged {
        let evidence =
            format!("process {pid} ({process}) has {} and no user namespace", capabilities.join(", "));
        let advice = "not contained: it can make slaves, add addresses and switch the parent's mode; run it without these, or in a user namespace";
        risks.push(risk(Severity::High, "privileged", evidence, advice));
    }
    if let Setting::Value(1..) = accept_ra {
        let advice = "routers on the wire could give it addresses that it may not use: set it to 0";
        risks.push(risk(Severity::Low, "accept-ra", "accept_ra is on".into(), advice));
    }
    risks
}

fn host(evidence: &Evidence) -> Vec<Risk> {
    let risk = |severity, check, evidence: &str, advice: &str| {
        Risk::new(severity, check, "the host", evidence, advice)
    };
    let mut risks = Vec::new();
    if evidence.unprivileged_bpf_disabled == Setting::Value(0) {
        risks.push(risk(
            Severity::Medium,
            "unprivileged-bpf",
            "kernel.unprivileged_bpf_disabled is 0",
            "anybody may load programs, and try the verifier: set it to 2",
        ));
    }
    if evidence.jit_harden == Setting::Value(0) {
        risks.push(risk(
            Severity::Low,
            "jit-harden",
            "net.core.bpf_jit_harden is 0",
            "constants of others' programs aren't blinded: set it to 1",
        ));
    }
    risks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Mode, netlink::SlaveStanding, service::Kind};

    fn good() -> Evidence {
        let slave = SlaveStanding { mode: Some(Mode::L2), vepa: false, promiscuous: false };
        let endpoint = EndpointEvidence {
            name: "a".into(),
            parent: "eth0".into(),
            mode: Mode::L2,
            vepa: false,
            slave: Some(slave),
            accept_ra: Setting::Value(0),
            privileged: Vec::new(),
        };
        Evidence {
            survey: Vec::new(),
            endpoints: vec![endpoint],
            unprivileged_bpf_disabled: Setting::Value(2),
            jit_harden: Setting::Value(1),
        }
    }

    fn found(change: impl Fn(&mut Evidence)) -> Vec<(&'static str, String)> {
        let mut evidence = good();
        change(&mut evidence);
        judge(&evidence).into_iter().map(|risk| (risk.severity.as_str(), risk.check)).collect()
    }

    fn slave(change: impl Fn(&mut SlaveStanding)) -> Vec<(&'static str, String)> {
        found(|evidence| change(evidence.endpoints[0].slave.as_mut().unwrap()))
    }

    #[test]
    fn nothing_is_found_where_all_is_well() {
        assert_eq!(found(|_| ()), []);
        assert_eq!(found(|evidence| evidence.endpoints[0].slave = None), []);
        assert_eq!(found(|evidence| evidence.unprivileged_bpf_disabled = Setting::Absent), []);
    }

    #[test]
    fn each_risk() {
        let one = |severity, check: &str| vec![(severity, check.to_owned())];
        assert_eq!(slave(|slave| slave.mode = Some(Mode::L3)), one("critical", "mode"));
        assert_eq!(slave(|slave| slave.mode = None), one("critical", "mode"));
        assert_eq!(slave(|slave| slave.vepa = true), one("critical", "flag"));
        assert_eq!(slave(|slave| slave.promiscuous = true), one("medium", "promiscuous"));
        assert_eq!(
            found(|evidence| evidence.endpoints[0].accept_ra = Setting::Value(1)),
            one("low", "accept-ra")
        );
        assert_eq!(
            found(|evidence| evidence.unprivileged_bpf_disabled = Setting::Value(0)),
            one("medium", "unprivileged-bpf")
        );
        assert_eq!(found(|evidence| evidence.jit_harden = Setting::Value(0)), one("low", "jit-harden"));
        let process = Privileged { pid: 7, name: "sh".into(), capabilities: vec!["CAP_NET_ADMIN"] };
        assert_eq!(
            found(|evidence| evidence.endpoints[0].privileged = vec![process.clone()]),
            one("high", "privileged")
        );
    }

    #[test]
    fn the_heaviest_come_first() {
        let both = found(|evidence| {
            evidence.jit_harden = Setting::Value(0);
            evidence.endpoints[0].slave.as_mut().unwrap().vepa = true;
        });
        assert_eq!(both, [("critical", "flag".to_owned()), ("low", "jit-harden".to_owned())]);
    }

    #[test]
    fn what_is_not_enforced_is_critical() {
        for kind in [Kind::MapsGone, Kind::ParentUnenforced, Kind::SlaveUnenforced, Kind::Rebooted] {
            assert_eq!(weight(kind), Severity::Critical, "{kind:?}");
        }
    }
}
