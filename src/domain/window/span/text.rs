//! The words of spans: weekdays, times of day and the days of lists.
//!
//! Pure.

use jiff::civil::{Time, Weekday};

use super::SpanError;

/// A time of day that may be 24:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    /// Seconds since midnight, at most 86,400.
    pub(super) seconds: i32,
}

const DAY: i32 = 86_400;
pub(super) const EVERY_DAY: u8 = 0b111_1111;

impl Clock {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':').map(|part| match part.len() {
            1 | 2 => part.parse::<i32>().ok(),
            _ => None,
        });
        let (hour, minute) = (parts.next()??, parts.next()??);
        let second = parts.next().unwrap_or(Some(0))?;
        let seconds = hour * 3600 + minute * 60 + second;
        (parts.next().is_none() && minute < 60 && second < 60 && seconds <= DAY).then_some(Self { seconds })
    }

    /// Splits off a whole day, which only 24:00 has.
    pub(super) fn normal(self) -> (i64, Time) {
        let within = self.seconds % DAY;
        let part = |value: i32| i8::try_from(value).unwrap_or_default();
        let time = Time::new(part(within / 3600), part(within / 60 % 60), part(within % 60), 0);
        (i64::from(self.seconds / DAY), time.unwrap_or(Time::midnight()))
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Token {
    Day(Weekday),
    Time(Clock),
    Dash,
    Comma,
}

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, SpanError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let word_end = rest.find(|c: char| c == '-' || c == ',' || c.is_whitespace()).unwrap_or(rest.len());
        let length = if matches!(first, '-' | ',') { 1 } else { word_end };
        let (word, after) = rest.split_at(length);
        let time = |text: &str| Clock::parse(text).ok_or_else(|| SpanError::Time { text: text.to_owned() });
        let day = |text: &str| weekday(text).ok_or_else(|| SpanError::Weekday { word: text.to_owned() });
        match word {
            "-" => tokens.push(Token::Dash),
            "," => tokens.push(Token::Comma),
            _ if first.is_ascii_digit() => tokens.push(Token::Time(time(word)?)),
            _ => match word.split_once(':') {
                // `Mon:22:00`, as ARC writes it.
                Some((before, after)) => tokens.extend([Token::Day(day(before)?), Token::Time(time(after)?)]),
                None => tokens.push(Token::Day(day(word)?)),
            },
        }
        rest = after.trim_start();
    }
    Ok(tokens)
}

/// Finds a weekday by its English name or the first three letters of it, in any case.
pub(super) fn weekday(word: &str) -> Option<Weekday> {
    let names = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let word = word.to_ascii_lowercase();
    let at = names.iter().position(|name| word == *name || word == name[..3])?;
    Weekday::from_monday_zero_offset(i8::try_from(at).ok()?).ok()
}

/// Reads `Mon-Wed,Sat` as bits, Monday first; a range may wrap the week.
pub(super) fn day_list(tokens: &[Token]) -> Option<u8> {
    let mut days = 0;
    for item in tokens.split(|token| matches!(token, Token::Comma)) {
        let (first, last) = match *item {
            [Token::Day(day)] => (day, day),
            [Token::Day(first), Token::Dash, Token::Day(last)] => (first, last),
            _ => return None,
        };
        let length = first.until(last);
        days |= first.cycle_forward().take(usize::try_from(length).ok()? + 1).fold(0, |bits, day| {
            let bit: u8 = 1 << day.to_monday_zero_offset();
            bits | bit
        });
    }
    Some(days)
}
