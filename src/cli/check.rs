//! `firedrill check`: every mistake in the configuration, or its schema.

use serde_json::json;

use super::{
    args::{CheckArgs, Output},
    context::{Context, now, told},
    exit::{Exit, Failure},
    render,
};
use crate::{
    config::{self, problem::Problem},
    domain::{
        experiment::{Experiment, Rules},
        schedule::Schedule,
    },
};

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
            let rules = &loaded.settings.rules;
            let mut warnings = loaded.warnings;
            warnings.extend(spent(rules));
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

/// Says which schedules are over. That is no mistake: what was right last year still has to load after a restart.
fn spent(rules: &Rules) -> Vec<Problem> {
    let all =
        rules.experiments.values().flat_map(|experiment| experiment.schedules.iter().map(move |s| (experiment, s)));
    let over = all.filter(|(_, schedule)| schedule.next_after(now()).is_none());
    let warning = |(experiment, schedule): (&Experiment, &Schedule)| Problem {
        place: None,
        path: format!("experiments.{}.schedules", experiment.name),
        message: format!("`{}` ({}) is over: it names no instant any more", schedule.name(), schedule.expression()),
        hint: None,
    };
    over.map(warning).collect()
}
