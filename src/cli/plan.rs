//! `firedrill plan`: the planner in virtual time, for every slot of the next days.
//!
//! [`ahead`] makes words and numbers of the forecast, [`table`] prints them, [`picture`] draws them, [`diff`] compares two
//! configurations.

pub mod ahead;
pub mod diff;
pub mod picture;
pub mod table;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp, civil::date, tz::TimeZone};

use self::ahead::{Ahead, Line};
use super::{
    args::{Form, PlanArgs},
    context::{Context, now},
    exit::{Exit, Failure},
    render,
};
use crate::{
    config::settings::Settings,
    domain::{
        calendar::export::{self, Item, Status},
        experiment::Rules,
        forecast::{self, Basis, Cluster, Forecast, Outlook},
        ids::ExperimentName,
        window::NameGlob,
        words::did_you_mean,
    },
    engine::ports::{Rows, Store, StoreError},
    store::{OpenError, SqlStore},
};

/// Longest range of a forecast.
const MAX_RANGE: SignedDuration = SignedDuration::from_hours(24 * 366);

/// Years in which schedules can be computed (inclusive).
const YEARS: (i16, i16) = (1970, 9990);

/// Prints the forecast.
///
/// # Errors
/// [`Exit::Usage`] for a configuration with mistakes or a range that cannot be, [`Exit::NotFound`] for an unknown
/// experiment, [`Exit::Unsound`] for a row that cannot be read.
pub async fn run(context: &Context, args: &PlanArgs) -> Result<Exit, Failure> {
    let now = now();
    let (from, to) = range(args, now)?;
    let settings = settings(context, now).await?;
    if let Some(old) = &args.diff {
        let old = self::settings(&Context { config: old.clone(), ..context.clone() }, now).await?;
        return diff::run(args, [&old, &settings], from, to).await;
    }
    let chosen = chosen(&args.experiments, &[&settings.rules])?;
    let outlook = outlook(&settings).await?;
    let forecast = forecast_of(&settings.rules, &outlook, &chosen, from, to);
    let ahead = Ahead::new(&settings, &outlook, &forecast, &chosen, (from, to), now);
    match args.output {
        Form::Json => render::json(&ahead.report(args.totals))?,
        Form::Ics => render::text(&calendar(&ahead, now))?,
        Form::Table => table::print(&ahead, args)?,
    }
    Ok(Exit::Done)
}

/// Writes what starts as a calendar that others can read.
fn calendar(ahead: &Ahead<'_>, now: Timestamp) -> String {
    let item = |line: &Line<'_>| {
        let (start, end) = (line.starts?, line.ends_by?);
        let assumed = match line.end_rests_on {
            Some(Basis::Limit) => "The end is the experiment's `max_duration`, since its template does not tell one.\n",
            Some(Basis::Template) | None => "",
        };
        Some(Item {
            uid: format!("{}@firedrill", line.run),
            start,
            end,
            summary: format!("Chaos: {}", line.experiment),
            description: format!("{assumed}Schedule {}, slot {}", line.schedule, render::instant(line.slot)),
            status: Status::Tentative,
            categories: vec!["chaos".to_owned()],
        })
    };
    let items: Vec<Item> = ahead.lines.iter().filter_map(item).collect();
    export::export(&items, now)
}

/// Finds the range asked for, `[from, to)`.
fn range(args: &PlanArgs, now: Timestamp) -> Result<(Timestamp, Timestamp), Failure> {
    let usage = |text: String| Err(Failure::say(Exit::Usage, text));
    let from = args.from.unwrap_or(now);
    let days = SignedDuration::from_hours(24 * i64::from(args.days));
    let to = args.to.unwrap_or_else(|| from.saturating_add(days).unwrap_or(Timestamp::MAX));
    let year = |year| date(year, 1, 1).to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |at| at.timestamp());
    if from < year(YEARS.0) || to > year(YEARS.1 + 1) {
        let (from, to) = (render::instant(from), render::instant(to));
        return usage(format!("{from} to {to} is not within the years {} to {}", YEARS.0, YEARS.1));
    }
    if from >= to {
        let (from, to) = (render::instant(from), render::instant(to));
        return usage(format!("--to {to} is not after --from {from}"));
    }
    if to.duration_since(from) > MAX_RANGE {
        let hint = "hint: ask for one part after the other with --from and --to";
        return usage(format!("the range is longer than 366 days\n{hint}"));
    }
    Ok((from, to))
}

