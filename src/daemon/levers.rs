//! Safety levers of a halt: engaged in every place after the halt is on disk, let go before it is lifted.
//!
//! One task does it, one wish after the other. It begins with what an earlier process left undone, and tries again what
//! could not be engaged until it is, or the halt is lifted. What a lever's mark says
//! is decided in [`crate::domain::lever`]; how far each has come stands in the halt's row.

use std::time::Duration;

use futures_util::{StreamExt, future::pending, stream};
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
    engine::ports::{Found, Store},
    http::api::{LeverJob, LeverWish},
    ingest::manual::{ManualError, ManualIngest},
};

/// Levers moved beside each other.
const AT_ONCE: usize = 16;

/// Longest time that all levers of a wish may take together; whoever asks waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Time between two tries to engage what could not be engaged.
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
        let mut retry_at = Some(Instant::now());
        loop {
            let again = async {
                match retry_at {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            let wish = tokio::select! {
                biased;
                wish = wishes.recv() => wish,
                () = again => {
                    let done = self.engage(unsettled).await;
                    if let Err(error) = &done {
                        tracing::error!(error = chain(error), "safety levers of the halt could not be looked after");
                    }
                    retry_at = retry_of(&done);
                    continue;
                }
            };
            let Some(LeverWish { job, answer }) = wish else { return };
            let done = match job {
                LeverJob::Engage => self.engage(|held| held.standing != Standing::Engaged).await,
                LeverJob::Release => self.release().await,
            };
            // What is not let go is not engaged either by itself.
            retry_at = if job == LeverJob::Engage { retry_of(&done) } else { None };
            // Whoever asked may have gone; the row and the log say it too.
            let _gone = answer.send(done);
        }
    }

    /// Engages what the halt's row asks for and is `wanted`, and notes how far each has come; tells of all of them.
    async fn engage(&self, wanted: impl Fn(&HeldLever) -> bool) -> Result<Vec<LeverReport>, ManualError> {
        let Some(halt) = self.manual.halted().await? else { return Ok(Vec::new()) };
        let before = halt.levers.clone();
        let (wanted, settled): (Vec<_>, Vec<_>) = halt.levers.into_iter().partition(wanted);
        if wanted.is_empty() {
            return Ok(settled.iter().map(HeldLever::report).collect());
        }
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
        let mut after = settled;
        after.extend(pulled.buffered(AT_ONCE).collect::<Vec<_>>().await);
        let reports = after.iter().map(HeldLever::report).collect();
        if self.manual.note_levers(&before, after.clone()).await? == Found::No {
            // It was lifted meanwhile, by somebody who could not see yet what was engaged here.
            return Ok(self.let_all_go(after).await.into_iter().map(|(_, report)| report).collect());
        }
        Ok(reports)
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
        let before = halt.levers.clone();
        let all = self.let_all_go(halt.levers).await;
        let (reports, left): (Vec<_>, Vec<_>) =
            all.into_iter().map(|(held, report)| (report.clone(), (!report.done).then_some(held))).unzip();
        let left: Vec<HeldLever> = left.into_iter().flatten().collect();
        if left.is_empty() {
            self.manual.resume().await?;
        } else {
            self.manual.note_levers(&before, left).await?;
        }
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
            tracing::info!(place = %held.place, said, done, "safety lever");
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

/// When levers are looked after again by themselves: while any of them is not engaged that should be.
fn retry_of(done: &Result<Vec<LeverReport>, ManualError>) -> Option<Instant> {
    let is_settled = done.as_ref().is_ok_and(|reports| reports.iter().all(|report| report.done));
    (!is_settled).then(|| Instant::now() + RETRY)
}

fn late() -> CallFailure {
    CallFailure { class: FailureClass::Timeout, message: "no answer in time".to_owned() }
}
