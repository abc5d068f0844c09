//! Planted bugs: each is built into the simulated part of a world, and some promise has to notice it.
//!
//! What an agent would do wrong is done for it by its store, its FIS, its queues, its clock or what it is told of its
//! configuration. The promises are judged by the truth, which knows nothing of the bug.

use std::{
    num::NonZero,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use firedrill::domain::{
    experiment::{Experiment, Limits, Overlap, Rules, Targets},
    fis::FailureClass,
    ids::RunId,
    outcome::Outcome,
    policy::TemplatePolicy,
    run::{Adopted, Doubt, JournalEntry, Observation, Run, RunState},
    schedule::MissedPolicy,
    window::{OnEntry, Span, Window, WindowKind},
};
use jiff::{SignedDuration, Timestamp, ToSpan, tz::TimeZone};

use super::{
    drawn::recipe::Recipe,
    driven::shrink,
    live,
    simulated::{
        nature::{Nature, Timeline},
        tables::Tables,
    },
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
    /// A slot, or below an event, that comes again opens another run: its id is drawn.
    SlotOpensAnother,
    EventOpensAnother,
    /// A cursor is moved in one transaction, and its slots are opened in the next.
    CursorMovedAlone,
    /// A commit is acknowledged some seconds before it is on the disk.
    AcknowledgedTooEarly,
    /// That an experiment was found by its tag is not written down.
    AdoptionUnjournaled,
    /// That a run is over as soon as it is opened is not written down; below, that it is skipped at first sight.
    OpeningUnjournaled,
    SkipUnjournaled,
    /// What led to a decision is not written down.
    Unexplained,
    /// What failed in FIS is taken for what never began.
    FailureIsNoStart,
    /// Held runs are not looked at any more.
    HoldNeverJudgedAgain,
    /// Events are told apart by their id alone.
    EventKeyWithoutSource,
    /// The halt is in memory only; so are, below, pauses, cursors and known events.
    HaltForgotten,
    PausesForgotten,
    CursorsForgotten,
    EventsForgotten,
    /// A schedule is forgotten as soon as the configuration has it no more.
    LeavingForgets,
    /// A start is recorded as it was decided, whoever has halted or paused since.
    HaltNotCompared,
    /// What becomes of a halt's levers is made of the halt as it was when they were looked at.
    HaltWrittenBack,
    /// A stop is promised and not written down.
    StopForgotten,
    /// A message that cannot be read is deleted and not kept.
    UnreadableForgotten,
    /// A message that cannot be read and finds no room is deleted.
    FullQuarantineForgets,
    /// The queue is told to delete what could not be written.
    DeleteBeforeCommit,
    /// A message that could not be taken once is never taken.
    RefusedForEver,
    /// That the clock was set is noticed at the next look only.
    StepsUnnoticed,
    /// The last minute of an allowed window ends after its end.
    WindowEndInclusive,
    /// An allowed window ends a second after its end; below, a blackout a second before.
    AllowedASecondLonger,
    BlackoutASecondShorter,
    /// A blackout does not end.
    BlackoutNeverLifts,
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
    /// What a run was begun under is not written down.
    TiesForgotten,
    /// Rows are loaded as they were before the last write, and what is made of them is written all the same.
    StaleRevisionAccepted,
    /// Whoever held the lease once may write.
    LeaseNotFenced,
    /// A process that is to stop what runs ends at once.
    EndsWhileItRuns,
    /// Nor does it stop anything until it is cut off.
    EndingStopsNothing,
    /// A start without an answer that one look does not find has left nothing.
    OneLookIsEnough,
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
    /// Whoever does not reach FIS keeps the lease.
    LeaseNeverHandedOver,
    /// Whoever ends gives the lease back, whosever it is.
    ReleaseNotFenced,
    /// An engaged safety lever is told as disengaged.
    LeverUnseen,
    /// The account of the credentials is not looked at.
    AccountUnchecked,
    /// What others have active in a place does not count.
    OthersUncounted,
    /// What another role of an account has active does not count.
    RolesCountTheirOwn,
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
    /// A trace that is sent again has another id; below, a span of it has.
    TraceIdsDrawn,
    SpanIdsDrawn,
    /// A lease is believed from the answer on, not from when it was asked for.
    LeaseFromTheAnswer,
    /// That a store was taken back from a backup is not noted.
    RestoreNotNoted,
    /// What was taken back from a backup is not halted.
    RestoreNotHalted,
    /// How far couriers have come is not taken back with the rest of the store.
    CouriersNotTakenBack,
    /// What a look by tag did not find is taken for not there, however long ago that was.
    LookNeverAges,
    /// Of rows that cannot be read nobody is told.
    WithheldIgnored,
    /// A ledger that cannot be read is taken to be about its own experiment only.
    LedgerWithholdsItsOwn,
    /// A ledger that is made anew knows nothing of the past.
    LedgerBeginsAnew,
    /// Nobody waits after failures; below, nothing that ended has cost anything.
    FailuresForgotten,
    SpendingForgotten,
    /// What goes on costs nothing before it has ended.
    GoingCostsNothing,
    /// What is refused together with a row that is not taken is not tried without it.
    RefusalSpreads,
    /// Of runs that may be running and whose rows cannot be read nobody is told which they are.
    UnreadRunForgotten,
    /// A stop that FIS answered is taken for heeded, whatever FIS says then.
    StopBelieved,
    /// Whatever ended, ended well.
    EndsTakenForSuccess,
    /// That FIS denies a call is taken for that it has no time for it.
    DenialUntold,
    /// A halt lets go on what runs.
    HaltStopsNothing,
    /// Strays are looked for in rows that were read before FIS was asked.
    StrayRowsReadFirst,
    /// Of a run that is over it is forgotten which experiment was its own.
    StrayOwnerForgotten,
    /// What no row tells of is nobody's, and so no stray of ours.
    StrayWithoutRowUntold,
}

/// Every bug, and how the promises that it breaks begin; the rarest first, so that nobody waits for one alone at the end.
const PLANTS: [(Bug, &[&str]); 88] = [
    (Bug::DeploymentsNotedLater, &["twice", "older", "unsettled", "cool-down"]),
    (Bug::StepsUnnoticed, &["window", "length"]),
    (Bug::WindowEndInclusive, &["blackout"]),
    (Bug::AllowedASecondLonger, &["blackout"]),
    (Bug::BlackoutNeverLifts, &["held"]),
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
    (Bug::SlotOpensAnother, &["doubled"]),
    (Bug::EventOpensAnother, &["doubled"]),
    (Bug::CursorMovedAlone, &["lost"]),
    (Bug::AcknowledgedTooEarly, &["lost"]),
    (Bug::AdoptionUnjournaled, &["journal"]),
    (Bug::OpeningUnjournaled, &["journal"]),
    (Bug::SkipUnjournaled, &["journal"]),
    (Bug::Unexplained, &["journal"]),
    (Bug::FailureIsNoStart, &["journal"]),
    (Bug::HoldNeverJudgedAgain, &["lost"]),
    (Bug::EventKeyWithoutSource, &["lost"]),
    (Bug::HaltForgotten, &["halt"]),
    (Bug::HaltNotCompared, &["halt", "pause"]),
    (Bug::HaltWrittenBack, &["halt", "halted"]),
    (Bug::PausesForgotten, &["pause"]),
    (Bug::CursorsForgotten, &["lost"]),
    (Bug::EventsForgotten, &["lost"]),
    (Bug::LeavingForgets, &["lost"]),
    (Bug::StopForgotten, &["stop"]),
    (Bug::UnreadableForgotten, &["lost"]),
    (Bug::FullQuarantineForgets, &["lost"]),
    (Bug::DeleteBeforeCommit, &["lost"]),
    (Bug::RefusedForEver, &["undecided"]),
    (Bug::BlackoutASecondShorter, &["blackout"]),
    (Bug::ZoneAsOffset, &["blackout"]),
    (Bug::UnknownAllows, &["blackout"]),
    (Bug::MissedFiredAgain, &["missed"]),
    (Bug::ExclusionsForgotten, &["beside"]),
    (Bug::TiesForgotten, &["beside"]),
    (Bug::StaleRevisionAccepted, &["write", "journal"]),
    (Bug::LeaseNotFenced, &["fence"]),
    (Bug::EndsWhileItRuns, &["left"]),
    (Bug::EndingStopsNothing, &["shutdown"]),
    (Bug::OneLookIsEnough, &["left"]),
    (Bug::StandbyActs, &["lease"]),
    (Bug::DeadHoldLease, &["takeover"]),
    (Bug::KnownNotForgotten, &["lease"]),
    (Bug::StopWaitsForAPoll, &["window", "length", "stop", "halted"]),
    (Bug::LeaseNeverHandedOver, &["window", "length", "stop", "halted"]),
    (Bug::ReleaseNotFenced, &["fence"]),
    (Bug::LeverUnseen, &["lever"]),
    (Bug::AccountUnchecked, &["account"]),
    (Bug::OthersUncounted, &["crowd"]),
    (Bug::RolesCountTheirOwn, &["crowd"]),
    (Bug::AlarmUnknownIsOk, &["health"]),
    (Bug::PlaceToldLate, &["lever", "account", "health", "crowd"]),
    (Bug::TemplateToldLate, &["policy", "unknown"]),
    (Bug::PolicyForgotten, &["policy"]),
    (Bug::ExceptionUntold, &["untold"]),
    (Bug::CouriersForgotten, &["span"]),
    (Bug::CourierAhead, &["untold"]),
    (Bug::TraceIdsDrawn, &["span"]),
    (Bug::SpanIdsDrawn, &["span"]),
    (Bug::LeaseFromTheAnswer, &["lease"]),
    (Bug::RestoreNotNoted, &["twice"]),
    (Bug::RestoreNotHalted, &["halt"]),
    (Bug::CouriersNotTakenBack, &["untold"]),
    (Bug::LookNeverAges, &["twice"]),
    (Bug::RefusalSpreads, &["refused"]),
    (Bug::WithheldIgnored, &["unread"]),
    (Bug::LedgerWithholdsItsOwn, &["unread"]),
    (Bug::LedgerBeginsAnew, &["ledger"]),
    (Bug::FailuresForgotten, &["failing"]),
    (Bug::SpendingForgotten, &["budget"]),
    (Bug::GoingCostsNothing, &["budget"]),
    (Bug::UnreadRunForgotten, &["window", "length", "stop", "halted"]),
    (Bug::StopBelieved, &["again"]),
    (Bug::EndsTakenForSuccess, &["outcome"]),
    (Bug::DenialUntold, &["denied"]),
    (Bug::HaltStopsNothing, &["halted"]),
    (Bug::StrayRowsReadFirst, &["owned"]),
    (Bug::StrayOwnerForgotten, &["owned"]),
    (Bug::StrayWithoutRowUntold, &["stray"]),
];

impl Bug {
    pub fn named(name: &str) -> Self {
        let found = PLANTS.iter().find(|(bug, _)| format!("{bug:?}") == name);
        found.map(|(bug, _)| *bug).unwrap_or_else(|| panic!("there is no bug `{name}`"))
    }
}

/// Returns what the agent takes a configuration for.
pub fn misread(nature: &Nature, rules: &Arc<Rules>) -> Arc<Rules> {
    let bug = nature.bug();
    if bug == Bug::None {
        // What is compiled of its windows serves every process.
        return rules.clone();
    }
    let mut rules = (**rules).clone();
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
    if bug != Bug::None {
        rules.windows = rules.windows.iter().map(|window| misread_window(nature, window.clone())).collect();
    }
    Arc::new(rules)
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
        (Bug::AllowedASecondLonger, _) if window.kind == WindowKind::Allowed => ends_by(&mut window, now, 1),
        (Bug::BlackoutASecondShorter, _) if window.kind == WindowKind::Blackout => ends_by(&mut window, now, -1),
        (Bug::BlackoutNeverLifts, _) if window.kind == WindowKind::Blackout => ends_by(&mut window, now, FOR_EVER_S),
        (Bug::UnknownAllows, _) => window.calendars.retain(|reading| reading.content.is_some()),
        _ => {}
    }
    window
}