/// Loads the settings of a forecast: calendars that are believed now are believed to stay so, all others to stay unknown.
pub async fn settings(context: &Context, now: Timestamp) -> Result<Settings, Failure> {
    let mut settings = context.settings().await?;
    settings.rules.windows = settings.rules.windows.judged_at(now);
    Ok(settings)
}

/// Finds the experiments that were asked for; all when none was.
///
/// # Errors
/// [`Exit::NotFound`] for a name that none of the configurations has.
fn chosen(asked: &[String], rules: &[&Rules]) -> Result<Cluster, Failure> {
    let known: Cluster = rules.iter().flat_map(|rules| rules.experiments.keys().cloned()).collect();
    if asked.is_empty() {
        return Ok(known);
    }
    let mut chosen = Cluster::new();
    for text in asked {
        let glob = NameGlob::new(text);
        let before = chosen.len();
        chosen.extend(known.iter().filter(|name| glob.matches(name.as_str())).cloned());
        if chosen.len() == before && !chosen.iter().any(|name| glob.matches(name.as_str())) {
            let hint = did_you_mean(text, known.iter().map(ExperimentName::as_str));
            let hint = hint.map_or_else(String::new, |hint| format!("\nhint: {hint}"));
            return Err(Failure::say(Exit::NotFound, format!("there is no experiment `{text}`{hint}")));
        }
    }
    Ok(chosen)
}

/// Reads what the forecast starts from; without a store (no agent has run yet) everything is new.
///
/// # Errors
/// [`Exit::Unsound`] when a row cannot be read, [`Exit::Internal`] when none can.
pub async fn outlook(settings: &Settings) -> Result<Outlook, Failure> {
    let store = match SqlStore::read_at(&settings.state).await {
        Ok(store) => store,
        Err(OpenError::Missing { .. }) => return Ok(Outlook::default()),
        Err(error) => return Err(Failure::internal(error.into())),
    };
    let rows = store.load().await.map_err(unread)?;
    let Rows {
        cursors,
        runs,
        halt,
        stops,
        ledgers,
        pauses,
        deployed,
        restored_at: _,
        withheld: _,
        unread: _,
        unreadable,
    } = rows;
    if let Some(error) = unreadable {
        return Err(unforetold(error));
    }
    let mut outlook = Outlook { cursors, runs, stops, halt, ledgers, pauses, deployed, facts: BTreeMap::new() };
    for name in settings.rules.experiments.keys() {
        if let Some(facts) = store.last_facts(name).await.map_err(unread)? {
            outlook.facts.insert(name.clone(), facts);
        }
    }
    Ok(outlook)
}

/// Tells a row that cannot be read apart from a store that cannot.
fn unread(error: StoreError) -> Failure {
    if error.is_of_a_row() { unforetold(error) } else { Failure::internal(error.into()) }
}

/// Nothing is foretold past a row that may say otherwise.
fn unforetold(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(Exit::Unsound, error.into().context("nothing can be forecast from rows of which one cannot be read"))
}

/// Forecasts some experiments, with all that may influence them, on all cores.
pub fn forecast_of(rules: &Rules, outlook: &Outlook, chosen: &Cluster, from: Timestamp, to: Timestamp) -> Forecast {
    let mut clusters = forecast::clusters(rules, outlook);
    clusters.retain(|cluster| !cluster.is_disjoint(chosen));
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(clusters.len().max(1));
    let parts: Vec<Forecast> = std::thread::scope(|scope| {
        let share = |core| clusters.iter().skip(core).step_by(cores).cloned().collect::<Vec<_>>();
        let work = |core| {
            let share = share(core);
            scope.spawn(move || forecast::of(rules, outlook, &share, from, to))
        };
        let cores: Vec<_> = (0..cores).map(work).collect();
        let joined = cores.into_iter().map(|core| core.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.collect()
    });
    let mut forecast = forecast::merged(parts, to);
    forecast.runs.retain(|run| chosen.contains(&run.run.experiment));
    forecast
}
