//! Network namespaces: opened by path, told apart by the kernel's cookie.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd},
        unix::{
            ffi::OsStringExt as _,
            fs::{MetadataExt as _, OpenOptionsExt as _},
        },
    },
    path::{Path, PathBuf},
    thread,
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, setns, unshare},
    sys::{
        socket::{AddressFamily, SockFlag, SockType, getsockopt, socket},
        statfs::{NSFS_MAGIC, fstatfs},
    },
};

use crate::model::NetnsRef;

const NAMED: &str = "/run/netns";

// The macro names what it calls without their path.
use nix::{getsockopt_impl, libc, sockopt_impl};
sockopt_impl!(
    /// `SO_NETNS_COOKIE`, Linux 5.14.
    NetnsCookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_NETNS_COOKIE,
    u64
);

/// A namespace can't be used.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// There is nothing at the path.
    #[error("network namespace '{0}' doesn't exist")]
    Missing(String),
    /// No process has this number.
    #[error("process {0} doesn't exist")]
    NoProcess(u32),
    /// The file isn't one.
    #[error("'{0}' is not a network namespace")]
    NotOne(String),
    /// Nobody can be sent into any.
    #[error("can't look for network namespaces: {0}")]
    Thread(io::Error),
    /// The kernel refuses.
    #[error("can't enter network namespace '{label}': {source}")]
    Io {
        /// What the user called it.
        label: String,
        /// Why.
        source: io::Error,
    },
}

/// An open network namespace. It lives at least as long as this.
#[derive(Debug)]
pub struct Netns {
    file: File,
    identity: NetnsRef,
}

impl Netns {
    /// The namespace that the calling thread is in.
    pub fn current() -> Result<Self, NetnsError> {
        Self::open("the host's", Path::new("/proc/thread-self/ns/net"))
    }

    /// The cookie of the namespace that the calling thread is in.
    pub fn current_cookie() -> Result<u64, NetnsError> {
        read_cookie().map_err(|errno| NetnsError::Io { label: "the host's".to_owned(), source: errno.into() })
    }

    /// A namespace by its name, as `ip netns` lists it, or by its path.
    pub fn named(name_or_path: &str) -> Result<Self, NetnsError> {
        let path = if name_or_path.contains('/') {
            PathBuf::from(name_or_path)
        } else {
            Path::new(NAMED).join(name_or_path)
        };
        Self::open(name_or_path, &path)
    }

    /// The namespace of a process.
    pub fn of_process(pid: u32) -> Result<Self, NetnsError> {
        Self::open(&format!("pid:{pid}"), &PathBuf::from(format!("/proc/{pid}/ns/net"))).map_err(|error| {
            match error {
                NetnsError::Missing(_) => NetnsError::NoProcess(pid),
                other => other,
            }
        })
    }

