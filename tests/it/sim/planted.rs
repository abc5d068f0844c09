//! Planted bugs: each is built into the simulated part of a world, and some promise has to notice it.
//!
//! What an agent would do wrong is done for it by its store, its FIS, its queues, its clock or what it is told of its
//! configuration. The promises are judged by the truth, which knows nothing of the bug.

use std::{
    num::NonZero,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use firedrill::domain::{
    experiment::{Experiment, Limits, Overlap, Rules, Targets},
    policy::TemplatePolicy,
    schedule::MissedPolicy,
    window::{OnEntry, Span, Window, WindowKind},
};
use jiff::{SignedDuration, ToSpan, tz::TimeZone};

use super::{
    live,
    nature::{Nature, Timeline},
    recipe::Recipe,
    shrink,
};

/// What is built wrong on purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Bug {
    /// Nothing is.
    #[default]
    None,
    /// The intent to start is written with the answer to the call.
    StartThenRecord,
    /// Each call has a token of its own.
    TokenFromTheClock,
    /// A start without an answer is tried again and given up without a look for its experiment.
    RetryWithoutLocate,
    /// No answer is taken for a refusal.
    SilenceIsRefusal,
    /// The first experiment of the template is taken for the run's own, whatever its tag.
    AdoptsAnothers,
    /// The deployment whose event came in last is the newest.
    LastEventWins,
    /// A key settles after the first of its events.
    SettlesOnce,
    /// Deployments are noted in a transaction after the one that they follow from.
    DeploymentsNotedLater,
    /// What a run leaves behind is noted in the transaction after its own.
    LedgerNotedLater,
    /// A cursor is moved in one transaction, and its slots are opened in the next.
    CursorMovedAlone,
    /// A commit is acknowledged some seconds before it is on the disk.
    AcknowledgedTooEarly,
    /// That an experiment was found by its tag is not written down.
    AdoptionUnjournaled,
    /// Held runs are not looked at any more.
    HoldNeverJudgedAgain,
    /// Events are told apart by their id alone.
    EventKeyWithoutSource,
    /// The halt is in memory only; so are, below, pauses, cursors and known events.
    HaltForgotten,
    PausesForgotten,
    CursorsForgotten,
    EventsForgotten,
    /// What becomes of a halt's levers is made of the halt as it was when they were looked at.
    HaltWrittenBack,
    /// A stop is promised and not written down.
    StopForgotten,
    /// A message that cannot be read is deleted and not kept.
    UnreadableForgotten,
    /// The queue is told to delete what could not be written.
    DeleteBeforeCommit,
    /// That the clock was set is noticed at the next look only.
    StepsUnnoticed,
    /// The last minute of an allowed window ends after its end.
    WindowEndInclusive,
    /// What runs is stopped when a window opens, not before.
    StopWithoutLead,
    /// A window's zone is the offset that it had when the agent read it.
    ZoneAsOffset,
    /// A calendar that was never read forbids nothing.
    UnknownAllows,
    /// Slots that passed unseen are all made up for.
    MissedFiredAgain,
    /// Nobody is in anybody's way.
    ExclusionsForgotten,
    /// Rows are loaded as they were before the last write, and what is made of them is written all the same.
    StaleRevisionAccepted,
    /// Whoever held the lease once may write.
    LeaseNotFenced,
    /// Whoever is told that another holds the lease acts all the same.
    StandbyActs,
    /// The lease of a process that is gone never runs out.
    DeadHoldLease,
    /// Whoever is told that another holds the lease takes it for a failure of the store, and forgets nothing.
    KnownNotForgotten,
    /// What must not go on is stopped when the store is back.
    StopWaitsForTheStore,
    /// What must not go on is stopped when a poll of it has its answer.
    StopWaitsForAPoll,
    /// Whoever ends gives the lease back, whosever it is.
    ReleaseNotFenced,
    /// An engaged safety lever is told as disengaged.
    LeverUnseen,
    /// The account of the credentials is not looked at.
    AccountUnchecked,
    /// What others have active in a place does not count.
    OthersUncounted,
    /// An alarm is OK unless it is on.
    AlarmUnknownIsOk,
    /// What is told of a place was so minutes ago; below, of a template.
    PlaceToldLate,
    TemplateToldLate,
    /// Nothing is demanded of templates.
    PolicyForgotten,
    /// Less is demanded of a template, and the reason is not told.
    ExceptionUntold,
    /// How far couriers have come is in memory only.
    CouriersForgotten,
    /// A courier passes over what comes after what it carried.
    CourierAhead,
    /// A trace that is sent again has another id.
    SpanIdsDrawn,
    /// A lease is believed from the answer on, not from when it was asked for.
    LeaseFromTheAnswer,
    /// That a store was taken back from a backup is not noted.
    RestoreNotNoted,
    /// Of rows that cannot be read nobody is told.
    WithheldIgnored,
    /// Of runs that may be running and whose rows cannot be read nobody is told which they are.
    UnreadRunForgotten,
    /// A stop that FIS answered is taken for heeded, whatever FIS says then.
    StopBelieved,
    /// Whatever ended, ended well.
    EndsTakenForSuccess,
}

