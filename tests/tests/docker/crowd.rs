//! Many containers at once, on the built-in driver and on ours.

use std::{
    env,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::{
    engine::{Engine, IMAGE, wait},
    proxy::{Proxy, When},
    test,
};

/// How many containers are started on each driver.
const CONTAINERS: &str = "IPVLAN_CONTAINERS";
/// Where nothing else is asked for: what an emulated machine starts in a minute.
const FEW: usize = 4;
const AT_ONCE: usize = 8;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("crowd::come_and_go_at_once", come_and_go),
        test("crowd::serve_is_killed_at_each_call", killed_at_each_call),
    ]
}

/// In the order A B B A, since a machine's pace changes; half of the containers each time.
fn come_and_go(engine: &mut Engine) -> Result<()> {
    let containers = env::var(CONTAINERS).ok().and_then(|text| text.parse().ok()).unwrap_or(FEW);
    let mut times = [("ipvlan", Times::default()), ("ipvlan-ebpf", Times::default())];
    for index in [0, 1, 1, 0] {
        let (driver, times) = &mut times[index];
        engine.docker(&format!("network create -d {driver} --subnet=192.168.1.0/24 -o parent=eth0 crowd"))?;
        let names: Vec<_> = (0..containers / 2).map(|number| format!("c{number}")).collect();
        times.run.extend(at_once(engine, &names, |name| {
            format!("run -d --network=crowd --name={name} {IMAGE} sleep 9999")
        })?);
        let addresses =
            engine.docker("network inspect crowd --format={{range.Containers}}{{.IPv4Address}},{{end}}")?;
        let mut addresses: Vec<_> = addresses.split(',').filter(|it| !it.is_empty()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        ensure!(addresses.len() == names.len(), "{} containers have {addresses:?}", names.len());
        times.rm.extend(at_once(engine, &names, |name| format!("rm --force {name}"))?);
        // Docker itself, on its own driver too, is at times not done with an endpoint when it says that the container is gone.
        wait("the network to go", || Ok(engine.try_docker("network rm crowd")?.status.success()))?;
        engine.is_clean()?;
    }
    for (driver, Times { run, rm }) in &mut times {
        println!(
            "{driver}: docker run {}, docker rm {} (median, longest of {})",
            spread(run),
            spread(rm),
            run.len()
        );
    }
    Ok(())
}

#[derive(Default)]
struct Times {
    run: Vec<Duration>,
    rm: Vec<Duration>,
}

fn spread(times: &mut [Duration]) -> String {
    times.sort();
    let at = |index: usize| times.get(index).copied().unwrap_or_default().as_secs_f32();
    format!("{:.1} s, {:.1} s", at(times.len() / 2), at(times.len() - 1))
}

/// Runs a Docker command for each name, so many at once; returns how long each took.
fn at_once(
    engine: &Engine,
    names: &[String],
    words: impl Fn(&str) -> String + Sync,
) -> Result<Vec<Duration>> {
    let (next, times) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        let work = || -> Result<()> {
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                let begin = Instant::now();
                engine.docker(&words(name))?;
                times.lock().unwrap_or_else(PoisonError::into_inner).push(begin.elapsed());
            }
            Ok(())
        };
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|it| it.join().map_err(|_panic| anyhow!("a worker panicked"))?)
    })?;
    Ok(times.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Docker tries a call again, but without what it was about (moby 20.10, plugins/client.go), so that the command may fail. What it
/// left is no hindrance to the next one.
fn killed_at_each_call(engine: &mut Engine) -> Result<()> {
    engine.stop("serve", Signal::SIGTERM)?;
    let proxy = Proxy::start(&engine.sandbox)?;
    let create = "network create -d ipvlan-ebpf --subnet=192.168.1.0/24 -o parent=eth0 net";
    let run = format!("run -d --network=net --ip=192.168.1.11 --name=one {IMAGE} sleep 9999");
    // Returns whether it succeeds all the same.
    let killed = |call, when, words: &str| -> Result<bool> {
        proxy.kill_at(call, when);
        let output = engine.try_docker(words)?;
        ensure!(proxy.has_killed(), "docker {words} makes no call {call}");
        Ok(output.status.success())
    };
    for when in [When::HalfWay, When::Done] {
        if !killed("CreateNetwork", when, create)? {
            engine.docker(create).with_context(|| format!("{when:?}"))?;
        }
        for call in ["CreateEndpoint", "Join"] {
            killed(call, when, &run)?;
            engine.docker("rm --force one")?;
            engine.docker(&run).with_context(|| format!("after {call}, {when:?}"))?;
            engine.docker("exec one ping -c 1 -W 20 192.168.1.1")?;
            ensure!(!engine.netns("one")?.pings("192.168.1.250", 56, 1)?, "the host can be reached");
            engine.docker("rm --force one")?;
        }
        for call in ["Leave", "DeleteEndpoint"] {
            engine.docker(&run).with_context(|| format!("before {call}, {when:?}"))?;
            killed(call, when, "rm --force one")?;
            engine.try_docker("rm --force one")?;
        }
        // Docker forgets it even if it isn't told that it is gone; then whoever is given its subnet takes its place.
        killed("DeleteNetwork", when, "network rm net")?;
        engine.docker(create).with_context(|| format!("after DeleteNetwork, {when:?}"))?;
        engine.docker("network rm net")?;
        engine.is_clean().with_context(|| format!("{when:?}"))?;
    }
    drop(proxy);
    engine.start_serve()
}
