//! `ipvlan-ctl man`.

use std::{fs, path::PathBuf};

use clap::Args;

use crate::service::Error;

#[derive(Debug, Args)]
pub(super) struct Man {
    /// Directory to write them to: ipvlan-ctl.1, and one for each command
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Man {
    pub(super) fn execute(&self, cli: clap::Command) -> Result<u8, Error> {
        fs::create_dir_all(&self.directory)
            .and_then(|()| clap_mangen::generate_to(cli, &self.directory))
            .map_err(|source| Error::Write { path: self.directory.clone(), source })?;
        Ok(0)
    }
}
