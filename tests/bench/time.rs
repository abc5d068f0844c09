//! How long the questions of time take: next fires, windows, free slots, a year's forecast. Figures, not a test.
//!
//! Each figure is the median of many rounds. What a machine does in a second says little about another machine, so each
//! stands beside a floor of the same run where there is one: croner's own search, or a scan of all windows.

use std::{
    collections::BTreeMap,
    hint::black_box,
    time::{Duration, Instant},
};

use firedrill::domain::{
    experiment::{Experiment, Rules, TemplateSelector},
    forecast::{self, Outlook},
    ids::Name,
    schedule::{Bounds, CronSchedule, Schedule, Timing},
    template::{TemplateAction, TemplateFacts},
    window::{self, NameGlob, OnEntry, Scope, Span, Window, WindowKind, Windows},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// Rounds of which the median counts.
const ROUNDS: usize = 31;
/// A round asks so often that it takes about this long.
const ROUND: Duration = Duration::from_millis(5);
/// A floor may ask so long in all.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is asked of a next fire and of a question about a window.
const MOST: Duration = Duration::from_micros(5);
/// What is asked of the forecast of a year, on two cores.
const MOST_YEAR: Duration = Duration::from_secs(2);

fn main() {
    println!("{:58} {:>11} {:>11} {:>9} {:>8}", "", "time", "floor", "of floor", "");
    next_fires();
    refusals();
    windows();
    years();
    println!(
        "\nFloors: croner's own search for a next fire (which strays from the rule on clock changes), a scan of all windows for \
         the rest. A floor\nthat is not there could not be asked. \"met\" and \"missed\" speak of what is asked for: {MOST:?}, and \
         {MOST_YEAR:?} for a year on two cores."
    );
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).expect("a zone")
}

/// Instants to ask about, an hour and a bit apart, so that a year goes by and no two questions are the same.
fn instants() -> impl FnMut() -> Timestamp {
    let mut number = 0_i64;
    move || {
        number = (number + 1) % 8_000;
        Timestamp::constant(1_767_225_600, 0) + SignedDuration::from_secs(3_917 * number)
    }
}

/// Returns the median time of one call.
fn time<T>(mut ask: impl FnMut() -> T) -> Duration {
    let began = Instant::now();
    black_box(ask());
    let first = began.elapsed().max(Duration::from_nanos(1));
    let calls = u32::try_from(ROUND.as_nanos() / first.as_nanos()).unwrap_or(u32::MAX).clamp(1, 100_000);
    let mut rounds = Vec::new();
    while rounds.len() < ROUNDS && (rounds.is_empty() || began.elapsed() < PATIENCE) {
        let began = Instant::now();
        (0..calls).for_each(|_| drop(black_box(ask())));
        rounds.push(began.elapsed() / calls);
    }
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}

fn line(what: &str, took: Duration, floor: Option<Duration>, most: Option<Duration>) {
    let told = |took: Duration| format!("{took:.2?}");
    let ratio = floor.map(|floor| format!("{:.3}", took.as_secs_f64() / floor.as_secs_f64()));
    let verdict = most.map_or("", |most| if took <= most { "met" } else { "missed" });
    let floor = floor.map(told).unwrap_or_default();
    println!("{what:58} {:>11} {floor:>11} {:>9} {verdict:>8}", told(took), ratio.unwrap_or_default());
}

fn schedule(experiment: &str, label: &str, cron: &str, zone: TimeZone) -> Schedule {
    let cron = CronSchedule::parse(cron, zone, experiment).expect("a cron expression");
    Schedule::new(&name(experiment), name(label), Timing::Cron(cron), Bounds::default())
}

fn next_fires() {
    let asked = [
        ("30 2 * * MON-FRI", "Europe/Berlin"),
        ("*/15 * * * *", "America/New_York"),
        ("0 9-17 * * *", "Asia/Kolkata"),
        ("0 0 1 * *", "UTC"),
        ("0 12 * * FRI#2", "Australia/Lord_Howe"),
        ("0 3 L * *", "Africa/Casablanca"),
        ("*/10 * * * * *", "UTC"),
        ("0 0 29 2 *", "Europe/Berlin"),
        ("0 0 29 2 MON", "Pacific/Apia"),
    ];
    for (cron, zone_name) in asked {
        let parsed = CronSchedule::parse(cron, zone(zone_name), "bench").expect("a cron expression");
        let mut at = instants();
        let took = time(|| parsed.next_after(at()));
        let pattern = croner::parser::CronParser::builder().seconds(croner::parser::Seconds::Optional).build();
        let pattern = pattern.parse(cron).expect("a cron expression");
        let (mut at, place) = (instants(), zone(zone_name));
        let floor = time(|| pattern.find_next_occurrence(&at().to_zoned(place.clone()), false));
        line(&format!("next fire of `{cron}`, {zone_name}"), took, Some(floor), Some(MOST));
    }
    let known = schedule("bench", "known", "30 2 * * MON-FRI", zone("Europe/Berlin"));
    let now = Timestamp::constant(1_767_225_600, 0);
    line("the same question again (what a pass asks)", time(|| known.next_after(now)), None, Some(MOST));
}

