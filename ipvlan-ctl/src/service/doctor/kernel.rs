//! What the kernel has, as far as files tell.

use std::{fs, io, path::Path};

use super::{Presence, Setting};

/// Whether the kernel of this `release` has a module, as far as that shows without loading it.
pub(super) fn module(release: &str, name: &str) -> Presence {
    if Path::new("/sys/module").join(name).exists() {
        return Presence::Loaded;
    }
    let list = |file: &str| fs::read_to_string(format!("/lib/modules/{release}/{file}")).ok();
    find(name, list("modules.builtin").as_deref(), list("modules.dep").as_deref())
}

fn find(name: &str, built_in: Option<&str>, files: Option<&str>) -> Presence {
    let lists = |list: Option<&str>| list.is_some_and(|list| list.lines().any(|line| is_of(line, name)));
    match (lists(built_in), lists(files)) {
        (true, _) => Presence::Loaded,
        (_, true) => Presence::Loadable,
        // Without its lists, a kernel may have anything built in.
        _ if built_in.is_none() || files.is_none() => Presence::Unknown,
        _ => Presence::Missing,
    }
}

/// Whether a line such as `kernel/drivers/net/ipvlan/ipvlan.ko.xz: …` is of the module.
fn is_of(line: &str, name: &str) -> bool {
    let file = line.split(':').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    file.split_once(".ko").is_some_and(|(stem, _)| stem.replace('-', "_") == name)
}

/// What a file below `/proc/sys` says.
pub(in crate::service) fn setting(path: &str) -> Setting {
    match fs::read_to_string(Path::new("/proc/sys").join(path)) {
        Ok(text) => text.trim().parse().map_or(Setting::Unreadable, Setting::Value),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Setting::Absent,
        Err(_) => Setting::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_by_their_file() {
        let built_in = Some("kernel/net/sched/sch_ingress.ko\n");
        let files = Some(
            "kernel/drivers/net/ipvlan/ipvlan.ko.xz: kernel/net/l3mdev/l3mdev.ko.xz\nkernel/drivers/net/ipvlan/ipvtap.ko.xz:\nkernel/net/sched/cls-bpf.ko.zst:\n",
        );
        for (name, presence) in [
            ("sch_ingress", Presence::Loaded),
            ("ipvlan", Presence::Loadable),
            ("cls_bpf", Presence::Loadable),
            ("l3mdev", Presence::Missing),
            ("vlan", Presence::Missing),
        ] {
            assert_eq!(find(name, built_in, files), presence, "{name}");
        }
        assert_eq!(find("ipvlan", None, None), Presence::Unknown);
        assert_eq!(find("vlan", built_in, None), Presence::Unknown);
        assert_eq!(find("ipvlan", None, files), Presence::Loadable);
    }

    #[test]
    fn settings() {
        assert_eq!(setting("no/such/file"), Setting::Absent);
        assert!(matches!(setting("kernel/pid_max"), Setting::Value(_)));
    }
}
