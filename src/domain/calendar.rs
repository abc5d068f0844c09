//! Calendars in iCalendar text (RFC 5545): the spans in which one of their events takes place.
//!
//! Pure, and fails closed: a calendar with anything in it that is not understood is refused as a whole, with the line,
//! since an event that is left out would open or close a window silently. Spans are half-open `[start, end)`. An event
//! that begins in a skipped hour is read with the offset before the gap, so that 02:30 becomes 03:30 (RFC 5545, 3.3.5;
//! weekly windows begin at 03:00 then, see [`super::window`]), one in a repeated hour begins in its first pass. What a line may
//! hold is in `lines`, an event in `event`, a recurrence rule in `rule`; what a source said of a calendar is in [`found`],
//! whether that may still be believed in [`reading`], and our own calendars are written by [`export`].

mod event;
pub mod export;
pub mod found;
mod lines;
pub mod reading;
mod rule;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use self::{event::Event, lines::Component};
use super::civil::later;

/// Longest text of a calendar, in bytes.
pub const MAX_TEXT: usize = 4 * 1024 * 1024;

/// Most occurrences that one question may look at.
const MAX_OCCURRENCES: usize = 100_000;

/// Most periods of recurrence rules, hours or days or longer, that one question may look at.
const MAX_PERIODS: usize = 1_000_000;

/// How far a transition is looked for, in steps of growing cost.
pub const HORIZONS: [SignedDuration; 3] =
    [SignedDuration::from_hours(24 * 31), SignedDuration::from_hours(24 * 366), SignedDuration::from_hours(24 * 3_660)];

/// How much further than asked for occurrences are looked at, before and after, so that the next questions are answered
/// without following any rule again.
const BEFORE: SignedDuration = SignedDuration::from_hours(24 * 400);
const AFTER: SignedDuration = SignedDuration::from_hours(24 * 430);

/// Most spans that are kept for the next questions.
const MAX_KEPT: usize = 20_000;

/// A calendar. Clones share what was computed of it.
#[derive(Debug, Clone)]
pub struct Calendar {
    content: Content,
    default_state: Option<DefaultState>,
    computed: Arc<Mutex<Option<Computed>>>,
}

#[derive(Debug, Clone)]
enum Content {
    Events {
        events: Vec<Event>,
        /// Occurrences that are replaced or cancelled, by the event's UID.
        replaced: BTreeMap<String, BTreeSet<Timestamp>>,
    },
    /// Busy while any of these is closed.
    AnyClosed(Vec<Calendar>),
}

/// The spans that meet `[from, to)`.
#[derive(Debug)]
struct Computed {
    from: Timestamp,
    to: Timestamp,
    spans: Vec<Busy>,
}

/// What a change calendar of AWS says about the time outside of its events (`X-CALENDAR-TYPE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultState {
    /// Open, and closed during events.
    Open,
    /// Closed, and open during events.
    Closed,
}

/// A span of time, `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Busy {
    /// First instant.
    pub start: Timestamp,
    /// First instant after it.
    pub end: Timestamp,
}

/// A calendar that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct CalendarError {
    /// Line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a calendar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// More than one calendar's worth of text.
    #[error("the calendar is longer than {limit} bytes")]
    TooLong {
        /// Most bytes.
        limit: usize,
    },
    /// Not a calendar.
    #[error("the text does not begin with BEGIN:VCALENDAR")]
    NotACalendar,
    /// Neither `NAME:VALUE` nor a continuation.
    #[error("the line is no property")]
    Line,
    /// An `END` that fits no `BEGIN`, or the other way round.
    #[error("`{name}` is not ended, or ended where it did not begin")]
    Unbalanced {
        /// The component.
        name: String,
    },
    /// A property that an event needs.
    #[error("the event has no {name}")]
    Missing {
        /// The property.
        name: &'static str,
    },
    /// A property that may be there once.
    #[error("the event has more than one {name}")]
    Repeated {
        /// The property.
        name: &'static str,
    },
    /// A value that is not what the property holds.
    #[error("`{value}` is no value for {name}")]
    Value {
        /// The property.
        name: String,
        /// Its value.
        value: String,
    },
    /// Something that is valid and not understood here.
    #[error("{what} is not supported")]
    Unsupported {
        /// What it is.
        what: &'static str,
    },
    /// A zone without rules.
    #[error("the time zone `{zone}` is not known")]
    Zone {
        /// Its name.
        zone: String,
    },
    /// A part of a recurrence rule.
    #[error("`{part}` is no part of a recurrence rule")]
    Rule {
        /// The part.
        part: String,
    },
    /// Parts of a recurrence rule that do not go together.
    #[error("{part} does not go with FREQ={frequency}")]
    Together {
        /// The part.
        part: &'static str,
        /// The rule's frequency.
        frequency: String,
    },
    /// A recurrence rule that does not recur.
    #[error("`{rule}` names no second date within {years} years")]
    Once {
        /// The rule.
        rule: String,
        /// How far it was looked for.
        years: i64,
    },
    /// A year that no event is expected in.
    #[error("the year {year} is out of range: from {first} to {last} is possible")]
    Year {
        /// The year.
        year: i16,
        /// First year.
        first: i16,
        /// Last year.
        last: i16,
    },
    /// More occurrences than can be looked at.
    #[error(
        "the calendar has more than {limit} occurrences to look at: let the event begin later, or recur less often"
    )]
    TooMany {
        /// Most occurrences.
        limit: usize,
    },
}

