//! Cron: which instants a schedule names, by Debian cron's rule for clock changes.
//!
//! Pure. croner reads the expression and matches *local* times, which know no clock changes; the way from local
//! times to instants is ours. A *fixed* schedule (neither its minute nor its hour field begins with `*`; lists and
//! ranges are fixed) fires once at the first instant after a gap that swallowed its time, and only in the first pass
//! of an overlap. Any other is an *interval* schedule: it follows elapsed time, so it has nothing in a gap and both
//! passes of an overlap. One fire an instant. A gap of [`CORRECTION`] or more loses its slots.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use super::Slot;
use crate::domain::civil::{self, Instants};

/// A gap of this length or more is a correction of the calendar and not a change of the clock (Debian cron(8)).
pub const CORRECTION: SignedDuration = SignedDuration::from_hours(3);

/// Most stretches between two clock changes that one search looks at: centuries, in every zone there is.
const MAX_STRETCHES: usize = 4_096;

/// The fields: name, and what may stand there.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0-59"),
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of month", "1-31, `L`, `15W` or `LW`"),
    ("month", "1-12 or JAN-DEC"),
    ("day of week", "0-7 (0 and 7 are Sunday), SUN-SAT, `FRI#2` or `FRIL`"),
];

/// A parsed cron expression with its zone. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CronSchedule {
    expression: Arc<str>,
    zone: TimeZone,
    pattern: Arc<croner::Cron>,
    form: Form,
    days: DayFields,
}

/// How a schedule passes a clock change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Fixed,
    Interval,
}

/// Which of the two day fields restrict the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DayFields {
    AtMostOne,
    Both,
}

/// A cron expression that names no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// There is no text.
    #[error("the cron expression is empty")]
    Empty,
    /// A macro that has no instants of its own, or that nobody knows.
    #[error("`{name}` is not supported: use @hourly, @daily, @weekly, @monthly, @yearly or five or six fields")]
    Macro {
        /// The macro as written.
        name: String,
    },
    /// Too few or too many fields.
    #[error("a cron expression has five fields (minute first) or six (second first), this one has {found}")]
    FieldCount {
        /// How many there are.
        found: usize,
    },
    /// A field that names no times.
    #[error("`{text}` cannot stand in the {field} field: it takes {takes}, with `*` `,` `-` `/`")]
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

impl CronSchedule {
    /// Parses an expression of five fields, six fields (seconds first) or a macro such as `@daily`.
    ///
    /// Names (`MON`, `JAN`), `L`, `W`, `LW`, `FRI#2` and `FRIL` are understood. With both day fields set either may
    /// match; both must when one of them begins with `*`, or when the day of week begins with `+`.
    ///
    /// # Errors
    /// [`CronError`] for text that is no schedule, and for one that never fires.
    pub fn parse(expression: &str, zone: TimeZone, _seed: &str) -> Result<Self, CronError> {
        let expression = expression.trim();
        let fields = expand_macro(expression)?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let from_minute = match fields.len() {
            5 => fields.as_slice(),
            6 => &fields[1..],
            found => return Err(CronError::FieldCount { found }),
        };
        check_fields(&fields)?;

        let begins_with_star = |field: usize| from_minute[field].starts_with(['*', '?']);
        let day_starred = begins_with_star(2) || begins_with_star(4);
        let syntax = |reason: croner::errors::CronError| CronError::Syntax {
            expression: expression.to_owned(),
            reason: reason.to_string().trim_end_matches('.').to_owned(),
        };
        let pattern = croner::parser::CronParser::builder()
            .year(croner::parser::Year::Disallowed)
            .dom_and_dow(day_starred)
            .build()
            .parse(&fields.join(" "))
            .map_err(syntax)?;
        let form = if begins_with_star(0) || begins_with_star(1) { Form::Interval } else { Form::Fixed };
        let days = if day_starred { DayFields::AtMostOne } else { DayFields::Both };
        let schedule = Self { expression: expression.into(), zone, pattern: Arc::new(pattern), form, days };
        if schedule.local_after(DateTime::constant(2000, 1, 1, 0, 0, 0, 0), Edge::Included).is_none() {
            return Err(CronError::Never { expression: expression.to_owned() });
        }
        Ok(schedule)
    }

