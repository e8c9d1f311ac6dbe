//! The controller: ipvlan networks, their endpoints, and the programs that isolate them.
//!
//! `cli` and `frontend` are doors to `service`, which alone combines the adapters `netlink`, `bpf`, `wire`, `store`, `hosts` and
//! `ipam`; all speak in the types of `model`. What is enforced needs no daemon: every command opens the store, does its plan, and ends.

pub mod attack;
pub mod bench;
pub mod bpf;
pub mod cli;
pub mod frontend;
pub mod hosts;
pub mod ipam;
pub mod model;
pub mod netlink;
pub mod sandbox;
pub mod service;
pub mod store;
mod text_enum;
pub mod wire;
