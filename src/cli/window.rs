//! `firedrill window check`: who may run when, by the windows alone, and when there is time for a run.
//!
//! Calendars count as the agent, or the file, last read them, and as believed for the time ahead if they are now.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    args::{Output, WindowCheckArgs},
    context::{Context, now},
    exit::{Exit, Failure},
    render,
};
use crate::{
    config::{self, settings::Settings},
    domain::{
        experiment::{Experiment, Rules},
        window::{self, Closure, Interval, OnEntry, WindowKind},
    },
};

/// Most free times that are listed of one experiment.
const MAX_FREE: usize = 10;

/// Longest time in which free times are looked for.
const MAX_WITHIN: SignedDuration = SignedDuration::from_hours(366 * 24);

/// What is known of one experiment.
struct Answer {
    experiment: String,
    closure: Option<Closure>,
    next: Option<Timestamp>,
    free: Vec<Interval>,
}

/// Prints, for each experiment, whether it is open or closed and why.
///
/// # Errors
/// [`Exit::Usage`] for a configuration or arguments with mistakes, [`Exit::NotFound`] for an unknown experiment.
pub async fn check(context: &Context, args: &WindowCheckArgs) -> Result<Exit, Failure> {
    let free = args.free.as_deref().map(|text| duration("free", text)).transpose()?;
    let within = duration("within", &args.within)?;
    let mut settings = context.settings().await?;
    settings.rules.windows = settings.rules.windows.judged_at(now());
    let at = args.at.unwrap_or_else(now);
    let known = |name: &String| settings.rules.experiments.values().any(|e| e.name.as_str() == *name);
    if let Some(name) = args.experiment.as_ref().filter(|name| !known(name)) {
        return Err(Failure::say(Exit::NotFound, format!("there is no experiment `{name}`")));
    }
    let wanted = |e: &&Experiment| args.experiment.as_ref().is_none_or(|name| e.name.as_str() == name);
    let answer = |experiment: &Experiment| Answer {
        experiment: experiment.name.to_string(),
        closure: window::closed_at(&settings.rules.windows, experiment, at),
        next: window::next_transition(&settings.rules.windows, experiment, at),
        free: free.map_or_else(Vec::new, |length| free_times(&settings.rules, experiment, length, at, within)),
    };
    let answers: Vec<Answer> = settings.rules.experiments.values().filter(wanted).map(answer).collect();
    if context.output == Output::Json {
        let windows: Vec<Value> = settings.rules.windows.iter().map(|window| window_as_json(window, at)).collect();
        let answers: Vec<Value> = answers.iter().map(as_json).collect();
        render::json(&json!({ "at": at, "experiments": answers, "windows": windows }))?;
    } else if answers.is_empty() {
        print_windows(&settings, at)?;
    } else {
        print(&answers, args)?;
    }
    Ok(Exit::Done)
}

fn duration(name: &str, text: &str) -> Result<SignedDuration, Failure> {
    let duration = config::duration(text).filter(|d| *d > SignedDuration::ZERO && *d <= MAX_WITHIN);
    let wrong = || format!("--{name}: `{text}` is not a duration between 0 and 366d, such as `45m` or `7d`");
    duration.ok_or_else(|| Failure::say(Exit::Usage, wrong()))
}

/// Lists when a run that takes so long may start, as the planner would judge it; the last start of each is included.
fn free_times(
    rules: &Rules,
    experiment: &Experiment,
    length: SignedDuration,
    from: Timestamp,
    within: SignedDuration,
) -> Vec<Interval> {
    let needs = length.saturating_add(rules.windows.longest_stop_lead());
    let end = from.saturating_add(within).unwrap_or(Timestamp::MAX);
    let lead = |closure: &Closure| {
        rules.windows.iter().find(|window| window.name == closure.window).map_or(SignedDuration::ZERO, |w| w.lead)
    };
    let mut found = Vec::new();
    let mut at = from;
    while found.len() < MAX_FREE && at <= end {
        let left = end.duration_since(at);
        let Some(start) = window::free_slot(&rules.windows, experiment, needs, at, left) else { break };
        let ends = end.saturating_add(needs).unwrap_or(Timestamp::MAX);
        let closure = window::first_closure(&rules.windows, experiment, start, ends);
        let last = closure.map_or(end, |c| c.opens.saturating_sub(lead(&c).saturating_add(needs)).unwrap_or(start));
        found.push(Interval { start, end: last.clamp(start, end) });
        let Ok(next) = last.max(start).checked_add(SignedDuration::from_nanos(1)) else { break };
        at = next;
    }
    found
}

