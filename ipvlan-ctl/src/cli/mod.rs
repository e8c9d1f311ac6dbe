//! The command line.

mod audit;
mod bench;
mod doctor;
#[cfg(test)]
mod documentation;
mod endpoint;
#[cfg(feature = "log")]
mod log;
mod man;
mod monitor;
mod network;
mod privileges;
mod programs;
mod progress;
mod reconcile;
mod render;
mod run;
mod serve;
mod stats;
mod upgrade;
mod verbosity;

use std::{io, path::PathBuf};

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
pub use privileges::KEPT;
pub use render::{print_error, print_usage_error, wants_json};

use crate::service::{Error, Root};

const AFTER_HELP: &str = "\
Examples:
  ipvlan-ctl doctor eth0
  ipvlan-ctl network create --subnet 192.168.1.0/24 -o parent=eth0 db_net
  ip netns add red && ipvlan-ctl attach db_net --netns red --name ipv1
  ipvlan-ctl run --network db_net --name ipv2 -- ping -c 4 ipv1
  ipvlan-ctl ps
  ipvlan-ctl stats
  ipvlan-ctl monitor --endpoint ipv1
  ipvlan-ctl detach ipv1 && ipvlan-ctl network rm db_net

Exit status:
  0    success
  1    failure
  2    bad input
  'run' and 'exec' exit as their command does; with 126 or 127 where that can't
  be run or isn't there, and with 128 + N where signal N ends it";

/// Isolated ipvlan networks: every frame is checked in the kernel, whichever way it leaves a container.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP, max_term_width = 80, propagate_version = true)]
pub struct Cli {
    /// Directory of the state
    #[arg(long, global = true, value_name = "DIR", env = "IPVLAN_ROOT", help_heading = "Global options")]
    root: Option<PathBuf>,
    /// Directory of the pins, on a BPF file system
    #[arg(long, global = true, value_name = "DIR", env = "IPVLAN_PIN_DIR", help_heading = "Global options")]
    pin_dir: Option<PathBuf>,
    /// How results and errors are printed
    #[arg(long, global = true, value_enum, default_value_t, help_heading = "Global options")]
    format: Format,
    #[command(flatten)]
    verbosity: verbosity::Verbosity,
    #[command(subcommand)]
    command: Command,
}

/// How results and errors are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create, list, show and remove networks
    #[command(subcommand)]
    Network(network::Command),
    /// Attach an endpoint to a network namespace
    Attach(endpoint::Attach),
    /// Detach endpoints
    Detach(endpoint::Detach),
    /// List endpoints
    Ps,
    /// Show endpoints
    Inspect(endpoint::Inspect),
    /// Show what endpoints and parents let through and refused
    Stats(stats::Stats),
    /// Show drops as they happen
    Monitor(monitor::Monitor),
    /// Show every verdict as it comes, for debugging
    #[cfg(feature = "log")]
    Log,
    /// Swap this version's programs in on every parent and endpoint, while traffic goes on
    #[command(after_help = upgrade::HELP)]
    Upgrade,
    /// Find what isn't as it was made, and mend it
    Reconcile(reconcile::Reconcile),
    /// Show what the programs cost on this kernel: the verifier's work, and memory
    Programs,
    /// Measure what enforcement costs on this machine
    Bench(bench::Bench),
    /// Check what this machine has, and what is missing
    Doctor(doctor::Doctor),
    /// Hold this machine against what its networks promise
    Audit(audit::Audit),
    /// Run a command in a network namespace of its own
    Run(run::Run),
    /// Run a command in the network namespace of an endpoint
    Exec(run::Exec),
    /// Serve Docker as its network driver ipvlan-ebpf
    Serve(serve::Serve),
    /// Print a completion script
    Completions {
        /// The shell it is for
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    Man(man::Man),
}

impl Command {
    /// Whether it starts programs of the user's, which get what the user has.
    const fn starts_programs(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Exec(_))
    }

    /// What the command's span is called.
    const fn name(&self) -> &'static str {
        match self {
            Self::Network(command) => command.name(),
            Self::Attach(_) => "attach",
            Self::Detach(_) => "detach",
            Self::Ps => "ps",
            Self::Stats(_) => "stats",
            Self::Monitor(_) => "monitor",
            #[cfg(feature = "log")]
            Self::Log => "log",
            Self::Upgrade => "upgrade",
            Self::Programs => "programs",
            Self::Bench(_) => "bench",
            Self::Doctor(_) => "doctor",
            Self::Audit(_) => "audit",
            Self::Reconcile(_) => "reconcile",
            Self::Run(_) => "run",
            Self::Exec(_) => "exec",
            Self::Serve(_) => "serve",
            Self::Inspect { .. } => "inspect",
            Self::Completions { .. } => "completions",
            Self::Man(_) => "man",
        }
    }
}

