//! One policy, by several filters: an endpoint sends as itself alone, its peer hears the network's members alone, and each is counted.

use std::{
    fmt::Write as _,
    io::Write as _,
    net::Ipv4Addr,
    ops::RangeInclusive,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader,
    programs::{SchedClassifier, TcAttachType},
};
use ipvlan_ctl::bpf::BENCH;
use ipvlan_tests::{Netns, sandbox::INTERFACE};

use crate::crowd::{Crowd, MAC, endpoint};

/// Who sends, and who receives: the last of the members, whom a list of rules gets to last.
pub(crate) struct Pair<'a> {
    pub(crate) crowd: &'a Crowd,
    pub(crate) sender: &'a Netns,
    pub(crate) receiver: &'a Netns,
}

/// By what the policy is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Nothing keeps it.
    Nothing,
    /// Nor do these, on the hooks that ours are on: what the kernel takes to call any.
    Empty,
    /// Our programs of the two endpoints.
    Ours,
    /// nft's netdev hooks, with the members in a set with counters.
    NftSet,
    /// The same hooks, with so many members in a rule each.
    NftRules(u16),
    /// iptables, in INPUT and OUTPUT, with so many members in a rule each.
    IptablesRules(u16),
}

impl Filter {
    pub(crate) const ALL: [Self; 8] = [
        Self::Nothing,
        Self::Empty,
        Self::Ours,
        Self::NftSet,
        Self::NftRules(10),
        Self::NftRules(100),
        Self::NftRules(1_000),
        Self::IptablesRules(1_000),
    ];

    pub(crate) fn name(self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Empty => "empty programs".to_owned(),
            Self::Ours => "ours".to_owned(),
            Self::NftSet => "nft, a set".to_owned(),
            Self::NftRules(rules) => format!("nft, {rules} rules"),
            Self::IptablesRules(rules) => format!("iptables, {rules} rules"),
        }
    }

    /// Whether this machine has it.
    pub(crate) fn is_there(self) -> bool {
        match self {
            Self::IptablesRules(_) => Command::new("iptables").arg("--version").output().is_ok(),
            _ => true,
        }
    }

    /// Whether it lets through what the policy doesn't.
    pub(crate) const fn lets_all(self) -> bool {
        matches!(self, Self::Nothing | Self::Empty)
    }

    /// Puts it in place; returns what keeps it there.
    pub(crate) fn apply(self, pair: &Pair<'_>) -> Result<Option<Ebpf>> {
        let last = pair.crowd.endpoints - 1;
        let own = address(last)?;
        match self {
            Self::Nothing => {}
            Self::Empty => return attach_empty([pair.sender, pair.receiver]).map(Some),
            Self::Ours => {
                let [sender, receiver] = [endpoint(last), endpoint(0)];
                pair.receiver.enter(|| Ok(pair.crowd.dataplane.attach_endpoint(&receiver, INTERFACE)?))?;
                pair.sender.enter(|| Ok(pair.crowd.dataplane.attach_endpoint(&sender, INTERFACE)?))?;
            }
            Self::NftSet => {
                let rules = "ip saddr @members accept\n";
                nft(pair.receiver, &chain("ingress", &set_of(0..=last)?, rules))?;
                nft(pair.sender, &egress(own))?;
            }
            Self::NftRules(rules) => {
                let mut text = String::new();
                for member in last + 1 - rules..=last {
                    writeln!(text, "ip saddr {} counter accept", address(member)?)?;
                }
                nft(pair.receiver, &chain("ingress", "", &text))?;
                nft(pair.sender, &egress(own))?;
            }
            Self::IptablesRules(rules) => {
                let mut text = "*filter\n:INPUT DROP\n".to_owned();
                for member in last + 1 - rules..=last {
                    writeln!(text, "-A INPUT -s {} -j ACCEPT", address(member)?)?;
                }
                text.push_str("COMMIT\n");
                feed(pair.receiver, Command::new("iptables-restore").arg("-w"), &text)?;
                let text = format!("*filter\n:OUTPUT DROP\n-A OUTPUT -s {own} -j ACCEPT\nCOMMIT\n");
                feed(pair.sender, Command::new("iptables-restore").arg("-w"), &text)?;
            }
        }
        Ok(None)
    }

    /// Takes it away again.
    pub(crate) fn remove(self, pair: &Pair<'_>) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Empty => [pair.sender, pair.receiver].into_iter().try_for_each(gone),
            Self::Ours => {
                for (number, netns) in [(0, pair.receiver), (pair.crowd.endpoints - 1, pair.sender)] {
                    pair.crowd.dataplane.detach_endpoint(endpoint(number).slot)?;
                    gone(netns)?;
                }
                Ok(())
            }
            Self::NftSet | Self::NftRules(_) => {
                [pair.sender, pair.receiver].into_iter().try_for_each(|netns| nft(netns, "flush ruleset\n"))
            }
            Self::IptablesRules(_) => [pair.sender, pair.receiver].into_iter().try_for_each(|netns| {
                let text = "*filter\n:INPUT ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n";
                feed(netns, Command::new("iptables-restore").arg("-w"), text)
            }),
        }
    }
}

