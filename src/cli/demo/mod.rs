//! `firedrill demo`: watch it work without an AWS account.
//!
//! The agent is the real one, against the simulator. The `stage` sets it up, the `script` plays the deployments and the
//! incident, the `view` shows what is recorded; at the end the summary is counted from the store, not from the script.

mod script;
mod stage;
mod template;
mod view;

use std::{io::IsTerminal, time::Duration};

use tokio::signal::unix::{SignalKind, signal};

use self::{script::Script, stage::Stage, view::View};
use super::{
    args::DemoArgs,
    exit::{Exit, Failure},
    render, run,
};
use crate::{
    domain::{
        outcome::Outcome,
        run::{Run, RunState, SkipReason, StopCause, Trigger},
    },
    store::history::RunFilter,
};

/// Time between two looks at the rows.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A demo of this length has shown everything, or something is wrong.
const WHOLE: Duration = Duration::from_secs(60);
/// Most runs that a summary counts.
const MOST_RUNS: u32 = 100_000;

/// Plays the demo.
///
/// # Errors
/// [`Exit::Internal`] when a part fails, or when a whole demo did not show all it promises.
pub async fn run(args: &DemoArgs) -> Result<Exit, Failure> {
    let length = args.length.map(|length| Duration::try_from(length).unwrap_or_default());
    let stage = Stage::set(|settings| run::start_telemetry(settings).map_err(|failure| failure.error))
        .await
        .map_err(Failure::internal)?;
    let live = !args.plain && std::io::stdout().is_terminal();
    let mut view = View::new(live, &stage.url(), length);
    let played = play(&stage, &mut view, length).await;
    view.end();
    let runs = stage.store.runs(&RunFilter { limit: MOST_RUNS, ..RunFilter::default() }).await;
    stage.strike().await;
    played.map_err(Failure::internal)?;
    let shown = Shown::count(&runs.map_err(|error| Failure::internal(error.into()))?);
    shown.print()?;
    if length.is_some_and(|length| length >= WHOLE) && !shown.is_whole() {
        return Err(Failure::say(Exit::Internal, "the demo did not show all it promises"));
    }
    Ok(Exit::Done)
}

/// Plays the script and shows what is recorded, until the time is up or somebody interrupts.
async fn play(stage: &Stage, view: &mut View, length: Option<Duration>) -> anyhow::Result<()> {
    let begun = tokio::time::Instant::now();
    let mut script = Script::default();
    let status = stage.status();
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    loop {
        let runs = stage.store.runs(&RunFilter { limit: 50, ..RunFilter::default() }).await?;
        let said = script.step(stage, &runs, begun.elapsed()).await?;
        view.show(&runs, &status.borrow().clone(), said.as_deref(), begun.elapsed());
        if length.is_some_and(|length| begun.elapsed() >= length) {
            return Ok(());
        }
        tokio::select! {
            biased;
            _ = interrupted.recv() => return Ok(()),
            _ = terminated.recv() => return Ok(()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// What was shown, counted from the recorded runs.
#[derive(Debug, Default)]
struct Shown {
    scheduled: usize,
    by_event: usize,
    refused: usize,
    stopped_by_window: usize,
    superseded: usize,
    others: usize,
}

impl Shown {
    fn count(runs: &[Run]) -> Self {
        let mut shown = Self::default();
        for run in runs {
            let count = match (&run.state, &run.trigger) {
                (RunState::Finished { outcome: Outcome::Completed, .. }, Trigger::Slot { .. }) => &mut shown.scheduled,
                (RunState::Finished { outcome: Outcome::Completed, .. }, Trigger::Event { .. }) => &mut shown.by_event,
                (RunState::Finished { outcome: Outcome::Stopped { cause: StopCause::Closed { .. } }, .. }, _) => {
                    &mut shown.stopped_by_window
                }
                (RunState::Skipped { reason: SkipReason::Closed { .. } | SkipReason::WouldCross { .. }, .. }, _) => {
                    &mut shown.refused
                }
                (RunState::Skipped { reason: SkipReason::Superseded { .. }, .. }, _) => &mut shown.superseded,
                _ => &mut shown.others,
            };
            *count += 1;
        }
        shown
    }

    fn is_whole(&self) -> bool {
        self.scheduled > 0 && self.by_event > 0 && self.refused > 0 && self.stopped_by_window > 0 && self.superseded > 0
    }

    fn print(&self) -> Result<(), Failure> {
        render::line("")?;
        render::line("summary")?;
        render::line(&format!("  {:>3}  completed, started by the schedule", self.scheduled))?;
        render::line(&format!("  {:>3}  completed, started by a deployment event", self.by_event))?;
        render::line(&format!("  {:>3}  refused because of a blackout", self.refused))?;
        render::line(&format!("  {:>3}  stopped because a blackout opened", self.stopped_by_window))?;
        render::line(&format!("  {:>3}  superseded by a newer deployment", self.superseded))?;
        render::line(&format!("  {:>3}  other (going on when the demo ended, overlapping, …)", self.others))
    }
}
