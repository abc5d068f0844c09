//! Waiting: until the next wake-up the planner has nothing to say, and what it then says is due exactly then.

use firedrill::domain::{
    experiment::Experiment,
    fis::FisStatus,
    plan::{Effect, next_wake, plan},
    run::{HoldReason, Observation, Run},
    schedule::MissedPolicy,
    window::{OnEntry, WindowKind},
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::support::{
    runs::name,
    world::{World, applied, event_run, experiment, fis, read, running, schedule, slot_run, t, trigger, window},
};

/// Most wake-ups without an effect that one case may ask for: looks ahead for windows, one an hour.
const MOST_LOOKS: usize = 48;

/// Minutes of the day as `HH:MM:00`.
fn clock(minutes: u32) -> String {
    format!("{:02}:{:02}:00", minutes / 60, minutes % 60)
}

/// What a random case is made of, in minutes of the day.
#[derive(Debug, Clone)]
struct Case {
    now: u32,
    windows: Vec<(bool, u32, u32, Option<u32>)>,
    settle: u32,
    hold: u32,
    running_since: Option<u32>,
    max_duration: u32,
    cron_minute: u32,
}

fn case() -> impl Strategy<Value = Case> {
    let window = (any::<bool>(), 0..1_300_u32, 1..120_u32, prop::option::of(0..20_u32));
    let windows = prop::collection::vec(window, 0..4);
    let running = prop::option::of(0..600_u32);
    (600..700_u32, windows, 0..90_u32, 0..240_u32, running, 1..720_u32, 0..60_u32).prop_map(
        |(now, windows, settle, hold, running_since, max_duration, cron_minute)| Case {
            now,
            windows,
            settle,
            hold,
            running_since,
            max_duration,
            cron_minute,
        },
    )
}

impl Case {
    fn world(&self) -> World {
        let cron = format!("{} * * * *", self.cron_minute);
        let experiment = Experiment {
            max_duration: SignedDuration::from_mins(i64::from(self.max_duration)),
            schedules: vec![schedule("nightly", &cron, MissedPolicy::Latest)],
            ..experiment()
        };
        let mut world = World::of(experiment, self.runs()).with_cursor("nightly", &clock(self.now));
        for (index, (deny, from, length, lead)) in self.windows.iter().enumerate() {
            let kind = if *deny { WindowKind::Blackout } else { WindowKind::Allowed };
            let lead = lead.map(|minutes| OnEntry::Stop { lead: SignedDuration::from_mins(i64::from(minutes)) });
            let (from, to) = (clock(*from), clock(from + length));
            world = world.with_window(window(&format!("w{index}"), kind, &from, &to, lead.unwrap_or(OnEntry::Finish)));
        }
        world
    }

    fn runs(&self) -> Vec<Run> {
        let now = clock(self.now);
        let waiting = event_run(&now, trigger("deploy", i64::from(self.settle) * 60, i64::from(self.hold) * 60));
        let mut runs = vec![read(waiting, &now, 600)];
        if let Some(minutes) = self.running_since {
            let since = clock(self.now - minutes.min(self.now));
            let run = running(slot_run(&since), &since);
            // Asked just now, so that nothing is due but what the rules say.
            let fis = fis(FisStatus::Running, t(&since));
            runs.push(applied(run, &[(&now, Observation::Polled { fis })]));
        }
        runs
    }
}

/// Records what waits for nobody, and polls; `None` when something was decided for good or has to be asked outside.
fn settled(mut world: World, now: Timestamp) -> Option<World> {
    for _ in 0..8 {
        let effects = plan(&world.snapshot(), now);
        if effects.is_empty() {
            return Some(world);
        }
        for effect in effects {
            let (id, observation) = match effect {
                Effect::Record { run, observation: observation @ Observation::Held { .. } } => (run, observation),
                _ => return None,
            };
            let run = world.runs.iter_mut().find(|run| run.id == id)?;
            *run = run.clone().apply(&observation, now).ok()?;
        }
    }
    None
}

/// Instants between two others at which something might be decided: every half minute, and just before the second.
fn between(from: Timestamp, to: Timestamp) -> impl Iterator<Item = Timestamp> {
    let step = SignedDuration::from_secs(30);
    let steps = std::iter::successors(Some(from), move |at| at.checked_add(step).ok()).take(300);
    let last = to - SignedDuration::from_nanos(1);
    steps.take_while(move |at| *at < to).chain((last >= from).then_some(last))
}

proptest! {
    #![proptest_config(crate::support::chance::cases(300))]

    #[test]
    fn next_wake_is_the_first_instant_with_something_new(case in case()) {
        let mut now = t(&clock(case.now));
        let Some(world) = settled(case.world(), now) else { return Ok(()) };
        for _ in 0..MOST_LOOKS {
            let snapshot = world.snapshot();
            let wake = next_wake(&snapshot, now).expect("a schedule always has a next slot");
            prop_assert!(wake > now, "asked to be woken at {wake}, which is not after {now}");
            for at in between(now, wake) {
                let early = plan(&snapshot, at);
                prop_assert!(early.is_empty(), "at {at}, before the wake-up at {wake}: {early:?}");
            }
            if !plan(&snapshot, wake).is_empty() {
                return Ok(());
            }
            now = wake;
        }
        prop_assert!(false, "woken {MOST_LOOKS} times for nothing");
    }
}

#[test]
fn run_held_for_a_window_without_a_known_end_is_looked_at_when_its_patience_ends() {
    let always = firedrill::domain::window::Window {
        spans: vec![firedrill::domain::window::Span::ALWAYS],
        ..crate::support::world::blackout("09:00:00", "10:00:00")
    };
    let run = event_run("10:00:00", trigger("deploy", 0, 1800));
    let world = World::of(experiment(), vec![run.clone()]).with_window(always);
    super::check(&world, "10:00:00", &["A held: window `freeze` forbids it; look 10:30:00"]);
    let reason = HoldReason::Closed { window: name("freeze"), until: None, unknown: None };
    let held = applied(run, &[("10:00:00", Observation::Held { reason, look_at: t("10:30:00") })]);
    let world = World { runs: vec![held], ..world };
    super::check(&world, "10:00:00", &["wake 10:30:00"]);
    super::check(&world, "10:30:00", &["A skipped: window `freeze` forbids it"]);
}
