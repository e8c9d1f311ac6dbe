//! Requests for neighbours beside stock ipvlan: how many copies each makes, and what a storm of them does to somebody else.
//!
//! `IPVLAN_CROWD` endpoints instead of a few, and a storm of `IPVLAN_STORM` seconds instead of a short one.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use etherparse::ArpOperation;
use ipvlan_tests::{
    Door, Endpoint, Maker, Netns, Network, Sandbox, Sender,
    frame::{self, Arp, Link},
    harness::{Need, test},
    sandbox::{INTERFACE, LAN, PARENT_MAC},
    watch::SETTLE,
};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::lab::number;

const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
const NET: Network = Network::bridge("db_net", 1);
const CROWD: usize = 4;
const STORM: usize = 1;
/// Requests, of which the copies are counted: few enough for the queue that all share.
const REQUESTS: u64 = 10;
/// Requests a second of a storm.
const RATE: u32 = 10_000;
/// Sockets that they are sent by. What waits in stock ipvlan's queue counts against its sender's buffer, which has room for some 280
/// requests; the queue has room for 1,000.
const SENDERS: usize = 8;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("requests::make_no_copies", NEEDS, copies),
        test("requests::storm_starves_nobody", NEEDS, storm),
    ]
}

/// A network of so many endpoints.
struct Crowd {
    sandbox: Sandbox,
    endpoints: Vec<Endpoint>,
}

impl Crowd {
    fn new(maker: Maker) -> Result<Self> {
        let sandbox = Sandbox::new(maker)?;
        sandbox.network(&NET)?;
        let endpoint = |number| {
            // Nobody may have anything to say by itself while copies are counted.
            let endpoint = sandbox.endpoint(&NET, &format!("e{number}"), 11 + u8::try_from(number)?)?;
            endpoint.netns.sysctl(&format!("net/ipv6/conf/{INTERFACE}/router_solicitations"), "0")?;
            Ok(endpoint)
        };
        let endpoints = (0..number("IPVLAN_CROWD", CROWD)?).map(endpoint).collect::<Result<_>>()?;
        let crowd = Self { sandbox, endpoints };
        crowd.quiet()?;
        Ok(crowd)
    }

    /// Who asks, who is asked for, and somebody else.
    fn asker(&self) -> &Endpoint {
        &self.endpoints[0]
    }

    fn asked(&self) -> &Endpoint {
        &self.endpoints[1]
    }

    fn bystander(&self) -> &Endpoint {
        &self.endpoints[2]
    }

    fn maker(&self) -> &'static str {
        match self.sandbox.maker() {
            Maker::Stock => "stock",
            Maker::Ctl => "ours",
        }
    }

    /// Frames that the endpoints but the asker have received.
    fn received(&self) -> Result<u64> {
        let slaves = self.endpoints.iter().skip(1);
        slaves.map(|it| counter(&it.netns, "rx", "packets")).sum()
    }

    /// Waits until nothing is on its way.
    fn quiet(&self) -> Result<()> {
        let mut before = self.received()?;
        loop {
            thread::sleep(2 * SETTLE);
            let now = self.received()?;
            if now == before {
                return Ok(());
            }
            before = now;
        }
    }

    /// A request for `address` as the asker's stack makes it.
    fn request(&self, address: IpAddr) -> Result<Vec<u8>> {
        let asker = self.asker();
        match address {
            IpAddr::V4(target) => {
                let (operation, sender) = (ArpOperation::REQUEST, asker.ipv4);
                let request = Arp { operation, sender_mac: PARENT_MAC, sender, target };
                frame::arp(Link::broadcast(PARENT_MAC), request, &[])
            }
            IpAddr::V6(target) => frame::who_has(PARENT_MAC, asker.ipv6, target),
        }
    }

    /// Frames that the endpoints but the asker receive of so many requests for `address`.
    fn copies(&self, address: IpAddr) -> Result<u64> {
        let (request, before) = (self.request(address)?, self.received()?);
        for _ in 0..REQUESTS {
            self.asker().send(&request, Door::Queue)?;
        }
        self.quiet()?;
        Ok(self.received()? - before)
    }

    /// Frames that found no place in the queue that all share.
    fn queue_drops(&self) -> Result<u64> {
        let own = counter(&self.asker().netns, "rx", "dropped")?;
        Ok(own + counter(&self.sandbox.host, "rx", "dropped")?)
    }

    /// Requests for a peer that go out in `seconds`, at the storm's rate or as many as the machine can.
    fn storm(&self, seconds: u64) -> Result<u64> {
        let request = self.request(self.asked().ipv4.into())?;
        let sender = |_| Sender::new(&self.asker().netns, INTERFACE, Door::Queue);
        let mut senders = (0..SENDERS).map(sender).collect::<Result<Vec<_>>>()?;
        let (begin, mut sent) = (Instant::now(), 0);
        while begin.elapsed() < Duration::from_secs(seconds) {
            if begin.elapsed() < Duration::from_secs(1) * sent / RATE {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            let next = sent as usize % senders.len();
            senders[next].send(&request)?;
            sent += 1;
        }
        Ok(sent.into())
    }

    /// Has the bystander find the LAN host and ping it, again and again: how often it tries, and in vain.
    fn pings(&self, seconds: u64) -> Result<(u32, u32)> {
        let (netns, begin) = (&self.bystander().netns, Instant::now());
        let (mut tried, mut lost) = (0, 0);
        while begin.elapsed() < Duration::from_secs(seconds) {
            netns.ip(&format!("neigh flush dev {INTERFACE}"))?;
            tried += 1;
            lost += u32::from(!netns.pings(&NET.ipv4(LAN).to_string(), 56, 2)?);
        }
        Ok((tried, lost))
    }
}

