//! `ipvlan-ctl log`, in builds with the feature `log`.

use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{SignalKind, signal},
};

use crate::{
    bpf::Verdicts,
    service::{Error, Root},
};

/// Shows what the log holds from before, and then lines as they come, until a signal says that it is enough.
pub(super) fn execute(root: &Root) -> Result<u8, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::Wait)?.block_on(show(root))
}

async fn show(root: &Root) -> Result<u8, Error> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Wait)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Wait)?;
    let verdicts = Verdicts::open(root.pin_dir(), |line| println!("{line}"))?;
    // SAFETY: the ring's map stays open, under one number, as long as its reader.
    let verdicts = unsafe { AsyncFd::register_with_interest(verdicts, Interest::READABLE) };
    let mut verdicts = verdicts.map_err(|error| Error::Wait(error.into()))?;
    loop {
        verdicts.get_mut().flush();
        tokio::select! {
            _ = interrupt.recv() => return Ok(0),
            _ = terminate.recv() => return Ok(0),
            ready = verdicts.readable() => ready.map_err(Error::Wait)?.clear_ready(),
        }
    }
}
