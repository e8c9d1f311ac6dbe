//! The suites: what each one runs, and where.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::tally::{Report, Tally};
use crate::build::{self, Executable};
use crate::dirs;
use crate::kernel::Version;
use crate::process::{Root, die_with_parent};
use crate::setup::{self, Step};
use crate::vm::{Crash, Echo, Vm};
use crate::{bench, fuzz};

/// Test targets that need a kernel and root; every other test executable is a unit test.
const PROGRAMS: &str = "programs";
const CLI: &str = "cli";
const TRAFFIC: &str = "traffic";
const DOCKER: &str = "docker";

/// Runs each argument up to `--` with the arguments behind it, all of them even if one fails.
const RUN_EACH: &str = r#"status=0; targets=
while [ "$1" != -- ]; do targets="$targets $1"; shift; done; shift
for target in $targets; do "$target" "$@" || status=1; done
exit $status"#;

/// A part of the tests that is run and counted by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Suite {
    Unit,
    Programs,
    Log,
    Fuzz,
    Bench,
    Cli,
    #[value(name = "traffic-6.12")]
    Traffic6_12,
    #[value(name = "traffic-6.1")]
    Traffic6_1,
    #[value(name = "docker-6.12")]
    Docker6_12,
}

impl Suite {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Programs => PROGRAMS,
            Self::Log => "log",
            Self::Fuzz => "fuzz",
            Self::Bench => "bench",
            Self::Cli => CLI,
            Self::Traffic6_12 => "traffic-6.12",
            Self::Traffic6_1 => "traffic-6.1",
            Self::Docker6_12 => "docker-6.12",
        }
    }

    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Unit => "unit and property tests, without privileges",
            Self::Programs => "the loaded programs by BPF_PROG_TEST_RUN, on this machine's kernel",
            Self::Log => "the same with programs that log each verdict",
            Self::Fuzz => {
                "the verdict under libFuzzer for ten seconds, and what it found through the programs"
            }
            Self::Bench => "the benchmark, briefly: whether it can be measured",
            Self::Cli => "the command line, on this machine's kernel",
            Self::Traffic6_12 => "real traffic, programs and command line in a VM with TCX",
            Self::Traffic6_1 => "real traffic, programs and command line in a VM before TCX",
            Self::Docker6_12 => "a Docker daemon on our driver, in a VM",
        }
    }

    /// What the suite needs beyond a build.
    pub(super) fn steps(self) -> Vec<Step> {
        match self {
            Self::Unit => Vec::new(),
            Self::Fuzz => vec![Step::Fuzzer],
            Self::Programs | Self::Log | Self::Bench | Self::Cli => Step::NATIVE.into(),
            Self::Traffic6_12 | Self::Traffic6_1 | Self::Docker6_12 => {
                let vm = Step::NATIVE.into_iter().chain(self.kernel().map(Step::vm).into_iter().flatten());
                vm.chain((self == Self::Docker6_12).then_some(Step::Docker)).collect()
            }
        }
    }

    fn kernel(self) -> Option<Version> {
        match self {
            Self::Unit | Self::Programs | Self::Log | Self::Fuzz | Self::Bench | Self::Cli => None,
            Self::Traffic6_12 | Self::Docker6_12 => Some(Version::V6_12),
            Self::Traffic6_1 => Some(Version::V6_1),
        }
    }

    pub(super) fn is_in_vm(self) -> bool {
        self.kernel().is_some()
    }

    /// Runs the suite and counts; an error is a failure of the suite, not of a test. `echo` is for a VM's console.
    pub(super) fn run(self, built: &[Executable], args: &[String], echo: Echo) -> Result<Tally> {
        if self == Self::Fuzz {
            return fuzz::briefly(built).map(|()| Tally { passed: 1, ..Tally::default() });
        }
        if self == Self::Bench {
            return bench::briefly(built).map(|()| Tally { passed: 1, ..Tally::default() });
        }
        let logging;
        let targets = if self == Self::Log {
            logging = build::logging_tests()?;
            self.targets(&logging)?
        } else {
            self.targets(built)?
        };
        let ctl = build::binary(built, "ipvlan-ctl")?;
        let mut env: BTreeMap<String, String> = [
            ("IPVLAN_CTL".to_owned(), ctl.to_string_lossy().into_owned()),
            // A VM's console is a terminal, but what comes out of it is read here.
            ("NO_COLOR".to_owned(), "1".to_owned()),
        ]
        .into();
        if self == Self::Docker6_12 {
            env.insert("IPVLAN_DOCKER".to_owned(), setup::docker_dir()?.to_string_lossy().into_owned());
        }
        let (success, output) = match self.kernel() {
            Some(version) => in_vm(version, &targets, args, &env, echo)?,
            None => on_host(self != Self::Unit, &targets, args, &env)?,
        };
        self.judge(targets.len(), success, &output, args.is_empty())
    }

    /// The executables of this suite.
    fn targets(self, built: &[Executable]) -> Result<Vec<&Executable>> {
        let kernel_target =
            |it: &Executable| it.kind == "test" && [PROGRAMS, CLI, TRAFFIC, DOCKER].contains(&&*it.name);
        let names: &[&str] = match self {
            Self::Unit => {
                return Ok(built.iter().filter(|it| it.is_test && !kernel_target(it)).collect());
            }
            Self::Programs | Self::Log => &[PROGRAMS],
            Self::Fuzz | Self::Bench => &[],
            Self::Cli => &[CLI],
            Self::Traffic6_12 | Self::Traffic6_1 => &[TRAFFIC, PROGRAMS, CLI],
            Self::Docker6_12 => &[DOCKER],
        };
        let find = |name: &&str| {
            let found = built.iter().find(|it| kernel_target(it) && it.name == *name);
            found.with_context(|| format!("no package has a test target {name}"))
        };
        names.iter().map(find).collect()
    }

    /// Turns the output into numbers; whatever went wrong without being counted counts as one failure.
    fn judge(self, targets: usize, success: bool, output: &str, everything: bool) -> Result<Tally> {
        let report = Report::read(self, output);
        for skip in &report.unexpected {
            println!("FAILED {}: unexpected skip of {skip}", self.name());
        }
        let mut tally = report.tally;
        let uncounted = if report.finished < targets {
            Some(format!("{} of {targets} test executables did not finish", targets - report.finished))
        } else if !success && tally.failed == 0 {
            Some("a test executable failed without a failed test".to_owned())
        } else if everything && tally.is_empty() {
            Some("no test ran".to_owned())
        } else {
            None
        };
        if let Some(what) = uncounted {
            println!("FAILED {}: {what}", self.name());
            tally += Tally::failure();
        }
        Ok(tally)
    }
}

