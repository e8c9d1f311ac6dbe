//! `ipvlan-ctl run` and `exec`.

use clap::Args;

use super::{endpoint::EndpointArgs, render::print_warnings};
use crate::service::{self, Error, Root};

const HELP: &str = "\
Example:
  ipvlan-ctl run --network db_net --name ipv2 -- ping -c 4 ipv1";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Run {
    /// Name of the network
    #[arg(long)]
    network: String,
    #[command(flatten)]
    endpoint: EndpointArgs,
    /// Detach the endpoint when the command has ended, as is always done
    #[arg(long)]
    rm: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(super) command: Vec<String>,
}

impl Run {
    pub(super) fn execute(self, root: &Root) -> Result<u8, Error> {
        let Self { network, endpoint, command, rm: _ } = self;
        let ran = service::run(root, &endpoint.request(network)?, &command)?;
        print_warnings(&ran.warnings);
        Ok(ran.code)
    }
}

const EXEC_HELP: &str = "\
Example:
  ipvlan-ctl exec ipv1 -- ping -c 4 ipv2";

#[derive(Debug, Args)]
#[command(after_help = EXEC_HELP)]
pub(super) struct Exec {
    /// Name of the endpoint
    name: String,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Exec {
    pub(super) fn execute(&self, root: &Root) -> Result<u8, Error> {
        service::exec(root, &self.name, &self.command)
    }
}
