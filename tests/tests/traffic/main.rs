//! Real traffic on the kernel's ipvlan: what must pass passes, what must not is dropped and counted.

mod allowed;
mod around;
mod attacked;
mod audited;
mod capacity;
mod changed;
mod crowd;
mod duplicates;
mod host_access;
mod host_addresses;
mod isolation;
mod kill_points;
mod lab;
mod lifecycle;
mod macvlan;
mod modes;
mod monitor;
mod names;
mod nat;
mod networks;
mod plugin;
mod reconcile;
mod requests;
mod ring;
mod root_inside;
mod shown;
mod spoofing;
mod suppress;
mod swap;
mod vlan;
mod walk;
mod xdp;

use std::process::ExitCode;

use ipvlan_tests::harness::Need;
use libtest_mimic::Arguments;

fn main() -> ExitCode {
    if let Some(point) = kill_points::asked_for() {
        return kill_points::die(&point);
    }
    let tests = [
        allowed::tests(),
        around::tests(),
        attacked::tests(),
        audited::tests(),
        spoofing::tests(),
        isolation::tests(),
        modes::tests(),
        monitor::tests(),
        networks::tests(),
        names::tests(),
        nat::tests(),
        plugin::tests(),
        ring::tests(),
        root_inside::tests(),
        xdp::tests(),
        vlan::tests(),
        suppress::tests(),
        requests::tests(),
        walk::tests(),
        swap::tests(),
        lifecycle::tests(),
        macvlan::tests(),
        capacity::tests(),
        changed::tests(),
        duplicates::tests(),
        host_access::tests(),
        host_addresses::tests(),
        reconcile::tests(),
        kill_points::tests(),
        crowd::tests(),
    ];
    let arguments = Arguments::from_args();
    let conclusion = libtest_mimic::run(&arguments, tests.into_iter().flatten().collect());
    let whole = !arguments.list && conclusion.num_filtered_out == 0;
    if whole && !conclusion.has_failed() && !shows_every_reason() {
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

/// A rule without a test here is a rule of which nobody knows whether it meets the frames that it is made for.
fn shows_every_reason() -> bool {
    let missing = shown::missing();
    if missing.is_empty() {
        return true;
    }
    // Any other need of a test is no excuse: the rule stands on every kernel.
    if let Some(need) = [Need::Root, Need::Ipvlan].into_iter().find_map(Need::missing) {
        eprintln!("no traffic, so no drop was shown: {need}");
        return true;
    }
    eprintln!("error: no test has shown a drop for: {}", missing.join(", "));
    false
}
