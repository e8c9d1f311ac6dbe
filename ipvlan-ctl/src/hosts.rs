//! Hosts files: names and addresses in a block of ours, beside what others wrote.
//!
//! `ip netns exec` and `ipvlan-ctl run` mount such a file over /etc/hosts. A mount holds the file, not its path: a new file renamed
//! to that path would never be seen inside. So files are written in place, each with one write.

use std::{
    borrow::Cow,
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io,
    net::IpAddr,
    ops::Range,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use memchr::memmem::Finder;
use nix::fcntl::OFlag;

/// The hosts file of a machine.
pub const ETC_HOSTS: &str = "/etc/hosts";

const MADE: &str = "# This file goes with the block.";

/// A hosts file can't be read or written.
#[derive(Debug, thiserror::Error)]
#[error("can't keep names in {}: {source}", path.display())]
pub struct HostsError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Hosts files with a block of ours.
#[derive(Debug, Clone)]
pub struct HostsFiles {
    mark: Mark,
    localhost: String,
}

impl HostsFiles {
    /// Those with the block of `owner`. One that is made for it calls loopback addresses as the machine does.
    #[must_use]
    pub fn new(owner: &Path) -> Self {
        let machine = fs::read_to_string(ETC_HOSTS).unwrap_or_default();
        Self { mark: Mark::of(&owner.display().to_string()), localhost: localhost(&machine) }
    }

    /// Has the block in the file at `path` say `entries`, whole lines, and nothing else. Without any it goes, and with it a file that
    /// was made for it.
    pub fn write(&self, path: &Path, entries: &str) -> Result<(), HostsError> {
        self.try_write(path, entries).map_err(|source| HostsError { path: path.to_owned(), source })
    }

    fn try_write(&self, path: &Path, entries: &str) -> io::Result<()> {
        let file = options().open(path);
        let text = match &file {
            Ok(file) => io::read_to_string(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            // Without anything to write, it matters only where there is a block.
            Err(_) => fs::read_to_string(path)?,
        };
        let parts = Parts::of(&text, &self.mark);
        if parts.has_block || !entries.is_empty() {
            let file = if text.is_empty() { made(path)? } else { file? };
            overwrite(&file, &parts.with(entries, &self.mark, &self.localhost), &text)?;
        }
        if entries.is_empty() && parts.is_empty() {
            remove(path)?;
        }
        Ok(())
    }
}

/// Whoever reads meanwhile sees the old names or the new ones: what the new text is shorter by goes only once it is blank.
fn overwrite(file: &fs::File, new: &str, old: &str) -> io::Result<()> {
    if old == new {
        return Ok(());
    }
    if new.len() >= old.len() {
        return file.write_all_at(new.as_bytes(), 0);
    }
    let blank = "\n".repeat(old.len() - new.len());
    file.write_all_at(format!("{new}{blank}").as_bytes(), 0)?;
    file.set_len(new.len() as u64)
}

/// Opens an empty file, or a new one.
fn made(path: &Path) -> io::Result<fs::File> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    }
    let file = options().create(true).open(path)?;
    // Whoever a command runs as reads it, whatever our umask.
    file.set_permissions(Permissions::from_mode(0o644))?;
    Ok(file)
}

/// A link may lead to the host's own file, where these names don't belong.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).truncate(false).custom_flags(OFlag::O_NOFOLLOW.bits());
    options
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Directories stay where they hold anything else.
    let _ = path.ancestors().skip(1).take(2).try_for_each(fs::remove_dir);
    Ok(())
}

/// A line of a hosts file.
#[must_use]
pub fn entry(address: IpAddr, name: &str) -> String {
    format!("{address}\t{name}\n")
}

/// The lines around a block.
#[derive(Debug, Clone)]
struct Mark {
    begin: Line,
    end: Line,
}

impl Mark {
    fn of(owner: &str) -> Self {
        let line = |what| Line::new(&format!("# {what} ipvlan-ctl {owner}"));
        Self { begin: line("BEGIN"), end: line("END") }
    }
}