impl Calendar {
    /// Reads a calendar; dates, and times without a zone, are in UTC unless it says `X-WR-TIMEZONE`.
    ///
    /// # Errors
    /// [`CalendarError`] for the first thing that is not understood.
    pub fn parse(text: &str) -> Result<Self, CalendarError> {
        Self::parse_in(text, &TimeZone::UTC)
    }

    /// As [`Calendar::parse`], with another zone than UTC.
    ///
    /// # Errors
    /// As [`Calendar::parse`].
    pub fn parse_in(text: &str, zone: &TimeZone) -> Result<Self, CalendarError> {
        let root = lines::parsed(text)?;
        let zones = event::Zones::of(text, &root, zone)?;
        let mut searched = 0_usize;
        let mut events = Vec::new();
        let mut replaced: BTreeMap<String, BTreeSet<Timestamp>> = BTreeMap::new();
        for component in root.children.iter().filter(|component| component.name == "VEVENT") {
            let event = Event::parse(component, &zones)?;
            if let Some((uid, at)) = event.uid.clone().zip(event.recurrence_id) {
                replaced.entry(uid).or_default().insert(at);
            }
            searched = searched.saturating_add(event.periods_to_second());
            if searched > MAX_PERIODS {
                return Err(CalendarError { line: event.line, problem: Problem::TooMany { limit: MAX_PERIODS } });
            }
            events.push(event);
        }
        Ok(Self::new(Content::Events { events, replaced }, default_state(&root)?))
    }

    /// Stands for a change calendar that is open, or closed, all the time.
    pub fn constant(state: DefaultState) -> Self {
        Self::new(Content::Events { events: Vec::new(), replaced: BTreeMap::new() }, Some(state))
    }

    /// Puts change calendars together: open only while all of them are.
    pub fn all_open(calendars: Vec<Self>) -> Self {
        Self::new(Content::AnyClosed(calendars), Some(DefaultState::Open))
    }

    fn new(content: Content, default_state: Option<DefaultState>) -> Self {
        Self { content, default_state, computed: Arc::default() }
    }

    /// What an AWS change calendar is outside of its events; `None` for any other calendar.
    pub fn default_state(&self) -> Option<DefaultState> {
        self.default_state
    }