/// Runs every executable in one VM, and in a second one if the first one's CPU fails.
fn in_vm(
    version: Version,
    targets: &[&Executable],
    args: &[String],
    env: &BTreeMap<String, String>,
    echo: Echo,
) -> Result<(bool, String)> {
    let paths = targets.iter().map(|it| it.path.to_string_lossy().into_owned());
    let argv = ["sh", "-c", RUN_EACH, "suites"].map(str::to_owned).into_iter().chain(paths);
    let argv: Vec<_> = argv.chain(["--".to_owned()]).chain(args.iter().cloned()).collect();
    let run = || Vm::new(version).run(argv.clone(), &dirs::workspace(), env, echo);
    let outcome = run().or_else(|error| {
        if !error.downcast_ref().is_some_and(Crash::is_emulators) {
            return Err(error);
        }
        println!("{error:#}\nAn emulated CPU's fault, not the suite's: once more.");
        run()
    })?;
    Ok((outcome.status == 0, outcome.output))
}

/// Runs every executable on this machine.
fn on_host(
    as_root: bool,
    targets: &[&Executable],
    args: &[String],
    env: &BTreeMap<String, String>,
) -> Result<(bool, String)> {
    let (mut success, mut output) = (true, String::new());
    for target in targets {
        let mut command = if as_root { root_command(&target.path, env)? } else { Command::new(&target.path) };
        command.args(args).current_dir(&target.package).env("CARGO_MANIFEST_DIR", &target.package).envs(env);
        let status = tee(&mut command, &mut output)?;
        success &= status.success();
    }
    Ok((success, output))
}

/// A command that runs as root, with `env` even where sudo would drop it.
fn root_command(program: &Path, env: &BTreeMap<String, String>) -> Result<Command> {
    let Some(root) = Root::get() else {
        bail!("it takes root, and `sudo -n` is refused: run it as root, or leave it out with --only");
    };
    if root == Root::Already {
        return Ok(Command::new(program));
    }
    let mut command = root.command("env");
    command.args(env.iter().map(|(name, value)| format!("{name}={value}"))).arg(program);
    Ok(command)
}

/// Runs a command, shows what it prints as it comes, and keeps it.
fn tee(command: &mut Command, output: &mut String) -> Result<ExitStatus> {
    let (mut reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = die_with_parent(command).spawn().context("can't run a test executable")?;
    // The command holds the pipe's other end, and would keep it open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut text = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = reader.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        std::io::stdout().write_all(&buffer[..length])?;
        text.extend_from_slice(&buffer[..length]);
    }
    output.push_str(&String::from_utf8_lossy(&text));
    Ok(child.wait()?)
}