/// Lets a window that rests on no calendar end so many seconds later.
fn ends_by(window: &mut Window, now: Timestamp, seconds: i64) {
    if !window.calendars.is_empty() {
        return;
    }
    let day = SignedDuration::from_hours(24);
    let spans = window.intervals(now - day, now + day * 4).into_iter().map(|interval| {
        let text = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        let end = interval.end + SignedDuration::from_secs(seconds);
        Span::parse_dates(&format!("{} - {}", text(interval.start), text(end))).expect("a span")
    });
    window.spans = spans.collect();
    window.zone = TimeZone::UTC;
}

/// What an event that arrives at a true time opens.
pub fn arrived(bug: Bug, runs: Vec<Run>, ms: u64) -> Vec<Run> {
    let is_drawn = bug == Bug::EventOpensAnother;
    runs.into_iter().map(|run| if is_drawn { another(&run, &ms.to_string()) } else { run }).collect()
}

/// Which runs are opened with their slots, and which in the next transaction.
pub fn opened(bug: Bug, runs: Vec<Run>) -> (Vec<Run>, Vec<Run>) {
    match bug {
        Bug::CursorMovedAlone => (Vec::new(), runs),
        Bug::SlotOpensAnother => {
            let others = runs.iter().map(|run| another(run, "again")).collect();
            (runs, others)
        }
        _ => (runs, Vec::new()),
    }
}

