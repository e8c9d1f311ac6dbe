//! Real traffic on the kernel's ipvlan: what must pass passes, what must not is dropped and counted.

mod allowed;
mod around;
mod capacity;
mod changed;
mod isolation;
mod lab;
mod lifecycle;
mod modes;
mod monitor;
mod ring;
mod root_inside;
mod spoofing;
mod swap;
mod xdp;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let tests = [
        allowed::tests(),
        around::tests(),
        spoofing::tests(),
        isolation::tests(),
        modes::tests(),
        monitor::tests(),
        ring::tests(),
        root_inside::tests(),
        xdp::tests(),
        swap::tests(),
        lifecycle::tests(),
        capacity::tests(),
        changed::tests(),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests.into_iter().flatten().collect()).exit_code()
}
