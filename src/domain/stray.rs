//! Strays: FIS experiments that go on, carry a run of an experiment of ours, and that no run of this store looks after.
//!
//! Pure. They are left behind by a store that was lost or taken back from a backup, and by runs that were recorded as over
//! though nobody knew how. Whose one is nobody here can say: an agent with another store may have experiments of the same
//! names. So they are told, and nothing is ever stopped because of it.
//!
//! FIS is to be asked first and the rows are to be read after it; then nothing that is looked after is taken for a stray. What
//! FIS lists had begun, and nothing begins before its run is on disk as starting, from where it never goes back: the row that
//! is read later knows of it. What ended between the two is over in its row by FIS's own word, and stays there: finished runs
//! are kept for a day at least, and a thousand of them. The other way round, whatever begins between the two would be a stray.

use super::{
    experiment::Rules,
    ids::{ExperimentName, Name, RunId},
    outcome::Outcome,
    run::{Run, RunState},
};

/// What the tags of a FIS experiment say; `None` of one that it does not carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags {
    /// Of which run it is.
    pub run: Option<RunId>,
    /// Of which experiment of a configuration.
    pub experiment: Option<String>,
}

/// Returns the run and the experiment that tags name, if that is an experiment of this configuration: one account may be used
/// by agents with others.
pub fn named(tags: Tags, rules: &Rules) -> Option<(RunId, ExperimentName)> {
    let experiment = Name::parse(&tags.experiment?).ok()?;
    rules.experiments.contains_key(&experiment).then_some((tags.run?, experiment))
}

/// Tells whether nobody looks after a FIS experiment that was active before the row of the run was read that its tag names.
pub fn is_stray(fis_id: &str, run: Option<&Run>) -> bool {
    let Some(run) = run else { return true };
    match &run.state {
        // It is looked for by its tag.
        RunState::Starting { .. } => false,
        // What this run has not begun yet an earlier life of it has.
        RunState::Requested | RunState::Settling | RunState::Held { .. } | RunState::Skipped { .. } => true,
        RunState::Finished { outcome: Outcome::Lost { .. } | Outcome::NotStarted { .. }, .. } => true,
        RunState::Running { .. } | RunState::Stopping { .. } | RunState::Finished { .. } => {
            run.fis.as_ref().is_none_or(|fis| fis.id != fis_id)
        }
    }
}
