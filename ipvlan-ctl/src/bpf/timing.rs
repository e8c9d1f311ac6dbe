//! What a program takes for a frame, by BPF_PROG_TEST_RUN.

use aya::{
    Ebpf, EbpfLoader, TestRun, TestRunOptions, TestRunResult,
    programs::{SchedClassifier, Xdp},
};
use ipvlan_common::{Identity, schema};

use super::{
    BpfError, Dataplane,
    error::refused,
    object::{self, BENCH},
};

/// Room in a frame for what a program adds to it.
const ROOM: usize = 64;

/// Runs a loaded program on `frame`; returns what it returned at last, and nanoseconds a run.
///
/// # Errors
/// Where the kernel refuses to run it.
pub fn time(
    program: &impl for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
    name: &'static str,
    frame: &[u8],
    runs: u32,
) -> Result<(u32, f64), BpfError> {
    let mut out = vec![0; frame.len() + ROOM];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        repeat: runs,
        ..TestRunOptions::default()
    };
    let result = program.test_run(options).map_err(refused(name, "run", None))?;
    Ok((result.return_value, result.duration.as_nanos() as f64))
}

/// Somebody's programs, attached to nothing, and empty ones beside them.
pub struct Timed {
    own: Ebpf,
    empty: Ebpf,
}

/// What one round of runs came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Round {
    /// What the program returned at last.
    pub returned: u32,
    /// Nanoseconds of a run.
    pub whole: f64,
    /// Nanoseconds of a run of an empty program on the same frame.
    pub empty: f64,
}

impl Dataplane {
    /// The object that has `program`, for `identity`, to be timed.
    ///
    /// # Errors
    /// Where the kernel refuses a map.
    pub fn timed(&self, identity: &Identity, program: &str) -> Result<Timed, BpfError> {
        Ok(Timed { own: self.load(identity, program)?, empty: EbpfLoader::new().load(BENCH)? })
    }
}

impl Timed {
    /// Runs `program`, and the empty one of its kind, on `frame`.
    ///
    /// # Errors
    /// Where the kernel refuses to load or to run one.
    pub fn round(&mut self, program: &'static str, frame: &[u8], runs: u32) -> Result<Round, BpfError> {
        let Self { own, empty } = self;
        let ((returned, whole), (_, empty)) = if program == schema::PARENT_XDP {
            let nothing: &mut Xdp = object::find(empty, "empty_xdp")?;
            loaded(nothing.fd().is_err(), || nothing.load().map_err(refused("empty_xdp", "load", None)))?;
            let own: &mut Xdp = object::find(own, program)?;
            loaded(own.fd().is_err(), || own.load().map_err(refused(program, "load", None)))?;
            (time(own, program, frame, runs)?, time(nothing, "empty_xdp", frame, runs)?)
        } else {
            let nothing: &mut SchedClassifier = object::find(empty, "empty")?;
            loaded(nothing.fd().is_err(), || nothing.load().map_err(refused("empty", "load", None)))?;
            let own: &mut SchedClassifier = object::find(own, program)?;
            loaded(own.fd().is_err(), || own.load().map_err(refused(program, "load", None)))?;
            (time(own, program, frame, runs)?, time(nothing, "empty", frame, runs)?)
        };
        Ok(Round { returned, whole, empty })
    }
}

/// Loads a program where it isn't.
fn loaded(is_missing: bool, load: impl FnOnce() -> Result<(), BpfError>) -> Result<(), BpfError> {
    if is_missing { load() } else { Ok(()) }
}
