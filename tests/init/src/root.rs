//! From the initramfs to the host's root, seen through virtiofs and writable through an overlay.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};
use ipvlan_vm_init::{Job, MODULE_DIR, OUT_TAG, ROOT_TAG};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};

/// The host's root as it is, read-only.
const HOST: &str = "/host";
/// The tmpfs that takes what the guest writes.
const SCRATCH: &str = "/scratch";
/// The root to switch to.
const ROOT: &str = "/root";
/// `MODULE_INIT_COMPRESSED_FILE` of linux/module.h, which nix doesn't name.
const COMPRESSED: u32 = 4;

/// Mounts proc, sys and dev; they move along to the new root.
pub(crate) fn mount_kernel_file_systems() -> Result<()> {
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        mount_at(kind, kind, target, MsFlags::empty(), "")?;
    }
    Ok(())
}

/// Loads the modules that the initramfs brought along.
pub(crate) fn load_modules(names: &[String]) -> Result<()> {
    for name in names {
        let path = Path::new(MODULE_DIR).join(name);
        let file = File::open(&path).with_context(|| format!("no module {}", path.display()))?;
        let flags = if name.ends_with(".ko") {
            ModuleInitFlags::empty()
        } else {
            ModuleInitFlags::from_bits_retain(COMPRESSED)
        };
        finit_module(file, c"", flags).with_context(|| format!("can't load the module {name}"))?;
    }
    Ok(())
}

/// Builds the new root and makes it this process's own.
///
/// PID 1 does it itself: the kernel starts modprobe in PID 1's root, so a chroot in a child would break autoload.
pub(crate) fn switch(job: &Job) -> Result<()> {
    mount_at("virtiofs", ROOT_TAG, HOST, MsFlags::MS_RDONLY, "")?;
    mount_at("tmpfs", "tmpfs", SCRATCH, MsFlags::empty(), "mode=755")?;
    let (upper, work) = (format!("{SCRATCH}/upper"), format!("{SCRATCH}/work"));
    fs::create_dir(&upper)?;
    fs::create_dir(&work)?;
    let layers = format!("lowerdir={HOST},upperdir={upper},workdir={work}");
    mount_at("overlay", "overlay", ROOT, MsFlags::empty(), &layers)?;

    for name in ["proc", "sys", "dev"] {
        let target = format!("{ROOT}/{name}");
        fs::create_dir_all(&target)?;
        mount(Some(&*format!("/{name}")), &*target, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
            .with_context(|| format!("can't move /{name} to the new root"))?;
    }
    std::env::set_current_dir(ROOT)?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).context("can't move the new root")?;
    nix::unistd::chroot(".").context("can't change to the new root")?;
    std::env::set_current_dir("/")?;
    populate(job)
}

/// Mounts what a running system has beyond its root.
fn populate(job: &Job) -> Result<()> {
    mount_at("tmpfs", "tmpfs", "/run", MsFlags::empty(), "mode=755")?;
    mount_at("tmpfs", "tmpfs", "/dev/shm", MsFlags::empty(), "mode=1777")?;
    mount_at("devpts", "devpts", "/dev/pts", MsFlags::empty(), "ptmxmode=0666")?;
    mount_at("bpf", "bpf", "/sys/fs/bpf", MsFlags::empty(), "mode=700")?;
    mount_at("cgroup2", "cgroup2", "/sys/fs/cgroup", MsFlags::empty(), "")?;
    mount_at("virtiofs", OUT_TAG, &job.out, MsFlags::empty(), "")?;
    for (link, target) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        symlink(target, Path::new("/dev").join(link))?;
    }
    fs::create_dir_all("/lib/modules")?;
    mount(Some(&job.kernel_modules), "/lib/modules", None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("can't show {} as /lib/modules", job.kernel_modules.display()))
}

/// Mounts a file system, creating its mount point.
fn mount_at(kind: &str, source: &str, target: impl AsRef<Path>, flags: MsFlags, options: &str) -> Result<()> {
    let target = target.as_ref();
    // On sysfs and devtmpfs the directory is there or the mount below says what is wrong.
    let _ = fs::create_dir_all(target);
    mount(Some(source), target, Some(kind), flags, Some(options))
        .with_context(|| format!("can't mount {kind} at {}", target.display()))
}
