//! What endpoints take of the kernel's memory.

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf,
    maps::{Map, MapInfo},
    programs::SchedClassifier,
};
use ipvlan_common::schema;
use ipvlan_tests::memory::of_map;
use serde::Serialize;

use crate::{
    crowd::{Crowd, endpoint},
    plot::{Bar, Plot, plot},
    report::Section,
    sample::Middle,
};

const CROWDS: [u16; 3] = [10, 1_000, 10_000];
/// Whose size doesn't depend on how many endpoints there are.
const FIXED: [&str; 4] = [schema::EVENT_MAP, schema::MONITOR_MAP, schema::BUDGET_MAP, schema::SHARED_MAP];

/// The map that aya makes of a program's `.rodata`.
const READ_ONLY: &str = ".rodata";

/// Bytes, where there are so many endpoints, and room for as many.
#[derive(Debug, Serialize)]
struct Memory {
    endpoints: u16,
    /// Of all maps.
    maps: u64,
    /// Of those that grow with the endpoints, each endpoint's share.
    share: u64,
    /// Of the programs of one endpoint, and of their read-only map.
    programs: u64,
    /// Of the programs that all endpoints share.
    shared: u64,
}

impl Memory {
    fn of(endpoints: u16) -> Result<Self> {
        let crowd = Crowd::new(endpoints)?;
        let bytes = |name: &str| of_map(MapInfo::from_pin(crowd.map(name))?.fd()?.as_fd());
        let all = schema::MAPS.iter().map(|name| bytes(name)).sum::<Result<u64>>()?;
        let fixed = FIXED.iter().map(|name| bytes(name)).sum::<Result<u64>>()?;
        let load = |program| crowd.dataplane.load(&endpoint(0).identity(), program);
        let (mut slaves, mut others) = (load(schema::SLAVE_EGRESS)?, load(schema::SHARED[0])?);
        let identity = slaves.maps().find(|(name, _)| *name == READ_ONLY).context("no read-only map")?.1;
        let Map::Array(identity) = identity else { bail!("the read-only map is no array") };
        let identity = of_map(identity.fd().as_fd())?;
        let own = of_programs(&mut slaves, &[schema::SLAVE_EGRESS, schema::SLAVE_INGRESS])?;
        let shared = of_programs(&mut others, &schema::SHARED)?;
        Ok(Self {
            endpoints,
            maps: all,
            share: (all - fixed) / u64::from(endpoints),
            programs: own + identity,
            shared,
        })
    }
}

/// Their instructions and their machine code.
fn of_programs(object: &mut Ebpf, names: &[&str]) -> Result<u64> {
    let mut bytes = 0;
    for name in names {
        let program: &mut SchedClassifier =
            object.program_mut(name).with_context(|| (*name).to_owned())?.try_into()?;
        program.load()?;
        let info = program.info()?;
        bytes += u64::from(info.memory_locked()?) + u64::from(info.size_jitted());
    }
    Ok(bytes)
}

/// Measures, and says what came of it.
pub(crate) fn section() -> Result<Section> {
    let all = CROWDS.into_iter().map(Memory::of).collect::<Result<Vec<_>>>()?;
    let row = |it: &Memory| {
        [it.endpoints.into(), it.maps, it.share, it.programs, it.shared].map(|it| it.to_string()).to_vec()
    };
    let bar = |it: &Memory| {
        let exactly = |bytes| Middle::of(vec![bytes as f64]);
        Bar {
            name: format!("{} endpoints", it.endpoints),
            middles: vec![exactly(it.share), exactly(it.programs)],
        }
    };
    Ok(Section {
        name: "memory".to_owned(),
        title: "What an endpoint takes of the kernel's memory".to_owned(),
        about: format!(
            "Bytes that the kernel charges for maps (`memlock` in their fdinfo) and programs (`memlock` and machine code in their info), \
             {} CPUs, with room for as many endpoints as there are. *Share*: of the maps that grow with them. Of its two \
             programs, with the map that tells them apart, an endpoint has a copy; the shared ones are there once.",
            aya::util::nr_cpus().map_err(|(_, error)| error)?
        ),
        head: ["endpoints", "all maps", "share of each", "its two programs", "shared programs"]
            .map(str::to_owned)
            .to_vec(),
        rows: all.iter().map(row).collect(),
        note:
            "The parent's programs and the one that answers requests come once for a parent and once for all."
                .to_owned(),
        plot: plot(&Plot {
            unit: "bytes an endpoint",
            series: &["share of the maps".to_owned(), "its two programs".to_owned()],
            bars: &all.iter().map(bar).collect::<Vec<_>>(),
        })?,
        samples: serde_json::to_value(&all)?,
        machine: None,
    })
}
