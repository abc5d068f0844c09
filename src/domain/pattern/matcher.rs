//! Many patterns at once: which of them match an event.
//!
//! Conditions that patterns share are asked once an event. Each branch of a pattern waits behind one of its conditions:
//! the plain texts that the fewest others wait for where it has any, found by a look-up of the event's own text; else the
//! condition that most others have too.

use std::{cell::Cell, collections::HashMap, sync::Arc};

use super::{
    Field, Pattern,
    arrays::{self, Holdings},
    condition::{Condition, Scalar},
    leaves::Leaves,
    paths::{Paths, index, number},
    scan::{self, Scratch},
    text::UnreadableText,
};

/// Events of more bytes leave no memory behind for the next one.
const MAX_KEPT: usize = 1024 * 1024;

thread_local! {
    /// Memory of the last call, of whichever matcher.
    static WORK: Cell<Option<Box<Work>>> = const { Cell::new(None) };
}

/// Patterns, compiled into one. Shared by all who ask; each thread reuses its memory.
#[derive(Debug, Default)]
pub struct Matcher {
    paths: Paths,
    tests: Vec<Test>,
    rules: Vec<Rule>,
    /// Tests of the rules, one rule's behind the other's.
    members: Vec<u32>,
    /// Places that rules wait at, and for each text the tests it satisfies.
    index: Vec<(u32, ByText)>,
    /// Tests that are asked of every event because rules wait behind them.
    always: Vec<u32>,
}

/// Tests by a text that satisfies them.
type ByText = HashMap<Box<[u8]>, Vec<u32>>;

/// A condition at a place, shared by the rules that have it.
#[derive(Debug)]
pub(super) struct Test {
    /// Number of the place.
    pub(super) place: u32,
    field: Arc<Field>,
    /// Rules that wait behind it.
    waiting: Vec<u32>,
}

/// A branch of a pattern.
#[derive(Debug)]
struct Rule {
    pattern: u32,
    /// Its tests: `[from, to)` of the members.
    from: u32,
    to: u32,
}

/// What is known of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    No,
    Yes,
    /// Some value satisfies it, or none may be needed, but values lie in array elements.
    Bound,
}

/// Memory of one call.
#[derive(Debug, Default)]
struct Work {
    scratch: Scratch,
    holdings: Holdings,
    /// By test: what is known of it, and whether the rules behind it were judged.
    known: Vec<(Option<Answer>, bool)>,
}

impl Test {
    pub(super) fn new(place: u32, field: Arc<Field>) -> Self {
        Self { place, field, waiting: Vec::new() }
    }

    pub(super) fn condition(&self) -> &Condition {
        &self.field.condition
    }

    /// Answers for a whole event, arrays aside.
    pub(super) fn ask(&self, leaves: &Leaves, event: &[u8]) -> Answer {
        let condition = self.condition();
        let bound = leaves.is_bound(self.place);
        let mut next = leaves.first(self.place);
        if next.is_none() {
            return if condition.absent { Answer::Yes } else { Answer::No };
        }
        while let Some(leaf) = next {
            if condition.takes(&leaves.scalar(leaf, event)) || bound && condition.absent {
                return if bound { Answer::Bound } else { Answer::Yes };
            }
            next = leaves.after(leaf);
        }
        Answer::No
    }
}