/// The same run under another id.
fn another(run: &Run, name: &str) -> Run {
    Run { id: RunId::from_text(&format!("{}-{name}", run.id)), ..run.clone() }
}

/// How a run is written down, and what is told of it.
pub fn ended(bug: Bug, mut run: Box<Run>, mut observation: Observation) -> (Box<Run>, Observation) {
    if bug == Bug::TiesForgotten {
        run.ties = None;
        if let Observation::StartAsked { ties, .. } = &mut observation {
            *ties = None;
        }
    }
    match (&mut run.state, &observation) {
        (RunState::Finished { outcome, .. }, Observation::Finished { outcome: Outcome::Failed { code, .. } })
            if bug == Bug::FailureIsNoStart =>
        {
            *outcome = Outcome::NotStarted { class: FailureClass::Invalid, message: code.clone() };
            let outcome = outcome.clone();
            (run, Observation::Finished { outcome })
        }
        _ => (run, observation),
    }
}

/// What is written down of an entry, the first one after the opening or a later one.
pub fn told(bug: Bug, is_first: bool, mut entry: JournalEntry) -> Option<JournalEntry> {
    match (bug, &entry.observation) {
        (Bug::AdoptionUnjournaled, Observation::Started { adopted: Adopted::ByTag, .. }) => return None,
        (Bug::SkipUnjournaled, Observation::Skipped { .. }) if is_first => return None,
        (Bug::Unexplained, _) => entry.explained.clear(),
        _ => {}
    }
    Some(entry)
}

/// Longer than a world goes on, in seconds.
const FOR_EVER_S: i64 = 30 * 24 * 3_600;

/// Makes that whatever was looked for in vain was looked for a moment ago.
pub fn look_lately(tables: &mut Tables, now: Timestamp) {
    let lately = now - SignedDuration::from_secs(30);
    for run in tables.runs.values_mut() {
        let RunState::Starting { doubt, .. } = &mut run.state else { continue };
        if let Doubt::NotFound { looked_at }
        | Doubt::Unanswered { looked_at: Some(looked_at), .. }
        | Doubt::Refused { looked_at: Some(looked_at), .. } = doubt
        {
            *looked_at = lately.max(*looked_at);
        }
    }
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
