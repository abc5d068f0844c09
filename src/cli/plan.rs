//! `firedrill plan`: the planner in virtual time, for every slot of the next days.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    args::{Output, PlanArgs},
    context::{Context, now},
    exit::{Exit, Failure},
    render,
};
use crate::{
    config::settings::Settings,
    domain::{
        forecast::{self, Expected, Forecast, Outlook},
        ids::Name,
    },
    engine::ports::{Rows, Store},
    store::{OpenError, SqliteStore},
};

/// Prints the forecast.
///
/// # Errors
/// [`Exit::Usage`] for a configuration with mistakes or an unknown experiment.
pub async fn run(context: &Context, args: &PlanArgs) -> Result<Exit, Failure> {
    let mut settings = context.settings().await?;
    if let Some(name) = &args.experiment {
        let known = Name::parse(name).ok().filter(|name| settings.rules.experiments.contains_key(name));
        let name = known.ok_or_else(|| Failure::say(Exit::NotFound, format!("there is no experiment `{name}`")))?;
        settings.rules.experiments.retain(|other, _| *other == name);
    }
    let from = args.from.unwrap_or_else(now);
    let length = SignedDuration::from_hours(24 * i64::from(args.days));
    let to = from.checked_add(length).map_err(|error| Failure::new(Exit::Usage, error))?;
    let outlook = outlook(&settings).await?;
    let forecast = forecast::forecast(&settings.rules, &outlook, from, to);
    if context.output == Output::Json {
        render::json(&as_json(&forecast, from))?;
    } else {
        print(&forecast, &settings, from, to)?;
    }
    Ok(Exit::Done)
}

/// Reads what the forecast starts from; without a store (no agent has run yet) everything is new.
///
/// # Errors
/// [`Exit::Internal`] when the store cannot be read.
pub async fn outlook(settings: &Settings) -> Result<Outlook, Failure> {
    let store = match SqliteStore::open_to_read(&settings.state_directory).await {
        Ok(store) => store,
        Err(OpenError::Missing { .. }) => return Ok(Outlook::default()),
        Err(error) => return Err(Failure::internal(error.into())),
    };
    let internal = |error: crate::engine::ports::StoreError| Failure::internal(error.into());
    let rows = store.load().await.map_err(internal)?;
    let Rows { cursors, runs, halt, stops, ledgers, pauses } = rows;
    let mut outlook = Outlook { cursors, runs, stops, halt, ledgers, pauses, facts: BTreeMap::new() };
    for name in settings.rules.experiments.keys() {
        if let Some(facts) = store.last_facts(name).await.map_err(internal)? {
            outlook.facts.insert(name.clone(), facts);
        }
    }
    Ok(outlook)
}

fn print(forecast: &Forecast, settings: &Settings, from: Timestamp, to: Timestamp) -> Result<(), Failure> {
    if forecast.runs.is_empty() {
        let range = format!("from {} to {}", render::instant(from), render::instant(to));
        return render::line(&format!("no schedule names an instant {range}"));
    }
    let mut table = render::table(&["slot (utc)", "local", "experiment", "decision", "ends by (utc)", "reason"]);
    for expected in &forecast.runs {
        let local = local_time(settings, expected);
        let ends = expected.runs_from_to.map_or_else(String::new, |(_, end)| render::instant(end));
        let (decision, reason) = decision(expected);
        table.add_row([
            render::instant(expected.slot),
            local,
            expected.run.experiment.to_string(),
            decision.to_owned(),
            ends,
            reason,
        ]);
    }
    render::line(&table.trim_fmt())?;
    let starts = forecast.runs.iter().filter(|run| run.runs_from_to.is_some()).count();
    let skips = forecast.runs.len() - starts;
    render::line(&format!("\n{} slots: {starts} start, {skips} do not", forecast.runs.len()))?;
    if forecast.until < to {
        eprintln!("warning: too many slots; the forecast ends at {}", render::instant(forecast.until));
    }
    Ok(())
}

fn local_time(settings: &Settings, expected: &Expected) -> String {
    let crate::domain::run::Trigger::Slot { schedule, at } = &expected.run.trigger else { return String::new() };
    let experiment = settings.rules.experiments.get(&expected.run.experiment);
    let schedule = experiment.and_then(|experiment| experiment.schedules.iter().find(|s| s.name() == schedule));
    schedule.map_or_else(String::new, |schedule| {
        let local = at.to_zoned(schedule.zone().clone()).strftime("%a %H:%M:%S %Z").to_string();
        let shifted = schedule.slot_at(*at).is_some_and(|slot| slot.shifted);
        if shifted { format!("{local} (shifted)") } else { local }
    })
}

fn decision(expected: &Expected) -> (&'static str, String) {
    match expected.runs_from_to {
        Some(_) => ("start", String::new()),
        None => (expected.run.state.as_str(), render::detail(&expected.run)),
    }
}

fn as_json(forecast: &Forecast, from: Timestamp) -> Value {
    let run = |expected: &Expected| {
        let (decision, reason) = decision(expected);
        json!({
            "slot": expected.slot,
            "experiment": expected.run.experiment,
            "run": expected.run.id,
            "decision": decision,
            "reason": reason,
            "starts": expected.runs_from_to.map(|(start, _)| start),
            "ends_by": expected.runs_from_to.map(|(_, end)| end),
            "state": expected.run.state,
        })
    };
    let runs: Vec<Value> = forecast.runs.iter().map(run).collect();
    json!({ "from": from, "until": forecast.until, "slots": runs })
}
