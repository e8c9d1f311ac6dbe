//! A command in a namespace, in the foreground, with the names of its network.

use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd},
        unix::{
            ffi::OsStrExt as _,
            process::{CommandExt as _, ExitStatusExt as _},
        },
    },
    path::Path,
    process::{Child, Command},
};

use nix::{
    libc,
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    sys::{
        signal::{SigSet, Signal, kill},
        signalfd::SignalFd,
    },
    unistd::Pid,
};

use super::{AttachRequest, Error, Report, Root, Session, names::hosts_path};
use crate::{hosts::ETC_HOSTS, netlink::Netns};

/// Signals that are the command's to act on.
const FORWARDED: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// What became of a command, and what the user should know.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status; 128 and its number where a signal ended it.
    pub code: u8,
    /// What went less than well.
    pub warnings: Vec<String>,
}

/// Attaches an endpoint in a fresh namespace, runs `command` there, and detaches it when the command has ended.
pub fn run(root: &Root, request: &AttachRequest, command: &[String]) -> Result<Ran, Error> {
    // Kept to the end: it is by this descriptor that other commands see that the namespace lives.
    let netns = Netns::fresh()?;
    let mut session = Session::begin(root)?;
    let endpoint = session.attach(request, netns.try_clone()?)?;
    let mut warnings = session.take_warnings();
    // Other commands may go on while this one lasts.
    drop(session);
    let result = in_foreground(netns.as_fd(), &hosts_path(root, &endpoint), command);
    let mut session = Session::begin(root)?;
    match session.detach(endpoint.name.as_str(), false) {
        // Another command has detached it meanwhile.
        Err(Error::NoEndpoint(_)) => {}
        left => warnings.extend(left?.iter().map(ToString::to_string)),
    }
    warnings.extend(session.take_warnings());
    result.map(|code| Ran { code, warnings }).map_err(|source| fail(command, source))
}

/// Runs `command` in the namespace of the endpoint `name`.
pub fn exec(root: &Root, name: &str, command: &[String]) -> Result<u8, Error> {
    let report = Report::read(root)?;
    let (endpoint, netns) = report.place(name)?;
    in_foreground(netns.as_fd(), &hosts_path(root, endpoint), command).map_err(|source| fail(command, source))
}

fn fail(command: &[String], source: io::Error) -> Error {
    Error::Command { command: command.first().cloned().unwrap_or_default(), source }
}

fn in_foreground(netns: BorrowedFd<'_>, hosts: &Path, command: &[String]) -> io::Result<u8> {
    let [program, arguments @ ..] = command else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // Where a machine has no such file, none can be mounted over it.
    let mounted = hosts.exists() && Path::new(ETC_HOSTS).exists();
    let hosts = mounted.then(|| CString::new(hosts.as_os_str().as_bytes())).transpose()?;
    let mut watched: SigSet = FORWARDED.into_iter().collect();
    watched.add(Signal::SIGCHLD);
    // Blocked before the child exists, so that none is lost and none kills us before we have detached.
    let before = watched.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)?;
    let signals = SignalFd::new(&watched)?;

    let fd = netns.as_raw_fd();
    let mut command = Command::new(program);
    command.args(arguments);
    let enter = move || {
        // SAFETY: the descriptor is a copy of the caller's, which outlives spawn().
        let netns = unsafe { BorrowedFd::borrow_raw(fd) };
        setns(netns, CloneFlags::CLONE_NEWNET)?;
        if let Some(hosts) = &hosts {
            mount_hosts(hosts)?;
        }
        before.thread_set_mask()?;
        Ok(())
    };
    // SAFETY: these are system calls and pthread_sigmask(3), all async-signal-safe, and nothing is allocated.
    unsafe { command.pre_exec(enter) };
    let mut child = command.spawn()?;
    let status = wait(&mut child, &signals);
    before.thread_set_mask()?;
    status
}

/// Has this process see the file `hosts` as /etc/hosts, in a mount namespace that still gets what is mounted and unmounted outside.
fn mount_hosts(hosts: &CStr) -> nix::Result<()> {
    let nothing = None::<&CStr>;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(nothing, c"/", nothing, MsFlags::MS_REC | MsFlags::MS_SLAVE, nothing)?;
    mount(Some(hosts), ETC_HOSTS, nothing, MsFlags::MS_BIND, nothing)
}

fn wait(child: &mut Child, signals: &SignalFd) -> io::Result<u8> {
    loop {
        if let Some(status) = child.try_wait()? {
            let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
            return Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX));
        }
        let Some(info) = signals.read_signal()? else {
            continue;
        };
        // A terminal signals the whole foreground group, the child included; a second copy would be one too many.
        let from_terminal = info.ssi_code == libc::SI_KERNEL;
        let signal = info.ssi_signo.try_into().ok().and_then(|number: i32| Signal::try_from(number).ok());
        if let Some(signal) = signal.filter(|signal| FORWARDED.contains(signal) && !from_terminal)
            && let Ok(pid) = i32::try_from(child.id())
        {
            // Not reaped yet, so the number is still the child's.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}
