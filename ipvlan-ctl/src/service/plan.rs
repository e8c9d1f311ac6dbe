//! A change as a list of steps that can each be undone.

use std::time::Instant;

use tracing::{debug, trace};

use super::Error;

/// One step of a change, on a context of type `C`.
///
/// Undoing is idempotent, and possible however far the step had come: the same list removes a complete thing, a half
/// made one, and one whose maker was killed.
pub trait Step<C> {
    /// What the step is called.
    fn name(&self) -> &'static str;

    /// Does it.
    fn apply(&self, context: &mut C) -> Result<(), Error>;

    /// Takes it back.
    fn undo(&self, context: &mut C) -> Result<(), Error>;

    /// Whether undoing it forgets that anything was ever there, so that it must wait until all else is gone.
    fn forgets(&self) -> bool {
        false
    }

    /// Whether the steps before it must stay for as long as it can't be taken back.
    fn holds(&self) -> bool {
        false
    }
}

/// Steps in the order in which they are applied.
#[derive(Debug, Clone)]
pub struct Plan<S> {
    steps: Vec<S>,
}

/// A change that didn't come about.
#[derive(Debug)]
pub struct Failure {
    /// The step that failed.
    pub step: &'static str,
    /// Why.
    pub cause: Box<Error>,
    /// What couldn't be taken back.
    pub left: Vec<Error>,
}

impl<S> Plan<S> {
    /// A plan of `steps`.
    #[must_use]
    pub const fn new(steps: Vec<S>) -> Self {
        Self { steps }
    }

    /// The steps' names, in order.
    pub fn names<C>(&self) -> Vec<&'static str>
    where
        S: Step<C>,
    {
        self.steps.iter().map(Step::name).collect()
    }

    /// Applies every step; where one fails, takes it and those before it back.
    pub fn apply<C>(&self, context: &mut C) -> Result<(), Failure>
    where
        S: Step<C>,
    {
        for (index, step) in self.steps.iter().enumerate() {
            if let Err(cause) = traced("apply", step.name(), || step.apply(context)) {
                let left = undo(&self.steps[..=index], context);
                return Err(Failure { step: step.name(), cause: Box::new(cause), left });
            }
        }
        Ok(())
    }

    /// Takes every step back, last one first, past errors but those of a step that holds the ones before it; what is left over
    /// keeps its record for the next try.
    pub fn undo<C>(&self, context: &mut C) -> Vec<Error>
    where
        S: Step<C>,
    {
        undo(&self.steps, context)
    }
}

/// Does one thing with a step, and says so for `--verbose`.
fn traced(
    what: &'static str,
    step: &'static str,
    act: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    trace!(step, "{what}");
    let begin = Instant::now();
    let result = act();
    let took = begin.elapsed();
    match &result {
        Ok(()) => debug!(step, ?took, "{what}"),
        Err(error) => debug!(step, ?took, %error, "{what} failed"),
    }
    result
}

fn undo<C, S: Step<C>>(steps: &[S], context: &mut C) -> Vec<Error> {
    let mut errors = Vec::new();
    for step in steps.iter().rev() {
        if step.forgets() && !errors.is_empty() {
            continue;
        }
        let failed = traced("undo", step.name(), || step.undo(context)).err();
        let stop = failed.is_some() && step.holds();
        errors.extend(failed);
        if stop {
            break;
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Mock {
        name: &'static str,
        apply_fails: bool,
        undo_fails: bool,
    }

    fn mock(name: &'static str) -> Mock {
        Mock { name, apply_fails: false, undo_fails: false }
    }

    impl Step<Vec<String>> for Mock {
        fn name(&self) -> &'static str {
            self.name
        }

        fn apply(&self, log: &mut Vec<String>) -> Result<(), Error> {
            log.push(format!("+{}", self.name));
            if self.apply_fails { Err(Error::NoNetwork(self.name.into())) } else { Ok(()) }
        }

        fn undo(&self, log: &mut Vec<String>) -> Result<(), Error> {
            log.push(format!("-{}", self.name));
            if self.undo_fails { Err(Error::NoEndpoint(self.name.into())) } else { Ok(()) }
        }

        fn forgets(&self) -> bool {
            self.name == "record"
        }

        fn holds(&self) -> bool {
            self.name == "slave"
        }
    }

    #[test]
    fn a_failure_takes_back_what_was_done_and_itself() {
        let plan =
            Plan::new(vec![mock("record"), mock("a"), Mock { apply_fails: true, ..mock("b") }, mock("c")]);
        let mut log = Vec::new();
        let failure = plan.apply(&mut log).unwrap_err();
        assert_eq!(log, ["+record", "+a", "+b", "-b", "-a", "-record"]);
        assert_eq!((failure.step, failure.left.len()), ("b", 0));
    }

    #[test]
    fn undo_goes_past_errors_and_keeps_the_record() {
        let plan = Plan::new(vec![mock("record"), mock("a"), Mock { undo_fails: true, ..mock("b") }]);
        let mut log = Vec::new();
        assert_eq!(plan.undo(&mut log).len(), 1);
        assert_eq!(log, ["-b", "-a"]);
    }

    #[test]
    fn undo_leaves_what_a_step_holds() {
        let plan =
            Plan::new(vec![mock("record"), mock("a"), Mock { undo_fails: true, ..mock("slave") }, mock("b")]);
        let mut log = Vec::new();
        assert_eq!(plan.undo(&mut log).len(), 1);
        assert_eq!(log, ["-b", "-slave"]);
    }
}
