//! `ipvlan-ctl run`.

use clap::Args;

use super::{endpoint::EndpointArgs, render::print_warnings};
use crate::service::{self, Error, Root};

const HELP: &str = "\
Example:
  ipvlan-ctl run --network db_net --name ipv2 -- ping -c 4 192.168.1.2";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Run {
    /// Name of the network
    #[arg(long)]
    network: String,
    #[command(flatten)]
    endpoint: EndpointArgs,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(super) command: Vec<String>,
}

impl Run {
    pub(super) fn execute(self, root: &Root) -> Result<u8, Error> {
        let ran = service::run(root, &self.endpoint.request(self.network), &self.command)?;
        print_warnings(&ran.warnings);
        Ok(ran.code)
    }
}
