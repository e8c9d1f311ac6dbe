//! PID 1 of the test VM: shows the host's root beneath a writable overlay, runs one command in it, reports its status.
//!
//! The status travels over the second serial port, because the debug-exit device only carries seven bits.

mod root;

use std::arch::asm;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::process::Command;

use anyhow::{Context, Result};
use ipvlan_vm_init::{BOOTED, CONFIG_PATH, Guest, Job, OUT_ENV};
use nix::errno::Errno;
use nix::libc;
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::termios::{SetArg, cfmakeraw, tcdrain, tcgetattr, tcsetattr};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// Port of QEMU's isa-debug-exit device: a byte written there ends QEMU at once.
const DEBUG_EXIT_PORT: u16 = 0xf4;

fn main() {
    if std::process::id() != 1 {
        eprintln!("ipvlan-vm-init: this is PID 1 of the test VM; start it with `cargo xtask vm -- CMD`");
        std::process::exit(2);
    }
    if let Err(error) = boot().and_then(|status| report(&status.to_string())) {
        eprintln!("ipvlan-vm-init: {error:#}");
    }
    power_off();
}

/// Sets the guest up, runs its command and returns the exit status.
fn boot() -> Result<u8> {
    root::mount_kernel_file_systems()?;
    raw_console()?;
    report(BOOTED)?;
    let config = std::fs::read(CONFIG_PATH).with_context(|| format!("can't read {CONFIG_PATH}"))?;
    let guest: Guest =
        serde_json::from_slice(&config).with_context(|| format!("can't parse {CONFIG_PATH}"))?;
    let Some(job) = guest.job else { return Ok(0) };
    root::load_modules(&guest.modules)?;
    root::switch(&job)?;
    std::fs::write("/proc/sys/kernel/hostname", "ipvlan-vm").context("can't set the host name")?;
    run(&job)
}

/// Switches the console to raw output: the host must see the command's bytes, not the line discipline's.
fn raw_console() -> Result<()> {
    let console = std::io::stdout();
    let mut settings = tcgetattr(&console).context("the console isn't a terminal")?;
    cfmakeraw(&mut settings);
    tcsetattr(&console, SetArg::TCSANOW, &settings).context("can't make the console raw")
}

/// Runs the command and reaps every orphan until it ends.
fn run(job: &Job) -> Result<u8> {
    let (program, args) = job.argv.split_first().context("no command given")?;
    // `ip` here and not an ioctl: the suites need it anyway. The loopback is down in a new kernel.
    let lo = Command::new("ip").args(["link", "set", "lo", "up"]).envs(&job.env).status();
    if !lo.is_ok_and(|status| status.success()) {
        eprintln!("ipvlan-vm-init: the loopback stays down: `ip link set lo up` failed");
    }
    let child = Command::new(program)
        .args(args)
        .current_dir(&job.cwd)
        .env_clear()
        .envs(&job.env)
        .env(OUT_ENV, &job.out)
        .spawn();
    let child = match child {
        Ok(child) => child,
        Err(error) => {
            eprintln!("ipvlan-vm-init: can't run {program}: {error}");
            return Ok(if error.kind() == ErrorKind::NotFound { 127 } else { 126 });
        }
    };
    reap_until(Pid::from_raw(child.id().cast_signed()))
}

/// Waits for `main`, collecting whatever else ends, and returns its status as a shell would.
fn reap_until(main: Pid) -> Result<u8> {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == main => return Ok(code.to_le_bytes()[0]),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == main => {
                return Ok(128 + (signal as i32).to_le_bytes()[0]);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("can't wait for the command"),
        }
    }
}

/// Sends a line to the harness. No status sent means that the guest failed.
fn report(line: &str) -> Result<()> {
    let mut port = OpenOptions::new().write(true).open("/dev/ttyS1").context("no second serial port")?;
    writeln!(port, "{line}")?;
    drain(&port);
    Ok(())
}

/// Waits until a serial port has sent everything; best effort, as it only guards the last bytes.
fn drain(port: impl AsFd) {
    let _ = tcdrain(port);
}

/// Ends QEMU.
fn power_off() {
    drain(std::io::stdout());
    // SAFETY: only grants this process the one port; PID 1 is root.
    let granted = unsafe { libc::ioperm(DEBUG_EXIT_PORT.into(), 1, 1) };
    if granted == 0 {
        // SAFETY: the port was granted, and writing to it touches no memory.
        unsafe { asm!("out dx, al", in("dx") DEBUG_EXIT_PORT, in("al") 0u8, options(nomem, nostack)) };
    }
    // Without the device (another hypervisor): slower, but `-no-reboot` ends QEMU here as well.
    let _ = reboot(RebootMode::RB_AUTOBOOT);
}
