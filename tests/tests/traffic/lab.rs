//! A sandbox with endpoints, and what a test says about a frame in it.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    env,
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ipvlan_common::DropReason;
use ipvlan_tests::{
    Door, Endpoint, Maker, Marker, Netns, Network, Sandbox, Stats, Watch,
    frame::PORT,
    packet::PacketSocket,
    sandbox::INTERFACE,
    stats::Rise,
    watch::{ARRIVAL, SETTLE},
};

pub(crate) use ipvlan_tests::sandbox::{FROM_LAN, SHARED, TO_LAN, static_neighbor};

use crate::shown;

/// The name of the host and of the row of the parent's counters.
pub(crate) const PARENT: &str = INTERFACE;

/// The number that `variable` has in the environment, by which a test is made longer or larger.
pub(crate) fn number(variable: &str, default: usize) -> Result<usize> {
    Ok(env::var(variable).ok().map(|text| text.parse()).transpose()?.unwrap_or(default))
}

/// Everything one test acts in.
pub(crate) struct Lab {
    pub(crate) sandbox: Sandbox,
    endpoints: Vec<Endpoint>,
    stats: RefCell<Stats>,
}

impl Lab {
    /// Networks with their endpoints, which are numbered from 11 in each network.
    pub(crate) fn new(networks: &[(Network, &[&str])]) -> Result<Self> {
        Self::inside(Sandbox::new(Maker::Ctl)?, networks)
    }

    /// The same in a sandbox that is there.
    pub(crate) fn inside(sandbox: Sandbox, networks: &[(Network, &[&str])]) -> Result<Self> {
        let mut endpoints = Vec::new();
        for (network, names) in networks {
            sandbox.network(network)?;
            for (name, host) in names.iter().zip(11..) {
                endpoints.push(sandbox.endpoint(network, name, host)?);
            }
        }
        let stats = RefCell::new(Stats::read(&sandbox)?);
        Ok(Self { sandbox, endpoints, stats })
    }

    /// Makes an endpoint with host access of its own.
    pub(crate) fn grant(&mut self, network: &Network, name: &str, host: u8) -> Result<()> {
        self.endpoints.push(self.sandbox.granted_endpoint(network, name, host)?);
        self.recount()
    }

    #[expect(clippy::expect_used, reason = "a test that misspells its own endpoint has no way on")]
    pub(crate) fn endpoint(&self, name: &str) -> &Endpoint {
        self.endpoints.iter().find(|endpoint| endpoint.name == name).expect("an endpoint of this lab")
    }

    /// Gives up the endpoint `name`, and its namespace with it.
    pub(crate) fn remove(&mut self, name: &str) {
        self.endpoints.retain(|endpoint| endpoint.name != name);
    }

    pub(crate) fn namespaces(&self) -> Vec<&Netns> {
        self.endpoints.iter().map(|endpoint| &endpoint.netns).collect()
    }

    /// The frame that `send` sends comes out nowhere, and the counter of `charged` for `reason` rises.
    pub(crate) fn dropped(
        &self,
        what: &str,
        count: (DropReason, &str),
        send: impl FnOnce(&[u8]) -> Result<()>,
    ) -> Result<()> {
        self.dropped_behind(what, &[], count, send)
    }