/// A line to look for in many files.
#[derive(Debug, Clone)]
struct Line(Finder<'static>);

impl Line {
    fn new(line: &str) -> Self {
        Self(Finder::new(line).into_owned())
    }

    fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.0.needle())
    }

    /// Where the lines of `text` are that say this.
    fn positions<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
        self.0.find_iter(text.as_bytes()).filter_map(move |start| {
            let end = text[start..].find('\n').map_or(text.len(), |length| start + length + 1);
            let is_whole = text[..start].is_empty() || text[..start].ends_with('\n');
            (is_whole && text[start..end].trim_end().as_bytes() == self.0.needle()).then_some(start..end)
        })
    }
}

/// What a file consists of.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    /// All that isn't ours.
    others: String,
    /// Whether the file was made for the block.
    made: bool,
    has_block: bool,
}

impl Parts {
    fn of(text: &str, mark: &Mark) -> Self {
        // The last one that is whole: what is between a beginning without an end and our block is somebody's.
        let block = mark.begin.positions(text).filter_map(|first| {
            let (before, rest) = (&text[..first.start], &text[first.end..]);
            let last = mark.end.positions(rest).next()?;
            Some((before, &rest[..last.start], &rest[last.end..]))
        });
        match block.last() {
            Some((before, block, after)) => {
                Self { others: [before, after].concat(), made: block.starts_with(MADE), has_block: true }
            }
            // Half a block tells nobody which lines are ours. An empty file is one that a command killed meanwhile has made.
            None => Self { others: text.to_owned(), made: text.is_empty(), has_block: false },
        }
    }

    fn is_empty(&self) -> bool {
        self.made && self.others.trim().is_empty()
    }

    /// The whole file again. A file that was made for the block and then got lines of others keeps `localhost` without it.
    fn with(&self, entries: &str, mark: &Mark, localhost: &str) -> String {
        let Self { others, made, .. } = self;
        let separator = if others.is_empty() || others.ends_with('\n') { "" } else { "\n" };
        let (note, localhost) = if *made { (format!("{MADE}\n"), localhost) } else { (String::new(), "") };
        if entries.is_empty() {
            return format!("{others}{separator}{localhost}");
        }
        let (begin, end) = (mark.begin.text(), mark.end.text());
        format!("{others}{separator}{begin}\n{note}{localhost}{entries}{end}\n")
    }
}

