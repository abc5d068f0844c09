//! Safety levers of a halt: engaged in every place after the halt is on disk, let go before it is lifted.
//!
//! One task does it, one wish after the other. It begins with what an earlier process left undone, and tries again what
//! could not be engaged until it is, or the halt is lifted. Where the halt cannot be recorded its levers are engaged all the
//! same, and never let go from here: no row says that they are ours. What a lever's mark says is decided in
//! [`crate::domain::lever`]; how far each has come stands in the halt's row.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout_at},
};

use super::witness::chain;
use crate::{
    aws::lever::{Levers, Position},
    domain::{
        fis::{CallFailure, FailureClass},
        lever::{self, HeldLever, LeverReport, Move, Standing},
    },
    engine::ports::Store,
    http::api::{LeverJob, LeverWish},
    ingest::manual::{ManualError, ManualIngest},
};

/// Levers moved beside each other.
const AT_ONCE: usize = 16;

/// Longest time that all levers of a wish may take together; whoever asks waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Time between two looks at what is to be engaged and is not, whoever asked for it and wherever.
const RETRY: Duration = Duration::from_secs(30);

/// Moves levers for whoever asks.
pub struct LeverKeeper<S> {
    /// The halt's row.
    pub manual: ManualIngest<S>,
    /// The levers.
    pub levers: Levers,
}

impl<S: Store> LeverKeeper<S> {
    /// Takes wishes until nobody can ask any more.
    pub async fn run(self, mut wishes: mpsc::Receiver<LeverWish>) {
        let unsettled = |held: &HeldLever| matches!(held.standing, Standing::Asked | Standing::Failed { .. });
        let mut look_at = Instant::now();
        loop {
            let wish = tokio::select! {
                biased;
                wish = wishes.recv() => wish,
                () = sleep_until(look_at) => {
                    if let Err(error) = self.engage(unsettled).await {
                        tracing::error!(error = chain(&error), "safety levers of the halt could not be looked after");
                    }
                    look_at = Instant::now() + RETRY;
                    continue;
                }
            };
            let Some(LeverWish { job, answer }) = wish else { return };
            let done = match job {
                LeverJob::Engage => self.engage(|held| held.standing != Standing::Engaged).await,
                LeverJob::EngageUnrecorded(levers) => {
                    Ok(self.pull_all(levers).await.iter().map(HeldLever::report).collect())
                }
                LeverJob::Release => self.release().await,
            };
            // Of a halt that was made meanwhile some may have been let go.
            let wait = if matches!(done, Err(ManualError::HaltedAgain)) { Duration::ZERO } else { RETRY };
            look_at = Instant::now() + wait;
            // Whoever asked may have gone; the row and the log say it too.
            let _gone = answer.send(done);
        }
    }

    /// Engages what the halt's row asks for and is `wanted`, and notes how far each has come; tells of all of them.
    async fn engage(&self, wanted: impl Fn(&HeldLever) -> bool) -> Result<Vec<LeverReport>, ManualError> {
        let Some(halt) = self.manual.halted().await? else { return Ok(Vec::new()) };
        let (wanted, settled): (Vec<_>, Vec<_>) = halt.levers.iter().cloned().partition(wanted);
        if wanted.is_empty() {
            return Ok(settled.iter().map(HeldLever::report).collect());
        }
        let pulled = self.pull_all(wanted).await;
        let gone = self.manual.note_levers(halt, pulled.clone()).await?;
        let is_held = |held: &&HeldLever| !gone.contains(held);
        let mut reports: Vec<_> = settled.iter().chain(&pulled).filter(is_held).map(HeldLever::report).collect();
        for (held, report) in self.let_all_go(gone.clone()).await {
            if !report.done {
                tracing::warn!(place = %held.place, mark = held.mark, "no halt holds this safety lever: let it go by hand");
            }
            reports.push(report);
        }
        Ok(reports)
    }

    /// Engages levers, and tells how far each has come.
    async fn pull_all(&self, wanted: Vec<HeldLever>) -> Vec<HeldLever> {
        let end = Instant::now() + PATIENCE;
        let pulled = stream::iter(wanted).map(|held| async move {
            let standing = timeout_at(end, self.pull(&held)).await.unwrap_or_else(|_| Standing::Failed { failure: late() });
            match &standing {
                Standing::Failed { failure } => {
                    tracing::warn!(place = %held.place, class = %failure.class, error = failure.message, "safety lever not engaged");
                }
                standing => tracing::info!(place = %held.place, standing = %standing, "safety lever"),
            }
            HeldLever { standing, ..held }
        });
        pulled.buffered(AT_ONCE).collect().await
    }

    async fn pull(&self, held: &HeldLever) -> Standing {
        let found = match self.levers.read(&held.place).await {
            Ok(found) => found,
            Err(failure) => return Standing::Failed { failure },
        };
        match lever::to_engage(&found, &held.mark) {
            Move::None => Standing::Engaged,
            Move::Leave { reason } => Standing::Others { reason },
            Move::Blocked { failure } => Standing::Failed { failure },
            Move::Make => match self.levers.set(&held.place, Position::Engaged, &held.mark).await {
                Ok(()) => Standing::Engaged,
                Err(failure) => Standing::Failed { failure },
            },
        }
    }

    /// Lets go every lever of the halt that is still ours, and lifts the halt if none is left that could not be let go.
    async fn release(&self) -> Result<Vec<LeverReport>, ManualError> {
        let Some(halt) = self.manual.halted().await? else { return Ok(Vec::new()) };
        let all = self.let_all_go(halt.levers.clone()).await;
        let (reports, left): (Vec<_>, Vec<_>) =
            all.into_iter().map(|(held, report)| (report.clone(), (!report.done).then_some(held))).unzip();
        self.manual.lift(halt, left.into_iter().flatten().collect()).await?;
        Ok(reports)
    }

    /// Lets go those that are still ours, and tells what became of each.
    async fn let_all_go(&self, levers: Vec<HeldLever>) -> Vec<(HeldLever, LeverReport)> {
        let end = Instant::now() + PATIENCE;
        let let_go = stream::iter(levers).map(|held| async move {
            let done = timeout_at(end, self.let_go(&held)).await.unwrap_or_else(|_| Err(late()));
            let (said, done) = match done {
                Ok(said) => (said, true),
                Err(failure) => (format!("NOT LET GO: {failure}"), false),
            };
            if done {
                tracing::info!(place = %held.place, said, "safety lever");
            } else {
                tracing::warn!(place = %held.place, said, "safety lever not let go");
            }
            let report = LeverReport { place: held.place.clone(), said, done };
            (held, report)
        });
        let_go.buffered(AT_ONCE).collect().await
    }

    async fn let_go(&self, held: &HeldLever) -> Result<String, CallFailure> {
        let found = self.levers.read(&held.place).await?;
        match lever::to_release(&found, &held.mark) {
            Move::None => Ok("not engaged any more".to_owned()),
            Move::Leave { reason } => Ok(format!("left engaged, since it is somebody else's: {reason}")),
            Move::Blocked { failure } => Err(failure),
            Move::Make => {
                let reason = format!("lifted: {}", held.mark);
                self.levers.set(&held.place, Position::Disengaged, &reason).await?;
                Ok("let go".to_owned())
            }
        }
    }
}

fn late() -> CallFailure {
    CallFailure { class: FailureClass::Timeout, message: "no answer in time".to_owned() }
}