    /// As [`Self::dropped`], but the frame is seen at `places` on its way.
    pub(crate) fn dropped_behind(
        &self,
        what: &str,
        places: &[&str],
        (reason, charged): (DropReason, &str),
        send: impl FnOnce(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let seen = self.send(what, places, send)?;
        let now = Stats::read(&self.sandbox)?;
        let rises = now.since(&self.stats.replace(now.clone()));
        ensure!(same(&seen, places), "{what}: came out at {seen:?}, not at {places:?}; counted: {rises:?}");
        ensure!(
            counted(&rises, reason, charged),
            "{what}: {} of {charged} did not rise; counted: {rises:?}",
            reason.name()
        );
        shown::add(reason);
        Ok(())
    }

    /// As [`Self::dropped`] for each of `frames`, which are looked for together once all are sent: much faster.
    pub(crate) fn all_dropped(
        &self,
        frames: &[(String, (DropReason, &str))],
        mut send: impl FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let watch = self.watch()?;
        let mut markers = Vec::new();
        for (index, (what, (reason, charged))) in frames.iter().enumerate() {
            let marker = Marker::unique();
            send(index, marker.bytes()).with_context(|| what.clone())?;
            markers.push((what, marker));
            // The kernel's multicast worker takes its time.
            let deadline = Instant::now() + ARRIVAL;
            let mut rises = self.rises()?;
            while !counted(&rises, *reason, charged) && Instant::now() < deadline {
                rises.extend(self.rises()?);
            }
            ensure!(
                counted(&rises, *reason, charged),
                "{what}: {} of {charged} did not rise; counted: {rises:?}",
                reason.name()
            );
        }
        thread::sleep(SETTLE);
        let seen = watch.seen_of_many(&markers)?;
        ensure!(seen.is_empty(), "came out: {seen:?}");
        for (_what, (reason, _charged)) in frames {
            shown::add(*reason);
        }
        Ok(())
    }

    /// The frame that `send` sends comes out at all of `places`, and nowhere else.
    pub(crate) fn delivered(
        &self,
        what: &str,
        places: &[&str],
        send: impl FnOnce(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let seen = self.send(what, places, send)?;
        let before = self.stats.replace(Stats::read(&self.sandbox)?);
        ensure!(
            same(&seen, places),
            "{what}: came out at {seen:?}, not at {places:?}; counted: {:?}",
            self.stats.borrow().since(&before)
        );
        Ok(())
    }

    /// As [`Self::dropped`], for a frame of the endpoint `from`.
    pub(crate) fn refused(
        &self,
        what: &str,
        count: (DropReason, &str),
        (from, door): (&str, Door),
        build: impl FnOnce(&[u8]) -> Result<Vec<u8>>,
    ) -> Result<()> {
        self.dropped(what, count, |marker| self.endpoint(from).send(&build(marker)?, door))
    }

    /// Sends a frame from the LAN host.
    pub(crate) fn lan_sends(&self, frame: &[u8]) -> Result<()> {
        PacketSocket::sender(&self.sandbox.lan, INTERFACE)?.send(frame)
    }

    /// What was counted since the last look.
    pub(crate) fn rises(&self) -> Result<Vec<Rise>> {
        let now = Stats::read(&self.sandbox)?;
        Ok(now.since(&self.stats.replace(now.clone())))
    }

    /// Forgets what was counted up to now.
    pub(crate) fn recount(&self) -> Result<()> {
        self.stats.replace(Stats::read(&self.sandbox)?);
        Ok(())
    }

    /// Every place where a frame can come out.
    pub(crate) fn watch(&self) -> Result<Watch> {
        let mut watch = Watch::new()
            .wire("lan", &self.sandbox.lan, INTERFACE)?
            .accepted("host", &self.sandbox.host, INTERFACE)?
            .socket("host socket", &self.sandbox.host)?;
        for Endpoint { name, netns, .. } in &self.endpoints {
            // A test may have taken it away.
            if netns.ifindex(INTERFACE).is_ok() {
                watch = watch.accepted(name, netns, INTERFACE)?;
            }
        }
        Ok(watch)
    }

    fn send(
        &self,
        what: &str,
        expected: &[&str],
        send: impl FnOnce(&[u8]) -> Result<()>,
    ) -> Result<BTreeSet<String>> {
        let watch = self.watch()?;
        let marker = Marker::unique();
        send(marker.bytes()).with_context(|| what.to_owned())?;
        watch.seen(&marker, expected)
    }
}

fn counted(rises: &[Rise], reason: DropReason, charged: &str) -> bool {
    rises.iter().any(|rise| rise.reason == reason.name() && rise.charged == charged)
}

fn same(seen: &BTreeSet<String>, places: &[&str]) -> bool {
    seen.len() == places.len() && places.iter().all(|place| seen.contains(*place))
}

/// An ordinary datagram from an ordinary socket.
pub(crate) fn datagram(netns: &Netns, address: &str, payload: &[u8]) -> Result<()> {
    netns.enter(|| {
        let any = if address.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
        UdpSocket::bind(any)?
            .send_to(payload, (address, PORT))
            .with_context(|| format!("send to {address}"))?;
        Ok(())
    })
}

/// Waits for what the kernel or another process does in its own time.
pub(crate) fn eventually(what: &str, mut happens: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !happens()? {
        ensure!(Instant::now() < deadline, "it never came to {what}");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
