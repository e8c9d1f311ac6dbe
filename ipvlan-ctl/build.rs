//! Builds the programs for the BPF target, so that the controller can embed them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use aya_build::{Package, Toolchain};
use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};

/// Where rustup can't provide a nightly with library sources, `cargo xtask setup` links a distribution's under this name.
const LINKED: &str = "ipvlan-bpf";

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-env-changed=IPVLAN_BPF_TOOLCHAIN");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../ipvlan-common");
    println!("cargo:rerun-if-changed=../Cargo.lock");
    let toolchain = env::var("IPVLAN_BPF_TOOLCHAIN").unwrap_or_else(|_| {
        let linked = Command::new("rustup").args(["run", LINKED, "rustc", "--version"]).output();
        let name = if linked.is_ok_and(|it| it.status.success()) { LINKED } else { "nightly" };
        name.to_owned()
    });
    // `-Z build-std` on a toolchain that isn't called nightly.
    // SAFETY: nothing else runs in this process yet.
    unsafe { env::set_var("RUSTC_BOOTSTRAP", "1") };
    // aya-build turns each line of the inner cargo into a warning: leave the real ones.
    // SAFETY: as above.
    unsafe { env::set_var("CARGO_TERM_QUIET", "true") };
    let asked = |feature: &&str| env::var_os(format!("CARGO_FEATURE_{}", feature.to_uppercase())).is_some();
    let features: Vec<_> = ["log", "faulty"].into_iter().filter(asked).collect();
    aya_build::build_ebpf(
        [Package {
            name: "ipvlan-ebpf",
            root_dir: "../ipvlan-ebpf",
            features: &features,
            ..Package::default()
        }],
        Toolchain::Custom(&toolchain),
    )
    .with_context(|| {
        format!("building the programs with toolchain `{toolchain}`; run `cargo xtask setup` first")
    })?;
    let built = PathBuf::from(env::var_os("OUT_DIR").context("no OUT_DIR")?);
    ["ipvlan", "slave", "prime", "bench"].into_iter().try_for_each(|object| strip(&built.join(object)))
}

/// Takes DWARF out of an object: four fifths of it, and of no use to the kernel, which has BTF.
fn strip(path: &Path) -> anyhow::Result<()> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let mut object = Builder::read(bytes.as_slice())?;
    for section in &mut object.sections {
        section.delete = [".debug", ".rel.debug"].iter().any(|it| section.name.starts_with(it.as_bytes()));
    }
    // LLVM has the sections' names among the symbols'.
    let names = object.sections.add();
    names.name = ".shstrtab".into();
    names.sh_type = SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    object.write(&mut stripped)?;
    fs::write(path, stripped).with_context(|| format!("write {}", path.display()))
}
