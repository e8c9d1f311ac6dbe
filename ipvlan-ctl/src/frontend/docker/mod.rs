//! Docker's network driver: `docker network create -d ipvlan-ebpf`, over a Unix socket.
//!
//! Nothing is kept here: every call opens the state, does its work and closes it, as a command does, so that this can end at any
//! time. It never asks Docker anything, which waits for the answer with locks held.

mod driver;
mod message;
mod socket;
#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    path::Path,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use driver::CallError;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown};
use nix::sys::signal::{SigHandler, Signal, signal as handle_signal};
use serde_json::{Value, json};
use socket::Socket;
use tokio::{
    net::UnixListener,
    signal::unix::{SignalKind, signal},
};
use tracing::debug;

use crate::{
    netlink::changes,
    service::{Error, Root, Session},
};

/// Where Docker looks for the driver `ipvlan-ebpf`.
pub const SOCKET: &str = "/run/docker/plugins/ipvlan-ebpf.sock";

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.docker.plugins.v1.2+json");
/// No request of Docker's comes near it.
const MAX_BODY: usize = 1 << 20;
/// How long a container may take to start.
const MOVE: Duration = Duration::from_secs(60);
/// How long it is at least from one change that is followed to the next: a look may change interfaces itself.
const REST: Duration = Duration::from_millis(500);
/// How long it is until the next look or try.
const PAUSE: Duration = Duration::from_millis(100);

/// Takes what went less than well.
type Warn = dyn Fn(&[String]) + Send + Sync;

/// What every call needs.
struct Driver {
    root: Root,
    warn: Box<Warn>,
}

/// Answers Docker's calls until a signal ends it, and those that have begun by then. `warn` is given what went less than well.
///
/// # Errors
/// Where there is no socket to listen at.
pub fn serve(
    root: Root,
    socket: &Path,
    warn: impl Fn(&[String]) + Send + Sync + 'static,
) -> Result<(), Error> {
    // Who goes away in the middle of an answer must not end us; commands have the default.
    // SAFETY: ignoring a signal needs no handler.
    unsafe { handle_signal(Signal::SIGPIPE, SigHandler::SigIgn) }
        .map_err(|errno| Error::Wait(errno.into()))?;
    let driver = Arc::new(Driver { root, warn: Box::new(warn) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::Wait)?.block_on(listen(driver, socket))
}

async fn listen(driver: Arc<Driver>, path: &Path) -> Result<(), Error> {
    // Before there is a socket: whoever finds it can end us in good order.
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Wait)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Wait)?;
    let socket = Socket::open(path)?;
    let listener = socket.listener.try_clone().and_then(UnixListener::from_std).map_err(Error::Wait)?;
    // Before the first look, which sees what has changed until then.
    tokio::spawn(follow(Arc::clone(&driver), changes()?));
    // After a reboot, parents are enforced before the first container comes.
    look(&driver).await;
    let connections = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    (driver.warn)(&[format!("can't take a connection: {error}")]);
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        let driver = Arc::clone(&driver);
        let service = service_fn(move |request| respond(Arc::clone(&driver), request));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        // Docker going away in the middle of a call is no concern of ours: it comes again.
        tokio::spawn(async move { drop(connection.await) });
    }
    connections.shutdown().await;
    Ok(())
}

/// Does what every command does when it begins: puts back what was lost, and notes what Docker has taken in.
async fn look(driver: &Arc<Driver>) {
    let driver = Arc::clone(driver);
    let look = move || match Session::begin(&driver.root) {
        Ok(mut session) => (driver.warn)(&session.take_warnings()),
        Err(error) => (driver.warn)(&[error.to_string()]),
    };
    // What fails here is no loss: the next command does it.
    drop(tokio::task::spawn_blocking(look).await);
}

/// Has the maps follow the host's own addresses, and clears endpoints away whose namespaces have ended.
async fn follow(driver: Arc<Driver>, mut changes: impl Stream<Item = ()> + Unpin) {
    while changes.next().await.is_some() {
        // They come in swarms.
        tokio::time::sleep(PAUSE).await;
        while let Some(Some(())) = changes.next().now_or_never() {}
        look(&driver).await;
        tokio::time::sleep(REST).await;
    }
}

/// Waits until Docker has moved the slave `ifname` off the host, which it doesn't tell us, and has the store learn of it.
async fn settle(driver: Arc<Driver>, ifname: String) {
    let slave = Path::new("/sys/class/net").join(ifname);
    let deadline = Instant::now() + MOVE;
    while slave.exists() && Instant::now() < deadline {
        tokio::time::sleep(PAUSE).await;
    }
    // It has its name inside a moment later.
    tokio::time::sleep(PAUSE).await;
    look(&driver).await;
}

/// Answers one request. The services block, and wait for each other's lock, so each call has a thread of its own.
async fn respond<B>(driver: Arc<Driver>, request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible>
where
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    if head.method != Method::POST {
        return Ok(failure(StatusCode::METHOD_NOT_ALLOWED, "every call is a POST"));
    }
    let body = match pin!(Limited::new(body, MAX_BODY)).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            return Ok(failure(StatusCode::BAD_REQUEST, &format!("can't read the request: {error}")));
        }
    };
    let path = head.uri.path().to_owned();
    let answering = Arc::clone(&driver);
    let answer = tokio::task::spawn_blocking(move || {
        let result = driver::call(&answering.root, &*answering.warn, &path, &body);
        match &result {
            Ok(answer) => debug!(%path, %answer, "docker"),
            Err(error) => debug!(%path, %error, "docker"),
        }
        result
    });
    Ok(match answer.await {
        Ok(Ok(answer)) => {
            if let Some(ifname) = answer["InterfaceName"]["SrcName"].as_str() {
                tokio::spawn(settle(driver, ifname.to_owned()));
            }
            response(StatusCode::OK, &answer)
        }
        // Docker shows an error of ours as it is, and takes any other status for a broken plugin.
        Ok(Err(error)) => failure(status_of(&error), &error.text()),
        Err(panic) => failure(StatusCode::INTERNAL_SERVER_ERROR, &panic.to_string()),
    })
}

fn status_of(error: &CallError) -> StatusCode {
    match error {
        CallError::Unknown(_) => StatusCode::NOT_FOUND,
        CallError::Malformed(_) => StatusCode::BAD_REQUEST,
        CallError::Refused(_) | CallError::Service(_) => StatusCode::OK,
    }
}

fn failure(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    response(status, &json!({"Err": text}))
}

fn response(status: StatusCode, answer: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(answer.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, MEDIA_TYPE);
    response
}