    /// The spans of events that overlap `[from, to)`, in order, those that touch or overlap joined. An edge that lies
    /// outside may lie elsewhere in truth, but not inside.
    ///
    /// # Errors
    /// [`Problem::TooMany`].
    pub fn spans(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Busy>, CalendarError> {
        let mut computed = self.computed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = computed.as_ref().filter(|known| known.from <= from && to <= known.to) {
            return Ok(known.meeting(from, to));
        }
        let (early, late) = (from.saturating_sub(BEFORE).unwrap_or(Timestamp::MIN), later(to, AFTER));
        let new = match self.compute(early, late) {
            Ok(spans) if spans.len() <= MAX_KEPT => Computed { from: early, to: late, spans },
            // Too much to look around that far.
            Ok(_) | Err(_) => Computed { from, to, spans: self.compute(from, to)? },
        };
        let found = new.meeting(from, to);
        *computed = Some(new).filter(|new| new.spans.len() <= MAX_KEPT);
        Ok(found)
    }

    /// The time within `[from, to)` at which a change calendar of AWS is closed; of any other calendar, its events. Edges
    /// as in [`Calendar::spans`].
    ///
    /// # Errors
    /// [`Problem::TooMany`].
    pub fn closed(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Busy>, CalendarError> {
        let spans = self.spans(from, to)?;
        Ok(if self.default_state == Some(DefaultState::Closed) { gaps(&spans, from, to) } else { spans })
    }

    fn compute(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Busy>, CalendarError> {
        let spans = match &self.content {
            Content::Events { events, replaced } => occurrences(events, replaced, from, to)?,
            Content::AnyClosed(calendars) => {
                let closed = calendars.iter().map(|calendar| calendar.closed(from, to));
                closed.collect::<Result<Vec<_>, _>>()?.concat()
            }
        };
        Ok(joined(spans))
    }

    /// The span that an instant lies in.
    ///
    /// # Errors
    /// [`Problem::TooMany`].
    pub fn covering(&self, at: Timestamp) -> Result<Option<Busy>, CalendarError> {
        let spans = self.spans(at, later(at, SignedDuration::from_nanos(1)))?;
        Ok(spans.into_iter().find(|span| span.start <= at && at < span.end))
    }

    /// The next instant after `at` at which a span begins or ends; `None` when there is none within about ten years.
    ///
    /// # Errors
    /// [`Problem::TooMany`].
    pub fn next_transition(&self, at: Timestamp) -> Result<Option<Timestamp>, CalendarError> {
        for horizon in HORIZONS {
            let to = later(at, horizon);
            match self.spans(at, to)?.first() {
                Some(span) if span.start > at => return Ok(Some(span.start)),
                // What begins behind the horizon could join it.
                Some(span) if span.end < to => return Ok(Some(span.end)),
                _further => {}
            }
        }
        Ok(None)
    }
}

impl Computed {
    fn meeting(&self, from: Timestamp, to: Timestamp) -> Vec<Busy> {
        let first = self.spans.partition_point(|span| span.end <= from);
        self.spans.iter().skip(first).take_while(|span| span.start < to).copied().collect()
    }
}

fn occurrences(
    events: &[Event],
    replaced: &BTreeMap<String, BTreeSet<Timestamp>>,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Busy>, CalendarError> {
    let (mut left, mut periods) = (MAX_OCCURRENCES, 0_usize);
    let mut spans = Vec::new();
    let nothing = BTreeSet::new();
    for event in events.iter().filter(|event| !event.cancelled) {
        periods = periods.saturating_add(event.periods(to));
        if periods > MAX_PERIODS {
            return Err(CalendarError { line: event.line, problem: Problem::TooMany { limit: MAX_PERIODS } });
        }
        let starts = event.starts(to, left)?;
        left = left.saturating_sub(starts.len());
        // An event that replaces an occurrence is none that can be replaced.
        let uid = event.uid.as_ref().filter(|_| event.recurrence_id.is_none());
        let replaced = uid.and_then(|uid| replaced.get(uid)).unwrap_or(&nothing);
        for (start, end) in starts {
            if !replaced.contains(&start) && start < to && end > from && start < end {
                spans.push(Busy { start, end });
            }
        }
    }
    Ok(spans)
}

/// Puts spans into order and together.
fn joined(mut spans: Vec<Busy>) -> Vec<Busy> {
    spans.sort_unstable();
    let mut joined: Vec<Busy> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _apart => joined.push(span),
        }
    }
    joined
}

/// What lies between spans that meet `[from, to)`. Where none of them ends or begins it goes on without an edge.
fn gaps(spans: &[Busy], from: Timestamp, to: Timestamp) -> Vec<Busy> {
    let ends = std::iter::once(Timestamp::MIN).chain(spans.iter().map(|span| span.end));
    let starts = spans.iter().map(|span| span.start).chain([Timestamp::MAX]);
    let all = ends.zip(starts).map(|(start, end)| Busy { start, end });
    all.filter(|gap| gap.start < gap.end && gap.start < to && from < gap.end).collect()
}

fn default_state(root: &Component) -> Result<Option<DefaultState>, CalendarError> {
    let Some(property) = root.properties.iter().find(|property| property.name == "X-CALENDAR-TYPE") else {
        return Ok(None);
    };
    match property.value.trim() {
        "DEFAULT_OPEN" => Ok(Some(DefaultState::Open)),
        "DEFAULT_CLOSED" => Ok(Some(DefaultState::Closed)),
        _other => Err(property.refused()),
    }
}

/// The instant of a local time: in a gap by the offset before it, in a repeated hour the first one (RFC 5545, 3.3.5).
fn instant(local: jiff::civil::DateTime, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_ambiguous_timestamp(local).compatible().ok()
}
