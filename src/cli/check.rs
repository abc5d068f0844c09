//! `firedrill check`: every mistake in the configuration, or its schema.

use serde_json::json;

use super::{
    args::{CheckArgs, Output},
    context::{Context, now, told},
    exit::{Exit, Failure},
    render,
};
use crate::config;

/// Checks the configuration.
///
/// # Errors
/// [`Exit::Usage`] with every mistake.
pub fn run(context: &Context, args: &CheckArgs) -> Result<Exit, Failure> {
    if args.schema {
        render::json(&config::schema())?;
        return Ok(Exit::Done);
    }
    match config::load(&context.config, context.environment()) {
        Ok(mut loaded) => {
            loaded.warnings.extend(loaded.findings(now()));
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
