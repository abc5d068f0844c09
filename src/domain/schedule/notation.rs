//! The notation of cron expressions: what may be written, and what it means in local time.
//!
//! Pure. Five fields (minute, hour, day of month, month, day of week), six (a second first) or seven (a year last).
//!
//! - A field is a list of values, ranges `1-5`, steps over a range `10-50/20` or over all `*/15`, or `*`.
//! - Months and weekdays may be names in any case: `JAN-MAR`, `mon,wed`. Sunday is 0 and 7; a range may end with `SUN`.
//! - Day of month also takes `L` (the last day), `15W` (the weekday nearest to the 15th, in the same month), `LW` (the last
//!   weekday); day of week `FRI#2` (the second Friday) and `FRIL` (the last one); both take `?`, which is `*`.
//! - With both day fields set either may match; both must when one of them begins with `*`, or when the day of week begins
//!   with `+`: `0 0 29 2 +MON` is a leap day that is a Monday.
//! - `H` stands for a value that the names of experiment and schedule choose, the same one for ever, so that many "daily"
//!   schedules do not start at once: `H` any value (of the days of a month 1 to 28), `H(0-29)` one of a range, `H/15` every
//!   15 from one of the first 15 on, `H(0-29)/10` the same inside a range.
//! - A macro stands for a whole expression: `@hourly`, `@daily` or `@midnight`, `@weekly`, `@monthly`, `@yearly` or
//!   `@annually`.
//!
//! Refused, because people read it in more than one way: a range that goes backwards (`22-2`, `FRI-MON`; write
//! `22-23,0-2`, `FRI-SAT,SUN-MON`), a step without a range (`5/15`; write `5-59/15` or `*/15`), an empty item of a list.

use croner::parser::CronParser;

use super::{
    cron::Form,
    fields::{DayRule, Fields},
};
use crate::domain::{ids, words::did_you_mean};

/// Longest expression, in bytes.
pub const MAX_LENGTH: usize = 1_024;

/// What is known of a field: its name, what may stand there, and the values that `H` chooses from (all of them, or those of
/// a range that is given); no value means that there is no `H`.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    takes: &'static str,
    hash: Option<(u32, u32)>,
}

const KINDS: [Kind; 7] = [
    Kind { name: "second", takes: "0-59", hash: Some((0, 59)) },
    Kind { name: "minute", takes: "0-59", hash: Some((0, 59)) },
    Kind { name: "hour", takes: "0-23", hash: Some((0, 23)) },
    Kind { name: "day of month", takes: "1-31, `L`, `15W` or `LW`", hash: Some((1, 31)) },
    Kind { name: "month", takes: "1-12 or JAN-DEC", hash: Some((1, 12)) },
    Kind { name: "day of week", takes: "0-7 (0 and 7 are Sunday), SUN-SAT, `FRI#2` or `FRIL`", hash: Some((0, 6)) },
    Kind { name: "year", takes: "1-5000", hash: None },
];

/// The last day that every month has: an `H` alone chooses none that comes in some months only.
const LAST_COMMON_DAY: u32 = 28;

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The macros, and what each stands for.
pub const MACROS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * SUN"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// A cron expression that names no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// There is no text.
    #[error("the cron expression is empty")]
    Empty,
    /// There is too much text.
    #[error("a cron expression has at most {MAX_LENGTH} bytes, this one has {bytes}")]
    Long {
        /// How many.
        bytes: usize,
    },
    /// A macro that has no instants of its own, or that nobody knows.
    #[error("`{name}` is not supported: use @hourly, @daily, @weekly, @monthly, @yearly or five to seven fields")]
    Macro {
        /// The macro as written.
        name: String,
    },
    /// Too few or too many fields.
    #[error(
        "a cron expression has five fields (minute first), six (second first) or seven (year last), this one has {found}"
    )]
    FieldCount {
        /// How many there are.
        found: usize,
    },
    /// A field that names no times.
    #[error("`{text}` cannot stand in the {field} field: it takes {takes}, with `*` `,` `-` `/` and `H`")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// What may stand there.
        takes: &'static str,
        /// The field as written.
        text: String,
    },
    /// The fields do not make sense.
    #[error("`{expression}` is not a cron expression: {reason}")]
    Syntax {
        /// The expression as written.
        expression: String,
        /// What the parser says.
        reason: String,
    },
    /// No date matches.
    #[error("`{expression}` never fires: no date matches it")]
    Never {
        /// The expression as written.
        expression: String,
    },
}