impl Cli {
    /// How results and errors are to be printed.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Does what was asked and prints what came of it; returns the exit status.
    pub fn execute(self) -> Result<u8, Error> {
        let Self { root, pin_dir, format, verbosity, mut command } = self;
        match command {
            Command::Completions { shell } => {
                clap_complete::generate(shell, &mut Self::command(), "ipvlan-ctl", &mut io::stdout());
                return Ok(0);
            }
            Command::Man(man) => return man.execute(Self::command()),
            _ => {}
        }
        let _command = verbosity.begin(command.name());
        if let Command::Attach(attach) = &mut command {
            attach.ask_engine()?;
        }
        if !command.starts_programs()
            && let Err(error) = privileges::keep_needed()
        {
            render::print_warnings(&[format!("can't give up the capabilities that aren't needed: {error}")]);
        }
        let root = Root::new(root.as_deref(), pin_dir.as_deref())?;
        match command {
            Command::Network(command) => command.execute(&root, format),
            Command::Attach(attach) => attach.execute(&root, format),
            Command::Detach(detach) => detach.execute(&root, format),
            Command::Ps => endpoint::list(&root, format),
            Command::Inspect(inspect) => inspect.execute(&root),
            Command::Stats(stats) => stats.execute(&root, format),
            Command::Monitor(monitor) => monitor.execute(&root, format),
            #[cfg(feature = "log")]
            Command::Log => log::execute(&root),
            Command::Upgrade => upgrade::execute(&root, format),
            Command::Reconcile(reconcile) => reconcile.execute(&root, format),
            Command::Programs => programs::execute(&root, format),
            Command::Bench(bench) => bench.execute(&root, format),
            Command::Doctor(doctor) => doctor.execute(&root, format),
            Command::Audit(audit) => audit.execute(&root, format),
            Command::Run(run) => run.execute(&root),
            Command::Exec(exec) => exec.execute(&root),
            Command::Serve(serve) => serve.execute(root),
            Command::Completions { .. } | Command::Man(_) => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("ipvlan-ctl").chain(line.split(' ')))
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_fits_80_columns() {
        fn check(command: &mut clap::Command) {
            for text in [command.render_help(), command.render_long_help()] {
                for line in text.to_string().lines() {
                    assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
                }
            }
            command.get_subcommands_mut().for_each(check);
        }
        let mut cli = Cli::command();
        cli.build();
        check(&mut cli);
    }

    #[test]
    fn lines_that_parse() {
        for line in [
            "network create --subnet 192.168.1.0/24 --gateway 192.168.1.1 -o parent=eth0 -o ipvlan_mode=l2 db_net",
            "network create --subnet=192.168.1.0/24 --subnet=fd00::/64 --internal -o parent=eth0 db_net",
            "network ls --format json",
            "network create -d ipvlan --subnet=192.168.1.0/24 -o parent=eth0 db_net",
            "--root /r --pin-dir /p network inspect a b",
            "network rm a b",
            "attach db_net --netns red --name ipv1 --ip 192.168.1.5 --ip6 fd00::5 --ifname eth1",
            "attach db_net --pid 42",
            "attach db_net --container web",
            "attach db_net --pid 42 --mac 02:00:00:00:00:01",
            "inspect ipv1 ipv2",
            "exec ipv1 -- ping -c 4 ipv2",
            "run --rm --network db_net -- true",
            "detach ipv1 ipv2",
            "ps --format json",
            "stats",
            "stats ipv1 eth0",
            "stats --watch",
            "stats --watch=10 --count 3 --networks db_net",
            "network prune -f",
            "network rm --force a",
            "network create --ip-range 10.0.0.0/25 --aux-address nas=10.0.0.9 --label a=b n",
            "monitor",
            "monitor --endpoint a --endpoint b --reason unsealed --format json --count 1",
            "programs --format json",
            "bench --only traffic --quick",
            "upgrade",
            "reconcile --dry-run --format json",
            "run --network db_net --name ipv1 -- ping -c 4 192.168.1.2",
            "completions bash",
            "man /tmp/man",
            "serve",
            "serve --socket /run/docker/plugins/x.sock",
            "doctor",
            "doctor eth0 eth1 --format json",
            "-q ps",
            "attach db_net --netns red -vv",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn lines_that_do_not() {
        for line in [
            "",
            "network",
            "network create --subnet 10.0.0.0/24",
            "network rm",
            "network create -d bridge --subnet=192.168.1.0/24 -o parent=eth0 db_net",
            "attach db_net",
            "attach db_net --netns red --pid 42",
            "attach db_net --container web --pid 42",
            "attach db_net --pid -1",
            "inspect",
            "exec ipv1",
            "exec -- true",
            "attach db_net --pid x",
            "detach",
            "run --network db_net",
            "run -- true",
            "ps --format yaml",
            "monitor --count 0",
            "stats --count 3",
            "stats --watch=0",
            "monitor a",
            "man",
            "-q -v ps",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_command_keeps_its_own_options() {
        let cli = parse("run --network n -- ip --root x -j addr").unwrap();
        assert!(cli.root.is_none());
        let Command::Run(run) = cli.command else { panic!("not run") };
        assert_eq!(run.command, ["ip", "--root", "x", "-j", "addr"]);
    }
}
