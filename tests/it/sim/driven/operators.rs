//! The operators of a world: they start, stop, halt, pause and fill again, through any replica.

use firedrill::{
    domain::run::Run,
    ingest::manual::{Asker, Backfill, ManualIngest},
};

use super::world::World;
use crate::sim::{
    drawn::{
        happening::Happening,
        scenario::{self, SECOND_MS},
    },
    judged::check,
    simulated::store::MemoryStore,
    troubles::halts::{self, Wish},
};

impl World {
    /// Asks a replica for something.
    pub async fn operate(&mut self, replica: usize, happening: Happening) {
        let Some(manual) = self.replicas[replica].agent.as_ref().map(|agent| agent.manual.clone()) else { return };
        let asker = Asker { by: "somebody".to_owned(), reason: Some("because".to_owned()) };
        let (now, of) = (self.nature.clock(replica), Some(replica));
        self.met.extend(self.hands.full.first().map(|_| "operator beside an ingest"));
        let done = match happening {
            Happening::StartByHand { request, experiment, windows } => {
                let name = scenario::experiment_name(experiment);
                self.beside(of, async move {
                    manual.start(name, format!("r{request}"), asker, windows, now).await.map(|_| ())
                })
                .await
            }
            Happening::Backfill { request, experiment, minutes } => {
                let experiment = scenario::experiment_name(experiment);
                let declared = self.newest().experiments.get(&experiment).cloned();
                let schedule = declared.and_then(|e| e.schedules.first().map(|schedule| schedule.name().clone()));
                let from = now - scenario::minutes(minutes);
                let wish = Backfill { experiment, schedule, from, to: now, request: format!("b{request}") };
                self.beside(of, async move { manual.backfill(wish, asker, now).await.map(|_| ()) }).await
            }
            Happening::Pause { experiment, for_ms } => {
                let name = scenario::experiment_name(experiment);
                let until = for_ms.map(|ms| check::plus(now, ms));
                self.beside(of, async move { manual.pause(name, asker, until, now).await }).await
            }
            Happening::Unpause { experiment } => {
                let name = scenario::experiment_name(experiment);
                self.beside(of, async move { manual.unpause(name, now).await.map(drop) }).await
            }
            Happening::Retell => {
                let Some(name) = self.unread_ledger() else { return };
                self.beside(of, async move { manual.unpause(name, now).await.map(drop) }).await
            }
            Happening::StopByHand => {
                let open: Vec<Run> =
                    self.store.with(|tables| tables.runs.values().filter(|run| !run.is_over()).cloned().collect());
                let Some(run) = open.first() else { return };
                let id = run.id.clone();
                self.stops_asked.push((self.nature.elapsed(), replica, Some(id.clone())));
                let done = self.beside(of, async move { manual.stop(id, asker, now).await }).await;
                if matches!(done, Some(Ok(_))) {
                    self.stops_taken.push((self.nature.elapsed(), run.id.clone()));
                } else if !self.store.with(|tables| tables.stops.contains_key(&run.id)) {
                    self.stops_unrecorded.insert(run.id.clone());
                }
                done
            }
            happening => {
                let wish = if let Happening::Halt = happening { Wish::Halt } else { Wish::Resume };
                let nature = self.nature.clone();
                let other = self.somebody_else(replica);
                let halting =
                    [(replica, wish)].into_iter().chain(other.as_ref().map(|(other, _, wish)| (*other, *wish)));
                let halting = halting.filter(|(_, wish)| *wish == Wish::Halt);
                self.stops_asked.extend(halting.map(|(replica, _)| (self.nature.elapsed(), replica, None)));
                let this = async { halts::operate(&nature, manual, wish, now).await };
                let that = async {
                    let Some((_, other, wish)) = other else { return Ok(()) };
                    nature.let_pass(nature.draw(|c| c.between(0, 20 * SECOND_MS))).await;
                    halts::operate(&nature, other, wish, nature.clock(replica)).await
                };
                self.beside(of, async { tokio::join!(this, that).0 }).await
            }
        };
        self.nature.say(|| format!("-- operator at replica {replica}: {done:?}"));
    }

    /// Somebody stops the newest experiment past us.
    pub fn stop_outside(&self, now: u64) {
        self.fis.with(|state| state.experiments.last_mut().map(|last| last.stopped_at.get_or_insert(now).to_owned()));
    }

    /// Draws somebody who halts or resumes at another replica while an operator does at this one.
    fn somebody_else(&self, replica: usize) -> Option<(usize, ManualIngest<MemoryStore>, Wish)> {
        let other = &self.replicas[self.anybody()];
        let manual = other.agent.as_ref().filter(|_| other.number != replica)?.manual.clone();
        Some((other.number, manual, self.nature.draw(|c| c.pick(&[Wish::Halt, Wish::Resume]))))
    }
}
