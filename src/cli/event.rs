//! `firedrill event match`: whether a pattern matches an event, which triggers take it, and why not.

use std::io::Read;

use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::{
    args::{Output, event::EventMatchArgs},
    context::Context,
    exit::{Exit, Failure},
    lines, render,
};
use crate::domain::{
    event::{
        self,
        verdict::{Answer, Verdict, verdicts},
    },
    ids::Name,
    pattern::{Explanation, Pattern},
};

/// Largest pattern, event and line that is read, in bytes.
const MAX_INPUT: usize = 2 * 1024 * 1024;

/// Answers.
///
/// # Errors
/// [`Exit::Usage`] for what is no pattern or no event.
pub fn matching(context: &Context, args: &EventMatchArgs) -> Result<Exit, Failure> {
    let Some(event) = &args.event else { return filter() };
    if args.pattern.as_deref() == Some("-") && event == "-" {
        return Err(usage("only one of --pattern and --event can be read from stdin"));
    }
    let event = input("--event", event)?;
    match &args.pattern {
        Some(pattern) => one(context, &input("--pattern", pattern)?, &event),
        None => every(context, &event, args.queue.as_deref()),
    }
}

fn usage(text: impl std::fmt::Display) -> Failure {
    Failure::say(Exit::Usage, text)
}

/// Returns what an argument says: the text itself, or that of a file or of stdin.
fn input(argument: &str, text: &str) -> Result<String, Failure> {
    let unread = |error: std::io::Error| usage(format!("{argument} {text}: {error}"));
    let mut reader: Box<dyn Read> = match text.strip_prefix('@') {
        Some(path) => Box::new(std::fs::File::open(path).map_err(unread)?),
        None if text == "-" => Box::new(std::io::stdin().lock()),
        None => return Ok(text.to_owned()),
    };
    let mut read = String::new();
    reader.by_ref().take(MAX_INPUT as u64 + 1).read_to_string(&mut read).map_err(unread)?;
    if read.len() > MAX_INPUT {
        return Err(usage(format!("{argument} {text}: it has more than {MAX_INPUT} bytes")));
    }
    Ok(read)
}

/// Compares a pattern with an event.
fn compared(pattern: &str, event: &str) -> Result<Explanation, String> {
    let pattern = Pattern::parse_text(pattern).map_err(|error| match error.path.as_str() {
        "" => format!("the pattern: {error}"),
        path => format!("the pattern: {path}: {error}"),
    })?;
    // What the pattern does not ask for is skipped when it is matched, and may be no JSON at all.
    serde_json::from_str::<IgnoredAny>(event).map_err(|error| format!("the event is not JSON: {error}"))?;
    pattern.explain(event).map_err(|error| format!("the event: {error}"))
}

fn one(context: &Context, pattern: &str, event: &str) -> Result<Exit, Failure> {
    let explanation = compared(pattern, event).map_err(usage)?;
    let matches = explanation == Explanation::Match;
    if context.output == Output::Json {
        render::json(&json!({ "result": matches, "reason": explanation.to_string() }))?;
    } else {
        render::line(&format!("{}: {explanation}", if matches { "yes" } else { "no" }))?;
    }
    Ok(if matches { Exit::Done } else { Exit::NoMatch })
}

/// Asks every trigger of the configuration.
fn every(context: &Context, body: &str, queue: Option<&str>) -> Result<Exit, Failure> {
    let rules = context.load()?.settings.rules;
    let queue = queue.map(Name::parse).transpose().map_err(|error| Failure::new(Exit::Usage, error))?;
    let event = event::read(body, "message-id", &rules.mappings).map_err(|error| Failure::new(Exit::Usage, error))?;
    let verdicts = verdicts(&rules, &event, queue.as_ref());
    let matches = verdicts.iter().any(|verdict| verdict.answer == Answer::Takes);
    if context.output == Output::Json {
        let answers: Vec<Value> = verdicts.iter().map(told).collect();
        render::json(&json!({ "result": matches, "event": event.body, "triggers": answers }))?;
    } else {
        render::line(&format!("event of {} ({}), id {}", event.source, event.detail_type, event.id))?;
        render::line(&table(&verdicts))?;
    }
    Ok(if matches { Exit::Done } else { Exit::NoMatch })
}

/// Returns a verdict for programs.
pub fn told(verdict: &Verdict) -> Value {
    let Verdict { experiment, trigger, answer } = verdict;
    json!({
        "experiment": experiment, "trigger": trigger, "result": *answer == Answer::Takes, "reason": answer.to_string(),
    })
}

/// Returns verdicts for people.
pub fn table(verdicts: &[Verdict]) -> String {
    if verdicts.is_empty() {
        return "The configuration has no event trigger.".to_owned();
    }
    let mut table = render::table(&["experiment", "trigger", "answer"]);
    for Verdict { experiment, trigger, answer } in verdicts {
        table.add_row([experiment.to_string(), trigger.to_string(), answer.to_string()]);
    }
    table.trim_fmt()
}

/// Answers every line of stdin.
fn filter() -> Result<Exit, Failure> {
    lines::answer(MAX_INPUT, |line| {
        let mut id = Value::Null;
        let answered = line.and_then(|line| {
            let question: Value = serde_json::from_slice(line).map_err(|error| format!("not JSON: {error}"))?;
            let Value::Object(mut question) = question else { return Err("the line is no JSON object".to_owned()) };
            id = question.remove("id").unwrap_or_default();
            compared(text(&question, "pattern")?, text(&question, "event")?)
        });
        match answered {
            Ok(explanation) => {
                let matches = explanation == Explanation::Match;
                json!({ "id": id, "result": matches, "reason": explanation.to_string() })
            }
            Err(reason) => json!({ "id": id, "result": "error", "reason": reason }),
        }
    })
}

fn text<'q>(question: &'q Map<String, Value>, key: &str) -> Result<&'q str, String> {
    match question.get(key) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("`{key}` is not a text")),
        None => Err(format!("`{key}` is missing")),
    }
}