/// What an expression says.
#[derive(Debug)]
pub(super) struct Notation {
    pub fields: Fields,
    pub form: Form,
    pub rule: DayRule,
}

/// Reads an expression.
pub(super) fn read(expression: &str, seed: &str) -> Result<Notation, CronError> {
    let expression = expression.trim();
    let upper = expand_macro(expression)?.to_ascii_uppercase();
    let written: Vec<&str> = upper.split_whitespace().collect();
    let kinds = match written.len() {
        5 => &KINDS[1..6],
        6 => &KINDS[..6],
        7 => &KINDS[..],
        found => return Err(CronError::FieldCount { found }),
    };
    let mut plain = Vec::with_capacity(written.len());
    for (text, kind) in written.iter().zip(kinds) {
        let wrong = || CronError::Field { field: kind.name, takes: kind.takes, text: (*text).to_owned() };
        plain.push(without_hash(text, kind, seed).filter(|text| is_well_formed(text, kind)).ok_or_else(wrong)?);
    }
    let parsed = CronParser::new().parse(&plain.join(" ")).map_err(|error| {
        let reason = error.to_string().trim_end_matches('.').to_owned();
        guilty(&written, &plain, kinds)
            .unwrap_or_else(|| CronError::Syntax { expression: expression.to_owned(), reason })
    })?;
    let from_minute = if written.len() == 5 { &written[..] } else { &written[1..] };
    let begins = |field: usize, with: &[char]| from_minute[field].starts_with(with);
    let form = if begins(0, &['*']) || begins(1, &['*']) { Form::Interval } else { Form::Fixed };
    let both = begins(2, &['*', '?']) || begins(4, &['*', '?', '+']);
    let rule = if both { DayRule::Both } else { DayRule::Either };
    let every_year = plain.get(6).is_none_or(|year| year == "*");
    Ok(Notation { fields: Fields::of(&parsed.pattern, rule, every_year), form, rule })
}

/// Replaces a macro by its fields.
fn expand_macro(expression: &str) -> Result<&str, CronError> {
    if expression.is_empty() {
        return Err(CronError::Empty);
    }
    if expression.len() > MAX_LENGTH {
        return Err(CronError::Long { bytes: expression.len() });
    }
    if !expression.starts_with('@') {
        return Ok(expression);
    }
    let known = MACROS.iter().find(|(name, _)| name.eq_ignore_ascii_case(expression));
    known.map(|(_, fields)| *fields).ok_or_else(|| CronError::Macro { name: expression.to_owned() })
}

/// Puts a value in place of each `H` of a field; `None` where an `H` makes no sense.
fn without_hash(text: &str, kind: &Kind, seed: &str) -> Option<String> {
    // In a name, such as THU, it is no `H` of ours.
    let items = text.split(',').map(|item| match item.strip_prefix('H') {
        Some(rest) => hashed(rest, kind, seed),
        None => Some(item.to_owned()),
    });
    let items: Vec<String> = items.collect::<Option<_>>()?;
    // What holds everything is everything.
    Some(if items.iter().any(|item| item == "*") { "*".to_owned() } else { items.join(",") })
}

/// Reads what follows an `H`: nothing, `(0-29)`, `/15`, `(0-29)/10`.
fn hashed(rest: &str, kind: &Kind, seed: &str) -> Option<String> {
    let (range, step) = match rest.split_once('/') {
        Some((range, step)) => (range, Some(step.parse().ok().filter(|step: &u32| *step > 0)?)),
        None => (rest, None),
    };
    let (lowest, highest) = kind.hash?;
    let (least, most) = match range {
        "" if kind.name == "day of month" => (lowest, LAST_COMMON_DAY),
        "" => (lowest, highest),
        _ => {
            let (least, most) = range.strip_prefix('(')?.strip_suffix(')')?.split_once('-')?;
            (least.parse().ok()?, most.parse().ok()?)
        }
    };
    if least > most || least < lowest || most > highest {
        return None;
    }
    let values = u64::from(most - least) + 1;
    let drawn = ids::draw(&["cron", kind.name, seed]);
    let start = |of: u64| u64::from(least) + drawn % of;
    Some(match step {
        None => start(values).to_string(),
        Some(step) if u64::from(step) <= values => format!("{}-{most}/{step}", start(u64::from(step))),
        Some(_) => return None,
    })
}

