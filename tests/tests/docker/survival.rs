//! Either daemon may end at any time, and the machine too.

use std::{fs, path::Path, process::Command, thread, time::Duration};

use anyhow::{Result, ensure};
use ipvlan_tests::netns::run;
use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::{
    engine::{Engine, IMAGE, wait},
    test,
};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("survival::dockerd_restarts", dockerd_restarts),
        test("survival::serve_is_killed", serve_is_killed),
        test("survival::both_are_killed", both_are_killed),
        test("survival::a_reboot", a_reboot),
    ]
}

/// A container that Docker starts whenever it is not running, and that ends at once.
fn lasting(engine: &Engine) -> Result<()> {
    engine.docker("network create -d ipvlan-ebpf --subnet=192.168.1.0/24 -o parent=eth0 net")?;
    engine
        .docker(&format!(
            "run -d --restart=always --stop-signal=SIGKILL --network=net --name=one {IMAGE} sleep 9999"
        ))
        .map(drop)
}

/// It runs, it is enforced, and nothing else is left.
fn is_back(engine: &Engine) -> Result<()> {
    wait("the container to run", || Ok(engine.inspect("one", ".State.Running")? == "true"))?;
    let row = engine.row("192.168.1.2")?;
    ensure!(row["state"] == "up", "{row}");
    let id = engine.inspect("one", ".NetworkSettings.Networks.net.EndpointID")?;
    ensure!(row["owner"] == format!("docker:{id}"), "{row} isn't {id}");
    engine.docker("exec one ping -c 1 -W 10 192.168.1.1")?;
    ensure!(!engine.netns("one")?.pings("192.168.1.250", 56, 1)?, "the host can be reached");
    engine.is_reconciled()
}

fn dockerd_restarts(engine: &mut Engine) -> Result<()> {
    lasting(engine)?;
    engine.stop("dockerd", Signal::SIGTERM)?;
    engine.start_dockerd()?;
    is_back(engine)?;
    // The network is known still.
    engine.docker(&format!("run --rm --network=net {IMAGE} ping -c 1 -W 10 one")).map(drop)
}

fn serve_is_killed(engine: &mut Engine) -> Result<()> {
    lasting(engine)?;
    engine.crash("serve")?;
    is_back(engine)?;
    // Docker waits for the driver.
    let words = format!("run --rm --network=net {IMAGE} ping -c 1 -W 10 one");
    let (waited, started) = thread::scope(|scope| {
        let run = {
            let engine = &*engine;
            let words = &words;
            let mut command = engine.client();
            command.args(words.split_whitespace());
            scope.spawn(move || command.output())
        };
        thread::sleep(Duration::from_secs(2));
        let started = engine.start_serve();
        (run.join(), started)
    });
    started?;
    let output = waited.map_err(|_panic| anyhow::anyhow!("docker run panicked"))??;
    ensure!(output.status.success(), "docker {words}: {}", String::from_utf8_lossy(&output.stderr));
    // Without it, containers go, and what Docker couldn't tell us is cleared away.
    engine.stop("serve", Signal::SIGTERM)?;
    engine.docker("rm --force one")?;
    engine.start_serve()?;
    // It looks around once it listens.
    wait("the endpoint to go as its container did", || Ok(engine.row("192.168.1.2").is_err()))?;
    engine.is_reconciled()
}

fn both_are_killed(engine: &mut Engine) -> Result<()> {
    lasting(engine)?;
    engine.crash("dockerd")?;
    engine.crash("serve")?;
    engine.start_serve()?;
    engine.start_dockerd()?;
    is_back(engine)
}

/// All that a reboot takes away is taken away, and the boot has another id.
fn a_reboot(engine: &mut Engine) -> Result<()> {
    const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
    lasting(engine)?;
    let (netns, pid) =
        (engine.inspect("one", ".NetworkSettings.SandboxKey")?, engine.inspect("one", ".State.Pid")?);
    let shim = parent_of(&pid)?;
    engine.crash("dockerd")?;
    engine.crash("serve")?;
    for process in [&shim, &pid] {
        run(Command::new("kill").args(["-KILL", process]))?;
    }
    run(Command::new("umount").arg("--lazy").arg(netns.trim()))?;
    fs::remove_dir_all(engine.sandbox.pins())?;
    let other = engine.sandbox.root().join("boot_id");
    fs::write(&other, "00000000-0000-4000-8000-000000000001\n")?;
    run(Command::new("mount").arg("--bind").arg(&other).arg(BOOT_ID))?;
    let outcome = engine.start_serve().and_then(|()| engine.start_dockerd()).and_then(|()| is_back(engine));
    run(Command::new("umount").arg(BOOT_ID))?;
    outcome
}

fn parent_of(pid: &str) -> Result<String> {
    let status = fs::read_to_string(Path::new("/proc").join(pid).join("status"))?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    Ok(parent.unwrap_or_default().trim().to_owned())
}
