//! The commands of docs/walk.md, as they stand there.

use std::{env, os::unix::fs::symlink, process::Command};

use anyhow::{Context as _, Result, ensure};
use ipvlan_tests::{
    Maker, Sandbox, Snapshot,
    harness::{Need, test},
    sandbox::{INTERFACE, ctl_path},
};
use libtest_mimic::Trial;

const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
const PAGE: &str = include_str!("../../../docs/walk.md");
/// The namespaces that the page makes.
const NAMES: [&str; 2] = ["red", "blue"];

pub(crate) fn tests() -> Vec<Trial> {
    vec![test("walk::patterns", &[], patterns), test("walk::the_page_is_right", NEEDS, page)]
}

/// A command of the page, and the lines that are to come out.
#[derive(Debug, PartialEq, Eq)]
struct Item<'p> {
    command: &'p str,
    expected: Vec<&'p str>,
}

/// Takes the page's namespaces away where the page didn't come to its end.
struct Names;

impl Drop for Names {
    fn drop(&mut self) {
        for name in NAMES {
            // Gone, if all went well.
            let _ignored = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

fn page() -> Result<()> {
    let items = read(PAGE);
    ensure!(items.len() > 40, "only {} commands on the page", items.len());
    let taken = NAMES.iter().find(|name| std::path::Path::new("/run/netns").join(name).exists());
    ensure!(taken.is_none(), "this machine has a namespace {taken:?}, which the page wants to make");

    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.host.ip(&format!("addr add 192.168.1.250/24 dev {INTERFACE}"))?;
    sandbox.lan.ip_batch(&format!(
        "addr add 192.168.1.1/24 dev {INTERFACE}\naddr add fd00:1::1/64 dev {INTERFACE} nodad\n\
         link add link {INTERFACE} name {INTERFACE}.10 type vlan id 10\nlink set {INTERFACE}.10 up\n\
         addr add 192.168.10.1/24 dev {INTERFACE}.10\n"
    ))?;
    let bin = tempfile::tempdir()?;
    symlink(ctl_path()?, bin.path().join("ipvlan-ctl"))?;
    let path = format!("{}:{}", bin.path().display(), env::var("PATH")?);
    let before = Snapshot::take(&sandbox, &[])?;
    let _names = Names;
    for Item { command, expected } in items {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).env("PATH", &path);
        shell.env("IPVLAN_ROOT", sandbox.root()).env("IPVLAN_PIN_DIR", sandbox.pins());
        let output = sandbox.host.output(&mut shell)?;
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let said = format!("{command}\n{stdout}{stderr}");
        // Where the page shows that something isn't there, the command says so by its status.
        ensure!(output.status.success() || !expected.is_empty(), "{} of {said}", output.status);
        let mut lines = stdout.lines();
        for pattern in expected {
            lines
                .find(|line| matches(pattern, line))
                .with_context(|| format!("no `{pattern}` from {said}"))?;
        }
    }
    let changes = Snapshot::take(&sandbox, &[])?.changes(&before);
    ensure!(changes.is_empty(), "the walk leaves {changes:#?}");
    Ok(())
}

fn read(page: &str) -> Vec<Item<'_>> {
    let mut items: Vec<Item<'_>> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("# ").filter(|_| inside) {
            items.push(Item { command, expected: Vec::new() });
        } else if let Some(item) = items.last_mut().filter(|_| inside) {
            item.expected.push(line);
        }
    }
    items
}

/// Whether `line` is `pattern`, in which `…` stands for anything, and spaces for as many as there are.
fn matches(pattern: &str, line: &str) -> bool {
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let pattern = pattern.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|start| line.strip_prefix(start)) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

fn patterns() -> Result<()> {
    for (pattern, line, expected) in [
        ("a b", "a   b ", true),
        ("a b", "a b c", false),
        ("a …", "a b c", true),
        ("…b", "a b c", false),
        ("a …c", "a b c", true),
        ("a…b…c", "a x b y c", true),
        ("a…b…c", "a x c", false),
        ("1…1", "1", false),
    ] {
        ensure!(matches(pattern, line) == expected, "{pattern:?} and {line:?}");
    }
    let item = |command, expected: &[&'static str]| Item { command, expected: expected.to_vec() };
    let page = "# Title\n```console\n# one\nx\n…\n# two\n```\n# no command\n```\n# nor this\n```\n";
    ensure!(read(page) == [item("one", &["x", "…"]), item("two", &[])], "{:?}", read(page));
    Ok(())
}
