//! Doors to the services for container engines.

pub mod docker;