/// Puts an empty program on both sides of each interface, for as long as what is returned lives.
pub(crate) fn attach_empty<'a>(netns: impl IntoIterator<Item = &'a Netns>) -> Result<Ebpf> {
    let mut programs = EbpfLoader::new().load(BENCH)?;
    let empty: &mut SchedClassifier = programs.program_mut("empty").context("no such program")?.try_into()?;
    empty.load()?;
    for netns in netns {
        let ifindex = netns.ifindex(INTERFACE)?;
        for side in [TcAttachType::Ingress, TcAttachType::Egress] {
            netns.enter(|| Ok(empty.attach(ifindex, side)?))?;
        }
    }
    Ok(programs)
}

/// Waits until no program is left: a link that nothing holds any more goes a little later.
pub(crate) fn gone(netns: &Netns) -> Result<()> {
    let begin = Instant::now();
    let ifindex = netns.ifindex(INTERFACE)?;
    let programs = |side| netns.enter(|| Ok(SchedClassifier::query_tcx(ifindex, side)?.1.len()));
    while programs(TcAttachType::Ingress)? + programs(TcAttachType::Egress)? > 0 {
        ensure!(begin.elapsed() < Duration::from_secs(5), "our programs stay in {}", netns.name());
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// The IPv4 address of a member.
pub(crate) fn address(member: u16) -> Result<Ipv4Addr> {
    endpoint(member).ipv4.map(|it| it.addr()).context("an endpoint has an address")
}

/// These members as a set of nft's, each with a counter.
pub(crate) fn set_of(members: RangeInclusive<u16>) -> Result<String> {
    let members = members.map(address).collect::<Result<Vec<_>>>()?;
    let members: Vec<_> = members.iter().map(Ipv4Addr::to_string).collect();
    Ok(format!("set members {{ type ipv4_addr; counter; elements = {{ {} }} }}", members.join(", ")))
}

fn egress(own: Ipv4Addr) -> String {
    let [a, b, c, d, e, f] = MAC;
    let mac = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
    chain("egress", "", &format!("ether saddr {mac} ip saddr {own} counter accept\n"))
}

/// A chain on the interface, which drops what no rule accepts.
pub(crate) fn chain(hook: &str, known: &str, rules: &str) -> String {
    format!(
        "table netdev bench {{\n{known}\nchain filter {{\n\
         type filter hook {hook} device {INTERFACE} priority 0; policy drop;\n{rules}}}\n}}\n"
    )
}

pub(crate) fn nft(netns: &Netns, text: &str) -> Result<()> {
    feed(netns, Command::new("nft").args(["-f", "-"]), text)
}

/// Runs a command that reads its rules.
pub(crate) fn feed(netns: &Netns, command: &mut Command, text: &str) -> Result<()> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = netns.spawn(command)?;
    child.stdin.take().context("a pipe")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