impl Matcher {
    /// Compiles patterns; they are known by their position from then on.
    pub fn new<'p>(patterns: impl IntoIterator<Item = &'p Pattern>) -> Self {
        let mut matcher = Self::default();
        let mut known: HashMap<(&str, &str), u32> = HashMap::new();
        for (own, pattern) in patterns.into_iter().enumerate() {
            for branch in &pattern.branches {
                let from = number(matcher.members.len());
                for field in pattern.fields_of(branch) {
                    let test = *known.entry((&field.path, &field.condition.wanted)).or_insert_with(|| {
                        let place = matcher.paths.insert(&field.path, field.condition.reads_numbers());
                        matcher.tests.push(Test::new(place, Arc::clone(field)));
                        number(matcher.tests.len() - 1)
                    });
                    matcher.members.push(test);
                }
                let to = number(matcher.members.len());
                matcher.rules.push(Rule { pattern: number(own), from, to });
            }
        }
        matcher.queue();
        matcher
    }

    /// Lets each rule wait behind one of its tests.
    fn queue(&mut self) {
        let mut shared = vec![0_usize; self.tests.len()];
        for test in &self.members {
            shared[index(*test)] += 1;
        }
        // How many rules a text of the event would lead to.
        let mut led: HashMap<(u32, &[u8]), usize> = HashMap::new();
        for (test, shared) in self.tests.iter().zip(&shared).filter(|(test, _)| test.condition().is_exact()) {
            for text in test.condition().texts.iter() {
                *led.entry((test.place, text)).or_default() += shared;
            }
        }
        let crowd: Vec<Option<usize>> = self
            .tests
            .iter()
            .map(|test| {
                let texts = test.condition().is_exact().then(|| test.condition().texts.iter())?;
                texts.map(|text| led.get(&(test.place, text)).copied().unwrap_or_default()).max()
            })
            .collect();
        let rank = |test: &&u32| {
            let own = index(**test);
            crowd[own].map_or((1, usize::MAX - shared[own]), |crowd| (0, crowd))
        };
        for (number_of_rule, rule) in self.rules.iter().enumerate() {
            let members = &self.members[index(rule.from)..index(rule.to)];
            if let Some(test) = members.iter().min_by_key(rank) {
                self.tests[index(*test)].waiting.push(number(number_of_rule));
            }
        }
        let mut places: HashMap<u32, ByText> = HashMap::new();
        for (own, test) in self.tests.iter().enumerate().filter(|(_, test)| !test.waiting.is_empty()) {
            if crowd[own].is_none() {
                self.always.push(number(own));
                continue;
            }
            let texts = places.entry(test.place).or_default();
            for text in test.condition().texts.iter() {
                texts.entry(text.into()).or_default().push(number(own));
            }
        }
        self.index = places.into_iter().collect();
    }

    /// Returns the positions of the patterns that match an event, in order.
    ///
    /// # Errors
    /// [`UnreadableText`] for what is not a JSON object where any pattern looks; then nothing is known of any.
    pub fn matching(&self, event: &str) -> Result<Vec<usize>, UnreadableText> {
        let mut work = WORK.take().unwrap_or_default();
        let scanned = scan::scan(event, &self.paths, &mut work.scratch);
        let found = scanned.map(|()| self.found(event.as_bytes(), &mut work));
        if event.len() <= MAX_KEPT {
            WORK.set(Some(work));
        }
        found
    }

    fn found(&self, event: &[u8], work: &mut Work) -> Vec<usize> {
        work.known.clear();
        work.known.resize(self.tests.len(), (None, false));
        let mut found = Vec::new();
        for test in &self.always {
            if self.answer(*test, event, work) != Answer::No {
                self.judge_waiting(*test, event, work, &mut found);
            }
        }
        for (place, texts) in &self.index {
            let mut next = work.scratch.leaves.first(*place).copied();
            while let Some(leaf) = next {
                next = work.scratch.leaves.after(&leaf).copied();
                let Scalar::Text(text) = work.scratch.leaves.scalar(&leaf, event) else { continue };
                for test in texts.get(text).into_iter().flatten() {
                    if !std::mem::replace(&mut work.known[index(*test)].1, true) {
                        self.judge_waiting(*test, event, work, &mut found);
                    }
                }
            }
        }
        // Several branches of a pattern may have matched.
        found.sort_unstable();
        found.dedup();
        found
    }

    fn answer(&self, test: u32, event: &[u8], work: &mut Work) -> Answer {
        let Work { scratch, known, .. } = work;
        *known[index(test)].0.get_or_insert_with(|| self.tests[index(test)].ask(&scratch.leaves, event))
    }

    fn judge_waiting(&self, test: u32, event: &[u8], work: &mut Work, found: &mut Vec<usize>) {
        for rule in &self.tests[index(test)].waiting {
            let rule = &self.rules[index(*rule)];
            if self.judge(rule, event, work) {
                found.push(index(rule.pattern));
            }
        }
    }

    fn judge(&self, rule: &Rule, event: &[u8], work: &mut Work) -> bool {
        let members = &self.members[index(rule.from)..index(rule.to)];
        let mut bound = 0;
        let mut absent = false;
        for test in members {
            match self.answer(*test, event, work) {
                Answer::No => return false,
                Answer::Yes => {}
                Answer::Bound => {
                    bound += 1;
                    absent |= self.tests[index(*test)].condition().absent;
                }
            }
        }
        if bound == 0 || bound == 1 && !absent {
            return true;
        }
        let Work { scratch, holdings, known } = work;
        let tests = members.iter().filter(|test| known[index(**test)].0 == Some(Answer::Bound));
        arrays::consistent(tests.map(|test| &self.tests[index(*test)]), &scratch.leaves, event, holdings)
    }
}