fn print(answers: &[Answer], args: &WindowCheckArgs) -> Result<(), Failure> {
    let mut columns = vec!["experiment", "state", "window", "until (utc)", "why"];
    if args.next {
        columns.push("changes next (utc)");
    }
    let mut table = render::table(&columns);
    for answer in answers {
        let closure = answer.closure.as_ref();
        let mut row = vec![
            answer.experiment.clone(),
            closure.map_or("open", |_| "closed").to_owned(),
            closure.map_or_else(String::new, |c| c.window.to_string()),
            closure.and_then(|c| c.until).map_or_else(String::new, render::instant),
            closure.map_or_else(String::new, reason),
        ];
        if args.next {
            row.push(answer.next.map_or_else(|| "none known".to_owned(), render::instant));
        }
        table.add_row(row);
    }
    render::line(&table.trim_fmt())?;
    let Some(length) = &args.free else { return Ok(()) };
    render::line("")?;
    let mut table = render::table(&["experiment", &format!("{length} fit from (utc)"), "last start (utc)"]);
    for answer in answers {
        if answer.free.is_empty() {
            table.add_row([answer.experiment.clone(), format!("none within {}", args.within), String::new()]);
        }
        for time in &answer.free {
            table.add_row([answer.experiment.clone(), render::instant(time.start), render::instant(time.end)]);
        }
    }
    render::line(&table.trim_fmt())
}

/// Says why it is closed beyond the window's name, and what happens to runs.
fn reason(closure: &Closure) -> String {
    match (&closure.unknown, closure.on_entry) {
        (Some(unknown), _) => unknown.clone(),
        (None, OnEntry::Finish) => "runs may finish".to_owned(),
        (None, OnEntry::Stop { .. }) => String::new(),
    }
}

fn print_windows(settings: &Settings, at: Timestamp) -> Result<(), Failure> {
    if settings.rules.windows.is_empty() {
        return render::line("there is no experiment and no window");
    }
    let mut table = render::table(&["window", "kind", "now inside", "changes next (utc)"]);
    for window in settings.rules.windows.iter() {
        let next = window.next_transition(at).map_or_else(|| "none known".to_owned(), render::instant);
        let inside = if window.covering(at).is_some() { "yes" } else { "no" };
        table.add_row([window.name.to_string(), kind(window.kind).to_owned(), inside.to_owned(), next]);
    }
    render::line(&table.trim_fmt())
}

fn kind(kind: WindowKind) -> &'static str {
    match kind {
        WindowKind::Blackout => "blackout",
        WindowKind::Allowed => "allowed",
    }
}

fn as_json(answer: &Answer) -> Value {
    let closure = answer.closure.as_ref();
    json!({
        "experiment": answer.experiment,
        "open": closure.is_none(),
        "window": closure.map(|c| c.window.to_string()),
        "until": closure.and_then(|c| c.until),
        "unknown": closure.and_then(|c| c.unknown.clone()),
        "next": answer.next,
        "free": answer.free.iter().map(|time| json!({ "from": time.start, "last": time.end })).collect::<Vec<_>>(),
    })
}

fn window_as_json(window: &window::Window, at: Timestamp) -> Value {
    let covering = window.covering(at);
    json!({
        "window": window.name,
        "kind": kind(window.kind),
        "inside": covering.is_some(),
        "until": covering.and_then(|interval| interval.known_end()),
        "next": window.next_transition(at),
    })
}
