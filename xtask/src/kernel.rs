//! The guest kernels: where they are, their image and their modules.

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::dirs;
use crate::process::die_with_parent;

/// A kernel series that the project is tested on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Version {
    /// TCX: programs attach as pinned links.
    #[value(name = "6.12")]
    V6_12,
    /// Before TCX: programs attach as clsact filters.
    #[value(name = "6.1")]
    V6_1,
}

impl Version {
    /// Every series, the default one first.
    pub(crate) const ALL: [Self; 2] = [Self::V6_12, Self::V6_1];

    /// The series as in a release name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::V6_12 => "6.12",
            Self::V6_1 => "6.1",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An unpacked kernel.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// What `uname -r` says in it.
    pub(crate) release: String,
    /// Holds `vmlinuz` and `lib/modules/<release>`.
    dir: PathBuf,
}

impl Kernel {
    /// Where the set-up puts a kernel.
    pub(crate) fn cache_dir(version: Version) -> Result<PathBuf> {
        Ok(dirs::cache()?.join("kernels").join(version.as_str()))
    }

    /// The user's own kernel if `IPVLAN_KERNEL_DIR` has this series, else the cached one.
    pub(crate) fn find(version: Version) -> Result<Self> {
        let own = std::env::var_os("IPVLAN_KERNEL_DIR")
            .map(|dir| PathBuf::from(dir).join(version.as_str()))
            .filter(|dir| dir.is_dir());
        match own {
            Some(dir) => Self::open(&dir),
            None => Self::open(&Self::cache_dir(version)?),
        }
    }

    /// Opens an unpacked kernel; fails if anything needed to boot it is missing.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let modules = dir.join("lib/modules");
        let release = fs::read_dir(&modules)
            .with_context(|| format!("no kernel modules in {}", modules.display()))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .next()
            .with_context(|| format!("{} is empty", modules.display()))?;
        for needed in [dir.join("vmlinuz"), modules.join(&release).join("modules.dep")] {
            if !needed.is_file() {
                bail!("{} is missing", needed.display());
            }
        }
        Ok(Self { release, dir: dir.to_owned() })
    }

    /// The folder to show as `/lib/modules`.
    pub(crate) fn modules_dir(&self) -> PathBuf {
        self.dir.join("lib/modules")
    }

    /// The uncompressed kernel: QEMU starts it without the decompressor, which costs seconds under emulation.
    pub(crate) fn vmlinux(&self) -> Result<PathBuf> {
        let path = dirs::cache()?.join("vmlinux").join(&self.release);
        if !path.is_file() {
            let image = self.dir.join("vmlinuz");
            let image = fs::read(&image).with_context(|| format!("can't read {}", image.display()))?;
            dirs::write_atomically(&path, &decompress(payload(&image)?)?)?;
        }
        Ok(path)
    }

    /// The files of the named modules and all they need, in load order; built-in ones need none.
    pub(crate) fn module_files(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let base = self.modules_dir().join(&self.release);
        let dependencies = fs::read_to_string(base.join("modules.dep"))?;
        let builtin = fs::read_to_string(base.join("modules.builtin"))?;
        let files = load_order(&dependencies, &builtin, names)?;
        Ok(files.into_iter().map(|file| base.join(file)).collect())
    }
}

/// The compressed kernel inside a bzImage (Documentation/arch/x86/boot.rst).
fn payload(image: &[u8]) -> Result<&[u8]> {
    let word = |at: usize| {
        let bytes = image.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let find = || {
        image.get(0x202..0x206).filter(|magic| magic == b"HdrS")?;
        let setup_sectors = usize::from(*image.get(0x1f1)?);
        let start = (setup_sectors + 1) * 512 + word(0x248)?;
        image.get(start..start + word(0x24c)?)
    };
    find().context("the kernel image is not a bzImage")
}

/// Unpacks a kernel payload with the tool for its format.
fn decompress(payload: &[u8]) -> Result<Vec<u8>> {
    let (tool, has_size_trailer) = match payload {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zstd", true),
        [0x02, 0x21, 0x4c, 0x18, ..] => ("lz4", true),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => ("xz", true),
        [0x1f, 0x8b, ..] => ("gzip", false),
        _ => bail!("the kernel image is compressed in a way other than zstd, lz4, xz or gzip"),
    };
    let stream = if has_size_trailer { &payload[..payload.len() - 4] } else { payload };
    let mut child = die_with_parent(Command::new(tool).args(["-d", "-c"]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't run {tool} to unpack the kernel"))?;
    let mut stdin = child.stdin.take().context("the tool's input is piped")?;
    let output = std::thread::scope(|scope| {
        // A write error shows in the tool's status as well.
        scope.spawn(move || stdin.write_all(stream));
        child.wait_with_output()
    })?;
    if !output.status.success() {
        bail!("{tool} can't unpack the kernel ({})", output.status);
    }
    Ok(output.stdout)
}

/// Resolves module names against `modules.dep` and `modules.builtin`.
fn load_order(dependencies: &str, builtin: &str, names: &[&str]) -> Result<Vec<String>> {
    let module_name = |path: &str| {
        let file = path.rsplit('/').next().unwrap_or(path);
        file.split('.').next().unwrap_or(file).replace('-', "_")
    };
    let mut order: Vec<String> = Vec::new();
    for name in names {
        if builtin.lines().any(|path| module_name(path) == *name) {
            continue;
        }
        let line = dependencies
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(path, _)| module_name(path) == *name);
        let (path, needs) = line.with_context(|| format!("the guest kernel has no module {name}"))?;
        // modules.dep lists a module's needs so that the last one is to be loaded first.
        for file in needs.split_whitespace().rev().chain([path]) {
            if !order.iter().any(|known| known == file) {
                order.push(file.to_owned());
            }
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_load_after_what_they_need() {
        let dependencies = "kernel/fs/fuse/fuse.ko.xz:\n\
            kernel/fs/fuse/virtiofs.ko.xz: kernel/drivers/virtio/virtio.ko.xz kernel/drivers/virtio/virtio_ring.ko.xz kernel/fs/fuse/fuse.ko.xz\n\
            kernel/fs/overlayfs/overlay.ko.xz:\n";
        let order = load_order(
            dependencies,
            "kernel/drivers/virtio/virtio-pci.ko\n",
            &["virtio_pci", "virtiofs", "overlay"],
        );
        assert_eq!(
            order.unwrap(),
            [
                "kernel/fs/fuse/fuse.ko.xz",
                "kernel/drivers/virtio/virtio_ring.ko.xz",
                "kernel/drivers/virtio/virtio.ko.xz",
                "kernel/fs/fuse/virtiofs.ko.xz",
                "kernel/fs/overlayfs/overlay.ko.xz",
            ]
        );
    }

    #[test]
    fn an_unknown_module_is_named() {
        let error = load_order("", "", &["virtiofs"]).unwrap_err();
        assert_eq!(error.to_string(), "the guest kernel has no module virtiofs");
    }

    #[test]
    fn the_payload_is_cut_out_of_the_image() {
        let mut image = vec![0; 2048];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248..0x24c].copy_from_slice(&16u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&4u32.to_le_bytes());
        image[1040..1044].copy_from_slice(b"zstd");
        assert_eq!(payload(&image).unwrap(), b"zstd");
        assert!(payload(&image[..1042]).is_err());
        image[0x202] = 0;
        assert!(payload(&image).is_err());
    }
}
