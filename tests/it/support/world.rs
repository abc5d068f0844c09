//! Small worlds for the planner: rules and rows by a few words, and what the planner says of them as text.
//!
//! Everything happens on Monday 2026-03-02 in UTC unless written in full; a time of day stands for an instant of that day.

use std::collections::{BTreeMap, BTreeSet};

use firedrill::domain::{
    deployment::{Deployed, DeployedKey},
    event::{self, Event, Order, Receipt},
    experiment::{EventTrigger, Experiment, Place, Rules, TemplateSelector},
    fis::{FisExperiment, FisStatus},
    ids::{ExperimentName, RunId},
    ledger::{Definition, Ledger},
    lever::{Found, Stands},
    pattern::Pattern,
    place::PlaceFacts,
    plan::{
        self, Cursors, Effect, Halt, HaltRunning, Halting, Mode, PauseRow, Places, ScheduleKey, Snapshot, StopRequest,
        Withheld,
    },
    run::{Adopted, Away, Observation, Run, RunState, RunTimes, SkipReason, TraceParent, Trigger},
    schedule::{Bounds, CronSchedule, MissedPolicy, Schedule, Timing},
    template::{TemplateAction, TemplateFacts},
    window::{OnEntry, Scope, Span, Window, WindowKind},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::runs::{instant, name};

/// The day on which everything happens.
pub const DAY: &str = "2026-03-02T";

/// Reads `10:00:00` as an instant of the day, anything longer in full.
pub fn t(text: &str) -> Timestamp {
    if text.contains('T') { instant(text) } else { instant(&format!("{DAY}{text}Z")) }
}

/// Rules and rows.
#[derive(Debug, Clone, Default)]
pub struct World {
    pub rules: Rules,
    pub cursors: Cursors,
    /// Called A, B, C, … in what the planner says.
    pub runs: Vec<Run>,
    pub halt: Option<Halt>,
    pub stops: BTreeMap<RunId, StopRequest>,
    pub ledgers: BTreeMap<ExperimentName, Ledger>,
    pub pauses: BTreeMap<ExperimentName, PauseRow>,
    pub deployed: BTreeMap<DeployedKey, Deployed>,
    pub mode: Mode,
    /// When FIS told of an experiment.
    pub hints: BTreeMap<String, Timestamp>,
    pub busy: BTreeSet<RunId>,
    /// Whether places are read; they are assumed to be fine unless this says so.
    pub places: Option<Places>,
    pub withheld: Withheld,
    pub restored_at: Option<Timestamp>,
    /// When something was read before the clock was set back.
    pub aged: BTreeSet<Timestamp>,
}

/// An experiment `probe` without triggers, at most an hour long.
pub fn experiment() -> Experiment {
    Experiment {
        template: TemplateSelector::Id("EXT1".to_owned()),
        max_duration: SignedDuration::from_hours(1),
        ..Experiment::gone(name("probe"))
    }
}

/// A schedule in UTC that may start ten minutes late.
pub fn schedule(label: &str, cron: &str, missed: MissedPolicy) -> Schedule {
    let cron = CronSchedule::parse(cron, TimeZone::UTC, label).expect("a cron expression");
    let mut schedule = Schedule::new(&name("probe"), name(label), Timing::Cron(cron), Bounds::default());
    schedule.missed = missed;
    schedule
}

/// A trigger on everything that `source` sends.
pub fn trigger(source: &str, settle_s: i64, hold_s: i64) -> EventTrigger {
    let pattern = Pattern::parse(&serde_json::json!({ "source": [source] })).expect("a pattern");
    EventTrigger {
        settle: SignedDuration::from_secs(settle_s),
        hold_for: SignedDuration::from_secs(hold_s),
        ..EventTrigger::new(pattern)
    }
}

/// A window over a time of the day, which stops runs `lead_s` before, or lets them finish.
pub fn window(label: &str, kind: WindowKind, from: &str, to: &str, on_entry: OnEntry) -> Window {
    let full = |time: &str| if time.contains('T') { time.to_owned() } else { format!("{DAY}{time}") };
    let span = Span::parse_dates(&format!("{} - {}", full(from), full(to))).expect("dates");
    Window {
        name: name(label),
        kind,
        scope: Scope::default(),
        on_entry,
        lead: SignedDuration::ZERO,
        zone: TimeZone::UTC,
        spans: vec![span],
        calendars: Vec::new(),
    }
}

/// A blackout that stops runs without a lead.
pub fn blackout(from: &str, to: &str) -> Window {
    window("freeze", WindowKind::Blackout, from, to, OnEntry::Stop { lead: SignedDuration::ZERO })
}

/// Facts of a template that takes so many seconds, the overhead that FIS is given included.
pub fn facts(takes_s: i64, read_at: Timestamp) -> TemplateFacts {
    let wait = TemplateAction {
        action_id: "aws:fis:wait".to_owned(),
        parameters: BTreeMap::from([("duration".to_owned(), format!("PT{}S", takes_s - 30))]),
        ..TemplateAction::default()
    };
    TemplateFacts {
        id: "EXT1".to_owned(),
        actions: BTreeMap::from([("wait".to_owned(), wait)]),
        read_at,
        read_by: Some(Box::new(Definition::of(&experiment()))),
        ..TemplateFacts::default()
    }
}

/// What is read of a place where everything may start.
pub fn fine(place: &Place) -> PlaceFacts {
    let lever = Found { stands: Stands::Disengaged, reason: String::new() };
    PlaceFacts {
        read_at: Timestamp::UNIX_EPOCH,
        place: place.clone(),
        lever,
        identity: None,
        active: None,
        alarms: BTreeMap::new(),
    }
}

/// A FIS experiment without actions.
pub fn fis(status: FisStatus, started_at: Timestamp) -> FisExperiment {
    FisExperiment {
        id: "EXP1".to_owned(),
        template_id: "EXT1".to_owned(),
        status,
        reason: String::new(),
        error: None,
        preview: false,
        created_at: Some(started_at),
        started_at: Some(started_at),
        ended_at: None,
        actions: BTreeMap::new(),
        lever_engaged: None,
    }
}

/// A run of `probe` by a slot, to be started within ten minutes.
pub fn slot_run(at: &str) -> Run {
    let at = t(at);
    let trigger = Trigger::Slot { schedule: name("nightly"), at, timetable: None };
    let start_by = at + SignedDuration::from_mins(10);
    let times = RunTimes { opened_at: at, not_before: at, start_by, hold_until: None };
    Run::open(name("probe"), trigger, RunState::Requested, times)
}

/// How an event comes in from a standard queue.
pub fn receipt(parent: Option<TraceParent>, at: Timestamp) -> Receipt {
    Receipt { source: name("deployments"), at, sent_at: None, order: Order::Any, parent }
}

/// A run of `probe` by an event.
pub fn event_run(at: &str, trigger: EventTrigger) -> Run {
    let rules = Rules {
        experiments: BTreeMap::from([(name("probe"), Experiment { triggers: vec![trigger], ..experiment() })]),
        ..Rules::default()
    };
    let body = serde_json::json!({ "source": "deploy", "detail-type": "Done", "id": at });
    let event: Event = event::read(&body.to_string(), "message-1", &[]).expect("an event");
    event::opened_runs(&rules, &event, &receipt(None, t(at))).expect("an event").pop().expect("a run")
}

/// Applies observations.
#[track_caller]
pub fn applied(run: Run, observations: &[(&str, Observation)]) -> Run {
    observations.iter().fold(run, |run, (at, observation)| run.apply(observation, t(at)).expect("one that can follow"))
}

/// The run after its template was read: it takes so many seconds.
pub fn read(run: Run, at: &str, takes_s: i64) -> Run {
    applied(run, &[(at, Observation::TemplateRead { facts: facts(takes_s, t(at)) })])
}

/// The run after StartExperiment was asked for.
pub fn asked(run: Run, at: &str) -> Run {
    let template_id = "EXT1".to_owned();
    applied(
        run,
        &[(
            at,
            Observation::StartAsked {
                place: Place::default(),
                template_id,
                facts: None,
                place_facts: None,
                ties: None,
            },
        )],
    )
}

/// The run after its experiment was seen running.
pub fn running(run: Run, at: &str) -> Run {
    let fis = fis(FisStatus::Running, t(at));
    applied(asked(run, at), &[(at, Observation::Started { fis, adopted: Adopted::No })])
}

/// Does what the planner asks for of slots, pass after pass, and returns every run that was opened.
pub fn opened_at(world: &mut World, now: &str) -> Vec<Run> {
    let mut opened = Vec::new();
    for effect in plan::plan(&world.snapshot(), t(now)) {
        match effect {
            Effect::AdoptSchedule { schedule, at } => _ = world.cursors.insert(schedule, at.into()),
            Effect::LeaveSchedule { schedule, at } => {
                world.cursors.get_mut(&schedule).expect("a cursor").left_at = Some(at);
            }
            Effect::ForgetSchedule { schedule } => _ = world.cursors.remove(&schedule),
            Effect::OpenSlots { schedule, cursor, runs } => {
                world.cursors.insert(schedule, cursor.into());
                opened.extend(runs);
            }
            other if world.runs.is_empty() => panic!("about no slot: {other:?}"),
            _ => {}
        }
    }
    opened
}

pub fn halt(running: HaltRunning) -> Option<Halt> {
    Some(Halt { at: t("00:00:00"), by: "ann".to_owned(), reason: None, running, levers: Vec::new() })
}

/// The change that makes [`halt`].
pub fn halting(running: HaltRunning) -> Halting {
    Halting::Halt(halt(running).expect("a halt"))
}

impl World {
    /// A world with one experiment and its runs.
    pub fn of(experiment: Experiment, runs: Vec<Run>) -> Self {
        let experiments = BTreeMap::from([(experiment.name.clone(), experiment)]);
        Self { rules: Rules { experiments, ..Rules::default() }, runs, ..Self::default() }
    }

    pub fn with_window(mut self, window: Window) -> Self {
        self.rules.windows = self.rules.windows.iter().cloned().chain([window]).collect();
        self
    }

    pub fn with_halt(mut self, running: HaltRunning) -> Self {
        self.halt = halt(running);
        self
    }

    /// With an operator's wish to stop run A.
    pub fn with_stop(mut self) -> Self {
        let request = StopRequest { at: t("00:00:00"), by: "bob".to_owned(), reason: None };
        self.stops.insert(self.runs[0].id.clone(), request);
        self
    }

    pub fn with_cursor(mut self, schedule: &str, at: &str) -> Self {
        let declared = self.rules.experiments[&name("probe")].schedules.iter().find(|s| *s.name() == name(schedule));
        let timetable = declared.map_or_else(|| name(schedule), |declared| declared.timetable().clone());
        self.cursors.insert((name("probe"), timetable), t(at).into());
        self
    }

    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot {
            rules: &self.rules,
            cursors: self.cursors.clone(),
            runs: self.runs.clone(),
            halt: self.halt.clone(),
            stops: self.stops.clone(),
            ledgers: self.ledgers.clone(),
            pauses: self.pauses.clone(),
            deployed: self.deployed.clone(),
            mode: self.mode,
            hints: self.hints.clone(),
            busy: self.busy.clone(),
            places: self.places.unwrap_or(Places::AssumedFine),
            withheld: self.withheld.clone(),
            restored_at: self.restored_at,
            aged: self.aged.clone(),
        }
    }

    /// What is to be done at an instant, one line an effect; when there is nothing, `wake …` says when to ask again.
    pub fn says(&self, now: Timestamp) -> Vec<String> {
        let snapshot = self.snapshot();
        let effects = plan::plan(&snapshot, now);
        if effects.is_empty() {
            return plan::next_wake(&snapshot, now).map(|wake| format!("wake {}", short(wake))).into_iter().collect();
        }
        effects.iter().map(|effect| self.line(effect)).collect()
    }

    fn line(&self, effect: &Effect) -> String {
        let text = match effect {
            Effect::AdoptSchedule { schedule, at } => format!("adopt {} at {}", named(schedule), short(*at)),
            Effect::LeaveSchedule { schedule, at } => format!("leave {} at {}", named(schedule), short(*at)),
            Effect::ForgetSchedule { schedule } => format!("forget {}", named(schedule)),
            Effect::OpenSlots { schedule, cursor, runs } => {
                let runs: Vec<String> = runs.iter().map(opened).collect();
                format!("open {} to {}: {}", named(schedule), short(*cursor), runs.join(", "))
            }
            Effect::Record { run, observation } => format!("{run} {}", recorded(observation)),
            Effect::ReadTemplate { run, .. } => format!("{run} read template"),
            Effect::Probe { run, place, .. } => {
                format!("{run} ask of {}", place.region.as_deref().unwrap_or("the place"))
            }
            Effect::Start { run, place, template_id, .. } => {
                let place = place.region.as_ref().map_or_else(String::new, |region| format!(" in {region}"));
                format!("{run} start {template_id}{place}")
            }
            Effect::Look { run } => format!("{run} look"),
            Effect::Poll { run } => format!("{run} poll"),
            Effect::Stop { run, cause } => format!("{run} stop: {cause}"),
        };
        let labels = self.runs.iter().zip('A'..);
        labels.fold(text, |text, (run, label)| text.replace(run.id.as_str(), &label.to_string())).replace(DAY, "")
    }
}

/// A schedule's name, without what tells its timetables apart.
fn named(key: &ScheduleKey) -> &str {
    let timetable = key.1.as_str();
    timetable.rsplit_once('.').map_or(timetable, |(name, _)| name)
}

/// An instant as short as it can be written.
pub fn short(at: Timestamp) -> String {
    at.to_string().trim_start_matches(DAY).trim_end_matches('Z').to_owned()
}

fn opened(run: &Run) -> String {
    let at = match &run.trigger {
        Trigger::Slot { at, .. } => short(*at),
        other => other.key(),
    };
    match &run.state {
        RunState::Skipped { reason: SkipReason::Missed { through, count, away }, .. } => {
            let missed = if *away == Away::Agent { "missed" } else { "absent" };
            format!("{missed} {count} from {at} through {}", short(*through))
        }
        state => format!("{} {at}", state.as_str()),
    }
}

fn recorded(observation: &Observation) -> String {
    match observation {
        Observation::Held { reason, look_at } => format!("held: {reason}; look {}", short(*look_at)),
        Observation::Skipped { reason } => format!("skipped: {reason}"),
        Observation::Finished { outcome } => format!("finished: {outcome}"),
        other => other.as_str().to_owned(),
    }
}