/// Every bug, and how the promises that it breaks begin; the rarest first, so that nobody waits for one alone at the end.
const PLANTS: [(Bug, &[&str]); 54] = [
    (Bug::DeploymentsNotedLater, &["twice", "older", "unsettled", "cool-down"]),
    (Bug::StepsUnnoticed, &["window", "length"]),
    (Bug::WindowEndInclusive, &["blackout"]),
    (Bug::StopWaitsForTheStore, &["window", "length"]),
    (Bug::SilenceIsRefusal, &["lost"]),
    (Bug::StopWithoutLead, &["window"]),
    (Bug::StartThenRecord, &["lost"]),
    (Bug::TokenFromTheClock, &["twice"]),
    (Bug::RetryWithoutLocate, &["lost"]),
    (Bug::AdoptsAnothers, &["adopted"]),
    (Bug::LastEventWins, &["older", "reason"]),
    (Bug::SettlesOnce, &["unsettled"]),
    (Bug::LedgerNotedLater, &["ledger"]),
    (Bug::CursorMovedAlone, &["lost"]),
    (Bug::AcknowledgedTooEarly, &["lost"]),
    (Bug::AdoptionUnjournaled, &["journal"]),
    (Bug::HoldNeverJudgedAgain, &["lost"]),
    (Bug::EventKeyWithoutSource, &["lost"]),
    (Bug::HaltForgotten, &["halt"]),
    (Bug::HaltWrittenBack, &["halt", "halted"]),
    (Bug::PausesForgotten, &["pause"]),
    (Bug::CursorsForgotten, &["lost"]),
    (Bug::EventsForgotten, &["lost"]),
    (Bug::StopForgotten, &["stop"]),
    (Bug::UnreadableForgotten, &["lost"]),
    (Bug::DeleteBeforeCommit, &["lost"]),
    (Bug::ZoneAsOffset, &["blackout"]),
    (Bug::UnknownAllows, &["blackout"]),
    (Bug::MissedFiredAgain, &["missed"]),
    (Bug::ExclusionsForgotten, &["beside"]),
    (Bug::StaleRevisionAccepted, &["write", "journal"]),
    (Bug::LeaseNotFenced, &["fence"]),
    (Bug::StandbyActs, &["lease"]),
    (Bug::DeadHoldLease, &["takeover"]),
    (Bug::KnownNotForgotten, &["lease"]),
    (Bug::StopWaitsForAPoll, &["window", "length", "stop", "halted"]),
    (Bug::ReleaseNotFenced, &["fence"]),
    (Bug::LeverUnseen, &["lever"]),
    (Bug::AccountUnchecked, &["account"]),
    (Bug::OthersUncounted, &["crowd"]),
    (Bug::AlarmUnknownIsOk, &["health"]),
    (Bug::PlaceToldLate, &["lever", "account", "health", "crowd"]),
    (Bug::TemplateToldLate, &["policy", "unknown"]),
    (Bug::PolicyForgotten, &["policy"]),
    (Bug::ExceptionUntold, &["untold"]),
    (Bug::CouriersForgotten, &["span"]),
    (Bug::CourierAhead, &["untold"]),
    (Bug::SpanIdsDrawn, &["span"]),
    (Bug::LeaseFromTheAnswer, &["lease"]),
    (Bug::RestoreNotNoted, &["twice"]),
    (Bug::WithheldIgnored, &["unread"]),
    (Bug::UnreadRunForgotten, &["window", "length", "stop", "halted"]),
    (Bug::StopBelieved, &["again"]),
    (Bug::EndsTakenForSuccess, &["outcome"]),
];

