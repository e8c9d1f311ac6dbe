//! Containers of Docker and Podman, which say whose process has a container's namespaces.

use std::{io, process::Command};

use super::{Error, Target};
use crate::model::Name;

const ENGINES: [&str; 2] = ["docker", "podman"];

/// A container's namespace can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// Neither engine is installed.
    #[error("can't look for container '{0}': neither docker nor podman is on PATH")]
    NoEngine(String),
    /// The engine knows no such container.
    #[error("container '{container}' doesn't exist ({engine})")]
    Missing {
        /// Who was asked.
        engine: &'static str,
        /// The name.
        container: String,
    },
    /// It has no process.
    #[error("container '{container}' is not running ({engine})")]
    NotRunning {
        /// Who was asked.
        engine: &'static str,
        /// The name.
        container: String,
    },
    /// The engine fails.
    #[error("{engine} can't say where container '{container}' runs: {said}")]
    Failed {
        /// Who was asked.
        engine: &'static str,
        /// The name.
        container: String,
        /// What it said.
        said: String,
    },
}

impl ContainerError {
    pub(super) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoEngine(_) => "give the number of one of its processes: --pid".into(),
            Self::Missing { engine, .. } => format!("'{engine} ps' lists the containers that run"),
            Self::NotRunning { engine, container } => format!("first: {engine} start {container}"),
            Self::Failed { .. } => return None,
        })
    }
}

impl Target {
    /// The namespace of a container, which Docker is asked about or, where there is no Docker, Podman.
    pub fn container(name: &str) -> Result<Self, Error> {
        // Nothing that either of them could take for an option.
        let name = Name::parse("container", name)?.to_string();
        for engine in ENGINES {
            if let Some(pid) = ask(engine, &name)? {
                return Ok(Self::Container { name, pid });
            }
        }
        Err(ContainerError::NoEngine(name).into())
    }
}

/// The number of a container's process; `None` where there is no such engine.
fn ask(engine: &'static str, container: &str) -> Result<Option<u32>, ContainerError> {
    let container = container.to_owned();
    let mut command = Command::new(engine);
    command.args(["inspect", "--type=container", "--format={{.State.Pid}}", &container]);
    let output = match command.output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(ContainerError::Failed { engine, container, said: error.to_string() });
        }
        Ok(output) => output,
    };
    let text = if output.status.success() { &output.stdout } else { &output.stderr };
    let said = String::from_utf8_lossy(text).trim().to_owned();
    match said.parse() {
        Ok(0) if output.status.success() => Err(ContainerError::NotRunning { engine, container }),
        Ok(pid) if output.status.success() => Ok(Some(pid)),
        _ if said.to_lowercase().contains("no such") => Err(ContainerError::Missing { engine, container }),
        _ => Err(ContainerError::Failed { engine, container, said }),
    }
}