    /// A new namespace, kept by this process alone.
    pub fn fresh() -> Result<Self, NetnsError> {
        let label = format!("run:{}", std::process::id());
        let io = |source: io::Error| NetnsError::Io { label: label.clone(), source };
        let file = on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        })
        .map_err(io)?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&file));
        Self::from_file(file, &label, Path::new(&path))
    }

    /// Finds a namespace again: where it was, else where processes and mounts of ours hold it, else wherever [`Self::all`] looks.
    /// `None` once it is gone, even if its path or its inode number are another namespace's now.
    #[must_use]
    pub fn find(wanted: &NetnsRef) -> Option<Self> {
        if wanted.cookie == 0 {
            return None;
        }
        let same = |path: &Path| {
            let netns = Self::open(&wanted.label, path).ok()?;
            (netns.identity.cookie == wanted.cookie).then_some(netns)
        };
        same(&wanted.path).or_else(|| {
            let found = opened(held())
                .chain(std::iter::once_with(Self::all).flatten())
                .find(|netns| netns.identity.cookie == wanted.cookie)?;
            Some(found.called(wanted.label.clone()))
        })
    }

    /// The cookies of those namespaces that exist still. One thread looks where they were: [`Self::find`] takes one for each.
    pub fn alive(wanted: &[&NetnsRef]) -> Result<BTreeSet<u64>, NetnsError> {
        let is_there = |wanted: &NetnsRef| {
            let netns = open(&wanted.path).ok()??;
            setns(netns, CloneFlags::CLONE_NEWNET).ok()?;
            Some(read_cookie().ok()? == wanted.cookie)
        };
        let there: Vec<_> = on_thread(|| Ok(wanted.iter().map(|it| is_there(it) == Some(true)).collect()))
            .map_err(NetnsError::Thread)?;
        let alive = wanted.iter().zip(there).filter(|(wanted, there)| *there || Self::find(wanted).is_some());
        Ok(alive.map(|(wanted, _)| wanted.cookie).collect())
    }

    /// The namespace that is where one is to come.
    #[must_use]
    pub fn expected(wanted: &NetnsRef) -> Option<Self> {
        Self::open(&wanted.label, &wanted.path).ok()
    }

    /// Every namespace that a process, a thread, a descriptor or a mount holds, in whichever mount namespace.
    pub fn all() -> impl Iterator<Item = Self> {
        opened(held_by_anybody())
    }

    /// The names that `ip netns` lists.
    #[must_use]
    pub fn names() -> Vec<String> {
        let entries = fs::read_dir(NAMED).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn open(label: &str, path: &Path) -> Result<Self, NetnsError> {
        let file = open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => NetnsError::Missing(label.to_owned()),
            _ => NetnsError::Io { label: label.to_owned(), source },
        })?;
        Self::from_file(file.ok_or_else(|| NetnsError::NotOne(label.to_owned()))?, label, path)
    }

    fn from_file(file: File, label: &str, path: &Path) -> Result<Self, NetnsError> {
        let identity = NetnsRef { label: label.to_owned(), path: path.to_owned(), cookie: 0 };
        let mut netns = Self { file, identity };
        netns.identity.cookie = netns.run(read_cookie)?.map_err(|errno| netns.error(errno.into()))?;
        Ok(netns)
    }

    fn error(&self, source: io::Error) -> NetnsError {
        let label = self.identity.label.clone();
        // What setns(2) says of a descriptor that isn't a network namespace's.
        if source.raw_os_error() == Some(Errno::EINVAL as i32) {
            NetnsError::NotOne(label)
        } else {
            NetnsError::Io { label, source }
        }
    }

    /// A second descriptor of the same namespace, known by the first one's path.
    pub fn try_clone(&self) -> Result<Self, NetnsError> {
        let file = self.file.try_clone().map_err(|source| self.error(source))?;
        Ok(Self { file, identity: self.identity.clone() })
    }

    /// The same, called `label`.
    #[must_use]
    pub fn called(mut self, label: String) -> Self {
        self.identity.label = label;
        self
    }

    /// How to find it again.
    #[must_use]
    pub const fn identity(&self) -> &NetnsRef {
        &self.identity
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.identity.path
    }

    /// Runs `work` inside, on a thread of its own, so that no other code ever finds itself in the wrong namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        on_thread(|| {
            setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        })
        .map_err(|source| self.error(source))
    }

    /// Writes sysctls of an interface inside: family, key and value. Those that this kernel doesn't have, as without IPv6, are left.
    pub fn set_sysctls(&self, ifname: &str, values: &[(&str, &str, &str)]) -> Result<(), NetnsError> {
        let write = |(family, key, value): &(&str, &str, &str)| {
            let path = format!("/proc/sys/net/{family}/conf/{ifname}/{key}");
            match fs::write(path, value) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => Err(source),
                _ => Ok(()),
            }
        };
        self.run(|| values.iter().try_for_each(write))?.map_err(|source| self.error(source))
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn on_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".into()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Opens a namespace; `None` where it is something else. Whoever mounts it names the path: what is there is looked at before it is
/// opened, since a FIFO would block, and a device act.
fn open(path: &Path) -> io::Result<Option<File>> {
    let there = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)?;
    if fstatfs(&there)?.filesystem_type() != NSFS_MAGIC {
        return Ok(None);
    }
    File::open(format!("/proc/self/fd/{}", there.as_raw_fd())).map(Some)
}

