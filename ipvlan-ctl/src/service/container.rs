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
            let ask = Command::new(engine)
                .args(["inspect", "--type=container", "--format={{.State.Pid}}", &name])
                .output();
            return match ask {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => Err(failed(engine, name, error.to_string())),
                Ok(output) if output.status.success() => {
                    let said = String::from_utf8_lossy(&output.stdout);
                    match said.trim().parse() {
                        Ok(0) => Err(ContainerError::NotRunning { engine, container: name }),
                        Ok(pid) => Ok(Self::Container { name, pid }),
                        Err(_) => Err(failed(engine, name, said.trim().to_owned())),
                    }
                }
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                    if said.to_lowercase().contains("no such") {
                        Err(ContainerError::Missing { engine, container: name })
                    } else {
                        Err(failed(engine, name, said))
                    }
                }
            }
            .map_err(Error::from);
        }
        Err(ContainerError::NoEngine(name).into())
    }
}

fn failed(engine: &'static str, container: String, said: String) -> ContainerError {
    ContainerError::Failed { engine, container, said }
}
