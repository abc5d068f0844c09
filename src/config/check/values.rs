//! Checks of single values: durations, zones, names, URLs and what AWS calls things.

use std::{net::SocketAddr, ops::RangeInclusive};

use jiff::{
    SignedDuration, Span, SpanRelativeTo, Timestamp,
    civil::{Date, Time},
    tz::TimeZone,
};

use super::{
    super::{path::KeyPath, raw::RawPlace, zone},
    Check,
};
use crate::domain::{civil, experiment::Place, ids::Name};

/// One second.
pub const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// One minute.
pub const MINUTE: SignedDuration = SignedDuration::from_mins(1);
/// One hour.
pub const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// 24 hours.
pub const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Most that a run may be late, or wait for a blackout to lift.
pub const MAX_DELAY: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Which instant of a day stands for the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WholeDay {
    /// Its first.
    Begins,
    /// The first after it.
    Ends,
}

impl Check<'_> {
    /// Reads a duration such as `1h 30m` or `90d` (a day is 24 h) within limits, both included.
    pub fn duration(
        &mut self,
        path: &KeyPath,
        text: Option<String>,
        default: SignedDuration,
        limits: RangeInclusive<SignedDuration>,
    ) -> SignedDuration {
        let Some(text) = text else { return default };
        let Some(duration) = parse_duration(&text) else {
            let hint = "write numbers with units, such as `90s`, `1h 30m` or `90d`".to_owned();
            self.problem(path, format!("`{text}` is not a duration"), Some(hint));
            return default;
        };
        if !limits.contains(&duration) {
            let (least, most) = (shown(*limits.start()), shown(*limits.end()));
            self.problem(path, format!("`{text}` is out of range: from {least} to {most} is possible"), None);
        }
        duration
    }

    /// Reads an IANA zone; UTC without one.
    pub fn zone(&mut self, path: &KeyPath, name: Option<String>) -> Option<TimeZone> {
        let Some(name) = name else { return Some(TimeZone::UTC) };
        let found = zone::find(&name);
        found.map_err(|error| self.problem(path, error.to_string(), Some(error.hint))).ok()
    }

    /// Reads an instant (`2026-03-01T10:00:00Z`), a local time of a zone (`2026-03-01T10:00`) or a day of it. A local time
    /// that clocks skip stands for the first instant after the gap, one that comes twice for the first of the two.
    pub fn instant(&mut self, path: &KeyPath, text: &str, zone: &TimeZone, day: WholeDay) -> Option<Timestamp> {
        let after = |day: Date| civil::first_instant(zone, day.tomorrow().ok()?.to_datetime(Time::midnight()));
        let at = match (civil::date(text), day) {
            (Some(last), WholeDay::Ends) => after(last),
            (Some(_), WholeDay::Begins) | (None, _) => civil::instant(zone, text),
        };
        let (message, hint) = match at {
            Some(at) if at.subsec_nanosecond() == 0 => return Some(at),
            Some(_) => (format!("`{text}` is not a whole second"), "leave out the fraction"),
            None => {
                let hint = "write `2026-03-01T10:00` (in `timezone`), `2026-03-01T10:00:00Z` or `2026-03-01`";
                (format!("`{text}` is not a time"), hint)
            }
        };
        self.problem(path, message, Some(hint.to_owned()));
        None
    }

    /// Reads a number of 1 or more.
    pub fn number(&mut self, path: &KeyPath, number: Option<i64>, default: u32, most: u32) -> u32 {
        let Some(number) = number else { return default };
        match u32::try_from(number) {
            Ok(number) if (1..=most).contains(&number) => number,
            _ => {
                self.problem(path, format!("`{number}` is out of range: from 1 to {most} is possible"), None);
                default
            }
        }
    }

    /// Reads a name of ours.
    pub fn name(&mut self, path: &KeyPath, text: &str) -> Option<Name> {
        Name::parse(text).map_err(|error| self.problem(path, error.to_string(), None)).ok()
    }

    /// Reads where AWS is called, with what is not said taken from elsewhere.
    pub fn place(&mut self, path: &KeyPath, raw: RawPlace, otherwise: &Place) -> Place {
        let region = raw.region.and_then(|region| self.region(&path.key("region"), region));
        let endpoint_url = raw.endpoint_url.and_then(|url| self.url(&path.key("endpoint_url"), url));
        let role_arn = raw.role_arn.and_then(|arn| self.role(&path.key("role_arn"), arn));
        Place {
            region: region.or_else(|| otherwise.region.clone()),
            endpoint_url: endpoint_url.or_else(|| otherwise.endpoint_url.clone()),
            role_arn: role_arn.or_else(|| otherwise.role_arn.clone()),
        }
    }

    /// Reads an AWS account.
    pub fn account(&mut self, path: &KeyPath, text: String) -> Option<String> {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            return Some(text);
        }
        let hint = Some("write its 12 digits in quotes, such as `\"123456789012\"`".to_owned());
        self.problem(path, format!("`{text}` is not an AWS account"), hint);
        None
    }

    /// Reads an absolute URL of HTTP.
    pub fn url(&mut self, path: &KeyPath, text: String) -> Option<String> {
        if text.contains('@') {
            // What may be a password is not repeated.
            let hint = "write `https://host/path`; credentials have places of their own".to_owned();
            self.problem(path, "the URL names a user, or has an `@` elsewhere".to_owned(), Some(hint));
            return None;
        }
        let wrong = match reqwest::Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => return Some(text),
            Ok(url) => format!("`{text}` has the scheme `{}`", url.scheme()),
            Err(error) => format!("`{text}` is not a URL: {error}"),
        };
        self.problem(path, wrong, Some("write `https://host/path`".to_owned()));
        None
    }

    /// Reads an address to listen on.
    pub fn listen(&mut self, path: &KeyPath, text: Option<String>) -> Option<SocketAddr> {
        let text = text?;
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        let hint = "write an IP address and a port: `127.0.0.1:9810` or `[::1]:9810`".to_owned();
        self.problem(path, format!("`{text}` is not an address to listen on"), Some(hint));
        None
    }

    /// Reads the name of an AWS Region.
    pub fn region(&mut self, path: &KeyPath, text: String) -> Option<String> {
        let mut parts = text.split('-').rev();
        let number = parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        let words: Vec<&str> = parts.collect();
        let lower = words.iter().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()));
        if number && lower && words.len() >= 2 {
            return Some(text);
        }
        let hint = Some("write it as AWS does, such as `eu-west-1`".to_owned());
        self.problem(path, format!("`{text}` is not an AWS Region"), hint);
        None
    }

    fn role(&mut self, path: &KeyPath, text: String) -> Option<String> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        if let ["arn", partition, "iam", "", account, resource] = parts[..] {
            let account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
            if partition.starts_with("aws")
                && account
                && resource.len() > "role/".len()
                && resource.starts_with("role/")
            {
                return Some(text);
            }
        }
        let hint = "write `arn:aws:iam::123456789012:role/name`".to_owned();
        self.problem(path, format!("`{text}` is not the ARN of an IAM role"), Some(hint));
        None
    }
}

/// Reads a duration such as `1h 30m` or `90d` (a day is 24 h).
pub fn parse_duration(text: &str) -> Option<SignedDuration> {
    let span: Span = text.trim().parse().ok()?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()
}

/// Returns a duration as it would be written.
pub fn shown(duration: SignedDuration) -> String {
    let days = duration.as_secs() / DAY.as_secs();
    if days > 1 && DAY * i32::try_from(days).unwrap_or(i32::MAX) == duration {
        format!("{days}d")
    } else {
        format!("{duration:#}")
    }
}