/// The lines of a hosts file that are true in every namespace.
fn localhost(text: &str) -> String {
    let is_loopback = |line: &&str| {
        let address = line.split_whitespace().next().and_then(|word| word.parse::<IpAddr>().ok());
        address.is_some_and(|address| address.is_loopback())
    };
    text.lines().filter(is_loopback).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark() -> Mark {
        Mark::of("/r")
    }

    fn entries() -> String {
        ["10.0.0.2", "fd00::2"].map(|address| entry(address.parse().unwrap(), "a")).concat()
    }

    #[test]
    fn a_file_of_others_keeps_their_lines() {
        let before = "127.0.0.1 localhost\n10.9.9.9 printer\n";
        let with = Parts::of(before, &mark()).with(&entries(), &mark(), "::1 localhost\n");
        assert_eq!(
            with,
            format!("{before}# BEGIN ipvlan-ctl /r\n10.0.0.2\ta\nfd00::2\ta\n# END ipvlan-ctl /r\n"),
            "localhost is theirs to write"
        );
        let parts = Parts::of(&with, &mark());
        assert!(parts.has_block && !parts.made && !parts.is_empty());
        assert_eq!(parts.with("", &mark(), "::1 localhost\n"), before);
        // What is written behind the block stays as well.
        let parts = Parts::of(&format!("{with}10.9.9.8 scanner"), &mark());
        assert_eq!(parts.with("", &mark(), ""), format!("{before}10.9.9.8 scanner\n"));
    }

    #[test]
    fn blocks_of_several_owners() {
        let (mark, other) = (mark(), Mark::of("other"));
        let one = Parts::of("", &mark).with(&entries(), &mark, "");
        let two = Parts::of(&one, &other).with(&entries(), &other, "");
        assert_eq!(Parts::of(&two, &other).with("", &other, ""), one);
    }

    #[test]
    fn half_a_block_is_others() {
        let mark = mark();
        let (begin, end) = (mark.begin.text(), mark.end.text());
        for text in [
            format!("{begin}\n10.0.0.2 a\n"),
            format!("{end}\n{begin}\n"),
            format!("{begin}ning\n{end}\n"),
            format!("x {begin}\n{end}\n"),
        ] {
            assert_eq!(Parts::of(&text, &mark), Parts { others: text, made: false, has_block: false });
        }
    }

    #[test]
    fn half_a_block_stays_beside_a_whole_one() {
        let mark = mark();
        let (begin, end) =
            (format!("{}\n10.9.9.9 printer\n", mark.begin.text()), format!("{}\n", mark.end.text()));
        let block = Parts::of("", &mark).with(&entries(), &mark, "");
        for (text, others) in [
            (end.clone(), &end),
            (begin.clone(), &begin),
            (format!("{block}{end}"), &end),
            (format!("{begin}{block}"), &begin),
            (format!("{block}{begin}"), &begin),
        ] {
            let once = Parts::of(&text, &mark).with(&entries(), &mark, "");
            assert_eq!(Parts::of(&once, &mark).with(&entries(), &mark, ""), once);
            assert_eq!(Parts::of(&once, &mark).with("", &mark, ""), *others);
        }
    }

    proptest! {
        #[test]
        fn without_the_block_all_is_as_before(text in "([a-z0-9 #.\t]{0,20}\n){0,6}") {
            let with = Parts::of(&text, &mark()).with(&entries(), &mark(), "");
            let parts = Parts::of(&with, &mark());
            prop_assert_eq!(parts.with(&entries(), &mark(), ""), with);
            prop_assert_eq!(parts.with("", &mark(), ""), text);
        }

        #[test]
        fn what_changed_is_overwritten(old in "[ab\n]{0,9}", new in "[ab\n]{0,9}") {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("hosts");
            fs::write(&path, &old).unwrap();
            overwrite(&options().open(&path).unwrap(), &new, &old).unwrap();
            prop_assert_eq!(fs::read_to_string(&path).unwrap(), new);
        }
    }

    #[test]
    fn a_file_comes_and_goes_with_its_block() {
        let dir = tempfile::tempdir().unwrap();
        let (files, path) = (HostsFiles::new(Path::new("/r")), dir.path().join("netns/red/hosts"));
        files.write(&path, "").unwrap();
        assert!(!path.exists());
        files.write(&path, &entries()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(MADE) && text.contains("10.0.0.2\ta\n"), "{text}");
        // What is mounted elsewhere is the file, not its path.
        let mounted = fs::File::open(&path).unwrap();
        files.write(&path, "10.0.0.2\ta\n").unwrap();
        let text = io::read_to_string(&mounted).unwrap();
        assert!(text.contains("10.0.0.2\ta\n") && !text.contains("fd00::2"), "{text}");
        assert!(text.ends_with("# END ipvlan-ctl /r\n"), "{text}");
        files.write(&path, "").unwrap();
        assert!(!dir.path().join("netns").exists() && dir.path().exists());
        // As a killed command leaves it.
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        files.write(&path, "").unwrap();
        assert!(!dir.path().join("netns").exists());
    }

    #[test]
    fn a_file_that_got_lines_of_others_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (files, path) = (HostsFiles::new(Path::new("/r")), dir.path().join("hosts"));
        files.write(&path, &entries()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("10.9.9.9 printer\n{text}")).unwrap();
        files.write(&path, "").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("10.9.9.9 printer\n") && !text.contains("10.0.0.2"), "{text}");
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("etc-hosts"), dir.path().join("hosts"));
        fs::write(&target, "127.0.0.1 localhost\n").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let error = HostsFiles::new(Path::new("/r")).write(&link, &entries()).unwrap_err();
        assert!(error.to_string().starts_with("can't keep names in "), "{error}");
        HostsFiles::new(Path::new("/r")).write(&link, "").unwrap();
        assert_eq!(fs::read_to_string(target).unwrap(), "127.0.0.1 localhost\n");
    }

    #[test]
    fn localhost_is_what_loopback_addresses_are_called() {
        let text =
            "# c\n127.0.0.1\tlocalhost\n127.0.1.1 me\n10.0.0.1 x\n::1 localhost ip6-localhost\nff02::1 all\n";
        assert_eq!(localhost(text), "127.0.0.1\tlocalhost\n127.0.1.1 me\n::1 localhost ip6-localhost\n");
    }
}
