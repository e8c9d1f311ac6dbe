//! Stands between Docker and `serve`, and kills `serve` at a call.

use std::{
    fs,
    io::{BufRead, BufReader, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use ipvlan_ctl::frontend::docker::SOCKET;
use ipvlan_tests::Sandbox;

use crate::engine::wait;

/// How long `serve` gets for a call that it doesn't finish: less than any takes in an emulated VM.
const HALF_WAY: Duration = Duration::from_millis(20);

/// When `serve` dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// While it works on the call.
    HalfWay,
    /// Once it has answered; nobody learns of that.
    Done,
}

/// Listens where Docker looks for the driver.
pub(crate) struct Proxy {
    state: Arc<Mutex<State>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    command: Box<dyn Fn() -> Result<Command> + Send>,
    socket: PathBuf,
    serve: Option<Child>,
    /// The call that `serve` is to be killed at.
    kill: Option<(&'static str, When)>,
}

impl Proxy {
    /// Starts a `serve` behind itself.
    pub(crate) fn start(sandbox: &Sandbox) -> Result<Self> {
        let socket = sandbox.root().join("behind.sock");
        let (program, envs) = {
            let command = sandbox.ctl_command()?;
            let envs =
                command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
            (command.get_program().to_owned(), envs.collect::<Vec<_>>())
        };
        let path = socket.clone();
        let command = move || {
            let mut command = Command::new(&program);
            command.envs(envs.iter().cloned()).args(["serve", "--socket"]).arg(&path);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            Ok(command)
        };
        let mut state = State { command: Box::new(command), socket, serve: None, kill: None };
        state.start_serve()?;
        let _nobody_has_left_one = fs::remove_file(SOCKET);
        let listener = UnixListener::bind(SOCKET).context("listen where Docker looks")?;
        let (state, over) = (Arc::new(Mutex::new(state)), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (state, over) = (Arc::clone(&state), Arc::clone(&over));
            thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let state = Arc::clone(&state);
                    // A client that goes away ends its own thread.
                    thread::spawn(move || answer(&client, &state));
                }
            })
        };
        Ok(Self { state, over, thread: Some(thread) })
    }

    /// Has `serve` killed at the next such call, and started again.
    pub(crate) fn kill_at(&self, call: &'static str, when: When) {
        lock(&self.state).kill = Some((call, when));
    }

    /// Whether that has happened.
    pub(crate) fn has_killed(&self) -> bool {
        lock(&self.state).kill.is_none()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the listener.
        let _ignored = UnixStream::connect(SOCKET);
        if let Some(thread) = self.thread.take() {
            let _ignored = thread.join();
        }
        lock(&self.state).kill_serve();
        let _ignored = fs::remove_file(SOCKET);
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn start_serve(&mut self) -> Result<()> {
        self.serve = Some((self.command)()?.spawn().context("start ipvlan-ctl serve")?);
        wait("serve to listen", || Ok(UnixStream::connect(&self.socket).is_ok()))
    }

    fn kill_serve(&mut self) {
        if let Some(mut serve) = self.serve.take() {
            // It may have ended already.
            let _ignored = serve.kill();
            let _ignored = serve.wait();
        }
    }
}

/// Hands on one client's requests, one at a time over all clients: a kill is at one call.
fn answer(client: &UnixStream, state: &Mutex<State>) -> Result<()> {
    let mut requests = BufReader::new(client.try_clone()?);
    loop {
        let request = message(&mut requests)?;
        let call = request.split(|&byte| byte == b' ').nth(1).context("no path")?;
        let call = String::from_utf8_lossy(call).into_owned();
        let mut state = lock(state);
        let server = ask(&state.socket, &request)?;
        let when =
            state.kill.filter(|(wanted, _)| call.ends_with(&format!(".{wanted}"))).map(|(_, when)| when);
        match when {
            None => {
                (&*client).write_all(&message(&mut BufReader::new(&server))?)?;
                continue;
            }
            Some(When::HalfWay) => thread::sleep(HALF_WAY),
            Some(When::Done) => drop(message(&mut BufReader::new(&server))?),
        }
        state.kill_serve();
        state.kill = None;
        state.start_serve()?;
        // Docker finds the connection closed.
        return Ok(());
    }
}

fn ask(socket: &Path, request: &[u8]) -> Result<UnixStream> {
    let mut server = UnixStream::connect(socket)?;
    server.write_all(request)?;
    Ok(server)
}

/// One HTTP message, whose head says how long it is or that it comes in chunks.
fn message(from: &mut impl BufRead) -> Result<Vec<u8>> {
    let (mut bytes, mut length, mut chunked) = (Vec::new(), 0, false);
    loop {
        let line = line(from, &mut bytes)?;
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
        if line.is_empty() {
            break;
        }
    }
    while chunked {
        length = u64::from_str_radix(&line(from, &mut bytes)?, 16)?;
        from.take(length).read_to_end(&mut bytes)?;
        // Behind each chunk, and in place of the last one, there is an empty line.
        line(from, &mut bytes)?;
        chunked = length != 0;
    }
    if length != 0 {
        from.take(length).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Adds one line to `bytes`; returns it in lower case.
fn line(from: &mut impl BufRead, bytes: &mut Vec<u8>) -> Result<String> {
    let start = bytes.len();
    if from.read_until(b'\n', bytes)? == 0 {
        bail!("the connection has ended");
    }
    Ok(String::from_utf8_lossy(&bytes[start..]).trim().to_ascii_lowercase())
}
