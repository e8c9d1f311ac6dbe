//! The difference between store and kernel: shown, mended, and looked at again.

use super::{
    EndpointStep, Error, Finding, Foundation, Outcome, Report, Root, Session, Step as _, progress,
    survey::Mend,
};
use crate::model::Slot;

/// What came of it.
#[derive(Debug)]
pub struct Reconciled {
    /// What was found.
    pub findings: Vec<Finding>,
    /// Why something was left, where it could have been mended.
    pub warnings: Vec<String>,
}

impl Reconciled {
    /// Whether nothing remains to be mended.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.findings.iter().all(|finding| finding.outcome == Outcome::Mended)
    }
}

/// Finds what differs and mends what it can; with `dry_run` it changes nothing.
pub fn reconcile(root: &Root, dry_run: bool) -> Result<Reconciled, Error> {
    if dry_run {
        let _no_command_is_half_way = root.lock_to_look()?;
        return Ok(Reconciled { findings: Report::read(root)?.survey()?, warnings: Vec::new() });
    }
    let mut session = Session::open(root)?;
    let mut findings = Report::read(root)?.survey()?;
    session.restore()?;
    session.repair()?;
    for (done, finding) in findings.iter().enumerate() {
        progress::note("mend", done, findings.len(), &finding.object);
        if let Err(error) = session.mend(finding.mend) {
            session.warn(format!("{}: {error}", finding.object));
        }
    }
    // What is mended is what is no longer found, whatever was done.
    let left = Report::read(root)?.survey()?;
    let is_same = |a: &Finding, b: &Finding| (a.kind, &a.object, a.mend) == (b.kind, &b.object, b.mend);
    for finding in &mut findings {
        let remains = left.iter().any(|other| is_same(finding, other));
        finding.outcome = if remains { Outcome::Left } else { Outcome::Mended };
    }
    for finding in left {
        if !findings.iter().any(|known| is_same(known, &finding)) {
            findings.push(Finding { outcome: Outcome::Left, ..finding });
        }
    }
    let mut reconciled = Reconciled { findings, warnings: Vec::new() };
    if !reconciled.is_well() {
        reconciled.warnings = session.take_warnings();
    }
    Ok(reconciled)
}

impl Session {
    fn mend(&mut self, mend: Mend) -> Result<(), Error> {
        if mend.only_drops() && self.existing_dataplane()?.is_none() {
            // It went with the maps; to look for it would make them again.
            return Ok(());
        }
        match mend {
            // Done when the others are.
            Mend::Begin | Mend::Not => Ok(()),
            Mend::ParentPrograms(slot) => {
                self.on_parent(slot)?.map_or(Ok(()), |mut parent| parent.attach_programs())
            }
            Mend::ParentEntry(slot) => self.on_parent(slot)?.map_or(Ok(()), |mut parent| parent.register()),
            Mend::Programs(slot) => self.apply(slot, &[EndpointStep::Programs]),
            Mend::Entries(slot) => self.apply(slot, &[EndpointStep::Addresses, EndpointStep::Slot]),
            Mend::Host(slot) => self.apply(slot, &[EndpointStep::Host]),
            Mend::DropSlot(slot) => Ok(self.dataplane()?.unregister_slot(slot)?),
            Mend::DropAddress(parent, address) => Ok(self.dataplane()?.remove_address(parent, address)?),
            Mend::DropPins(slot) => Ok(self.dataplane()?.unpin_slot(slot)?),
            Mend::DropMaps => self.remove_dataplane(),
        }
    }

    /// A network on a parent, if it has one still.
    fn on_parent(&mut self, slot: Slot) -> Result<Option<Foundation<'_>>, Error> {
        let network = self.store.networks()?.into_iter().find(|network| network.parent == slot);
        network.map(|network| self.foundation(network)).transpose()
    }

    /// Applies steps again; an endpoint that is gone needs none.
    fn apply(&mut self, slot: Slot, steps: &[EndpointStep]) -> Result<(), Error> {
        let Some(endpoint) = self.store.endpoint_at(slot)? else { return Ok(()) };
        let mut attachment = self.attachment(endpoint)?;
        steps.iter().try_for_each(|step| step.apply(&mut attachment))
    }
}
