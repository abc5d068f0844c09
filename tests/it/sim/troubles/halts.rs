//! The halt in a world: operators at any replica make and lift it, also two of them at once, and levers take their time.
//!
//! Judged by what became durable in which order: a halt that nobody lifted stands, and one that somebody lifted does not
//! come back.

use firedrill::{
    domain::{
        lever::{HeldLever, Standing},
        plan::{Halt, HaltRunning, Halting, Pause, Pausing},
        run::Run,
    },
    engine::ports::{Change, Store},
    ingest::manual::{Asker, LeversOfHalt, ManualError, ManualIngest},
};
use jiff::Timestamp;

use super::unread::Row;
use crate::sim::{
    drawn::scenario::SECOND_MS,
    driven::world::World,
    judged::check,
    planted::Bug,
    simulated::{
        nature::Nature,
        store::MemoryStore,
        tables::{Durable, Tables},
    },
};

/// Longest time that levers take to be moved, in milliseconds.
const MOVES_MS: u64 = 20 * SECOND_MS;

/// What an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Halt,
    Resume,
}

/// What somebody does between the look at the rows and the start that is made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    Halt,
    /// The experiment is paused for so long.
    Pause {
        for_ms: u64,
    },
}

/// What was asked of the halt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halts {
    Made { at: Timestamp, running: HaltRunning },
    Noted,
    Lifted { seen: Timestamp },
    Resumed,
}

impl Halts {
    pub fn of(change: &Halting) -> Self {
        match change {
            Halting::Halt(halt) => Self::Made { at: halt.at, running: halt.running },
            Halting::Note { .. } => Self::Noted,
            Halting::Lift { seen, .. } => Self::Lifted { seen: seen.at },
            Halting::Resume => Self::Resumed,
        }
    }
}

/// What was asked, and the halt that stood afterwards.
fn asked(world: &World) -> Vec<(u64, Halts, Option<Timestamp>)> {
    world.store.with(|tables| {
        let asked = tables.log.iter().filter_map(|(ms, what)| match what {
            Durable::Halts { asked, row } => Some((*ms, *asked, *row)),
            _ => None,
        });
        asked.collect()
    })
}

/// The halt as it has to stand from true times on. That it is to be lifted is taken for its end, whatever levers it has left.
pub fn changes(world: &World) -> Vec<(u64, Option<HaltRunning>)> {
    let mut made = None;
    let changes = asked(world).into_iter().map(|(ms, asked, _)| {
        match asked {
            Halts::Made { at, running } => made = Some((at, running)),
            Halts::Lifted { seen } if made.is_some_and(|(at, _)| at == seen) => made = None,
            Halts::Resumed => made = None,
            Halts::Lifted { .. } | Halts::Noted => {}
        }
        (ms, made.map(|(_, running)| running))
    });
    changes.collect()
}

pub fn check(world: &World, found: &mut Vec<String>) {
    let (mut last, mut may_be_lifted) = (None, true);
    for (ms, asked, row) in asked(world) {
        match asked {
            Halts::Made { at, .. } => (last, may_be_lifted) = (Some(at), false),
            Halts::Lifted { seen } => may_be_lifted |= last == Some(seen),
            Halts::Resumed => (last, may_be_lifted) = (None, true),
            Halts::Noted => {}
        }
        match row {
            None if !may_be_lifted => found.push(format!("halted: {last:?} is gone at {ms} ms, and nobody lifted it")),
            Some(at) if last != Some(at) => found.push(format!("halted: the halt of {at} is back at {ms} ms")),
            _ => {}
        }
    }
}

impl MemoryStore {
    /// Does what somebody is to do now that a run is to be asked to start, and waits until it is durable.
    pub async fn is_interrupted(&self, run: &Run) {
        let Some(what) = self.nature.interruption() else { return };
        let (at, by) = (self.nature.now(), "somebody".to_owned());
        let done = match what {
            Interruption::Halt => {
                let halt = Halt { at, by, reason: None, running: HaltRunning::Finish, levers: Vec::new() };
                self.set_halt(Halting::Halt(halt)).await.map(|_| ())
            }
            Interruption::Pause { for_ms } => {
                let pause = Pause { at, by, reason: None, until: Some(check::plus(at, for_ms)) };
                self.set_pause(run.experiment.clone(), Pausing::Pause(pause)).await
            }
        };
        self.nature.say(|| format!("-- {what:?} before {} is asked to start: {done:?}", run.id));
    }
}

impl Tables {
    /// Whether a run must not be asked to start by now, whatever the rows were when they were loaded.
    pub fn forbids(&mut self, run: &Run, change: &Change, ms: u64) -> bool {
        let Change::Advance { at, .. } = change else { return false };
        let pause = self.pauses.get(&run.experiment).map(|row| row.in_force(*at).is_some());
        let is_paused = pause
            .is_some_and(|is_in_force| is_in_force || self.unread(&Row::Pause(run.experiment.clone()), ms).is_err());
        let is_forbidden = self.halt.is_some() || is_paused || self.stops.contains_key(&run.id);
        if is_forbidden && self.bug != Bug::HaltNotCompared {
            self.log.push((ms, Durable::Forbidden));
            return true;
        }
        false
    }
}

/// Names what was forbidden between the look at the rows and what was made of it.
pub fn seen(world: &World) -> Option<&'static str> {
    let is_forbidden = |(_, what): &(u64, Durable)| matches!(what, Durable::Forbidden);
    world.store.with(|tables| tables.log.iter().any(is_forbidden)).then_some("start forbidden in time")
}

/// An operator who halts or resumes, and all that his agent does about it.
pub async fn operate(
    nature: &Nature,
    manual: ManualIngest<MemoryStore>,
    wish: Wish,
    now: Timestamp,
) -> Result<(), ManualError> {
    let with_levers = nature.draw(|c| c.one_in(2));
    match wish {
        Wish::Halt => {
            let running = nature.draw(|c| c.pick(&[HaltRunning::Stop, HaltRunning::Finish]));
            let levers = if with_levers { LeversOfHalt::Engaged } else { LeversOfHalt::AsTheyAre };
            let asker = Asker { by: "somebody".to_owned(), reason: Some("because".to_owned()) };
            manual.halt(manual.halting(asker, running, levers, now)).await?;
        }
        Wish::Resume if !with_levers => return manual.resume().await,
        Wish::Resume => {}
    }
    let Some(seen) = manual.halted().await?.filter(|_| with_levers) else { return Ok(()) };
    nature.let_pass(nature.draw(|c| c.between(0, MOVES_MS))).await;
    match wish {
        Wish::Halt => manual.note_levers(seen.clone(), engaged(&seen)).await.map(|_| ()),
        Wish::Resume => manual.lift(seen, Vec::new()).await,
    }
}

fn engaged(halt: &Halt) -> Vec<HeldLever> {
    halt.levers.iter().map(|held| HeldLever { standing: Standing::Engaged, ..held.clone() }).collect()
}