fn refusals() {
    for cron in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
        let took = time(|| CronSchedule::parse(cron, TimeZone::UTC, "bench").is_err());
        line(&format!("refusal of `{cron}`, which never fires"), took, None, None);
    }
}

/// Weekly blackouts, one in ten of them an allowed time, each about the experiments of one name pattern.
fn many_windows(count: usize, about: impl Fn(usize) -> String) -> Windows {
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let one = |number: usize| Window {
        name: name(&format!("w-{number}")),
        kind: if number % 10 == 9 { WindowKind::Allowed } else { WindowKind::Blackout },
        scope: Scope { experiments: vec![NameGlob::new(&about(number))], ..Scope::default() },
        on_entry: OnEntry::Stop { lead: SignedDuration::from_secs(60) },
        lead: SignedDuration::ZERO,
        zone: zone(["Europe/Berlin", "America/New_York", "UTC"][number % 3]),
        spans: vec![span(days[number % 7], number, if number % 10 == 9 { 23 } else { 1 })],
        calendars: Vec::new(),
    };
    (0..count).map(one).collect()
}

/// So many hours of a day, from some time of it on.
fn span(day: &str, number: usize, hours: usize) -> Span {
    let (begin, minute) = (number / 7 % 24, number / 168 % 60);
    let text = format!("{day} {begin:02}:{minute:02}-{:02}:{minute:02}", (begin + hours) % 24);
    Span::parse_weekly(&text).expect("a span")
}

fn experiment(label: &str) -> Experiment {
    Experiment {
        template: TemplateSelector::Id("EXT1".to_owned()),
        max_duration: SignedDuration::from_hours(1),
        ..Experiment::gone(name(label))
    }
}

fn windows() {
    let hour = SignedDuration::from_mins(45);
    let week = SignedDuration::from_hours(7 * 24);
    for (what, all) in [
        ("10,000 windows, all about it", many_windows(10_000, |_| "*".to_owned())),
        ("10,000 windows of 100 teams", many_windows(10_000, |number| format!("team-{}-*", number % 100))),
    ] {
        let asker = experiment("team-7-checkout");
        let began = Instant::now();
        black_box(window::closed_at(&all, &asker, Timestamp::constant(1_767_225_600, 0)));
        line(&format!("{what}: the first question"), began.elapsed(), None, None);
        // A few weeks, as the daemon sees them go by.
        let mut at = instants();
        let mut now = move || {
            Timestamp::constant(1_767_225_600, 0) + at().duration_since(Timestamp::constant(1_767_225_600, 0)) / 16
        };
        let took = time(|| window::closed_at(&all, &asker, now()));
        let scan = time(|| {
            let at = now();
            all.iter().filter(|w| w.scope.holds(&asker)).filter(|w| w.covering(at).is_some()).count()
        });
        line(&format!("{what}: what closes it at an instant"), took, Some(scan), Some(MOST));
        let took = time(|| window::free_slot(&all, &asker, hour, now(), week));
        line(&format!("{what}: 45 min free within 7 days"), took, None, None);
    }
}

/// A thousand experiments with a schedule each and a template of ten minutes, under a hundred windows.
fn fleet(cron: impl Fn(usize) -> String) -> (Rules, Outlook) {
    let zones = ["Europe/Berlin", "America/New_York", "UTC", "Asia/Tokyo"];
    let (mut rules, mut outlook) = (Rules::default(), Outlook::default());
    for number in 0..1_000 {
        let label = format!("team-{}-{number}", number % 100);
        let schedules = vec![schedule(&label, "nightly", &cron(number), zone(zones[number % zones.len()]))];
        let declared = Experiment { schedules, ..experiment(&label) };
        outlook.facts.insert(declared.name.clone(), facts());
        rules.experiments.insert(declared.name.clone(), declared);
    }
    rules.windows = many_windows(100, |number| format!("team-{number}-*"));
    (rules, outlook)
}

fn facts() -> TemplateFacts {
    let parameters = BTreeMap::from([("duration".to_owned(), "PT10M".to_owned())]);
    let wait = TemplateAction { action_id: "aws:fis:wait".to_owned(), parameters, ..TemplateAction::default() };
    let actions = BTreeMap::from([("wait".to_owned(), wait)]);
    TemplateFacts { id: "EXT1".to_owned(), actions, ..TemplateFacts::default() }
}

fn years() {
    let from = Timestamp::constant(1_767_225_600, 0);
    let to = from + SignedDuration::from_hours(365 * 24);
    for (what, cron) in [
        ("weekly", (|number| format!("{} {} * * {}", number % 60, number % 24, number % 7)) as fn(usize) -> String),
        ("every working day", |number| format!("{} {} * * MON-FRI", number % 60, number % 24)),
    ] {
        let (rules, outlook) = fleet(cron);
        let clusters = forecast::clusters(&rules, &outlook);
        let mut halves: Vec<Duration> = Vec::new();
        for half in clusters.chunks(clusters.len().div_ceil(2)) {
            let began = Instant::now();
            let slots = forecast::of(&rules, &outlook, half, from, to).runs.len();
            halves.push(began.elapsed());
            println!("  ({slots} slots)");
        }
        let slower = halves.into_iter().max().unwrap_or_default();
        line(&format!("a year of 1,000 experiments, {what}, 100 windows"), slower, None, Some(MOST_YEAR));
    }
}