    /// Returns the expression as written.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// Returns the zone in which dates are computed.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Tells whether the schedule is fixed (see the head of this file) and not an interval schedule.
    pub fn is_fixed(&self) -> bool {
        self.form == Form::Fixed
    }

    /// Tells whether both day of month and day of week are set, so that either may match: seldom meant.
    pub fn has_two_day_fields(&self) -> bool {
        self.days == DayFields::Both
    }

    /// Finds the first slot strictly after an instant; `None` when there is none in the searched years.
    pub fn next_after(&self, after: Timestamp) -> Option<Slot> {
        match self.form {
            Form::Fixed => self.fixed_after(after),
            Form::Interval => self.interval_after(after),
        }
    }

    /// Finds the latest slot at or before an instant.
    pub fn latest_until(&self, until: Timestamp) -> Option<Slot> {
        match self.form {
            Form::Fixed => self.fixed_until(until),
            Form::Interval => self.interval_until(until),
        }
    }

    fn fixed_after(&self, after: Timestamp) -> Option<Slot> {
        let mut from = self.zone.to_datetime(after);
        let mut edge = Edge::Excluded;
        for _ in 0..MAX_STRETCHES {
            let local = self.local_after(from, edge)?;
            match civil::instants(&self.zone, local)? {
                Instants::One(at) if at > after => return Some(Slot::plain(at)),
                Instants::Gap { end, length } if length < CORRECTION && end > after => {
                    return Some(self.slot_after_gap(end));
                }
                Instants::Gap { end, .. } => from = self.zone.to_datetime(end),
                Instants::Overlap { first, .. } if first > after => return Some(Slot::plain(first)),
                Instants::Overlap { turn, .. } => from = self.end_of_overlap(turn),
                Instants::One(_) => {
                    (from, edge) = (local, Edge::Excluded);
                    continue;
                }
            }
            edge = Edge::Included;
        }
        None
    }

    fn fixed_until(&self, until: Timestamp) -> Option<Slot> {
        let local_until = self.zone.to_datetime(until);
        let (mut from, mut edge) = match civil::instants(&self.zone, local_until)? {
            // The second pass: everything that the overlap holds has fired in the first.
            Instants::Overlap { turn, .. } if until >= turn => (self.end_of_overlap(turn), Edge::Excluded),
            _ => (local_until, Edge::Included),
        };
        for _ in 0..MAX_STRETCHES {
            let local = self.local_before(from, edge)?;
            match civil::instants(&self.zone, local)? {
                Instants::One(at) | Instants::Overlap { first: at, .. } => return Some(Slot::plain(at)),
                Instants::Gap { end, length } if length < CORRECTION => return Some(self.slot_after_gap(end)),
                Instants::Gap { end, length } => {
                    from = self.zone.to_datetime(end).checked_sub(length).ok()?;
                    edge = Edge::Excluded;
                }
            }
        }
        None
    }

    /// Makes the slot that a gap moved to its end, which may be a time that the expression names anyway.
    fn slot_after_gap(&self, end: Timestamp) -> Slot {
        let local = self.zone.to_datetime(end);
        Slot { shifted: self.local_after(local, Edge::Included) != Some(local), ..Slot::plain(end) }
    }

    /// Finds the first local time after those that an overlap repeats: what clocks showed when they were put back.
    fn end_of_overlap(&self, turn: Timestamp) -> DateTime {
        let before = turn.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(turn);
        self.zone.to_offset(before).to_datetime(turn)
    }