fn read_cookie() -> nix::Result<u64> {
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    getsockopt(&socket, NetnsCookie)
}

/// Paths that lead to the namespaces of processes and of named namespaces.
fn held() -> Vec<PathBuf> {
    let processes = entries("/proc").map(|process| process.join("ns/net"));
    mounts(Path::new("/proc/self")).into_iter().chain(processes).collect()
}

/// Paths that lead to whatever namespace can be reached. It looks at every descriptor of every process.
fn held_by_anybody() -> Vec<PathBuf> {
    let processes: Vec<_> = entries("/proc").filter(|path| path.join("ns/net").exists()).collect();
    let threads = processes.iter().flat_map(|process| entries(process.join("task")));
    let descriptors = processes.iter().flat_map(|process| entries(process.join("fd")));
    let descriptors = descriptors.filter(|path| {
        fs::read_link(path).is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"net:["))
    });
    let mut seen = BTreeSet::new();
    let mounters =
        processes.iter().filter(|process| inode(&process.join("ns/mnt")).is_some_and(|it| seen.insert(it)));
    let mounts = mounters.flat_map(|process| mounts(process));
    mounts.chain(threads.map(|thread| thread.join("ns/net"))).chain(descriptors).collect()
}

/// Where network namespaces are mounted in the mount namespace of a process, as seen from here.
fn mounts(process: &Path) -> Vec<PathBuf> {
    let mounts = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
    let points =
        mounts.lines().filter(|line| line.contains(" - nsfs ")).filter_map(|line| line.split(' ').nth(4));
    points.map(|point| process.join("root").join(unescaped(point.trim_start_matches('/')))).collect()
}

/// A path as mountinfo has it: white space and backslashes as three octal digits (`seq_path_root`, Linux 6.12).
fn unescaped(path: &str) -> PathBuf {
    let mut parts = path.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let escaped = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        let (byte, rest) = escaped.map_or((b'\\', part), |byte| (byte, &part[3..]));
        bytes.push(byte);
        bytes.extend_from_slice(rest.as_bytes());
    }
    OsString::from_vec(bytes).into()
}

fn entries(directory: impl AsRef<Path>) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Each namespace once. Whoever held it at one path may end before that is opened: then the next one counts.
fn opened(paths: Vec<PathBuf>) -> impl Iterator<Item = Netns> {
    let mut seen = BTreeSet::new();
    paths.into_iter().filter_map(move |path| {
        inode(&path).filter(|inode| !seen.contains(inode))?;
        let netns = Netns::open(&path.display().to_string(), &path).ok()?;
        let file = netns.file.metadata().ok()?;
        seen.insert((file.dev(), file.ino())).then_some(netns)
    })
}

/// What tells a namespace from all others that exist now.
fn inode(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_unescaped() {
        assert_eq!(unescaped("run/x\\040y\\134z"), Path::new("run/x y\\z"));
        assert_eq!(unescaped("run/é\\9"), Path::new("run/é\\9"));
    }

    #[test]
    fn only_namespaces_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        for path in [fifo.as_path(), Path::new("/dev/zero"), directory.path()] {
            let error = Netns::open("it", path).unwrap_err();
            assert!(matches!(error, NetnsError::NotOne(_)), "{}: {error}", path.display());
        }
        assert_eq!(Netns::current().unwrap().identity().cookie, Netns::current_cookie().unwrap());
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(
            Netns::named("no-such-netns").unwrap_err().to_string(),
            "network namespace 'no-such-netns' doesn't exist"
        );
        assert_eq!(Netns::of_process(u32::MAX).unwrap_err().to_string(), "process 4294967295 doesn't exist");
    }
}
