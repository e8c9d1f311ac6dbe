//! Where this kernel keeps the netns of a socket, found out by running a program.

use aya::{TestRun as _, TestRunOptions, programs::SchedClassifier};
use ipvlan_common::{Identity, schema};
use nix::sched::{CloneFlags, unshare};

use super::{BpfError, object, pins::Pins};

/// Offset of `cb` in `struct __sk_buff`.
const SCRATCH: usize = 48;
const SK_BUFF: usize = 192;

/// Address of the calling thread's netns, as the programs find it in a socket.
///
/// A test run gives its frame a socket of the caller's netns. The program looks where every kernel so far has the pointer; that
/// it is there on this one too is shown by another netns giving another address.
pub(super) fn of_sockets_here(pins: &Pins) -> Result<u64, BpfError> {
    let mut object = object::load(pins, &Identity::default(), schema::SOCKET_NETNS)?;
    let program = &*object::program(&mut object, schema::SOCKET_NETNS)?;
    let elsewhere = std::thread::scope(|scope| {
        scope.spawn(|| unshare(CloneFlags::CLONE_NEWNET).ok().and_then(|()| run(program))).join()
    });
    match (run(program), elsewhere, run(program)) {
        (Some(here), Ok(Some(elsewhere)), Some(again)) if here == again && here != elsewhere => Ok(here),
        _ => Err(BpfError::SocketNetns),
    }
}

/// The address that the program finds; `None` where it finds nothing.
fn run(program: &SchedClassifier) -> Option<u64> {
    let (frame, mut context) = ([0; 64], [0; SK_BUFF]);
    let options =
        TestRunOptions { data_in: Some(&frame), ctx_out: Some(&mut context), ..TestRunOptions::default() };
    program.test_run(options).ok()?;
    let address = u64::from_ne_bytes(*context.get(SCRATCH..)?.first_chunk()?);
    (address != 0).then_some(address)
}