impl Bug {
    pub fn named(name: &str) -> Self {
        let found = PLANTS.iter().find(|(bug, _)| format!("{bug:?}") == name);
        found.map(|(bug, _)| *bug).unwrap_or_else(|| panic!("there is no bug `{name}`"))
    }
}

/// Returns what the agent takes a configuration for.
pub fn misread(nature: &Nature, rules: &Rules) -> Rules {
    let mut rules = rules.clone();
    let bug = nature.bug();
    for experiment in rules.experiments.values_mut() {
        match bug {
            Bug::MissedFiredAgain => {
                experiment.schedules.iter_mut().for_each(|s| s.missed = MissedPolicy::All { most: 50 });
            }
            Bug::ExclusionsForgotten => {
                let limits = Limits { groups: Vec::new(), targets: Targets::Shared, ..experiment.limits.clone() };
                *experiment = Experiment { overlap: Overlap::Allow, limits, ..experiment.clone() };
            }
            Bug::PolicyForgotten => experiment.policy = TemplatePolicy::default(),
            Bug::ExceptionUntold => experiment.policy.exception = None,
            _ => {}
        }
    }
    if matches!(bug, Bug::WindowEndInclusive | Bug::StopWithoutLead | Bug::ZoneAsOffset | Bug::UnknownAllows) {
        rules.windows = rules.windows.iter().map(|window| misread_window(nature, window.clone())).collect();
    }
    rules
}

fn misread_window(nature: &Nature, mut window: Window) -> Window {
    let now = nature.wall_at(nature.elapsed());
    match (nature.bug(), window.on_entry) {
        (Bug::WindowEndInclusive, _) if window.kind == WindowKind::Allowed => {
            let day = SignedDuration::from_hours(24);
            let minutes = window.intervals(now - day, now + day * 4).into_iter().map(|interval| {
                let end = window.zone.to_datetime(interval.end);
                let text = |at: jiff::civil::DateTime| at.strftime("%Y-%m-%dT%H:%M").to_string();
                let minute = format!("{} - {}", text(end), text(end.saturating_add(1.minute())));
                Span::parse_dates(&minute).expect("a minute")
            });
            window.spans = minutes.chain(window.spans.clone()).collect();
        }
        (Bug::StopWithoutLead, OnEntry::Stop { .. }) => window.on_entry = OnEntry::Stop { lead: SignedDuration::ZERO },
        (Bug::ZoneAsOffset, _) => window.zone = TimeZone::fixed(window.zone.to_offset(now)),
        (Bug::UnknownAllows, _) => window.calendars.retain(|reading| reading.content.is_some()),
        _ => {}
    }
    window
}

/// Worlds within which a bug has to be noticed.
pub const WORLDS: u64 = 2_000;

/// Finds the first seed whose world breaks one of the promises.
fn first_broken(bug: Bug, breaks: &[&str]) -> Option<(u64, String)> {
    (0..WORLDS).find_map(|seed| {
        let life = live(&Recipe { bug, ..Recipe::of(seed) }, Timeline::Dropped);
        Some((seed, life.broken.into_iter().find(|told| breaks.contains(&shrink::promise(told)))?))
    })
}

#[test]
fn every_planted_bug_is_caught() {
    let (next, caught) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let hunt = || {
        while let Some((bug, breaks)) = PLANTS.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = first_broken(*bug, breaks);
            match &found {
                Some((seed, broken)) => println!("PLANTED={bug:?} SEED={seed} {broken}"),
                None => println!("PLANTED={bug:?} not caught"),
            }
            caught.lock().expect("a list").push((*bug, found.is_some()));
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(hunt))));
    let caught = caught.into_inner().expect("a list");
    assert_eq!(caught.len(), PLANTS.len());
    let missed: Vec<Bug> = caught.into_iter().filter(|(_, caught)| !caught).map(|(bug, _)| bug).collect();
    assert!(missed.is_empty(), "{WORLDS} worlds did not notice {missed:?}");
}
