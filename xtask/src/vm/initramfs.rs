//! The initramfs: PID 1, the modules on the way to the root file system, and the description of the job.

use std::fs::{self, File};
use std::io::{BufWriter, Cursor, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cpio::newc::{Builder, ModeFileType, trailer};
use ipvlan_vm_init::{CONFIG_PATH, Guest, Job, MODULE_DIR};

/// Writes the archive to `path`.
pub(super) fn write(path: &Path, init: &Path, modules: &[PathBuf], job: Option<Job>) -> Result<()> {
    let mut archive = Archive(BufWriter::new(File::create(path)?));
    archive.directory("/dev")?;
    archive.directory(MODULE_DIR)?;
    // The kernel opens it as PID 1's standard streams before any file system is mounted.
    archive.console()?;
    archive.file("/init", 0o755, &read(init)?)?;
    let mut names = Vec::new();
    for module in modules {
        let name = module.file_name().context("a module is a file")?.to_string_lossy().into_owned();
        archive.file(&format!("{MODULE_DIR}/{name}"), 0o644, &read(module)?)?;
        names.push(name);
    }
    let guest = serde_json::to_vec(&Guest { modules: names, job })?;
    archive.file(CONFIG_PATH, 0o644, &guest)?;
    trailer(archive.0)?.flush()?;
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("can't read {}", path.display()))
}

/// A cpio archive in the format that the kernel unpacks.
struct Archive<W: Write>(W);

impl<W: Write> Archive<W> {
    fn directory(&mut self, path: &str) -> Result<()> {
        self.entry(entry(path).mode(0o755).set_mode_file_type(ModeFileType::Directory), &[])
    }

    fn console(&mut self) -> Result<()> {
        let device = entry("/dev/console").mode(0o600).rdev_major(5).rdev_minor(1);
        self.entry(device.set_mode_file_type(ModeFileType::Char), &[])
    }

    fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.entry(entry(path).mode(mode).set_mode_file_type(ModeFileType::Regular), content)
    }

    fn entry(&mut self, header: Builder, content: &[u8]) -> Result<()> {
        let size = u32::try_from(content.len()).context("a file of 4 GiB or more in the initramfs")?;
        let mut writer = header.write(&mut self.0, size);
        std::io::copy(&mut Cursor::new(content), &mut writer)?;
        writer.finish()?;
        Ok(())
    }
}

/// Names in the archive are relative to its root.
fn entry(path: &str) -> Builder {
    Builder::new(path.trim_start_matches('/')).nlink(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_holds_init_modules_and_the_job() {
        let dir = tempfile::tempdir().unwrap();
        let (init, module, archive) =
            (dir.path().join("i"), dir.path().join("fuse.ko"), dir.path().join("a"));
        fs::write(&init, "elf").unwrap();
        fs::write(&module, "ko").unwrap();
        write(&archive, &init, &[module], None).unwrap();

        let mut names = Vec::new();
        let mut input = File::open(&archive).unwrap();
        loop {
            let reader = cpio::newc::Reader::new(input).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            names.push((reader.entry().name().to_owned(), reader.entry().mode()));
            input = reader.finish().unwrap();
        }
        let expected = [
            ("dev", 0o040755),
            ("modules", 0o040755),
            ("dev/console", 0o020600),
            ("init", 0o100755),
            ("modules/fuse.ko", 0o100644),
            ("guest.json", 0o100644),
        ];
        assert_eq!(names, expected.map(|(name, mode)| (name.to_owned(), mode)));
    }
}
