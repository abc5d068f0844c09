//! What a run costs: action-minutes times a price (AWS FIS pricing page), in whole millionths of a dollar.
//!
//! Pure. AWS bills each action from its start to its end, rounded to the nearest minute, once for every account that the
//! experiment acts in. Before a run the minutes of each action are rounded up, so that a forecast is never below the bill.

use std::{fmt, str::FromStr};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::{
    experiment::{EstimateKind, Experiment},
    fis::FisExperiment,
    template::{TemplateAction, TemplateFacts},
};

/// Price of an action-minute.
const PRICE: Usd = Usd::from_cents(10);

/// Price of an action-minute in AWS GovCloud.
const PRICE_IN_GOVCLOUD: Usd = Usd::from_cents(12);

/// How the names of GovCloud's Regions begin.
const GOVCLOUD: &str = "us-gov-";

/// Digits behind the point that an amount is kept with.
const DIGITS: usize = 6;

/// An amount of US dollars, in whole millionths. Sums saturate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Usd {
    micros: u64,
}

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self { micros: 0 };

    /// Makes an amount of hundredths of a dollar.
    pub const fn from_cents(cents: u32) -> Self {
        Self { micros: cents as u64 * 10_000 }
    }

    /// Makes an amount of millionths of a dollar.
    pub const fn from_micros(micros: u64) -> Self {
        Self { micros }
    }

    /// Returns the amount in millionths of a dollar.
    pub const fn micros(self) -> u64 {
        self.micros
    }

    /// Adds an amount.
    pub const fn plus(self, other: Self) -> Self {
        Self { micros: self.micros.saturating_add(other.micros) }
    }

    /// Takes the amount so many times.
    pub const fn times(self, count: u64) -> Self {
        Self { micros: self.micros.saturating_mul(count) }
    }
}

/// Shows at least cents: `24.80`, `0.125`.
impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:06}", self.micros % 1_000_000);
        let (cents, rest) = digits.split_at(2);
        write!(f, "{}.{cents}{}", self.micros / 1_000_000, rest.trim_end_matches('0'))
    }
}

/// A text that is not an amount of dollars.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsdError {
    /// Other than digits and one point.
    #[error("`{text}` is not an amount of US dollars")]
    NotAnAmount {
        /// The text.
        text: String,
    },
    /// Finer than a millionth.
    #[error("`{text}` has more than {DIGITS} digits behind the point")]
    TooFine {
        /// The text.
        text: String,
    },
    /// Beyond what is kept.
    #[error("`{text}` is more than {} US dollars", u64::MAX / 1_000_000)]
    TooMuch {
        /// The text.
        text: String,
    },
}

impl FromStr for Usd {
    type Err = UsdError;

    /// Reads `500`, `24.8` or `0.10`, exactly.
    fn from_str(text: &str) -> Result<Self, UsdError> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(whole) || !is_number(part) {
            return Err(UsdError::NotAnAmount { text: text.to_owned() });
        }
        let part = part.trim_end_matches('0');
        if part.len() > DIGITS {
            return Err(UsdError::TooFine { text: text.to_owned() });
        }
        let micros = format!("{whole}{part:0<DIGITS$}").parse();
        micros.map(Self::from_micros).map_err(|_digits| UsdError::TooMuch { text: text.to_owned() })
    }
}

/// What the configuration says of money.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// The most that the runs of a calendar month (in UTC, as AWS bills) may cost together; `None` is no limit.
    pub monthly: Option<Usd>,
    /// Price of an action-minute; `None` is AWS's own.
    pub price_per_action_minute: Option<Usd>,
    /// What happens to a run that could exceed the limit.
    pub on_exceeded: OnExceeded,
}

/// What happens to a run that could exceed the budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnExceeded {
    /// It is refused.
    #[default]
    Refuse,
    /// It starts all the same, and that is said.
    Warn,
}

/// What a run of an experiment costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Action-minutes; `None` when the length of some action is not known.
    pub action_minutes: Option<u64>,
    /// The same with every action that is not known taken to last as long as the experiment may.
    pub most_action_minutes: u64,
    /// Price of one.
    pub price: Usd,
}

impl Cost {
    /// Returns the amount, if it is known.
    pub fn usd(&self) -> Option<Usd> {
        self.action_minutes.map(|minutes| self.price.times(minutes))
    }

    /// Returns the most that it can be: what a budget must be good for.
    pub fn most_usd(&self) -> Usd {
        self.price.times(self.most_action_minutes)
    }
}

/// Computes what a run costs. Actions last as the estimate that the experiment chose says; what was learned is known of a
/// run as a whole only, so there they last as long as they may. None lasts longer than the experiment may.
pub fn cost(experiment: &Experiment, facts: &TemplateFacts, budget: &Budget) -> Cost {
    let length = match experiment.estimate {
        EstimateKind::Ceiling | EstimateKind::Learned => TemplateAction::ceiling,
        EstimateKind::Nominal => TemplateAction::nominal,
    };
    let most = minutes(experiment.max_duration);
    let lasts = || facts.actions.values().map(|action| length(action).map(|length| minutes(length).min(most)));
    let accounts = facts.target_accounts.max(1);
    let known: Option<u64> = lasts().try_fold(0_u64, |sum, minutes| Some(sum.saturating_add(minutes?)));
    let all = lasts().fold(0_u64, |sum, minutes| sum.saturating_add(minutes.unwrap_or(most)));
    let region = facts.region.as_deref().or(experiment.place.region.as_deref());
    Cost {
        action_minutes: known.map(|minutes| minutes.saturating_mul(accounts)),
        most_action_minutes: all.saturating_mul(accounts),
        price: price(budget, region),
    }
}

/// Returns the price of an action-minute in a Region.
pub fn price(budget: &Budget, region: Option<&str>) -> Usd {
    let own = if region.is_some_and(|region| region.starts_with(GOVCLOUD)) { PRICE_IN_GOVCLOUD } else { PRICE };
    budget.price_per_action_minute.unwrap_or(own)
}

/// Counts the action-minutes that AWS bills for an experiment that has ended, in one account: each action that began, to
/// the nearest minute, a half up.
pub fn billed_minutes(fis: &FisExperiment) -> u64 {
    let lengths = fis.actions.values().filter_map(|action| {
        let ended_at = action.ended_at.or(fis.ended_at)?;
        Some(ended_at.duration_since(action.started_at?))
    });
    let half = SignedDuration::from_secs(30);
    lengths.fold(0, |sum, length| sum.saturating_add(whole_minutes(length.saturating_add(half))))
}

/// Counts minutes, one that has begun as a whole one.
fn minutes(length: SignedDuration) -> u64 {
    let begun = SignedDuration::from_secs(60).saturating_sub(SignedDuration::from_nanos(1));
    whole_minutes(length.saturating_add(begun))
}

/// Counts whole minutes; none of a length below zero.
fn whole_minutes(length: SignedDuration) -> u64 {
    u64::try_from(length.as_secs() / 60).unwrap_or(0)
}