    fn interval_after(&self, after: Timestamp) -> Option<Slot> {
        let (mut stretch, mut edge) = (after, Edge::Excluded);
        for _ in 0..MAX_STRETCHES {
            let offset = self.zone.to_offset(stretch);
            let end = self.zone.following(stretch).next().map(|change| change.timestamp());
            let at = offset.to_timestamp(self.local_after(offset.to_datetime(stretch), edge)?).ok()?;
            match end {
                Some(end) if at >= end => (stretch, edge) = (end, Edge::Included),
                _ => return Some(Slot::plain(at)),
            }
        }
        None
    }

    fn interval_until(&self, until: Timestamp) -> Option<Slot> {
        let (mut stretch, mut edge) = (until, Edge::Included);
        for _ in 0..MAX_STRETCHES {
            // With the edge excluded `stretch` is the change that ends the stretch asked about.
            let inside = match edge {
                Edge::Included => stretch,
                Edge::Excluded => stretch.checked_sub(SignedDuration::from_nanos(1)).ok()?,
            };
            let offset = self.zone.to_offset(inside);
            let just_after = inside.checked_add(SignedDuration::from_nanos(1)).ok()?;
            let start = self.zone.preceding(just_after).next().map(|change| change.timestamp());
            let at = offset.to_timestamp(self.local_before(offset.to_datetime(stretch), edge)?).ok()?;
            match start {
                Some(start) if at < start => (stretch, edge) = (start, Edge::Excluded),
                _ => return Some(Slot::plain(at)),
            }
        }
        None
    }

    /// Finds the first matching local time after `from`, or at it when that edge is included.
    fn local_after(&self, from: DateTime, edge: Edge) -> Option<DateTime> {
        // A fraction of a second lies between two local times that can match.
        let whole = whole_second(from);
        let included = edge == Edge::Included && whole == from;
        self.pattern.find_next_occurrence(&whole, included).ok()
    }

    /// Finds the last matching local time before `from`, or at it when that edge is included.
    fn local_before(&self, from: DateTime, edge: Edge) -> Option<DateTime> {
        let whole = whole_second(from);
        let included = edge == Edge::Included || whole != from;
        self.pattern.find_previous_occurrence(&whole, included).ok()
    }
}

/// Whether a search may answer with the time it starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    Included,
    Excluded,
}

fn whole_second(local: DateTime) -> DateTime {
    local.with().subsec_nanosecond(0).build().unwrap_or(local)
}

/// Replaces a macro by its fields.
fn expand_macro(expression: &str) -> Result<&str, CronError> {
    if expression.is_empty() {
        return Err(CronError::Empty);
    }
    if !expression.starts_with('@') {
        return Ok(expression);
    }
    match expression.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        "@monthly" => Ok("0 0 1 * *"),
        "@weekly" => Ok("0 0 * * SUN"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@hourly" => Ok("0 * * * *"),
        _ => Err(CronError::Macro { name: expression.to_owned() }),
    }
}

/// Refuses the first field that croner does not read, or would take for another, such as `MON` for a minute.
fn check_fields(fields: &[&str]) -> Result<(), CronError> {
    let known = &FIELDS[FIELDS.len() - fields.len()..];
    for (number, (text, (field, takes))) in fields.iter().zip(known).enumerate() {
        let letters = |c: char| match *field {
            "day of month" => matches!(c.to_ascii_uppercase(), 'L' | 'W' | '?'),
            "month" => c.is_ascii_alphabetic(),
            "day of week" => c.is_ascii_alphabetic() || matches!(c, '#' | '?' | '+'),
            _ => false,
        };
        let right_characters = text.chars().all(|c| c.is_ascii_digit() || "*,-/".contains(c) || letters(c));
        let mut alone = vec!["*"; fields.len()];
        alone[number] = text;
        if !right_characters || croner::parser::CronParser::new().parse(&alone.join(" ")).is_err() {
            return Err(CronError::Field { field, takes, text: (*text).to_owned() });
        }
    }
    Ok(())
}
