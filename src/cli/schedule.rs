//! `firedrill schedule next`: the instants that an expression names, by themselves or as a filter of JSON lines.
//!
//! The same code answers as in the agent. With `--jsonl` every line that is read is answered by one line (see [`lines`]).

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use super::{
    args::{Dst, Output, ScheduleNextArgs},
    context::{Context, now},
    exit::{Exit, Failure},
    lines, render,
};
use crate::{
    config::{self, zone},
    domain::{
        civil,
        ids::Name,
        schedule::{Bounds, CronSchedule, Every, Gaps, Schedule, Slot, Timing},
    },
};

/// Most instants in one answer.
const MAX_COUNT: u64 = 100_000;

/// Longest line that is read, in bytes.
const MAX_LINE: usize = 65_536;

/// Shows the next instants.
///
/// # Errors
/// [`Exit::Usage`] for an expression, a zone or a time that is none.
pub fn next(context: &Context, args: &ScheduleNextArgs) -> Result<Exit, Failure> {
    let Some(expression) = &args.expression else { return filter(args.dst) };
    let usage = |error: String| Failure::say(Exit::Usage, error);
    let zone = find_zone(&args.timezone).map_err(usage)?;
    let after = args.after.as_ref().map_or_else(|| Ok(now()), |text| instant(text, &zone)).map_err(usage)?;
    let schedule = schedule(expression, zone.clone(), args.dst).map_err(usage)?;
    let slots: Vec<Slot> = fires(&schedule, after, u64::from(args.count)).collect();
    if context.output == Output::Json {
        let slot = |slot: &Slot| {
            let local = slot.at.to_zoned(zone.clone()).to_string();
            json!({ "at": slot.at, "local": local, "shifted": slot.shifted, "after_lost": slot.after_lost })
        };
        let slots: Vec<Value> = slots.iter().map(slot).collect();
        render::json(&json!({ "expression": schedule.expression(), "timezone": args.timezone, "slots": slots }))?;
        return Ok(Exit::Done);
    }
    if slots.is_empty() {
        render::line(&format!("`{expression}` names no instant after {}", render::instant(after)))?;
        return Ok(Exit::Done);
    }
    let mut table = render::table(&["utc", "local", "clock change"]);
    for slot in slots {
        let local = slot.at.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M:%S %:z %Z").to_string();
        table.add_row([render::instant(slot.at), local, mark(slot).to_owned()]);
    }
    render::line(&table.to_string())?;
    Ok(Exit::Done)
}

/// Says what a clock change did to a slot.
pub fn mark(slot: Slot) -> &'static str {
    match (slot.shifted, slot.after_lost) {
        (true, _) => "shifted: clocks skip its time",
        (false, true) => "one before it is lost: clocks skip its time",
        (false, false) => "",
    }
}

/// Answers every line of stdin.
fn filter(dst: Dst) -> Result<Exit, Failure> {
    lines::answer(MAX_LINE, |line| match line.and_then(|line| answer(line, dst)) {
        Ok(fires) => json!({ "fires": fires }),
        Err(error) => json!({ "error": error }),
    })
}

/// Answers a line: the instants, or what is wrong with it. Keys that are not asked for are passed over.
fn answer(line: &[u8], dst: Dst) -> Result<Vec<String>, String> {
    let question: Value = serde_json::from_slice(line).map_err(|error| format!("the line is not JSON: {error}"))?;
    let Value::Object(question) = question else { return Err("the line is no JSON object".to_owned()) };
    let text = |key: &str| match question.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("`{key}` is not a text")),
    };
    let expression = text("cron")?.ok_or("`cron` is missing")?;
    let zone = text("timezone")?.map_or(Ok(TimeZone::UTC), find_zone)?;
    let after = text("after")?.map_or_else(|| Ok(now()), |text| instant(text, &zone))?;
    let count = match question.get("count") {
        None | Some(Value::Null) => 1,
        Some(count) => count
            .as_u64()
            .filter(|count| *count <= MAX_COUNT)
            .ok_or_else(|| format!("`count` is {count}, and not a whole number from 0 to {MAX_COUNT}"))?,
    };
    let schedule = schedule(expression, zone, dst)?;
    Ok(fires(&schedule, after, count).map(|slot| slot.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).collect())
}

fn fires(schedule: &Schedule, after: Timestamp, count: u64) -> impl Iterator<Item = Slot> {
    let mut from = after;
    (0..count).map_while(move |_| {
        let slot = schedule.next_after(from)?;
        from = slot.at;
        Some(slot)
    })
}

fn find_zone(name: &str) -> Result<TimeZone, String> {
    zone::find(name).map_err(|error| format!("{error}; {}", error.hint))
}

/// Reads an instant, or a local time of the zone.
fn instant(text: &str, zone: &TimeZone) -> Result<Timestamp, String> {
    let wrong =
        || format!("`{text}` is not an instant: write `2026-03-01T10:00:00Z`, or a local time `2026-03-01T10:00`");
    civil::instant(zone, text).ok_or_else(wrong)
}

/// Reads an expression as people type it: cron, or `every 36h`.
fn schedule(expression: &str, zone: TimeZone, dst: Dst) -> Result<Schedule, String> {
    let lower = expression.trim().to_ascii_lowercase();
    let timing = match lower.strip_prefix("every ").or_else(|| lower.strip_prefix("@every ")) {
        Some(period) => {
            let period = config::duration(period).filter(|period| *period >= SignedDuration::from_secs(1));
            let period = period.ok_or_else(|| format!("`{expression}` is not a period: write `every 36h`"))?;
            Timing::Every(Every::new(period, Timestamp::UNIX_EPOCH, zone))
        }
        None => {
            let gaps = match dst {
                Dst::Shift => Gaps::Shift,
                Dst::Skip => Gaps::Skip,
            };
            let cron = CronSchedule::parse(expression, zone, "").map_err(|error| match error.hint() {
                Some(hint) => format!("{error}; {hint}"),
                None => error.to_string(),
            })?;
            Timing::Cron(cron.with_gaps(gaps))
        }
    };
    let name = Name::parse("next").map_err(|error| error.to_string())?;
    Ok(Schedule::new(&name, name.clone(), timing, Bounds::default()))
}
