//! `ipvlan-ctl serve`.

use std::path::PathBuf;

use clap::Args;

use super::render::print_warnings;
use crate::{
    frontend::docker::{SOCKET, serve},
    service::{Error, Root},
};

const HELP: &str = "\
Answers Docker until it is interrupted, so that networks are made with
  docker network create -d ipvlan-ebpf --subnet 192.168.1.0/24 \\
      -o parent=eth0 db_net
and containers attached as to any other network. It keeps nothing to itself and
can be stopped at any time: what is enforced stays enforced, and Docker waits
some seconds for it to come back.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Serve {
    /// Where to listen, if systemd hands over no socket; Docker calls the driver
    /// by the file's name
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
}

impl Serve {
    pub(super) fn execute(&self, root: Root) -> Result<u8, Error> {
        serve(root, &self.socket, print_warnings)?;
        Ok(0)
    }
}
