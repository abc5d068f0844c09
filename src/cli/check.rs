//! `firedrill check`: every mistake in the configuration, or its schema.

use std::time::Duration;

use serde_json::json;

use super::{
    args::{CheckArgs, Output},
    context::{Context, now, told},
    exit::{Exit, Failure},
    render,
};
use crate::{
    config::{self, problem::Problem, settings::Settings},
    domain::departed,
    engine::ports::Store,
    store::SqlStore,
};

/// Longest time in which a store has to answer: a check is also made where there is none, or none in reach.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// Checks the configuration.
///
/// # Errors
/// [`Exit::Usage`] with every mistake.
pub async fn run(context: &Context, args: &CheckArgs) -> Result<Exit, Failure> {
    if args.schema {
        render::json(&config::schema())?;
        return Ok(Exit::Done);
    }
    match config::load(&context.config, context.environment()) {
        Ok(mut loaded) => {
            loaded.warnings.extend(loaded.findings(now()));
            loaded.warnings.extend(still_paused(&loaded.settings).await);
            let (rules, warnings) = (&loaded.settings.rules, loaded.warnings);
            if context.output == Output::Json {
                render::json(&json!({ "problems": [], "warnings": warnings }))?;
                return Ok(Exit::Done);
            }
            for warning in &warnings {
                eprintln!("warning: {warning}");
            }
            render::line(&format!(
                "{}: no mistakes; {}, {}, {}",
                context.config.display(),
                render::count(rules.experiments.len(), "experiment"),
                render::count(rules.windows.len(), "window"),
                render::count(loaded.settings.queues.len(), "queue")
            ))?;
            Ok(Exit::Done)
        }
        Err(problems) => {
            if context.output == Output::Json {
                render::json(&json!({ "problems": problems, "warnings": [] }))?;
                return Ok(Exit::Usage);
            }
            Err(Failure::say(Exit::Usage, told(&problems)))
        }
    }
}

/// Names what is paused in the store of this machine and is not in the configuration. A store that does not tell is not what
/// is checked: `status` tells it, too.
async fn still_paused(settings: &Settings) -> Vec<Problem> {
    let rows = async {
        let store = SqlStore::read_at(&settings.state).await.ok()?;
        let rows = store.load().await.ok();
        store.close().await;
        rows
    };
    let Ok(Some(rows)) = tokio::time::timeout(STORE_PATIENCE, rows).await else { return Vec::new() };
    let problem = |(name, why)| Problem { place: None, path: format!("experiments.{name}"), message: why, hint: None };
    departed::still_paused(&settings.rules, &rows.pauses, now()).into_iter().map(problem).collect()
}
