//! What is found on the machine.

use super::{Privileged, processes::Processes};
use crate::{
    model::{Flag, Mode, State},
    netlink::SlaveStanding,
    service::{
        Error, Finding, Report, Root,
        doctor::{Setting, setting},
        progress,
        slave::{self, Inside},
    },
};

/// All that is judged.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Where the kernel differs from the store.
    pub survey: Vec<Finding>,
    /// The endpoints whose namespaces live.
    pub endpoints: Vec<EndpointEvidence>,
    /// `kernel.unprivileged_bpf_disabled`.
    pub unprivileged_bpf_disabled: Setting,
    /// `net.core.bpf_jit_harden`.
    pub jit_harden: Setting,
}

/// An endpoint, as its namespace shows it.
#[derive(Debug, Clone)]
pub struct EndpointEvidence {
    /// Its name.
    pub name: String,
    /// Its parent's name.
    pub parent: String,
    /// The mode that its parent's networks have.
    pub mode: Mode,
    /// Whether the kernel's flag is to be vepa.
    pub vepa: bool,
    /// Its slave, if that is in its namespace.
    pub slave: Option<SlaveStanding>,
    /// `accept_ra` of its slave.
    pub accept_ra: Setting,
    /// Who is privileged in its namespace.
    pub privileged: Vec<Privileged>,
}

impl Evidence {
    /// Looks at this machine, and changes nothing; of one network alone, if one is named.
    ///
    /// # Errors
    /// Where there is no such network, or the state can't be read.
    pub fn gather(root: &Root, network: Option<&str>) -> Result<Self, Error> {
        let report = Report::read(root)?;
        if let Some(name) = network
            && !report.networks.iter().any(|it| it.spec.name.as_str() == name)
        {
            return Err(Error::NoNetwork(name.to_owned()));
        }
        let mut survey = report.survey()?;
        if let Some(name) = network {
            let objects = report.objects_of(name);
            survey.retain(|finding| objects.contains(&finding.object));
        }
        let processes = Processes::gather();
        let mut endpoints = Vec::new();
        for (done, endpoint) in report.endpoints.iter().enumerate() {
            progress::note("audit", done, report.endpoints.len(), format!("endpoint {}", endpoint.name));
            if endpoint.state != State::Up {
                continue;
            }
            let Some(own) = report.networks.iter().find(|it| it.id == endpoint.network) else { continue };
            if network.is_some_and(|name| own.spec.name.as_str() != name) {
                continue;
            }
            let (Some(parent), Some(netns)) = (report.parent(endpoint.parent), report.netns_of(endpoint))
            else {
                continue;
            };
            let inside = Inside::open(netns)?;
            let link = slave::find(&inside.netlink, endpoint, parent)?;
            let accept_ra = match &link {
                Some(link) => {
                    inside.netns.run(|| setting(&format!("net/ipv6/conf/{}/accept_ra", link.name)))?
                }
                None => Setting::Absent,
            };
            endpoints.push(EndpointEvidence {
                name: endpoint.name.to_string(),
                parent: parent.name.to_string(),
                mode: parent.mode,
                vepa: own.spec.flag == Flag::Vepa,
                slave: link.map(|link| inside.netlink.slave_standing(link.index)).transpose()?.flatten(),
                accept_ra,
                privileged: processes.inside(inside.netns.path()).to_vec(),
            });
        }
        Ok(Self {
            survey,
            endpoints,
            unprivileged_bpf_disabled: setting("kernel/unprivileged_bpf_disabled"),
            jit_harden: setting("net/core/bpf_jit_harden"),
        })
    }
}