fn counter(netns: &Netns, side: &str, what: &str) -> Result<u64> {
    let links: Value = serde_json::from_str(&netns.ip(&format!("-s -json link show {INTERFACE}"))?)?;
    links[0]["stats64"][side][what].as_u64().context("no statistics of the interface")
}

fn copies() -> Result<()> {
    for maker in [Maker::Stock, Maker::Ctl] {
        let crowd = Crowd::new(maker)?;
        let others = crowd.endpoints.len() as u64 - 1;
        let (peer, who) = (crowd.asked(), crowd.maker());
        for (what, address, by_broadcast) in [
            ("ARP for a peer", IpAddr::from(peer.ipv4), true),
            ("ARP for the LAN", NET.ipv4(LAN).into(), true),
            ("solicitation for a peer", peer.ipv6.into(), false),
            ("solicitation for the LAN", NET.ipv6(LAN).into(), false),
        ] {
            let copies = crowd.copies(address)?;
            println!("{others} others, {who}: {copies} copies of {REQUESTS} requests, {what}");
            match maker {
                Maker::Ctl => ensure!(copies == 0, "{what}: {copies} copies"),
                Maker::Stock => ensure!(
                    !by_broadcast || copies == REQUESTS * others,
                    "{what}: {copies} copies of stock ipvlan for {others}"
                ),
            }
        }
    }
    Ok(())
}

fn storm() -> Result<()> {
    let seconds = number("IPVLAN_STORM", STORM)? as u64;
    for maker in [Maker::Stock, Maker::Ctl] {
        let crowd = Crowd::new(maker)?;
        let before = crowd.queue_drops()?;
        let (sent, pings) = thread::scope(|scope| {
            let storm = scope.spawn(|| crowd.storm(seconds));
            let pings = crowd.pings(seconds);
            (storm.join(), pings)
        });
        let sent = sent.map_err(|_| anyhow!("the storm has panicked"))??;
        let (tried, lost) = pings?;
        let drops = crowd.queue_drops()? - before;
        println!(
            "{} endpoints, {}: {sent} requests in {seconds} s, {drops} dropped by the queue; bystander: {lost} of {tried} pings lost",
            crowd.endpoints.len(),
            crowd.maker()
        );
        ensure!(
            maker == Maker::Stock || (drops, lost) == (0, 0),
            "{drops} drops, {lost} of {tried} pings lost"
        );
        ensure!(tried > 0 && sent > 0, "no storm: {sent} requests, {tried} pings");
    }
    Ok(())
}