/// Tells whether a field holds nothing that the parser would take for something else: `MON` for a minute, `SUNMON` for 1.
fn is_well_formed(text: &str, kind: &Kind) -> bool {
    let text = if kind.name == "day of week" { text.strip_prefix('+').unwrap_or(text) } else { text };
    if text == "?" {
        return kind.name.starts_with("day");
    }
    text.split(',').all(|item| {
        let parts = item.split(['-', '/']);
        !item.is_empty() && parts.clone().all(|part| part == "*" || is_value(part, kind))
    })
}

fn is_value(part: &str, kind: &Kind) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_weekday = |text: &str| WEEKDAYS.contains(&text) || is_number(text);
    match kind.name {
        "day of month" => {
            let day = part.strip_suffix('W').unwrap_or(part);
            day == "L" || is_number(day)
        }
        "month" => MONTHS.contains(&part) || is_number(part),
        "day of week" => match part.split_once('#') {
            Some((day, nth)) => is_weekday(day) && (nth == "L" || is_number(nth)),
            None => is_weekday(part.strip_suffix('L').unwrap_or(part)),
        },
        _ => is_number(part),
    }
}

impl CronError {
    /// Says what would be right, where that can be guessed.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Macro { name } => match name.to_lowercase().strip_prefix("@every") {
                Some(period) => Some(format!("a period is no cron expression: `every = \"{}\"`", period.trim())),
                None => did_you_mean(name, MACROS.map(|(name, _)| name)),
            },
            Self::Field { field, text, .. } => advice(field, text).or_else(|| {
                let names: &[&str] = match *field {
                    "month" => &MONTHS,
                    "day of week" => &WEEKDAYS,
                    _ => return None,
                };
                let words = text.split(|c: char| !c.is_ascii_alphabetic());
                let unknown = words.filter(|word| word.len() > 2 && !names.contains(word));
                unknown.filter_map(|word| did_you_mean(word, names.iter().copied())).next()
            }),
            Self::FieldCount { .. } => {
                Some("minute, hour, day of month, month, day of week: `30 2 * * MON-FRI`".to_owned())
            }
            _ => None,
        }
    }
}

/// Says what would be right instead of a field that people read in more than one way, if it is one.
fn advice(field: &str, text: &str) -> Option<String> {
    let (first, last) = match field {
        "day of month" => ("1", "31"),
        "month" => ("JAN", "DEC"),
        "day of week" => ("SUN", "SAT"),
        "hour" => ("0", "23"),
        "minute" | "second" => ("0", "59"),
        _ => return None,
    };
    text.split(',').find_map(|item| match (item.split_once('/'), item.split_once('-')) {
        (Some(("" | "0", step)), _) => Some(format!("write `*/{step}`")),
        (Some((start, step)), None) if start != "*" => Some(format!("write `{start}-{last}/{step}` or `*/{step}`")),
        (None, Some((from, to))) if place(from)? > place(to)? => {
            Some(format!("a range goes forward, so write two: `{from}-{last},{first}-{to}`"))
        }
        _ => None,
    })
}

/// The place of a value in its order.
fn place(value: &str) -> Option<usize> {
    let name = MONTHS.iter().position(|name| *name == value).or(WEEKDAYS.iter().position(|name| *name == value));
    name.or_else(|| value.parse().ok())
}

/// Finds the first field that the parser does not read even alone.
fn guilty(written: &[&str], plain: &[String], kinds: &[Kind]) -> Option<CronError> {
    let mut fields = written.iter().zip(plain).zip(kinds).enumerate();
    fields.find_map(|(number, ((text, plain), kind))| {
        let mut alone = vec!["*"; written.len()];
        alone[number] = plain;
        let refused = CronParser::new().parse(&alone.join(" ")).is_err();
        refused.then(|| CronError::Field { field: kind.name, takes: kind.takes, text: (*text).to_owned() })
    })
}
