//! Attacks on stock ipvlan and on ours, side by side, in a sandbox of their own.
//!
//! A case (`case`, listed in `cases`) is an act with a marker in it. Each is tried in every setting, on stock ipvlan made with
//! ip(8) and on networks made by this very program; all places where the marker may come out are watched at once, for as long as
//! the setting lasts. `matrix` judges what was seen.

mod case;
mod cases;
#[cfg(feature = "faulty")]
mod fault;
mod matrix;
mod setting;
mod throw;
mod world;

pub use case::{Capability, Case, Class};
#[cfg(feature = "faulty")]
pub use fault::{Noticed, faults};
pub use matrix::{Cell, Matrix, Row, Summary, Verdict};
pub use setting::{Family, Place, Setting};

use ipvlan_common::DropReason;

use crate::{
    model::{Flag, Mode},
    netlink::Netlink,
    sandbox::{Maker, interrupt},
    service::{Error, Facts},
};

/// What to try; everything where nothing is said.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Only these modes.
    pub modes: Vec<Mode>,
    /// Only these flags.
    pub flags: Vec<Flag>,
    /// Only internal networks.
    pub internal: bool,
    /// Only cases whose names begin so.
    pub cases: Vec<String>,
    /// Only cases that may end for one of these reasons.
    pub reasons: Vec<DropReason>,
}

impl Options {
    /// The settings asked for.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let asked = |setting: &Setting| {
            (self.modes.is_empty() || self.modes.contains(&setting.mode))
                && (self.flags.is_empty() || self.flags.contains(&setting.flag))
                && (!self.internal || setting.internal)
        };
        Setting::all().filter(asked).collect()
    }

    fn cases(&self) -> Vec<&'static Case> {
        let settings = self.settings();
        let named = |case: &Case| {
            self.cases.is_empty() || self.cases.iter().any(|name| case.id.starts_with(name.as_str()))
        };
        let ends = |case: &Case| {
            let mut expected = settings.iter().flat_map(|setting| (case.expect)(*setting).reasons);
            self.reasons.is_empty() || expected.any(|reason| self.reasons.contains(reason))
        };
        // What must pass is tried in any case: nothing comes through a cut cable.
        let is_control = |case: &Case| case.class == Class::Control;
        cases::all().filter(|case| is_control(case) || named(case) && ends(case)).collect()
    }
}

/// The names of all cases.
pub fn names() -> impl Iterator<Item = &'static str> {
    cases::all().map(|case| case.id)
}

/// Tries everything that `options` ask for; `begins` is told each part that begins, of which there are two for a setting.
///
/// # Errors
/// Fails without root, ip(8), tc(8) or ipvlan, or where a sandbox can't be built. What comes of an attack is no error.
pub fn run(options: &Options, mut begins: impl FnMut(Setting, Maker)) -> Result<Matrix, Error> {
    let facts = Facts::gather();
    facts.check()?;
    facts.check_ipvlan(Netlink::open()?.has_ipvlan()?)?;
    interrupt::listen().map_err(Error::Wait)?;
    let cases = options.cases();
    let mut matrix = Matrix::new(&cases);
    for setting in options.settings() {
        begins(setting, Maker::Stock);
        let stock = throw::all(setting, Maker::Stock, &cases).map_err(Error::Attack)?;
        begins(setting, Maker::Ctl);
        let enforced = throw::all(setting, Maker::Ctl, &cases).map_err(Error::Attack)?;
        matrix.add(setting, &stock, &enforced);
    }
    Ok(matrix)
}
