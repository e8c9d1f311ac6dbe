//! `attach --container`, with an engine that says what it is told to.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    process::Command,
};

use anyhow::{Result, ensure};
use ipvlan_tests::{Maker, Sandbox, harness::test};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{IPVLAN, NET, ROOT, error_lines};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("containers_are_asked_for", ROOT, containers),
        test("attach_to_a_container", IPVLAN, attach_container),
    ]
}

/// What `docker` and `podman` say, and what becomes of it.
fn containers() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let bin = sandbox.root().join("bin");
    fs::create_dir(&bin)?;
    let ask = || {
        let mut command = sandbox.ctl_command()?;
        sandbox.host.output(command.env("PATH", &bin).args(["attach", "db_net", "--container", "web"]))
    };
    let engine = |name: &str, script: &str| {
        fs::write(bin.join(name), format!("#!/bin/sh\n{script}\n"))?;
        fs::set_permissions(bin.join(name), Permissions::from_mode(0o755))
    };
    let refuses = |says: &[&str]| {
        let output = ask()?;
        ensure!(output.status.code() == Some(1), "it ends with {}", output.status);
        let lines = error_lines(&output)?.join(" ");
        let missing: Vec<_> = says.iter().filter(|part| !lines.contains(**part)).collect();
        ensure!(missing.is_empty(), "the error doesn't say {missing:?}: {lines}");
        Ok(())
    };
    refuses(&["'web'", "neither docker nor podman", "--pid"])?;
    engine("podman", "echo 'Error: no such object: \"web\"' >&2; exit 125")?;
    refuses(&["'web' doesn't exist (podman)", "podman ps"])?;
    engine("docker", "echo 'Error: No such container: web' >&2; exit 1")?;
    refuses(&["'web' doesn't exist (docker)", "docker ps"])?;
    engine("docker", "echo 0")?;
    refuses(&["'web' is not running", "docker start web"])?;
    engine("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")?;
    refuses(&["docker", "'web'", "Cannot connect to the Docker daemon"])?;
    engine("docker", "echo nonsense")?;
    refuses(&["docker", "nonsense"])?;
    // Asked as it should be, it names a process, and the command goes on to what is wrong next.
    engine(
        "docker",
        "[ \"$1 $4\" = 'inspect web' ] && [ \"$3\" = '--format={{.State.Pid}}' ] && echo 4194305",
    )?;
    refuses(&["process 4194305 doesn't exist"])?;
    // It is the user's own program, and may need any of what its user has.
    engine("docker", "while read -r line; do echo \"$line\"; done < /proc/self/status >&2; exit 1")?;
    let capabilities = |text: &str| {
        let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        let sets = words.windows(2).filter(|pair| pair[0].starts_with("Cap"));
        sets.map(<[String]>::to_vec).collect::<Vec<_>>()
    };
    let (own, its) = (fs::read_to_string("/proc/self/status")?, ask()?.stderr);
    let (own, its) = (capabilities(&own), capabilities(&String::from_utf8_lossy(&its)));
    ensure!(own.len() >= 4 && own == its, "docker gets {its:?} of {own:?}");
    Ok(())
}

/// Into the namespace of the process that the engine names, as the container's.
fn attach_container() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.network(&NET)?;
    let netns = sandbox.netns("web")?;
    let mut process = netns.spawn(Command::new("sleep").arg("600"))?;
    let bin = sandbox.root().join("bin");
    fs::create_dir(&bin)?;
    fs::write(bin.join("docker"), format!("#!/bin/sh\necho {}\n", process.id()))?;
    fs::set_permissions(bin.join("docker"), Permissions::from_mode(0o755))?;
    let mut command = sandbox.ctl_command()?;
    command.env("PATH", &bin).args([
        "attach",
        "db_net",
        "--container",
        "web",
        "--name",
        "a",
        "--ifname",
        "eth1",
    ]);
    let attached = sandbox.host.output(&mut command);
    let rows: Vec<Value> = sandbox.ctl_json("ps")?;
    process.kill()?;
    process.wait()?;
    let attached = attached?;
    ensure!(attached.status.success(), "{}", String::from_utf8_lossy(&attached.stderr));
    ensure!(rows.len() == 1 && rows[0]["netns"] == "container:web" && rows[0]["state"] == "up", "{rows:?}");
    ensure!(netns.ifindex("eth1").is_ok(), "the container has no eth1");
    // Its namespace lives on by its name: so it is found without the process.
    sandbox.ctl("detach a").map(drop)
}
