//! Recipes: a world in one line, its seed and what is left of all that the seed draws.
//!
//! `3430` is the whole world. `3430 happenings=2,17 until=5400000 windows=` leaves out all other happenings and every
//! window, and calms after so many milliseconds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use firedrill::domain::{experiment::Rules, window::Window};
use jiff::Timestamp;

use super::{
    edges,
    happening::Happening,
    scenario::{self, HOUR_MS, SECOND_MS, Template},
    written,
};
use crate::{
    sim::{
        planted::Bug,
        simulated::{nature, queue},
        troubles::{
            budgets, cuts, denials, endings,
            places::{self, Amiss},
            policies::{self, Served},
            refused, renames, restore, returns, unread,
        },
    },
    support::{chance::Chance, runs::name},
};

/// Which world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    pub seed: u64,
    pub bug: Bug,
    /// The happenings that happen, by their number among those drawn. `None`, here and below: as drawn.
    pub happenings: Option<BTreeSet<usize>>,
    /// The experiments that are configured at first.
    pub experiments: Option<BTreeSet<String>>,
    /// The windows that are configured at first.
    pub windows: Option<BTreeSet<String>>,
    /// When nothing goes wrong any more, in milliseconds.
    pub until: Option<u64>,
    /// How many replicas there are.
    pub replicas: Option<u64>,
}

/// What a world is made of.
pub struct Drawn {
    pub base: Timestamp,
    pub rules: Rules,
    pub templates: Vec<Template>,
    /// By number: when, and what.
    pub happenings: Vec<(usize, u64, Happening)>,
    pub until: u64,
    pub replicas: u64,
    /// How long a lease lasts, in milliseconds.
    pub ttl_ms: u64,
    /// What chance begins with.
    pub chance: u64,
    /// When something is amiss with places.
    pub amiss: Amiss,
    /// What templates say for their own safety when, by id.
    pub served: BTreeMap<String, Served>,
}

impl Recipe {
    /// The whole world of a seed.
    pub fn of(seed: u64) -> Self {
        Self { seed, bug: Bug::None, happenings: None, experiments: None, windows: None, until: None, replicas: None }
    }

    /// Reads what [`Display`](fmt::Display) writes.
    pub fn parse(text: &str) -> Self {
        let mut words = text.split_whitespace();
        let mut recipe = Self::of(words.next().and_then(|word| word.parse().ok()).expect("a seed"));
        for (key, value) in words.map(|word| word.split_once('=').expect("KEY=VALUE")) {
            let list = || value.split(',').filter(|item| !item.is_empty());
            match key {
                "bug" => recipe.bug = Bug::named(value),
                "happenings" => recipe.happenings = Some(list().map(|n| n.parse().expect("a number")).collect()),
                "experiments" => recipe.experiments = Some(list().map(str::to_owned).collect()),
                "windows" => recipe.windows = Some(list().map(str::to_owned).collect()),
                "replicas" => recipe.replicas = Some(value.parse().expect("a number")),
                "until" => recipe.until = Some(value.parse().expect("milliseconds")),
                _ => panic!("a recipe has no `{key}`"),
            }
        }
        recipe
    }

    /// Draws everything, and leaves out what the recipe does.
    pub fn draw(&self) -> Drawn {
        let mut c = Chance::new(self.seed);
        let base = nature::base(&mut c);
        let mut rules = scenario::rules(&mut c, base);
        let written = written::rules(self.seed, base);
        let templates = scenario::templates(&mut c, base);
        let replicas = c.pick(&[1, 1, 2, 3]);
        let length = if replicas == 1 { c.between(HOUR_MS / 2, 3 * HOUR_MS) } else { c.between(HOUR_MS / 6, HOUR_MS) };
        let mut happenings = scenario::happenings(&mut c, length, replicas);
        if let Some(written) = written {
            // Calendars stand in no file.
            let read = rules.windows.iter().filter(|window| !window.calendars.is_empty()).cloned();
            let read = read.map(|window| Window { name: name(&format!("{}-read", window.name)), ..window });
            rules = Rules { windows: written.windows.iter().cloned().chain(read).collect(), ..written };
        }
        happenings.extend(edges::happenings((self.seed, replicas), base, length, &mut rules, &templates, &happenings));
        happenings.extend(queue::happenings(self.seed, &happenings));
        happenings.extend(unread::happenings(self.seed, length));
        happenings.extend(restore::happenings(self.seed, length));
        happenings.extend(refused::happenings(self.seed, length));
        happenings.extend(renames::happenings(self.seed, length, &mut rules));
        happenings.extend(cuts::happenings(self.seed, replicas, length));
        happenings.extend(denials::happenings(self.seed, length));
        happenings.extend(returns::happenings(self.seed, length));
        happenings.extend(endings::happenings(self.seed, length));
        happenings.extend(budgets::happenings(self.seed, length, &mut rules));
        let happenings = happenings.into_iter().enumerate();
        let amiss = places::amiss(self.seed, length, &mut rules);
        let served = policies::draw(self.seed, length, &mut rules, &templates);
        let ttl_ms = c.pick(&[5, 5, 15, 60]) * SECOND_MS;
        if let Some(kept) = &self.experiments {
            rules.experiments.retain(|name, _| kept.contains(name.as_str()));
        }
        if let Some(kept) = &self.windows {
            rules.windows =
                rules.windows.iter().filter(|window| kept.contains(window.name.as_str())).cloned().collect();
        }
        let is_kept = |n: &usize| self.happenings.as_ref().is_none_or(|kept| kept.contains(n));
        Drawn {
            base,
            rules,
            templates,
            happenings: happenings.filter(|(n, _)| is_kept(n)).map(|(n, (at, what))| (n, at, what)).collect(),
            until: self.until.unwrap_or(length),
            replicas: self.replicas.unwrap_or(replicas),
            ttl_ms,
            chance: c.between(0, u64::MAX - 1),
            amiss,
            served,
        }
    }

    /// The same world with all that it is made of named.
    pub fn spelt_out(self) -> Self {
        let drawn = self.draw();
        let windows = drawn.rules.windows.iter().map(|window| window.name.to_string());
        Self {
            happenings: Some(drawn.happenings.iter().map(|(n, ..)| *n).collect()),
            experiments: Some(drawn.rules.experiments.keys().map(ToString::to_string).collect()),
            windows: Some(windows.collect()),
            until: Some(drawn.until),
            replicas: Some(drawn.replicas),
            ..self
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<T: ToString>(items: &BTreeSet<T>) -> String {
            items.iter().map(T::to_string).collect::<Vec<_>>().join(",")
        }
        write!(f, "{}", self.seed)?;
        if self.bug != Bug::None {
            write!(f, " bug={:?}", self.bug)?;
        }
        if let Some(kept) = &self.happenings {
            write!(f, " happenings={}", list(kept))?;
        }
        for (key, kept) in [("experiments", &self.experiments), ("windows", &self.windows)] {
            if let Some(kept) = kept {
                write!(f, " {key}={}", list(kept))?;
            }
        }
        if let Some(replicas) = self.replicas {
            write!(f, " replicas={replicas}")?;
        }
        self.until.map_or(Ok(()), |until| write!(f, " until={until}"))
    }
}
