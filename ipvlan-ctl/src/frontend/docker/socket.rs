//! The socket that Docker finds the plugin by: one that systemd hands over, or one of our own.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use listenfd::ListenFd;
use nix::sys::stat::{Mode, umask};

use crate::service::Error;

/// A listening socket.
pub(super) struct Socket {
    pub(super) listener: UnixListener,
    /// Where it is, if we have made it: then it is ours to remove.
    path: Option<PathBuf>,
}

impl Socket {
    /// Takes the socket of systemd, or makes one at `path` that nobody but its user can use.
    ///
    /// To be called before there are threads: the umask is all threads'.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let fail = |source| Error::Listen { path: path.to_owned(), source };
        let given = ListenFd::from_env()
            .take_unix_listener(0)
            .map_err(|source| Error::Listen { path: "LISTEN_FDS".into(), source })?;
        let (listener, path) = match given {
            Some(listener) => (listener, None),
            None => (bind(path)?, Some(path.to_owned())),
        };
        listener.set_nonblocking(true).map_err(fail)?;
        Ok(Self { listener, path })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // One that stays is replaced by the next server.
            let _ignored = fs::remove_file(path);
        }
    }
}

fn bind(path: &Path) -> Result<UnixListener, Error> {
    let fail = |source| Error::Listen { path: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fail)?;
    }
    // One that a killed server has left refuses; one that answers is in use.
    if UnixStream::connect(path).is_ok() {
        return Err(Error::ListenInUse(path.to_owned()));
    }
    // Somebody's file is somebody's.
    if fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket()) {
        return Err(fail(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file, which isn't a socket",
        )));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    listener.map_err(fail)
}
