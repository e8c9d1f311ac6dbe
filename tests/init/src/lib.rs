//! What the VM harness tells PID 1: one JSON file in the initramfs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the initramfs holds the [`Guest`] description.
pub const CONFIG_PATH: &str = "/guest.json";
/// Folder of the initramfs that holds the modules needed to reach the root file system.
pub const MODULE_DIR: &str = "/modules";
/// virtiofs tag of the host's root.
pub const ROOT_TAG: &str = "root";
/// virtiofs tag of the folder that the guest may write to.
pub const OUT_TAG: &str = "out";
/// Environment variable that names the writable folder, in the guest.
pub const OUT_ENV: &str = "IPVLAN_VM_OUT";

/// What PID 1 sends over the second serial port once it runs; the command's exit status follows on a line of its own.
pub const BOOTED: &str = "booted";

/// What a guest is to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Guest {
    /// Modules below [`MODULE_DIR`], in load order.
    pub modules: Vec<String>,
    /// What to run; nothing means "report that you booted", which is how the accelerator is probed.
    pub job: Option<Job>,
}

/// A command and the file systems it sees.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Working directory, a path of the host that the guest sees too.
    pub cwd: PathBuf,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// The guest kernel's `lib/modules`, a path of the host, shown as `/lib/modules`.
    pub kernel_modules: PathBuf,
    /// The folder that the guest may write to, mounted at the same path as on the host.
    pub out: PathBuf,
}
