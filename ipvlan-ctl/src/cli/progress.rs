//! How far a command has come, shown where somebody looks, once it has taken its time.

use std::{
    convert::Infallible,
    fmt::Debug,
    io::{self, IsTerminal as _},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry,
};

use super::{Format, render::is_quiet};
use crate::service::progress::TARGET;

/// How long nothing is shown.
const PATIENCE: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(100);
const WITHOUT_TOTAL: &str = "{spinner} {prefix}: {wide_msg}";
const WITH_TOTAL: &str = "{spinner} {prefix}: {pos}/{len} [{bar:20}] {wide_msg}";

/// Does `work`, and shows meanwhile on a terminal's standard error how far `command` has come; nothing of it stays there.
pub(super) fn shown<T>(format: Format, command: &'static str, work: impl FnOnce() -> T) -> T {
    // What is verbose says all of it already.
    let is_verbose = LevelFilter::current() != LevelFilter::OFF;
    if format == Format::Json || is_quiet() || is_verbose || !io::stderr().is_terminal() {
        return work();
    }
    let bar = hidden(command);
    let events = registry().with(Shown(bar.clone()));
    let (done, is_done) = channel::<Infallible>();
    let result = thread::scope(|scope| {
        let bar = bar.clone();
        scope.spawn(move || {
            if is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                bar.set_draw_target(ProgressDrawTarget::stderr());
                bar.enable_steady_tick(TICK);
            }
        });
        let result = tracing::subscriber::with_default(events, work);
        drop(done);
        result
    });
    bar.finish_and_clear();
    result
}

fn hidden(command: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    set_template(&bar, WITHOUT_TOTAL);
    bar.with_prefix(command)
}

fn set_template(bar: &ProgressBar, template: &str) {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    bar.set_style(style.progress_chars("=> "));
}

/// Shows the last event on a bar.
struct Shown(ProgressBar);

impl<S: Subscriber> Layer<S> for Shown {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        if event.metadata().target() != TARGET {
            // What is done within one of many isn't worth a word.
            if self.0.length().is_none() {
                self.0.set_message(said.message);
            }
            return;
        }
        if self.0.length().is_none() {
            set_template(&self.0, WITH_TOTAL);
        }
        self.0.set_length(said.total);
        self.0.set_position(said.done);
        self.0.set_message(format!("{} {}", said.message, said.object));
    }
}

/// The fields of an event that are shown.
#[derive(Debug, Default)]
struct Said {
    message: String,
    object: String,
    done: u64,
    total: u64,
}

impl Visit for Said {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "done" => self.done = value,
            "total" => self.total = value,
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "object" => self.object = format!("{value:?}"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::progress::note;

    #[test]
    fn a_bar_shows_the_last_event() {
        let bar = hidden("upgrade");
        let state = || (bar.position(), bar.length(), bar.message());
        tracing::subscriber::with_default(registry().with(Shown(bar.clone())), || {
            assert_eq!(state(), (0, None, String::new()));
            tracing::debug!(step = "slot", "apply");
            assert_eq!(state(), (0, None, "apply".into()));
            note("swap", 2, 5, "endpoint a");
            assert_eq!(state(), (2, Some(5), "swap endpoint a".into()));
            tracing::debug!(step = "slot", "apply");
            assert_eq!(state(), (2, Some(5), "swap endpoint a".into()), "a step of one of many");
            note("look at", 0, 64, "endpoint b");
            assert_eq!(state(), (0, Some(64), "look at endpoint b".into()));
        });
    }

    #[test]
    fn templates_are_understood() {
        for template in [WITHOUT_TOTAL, WITH_TOTAL] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
