//! All windows of a configuration, with what was computed of them.
//!
//! Pure: what is remembered is computed from the windows alone, and every answer is the same without it. Experiments that
//! the same windows are about share one timeline.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Deref,
    sync::{Arc, PoisonError, RwLock},
};

use jiff::{SignedDuration, Timestamp};

use super::{
    Window, WindowKind,
    scope::Membership,
    timeline::{Page, Strip},
};
use crate::domain::{
    calendar::reading::Reading,
    experiment::{Experiment, Labels},
    ids::{CalendarName, ExperimentName},
};

/// Most pages that are remembered of one timeline, and of what windows contribute to them.
const MAX_PAGES: usize = 4;

/// Most experiments whose windows are remembered.
const MAX_EXPERIMENTS: usize = 100_000;

/// The windows of a configuration, in name order. Cheap to clone; reads like a slice.
#[derive(Debug, Clone, Default)]
pub struct Windows {
    list: Arc<[Window]>,
    longest_stop_lead: SignedDuration,
    longest_lead: SignedDuration,
    memo: Arc<Memo>,
}

/// What was computed.
#[derive(Default)]
struct Memo {
    by_experiment: RwLock<HashMap<ExperimentName, Vec<Known>>>,
    by_members: RwLock<HashMap<Vec<Member>, Arc<Group>>>,
    strips: RwLock<BTreeMap<i64, HashMap<usize, Arc<Strip>>>>,
}

/// The windows that are about an experiment of which this is known.
type Known = (Facts, Arc<Group>);

/// The number of a window that is about an experiment, and how sure that is.
type Member = (usize, Membership);

/// Everything that scopes look at, besides the name.
#[derive(Debug)]
struct Facts {
    tags: BTreeMap<String, String>,
    environment: Option<String>,
    labels: Labels,
    account: Option<String>,
    region: Option<String>,
}

/// Windows that are about the same experiments.
#[derive(Debug)]
pub(super) struct Group {
    members: Vec<Member>,
    /// The first allowed window.
    pub(super) allowed: Option<Member>,
    /// Those with calendars.
    pub(super) with_calendars: Vec<usize>,
    pages: RwLock<BTreeMap<i64, Arc<Page>>>,
}

impl Windows {
    /// Returns the longest time before a window's opening at which any of them stops what runs.
    pub fn longest_stop_lead(&self) -> SignedDuration {
        self.longest_stop_lead
    }

    /// Returns the longest lead of any of them.
    pub(super) fn longest_lead(&self) -> SignedDuration {
        self.longest_lead
    }

    /// Returns the same windows with what is now known of their calendars; a calendar without a reading keeps its own.
    #[must_use]
    pub fn with_readings(&self, readings: &BTreeMap<CalendarName, Reading>) -> Self {
        let mut list = self.list.to_vec();
        let mut says_the_same = true;
        for reading in list.iter_mut().flat_map(|window| &mut window.calendars) {
            if let Some(new) = readings.get(&reading.calendar) {
                says_the_same &= reading.says_the_same(new);
                reading.content.clone_from(&new.content);
                reading.failure.clone_from(&new.failure);
            }
        }
        let memo = if says_the_same { self.memo.clone() } else { Arc::default() };
        Self { list: list.into(), memo, ..self.clone() }
    }

    /// Tells whether these are the same windows and their calendars say the same, whenever they were read.
    pub fn say_the_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.memo, &other.memo)
    }

    /// Returns the same windows as if their calendars were read again and again, or never again, depending on whether
    /// they are believed at `now`: for a look into the future.
    #[must_use]
    pub fn judged_at(&self, now: Timestamp) -> Self {
        let mut list = self.list.to_vec();
        for reading in list.iter_mut().flat_map(|window| &mut window.calendars) {
            reading.judge_at(now);
        }
        Self { list: list.into(), ..self.clone() }
    }

    /// Finds the windows that are about an experiment.
    pub(super) fn group(&self, experiment: &Experiment) -> Arc<Group> {
        let known = self.memo.by_experiment.read().unwrap_or_else(PoisonError::into_inner);
        let group =
            known.get(&experiment.name).and_then(|known| known.iter().find(|(facts, _)| facts.are_of(experiment)));
        if let Some((_, group)) = group {
            return group.clone();
        }
        drop(known);
        let member = |(number, window): (usize, &Window)| Some((number, window.scope.membership(experiment)?));
        let members: Vec<Member> = self.list.iter().enumerate().filter_map(member).collect();
        let mut groups = self.memo.by_members.write().unwrap_or_else(PoisonError::into_inner);
        let mut known = self.memo.by_experiment.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_EXPERIMENTS {
            known.clear();
            groups.clear();
        }
        let group = groups.entry(members.clone()).or_insert_with(|| Arc::new(Group::of(&self.list, members))).clone();
        known.entry(experiment.name.clone()).or_default().push((Facts::of(experiment), group.clone()));
        group
    }

    /// Finds or compiles a page of a group's timeline.
    pub(super) fn page(&self, group: &Group, page: i64) -> Arc<Page> {
        if let Some(known) = group.pages.read().unwrap_or_else(PoisonError::into_inner).get(&page) {
            return known.clone();
        }
        let strips: Vec<(usize, Arc<Strip>)> =
            group.members.iter().map(|member| (member.0, self.strip_of(*member, page))).collect();
        let compiled = Arc::new(Page::of(&self.list, &strips, page));
        let mut pages = group.pages.write().unwrap_or_else(PoisonError::into_inner);
        keep_near(&mut pages, page);
        pages.insert(page, compiled.clone());
        compiled
    }

    fn strip_of(&self, (number, membership): Member, page: i64) -> Arc<Strip> {
        let strip = self.strip(number, page);
        match (membership, self.list[number].kind) {
            (Membership::Possible, WindowKind::Allowed) => Arc::new(strip.without_open_time()),
            (Membership::Sure, _) | (_, WindowKind::Blackout) => strip,
        }
    }

    fn strip(&self, number: usize, page: i64) -> Arc<Strip> {
        let known = self.memo.strips.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(strip) = known.get(&page).and_then(|strips| strips.get(&number)) {
            return strip.clone();
        }
        drop(known);
        let strip = Arc::new(Strip::of(&self.list[number], page));
        let mut strips = self.memo.strips.write().unwrap_or_else(PoisonError::into_inner);
        keep_near(&mut strips, page);
        strips.entry(page).or_default().insert(number, strip.clone());
        strip
    }
}

/// Makes room for a page by forgetting those that are farthest from it.
fn keep_near<T>(pages: &mut BTreeMap<i64, T>, page: i64) {
    while pages.len() >= MAX_PAGES && !pages.contains_key(&page) {
        let far = |known: &&i64| known.abs_diff(page);
        let Some(farthest) = pages.keys().max_by_key(far).copied() else { return };
        pages.remove(&farthest);
    }
}

impl Group {
    fn of(list: &[Window], members: Vec<Member>) -> Self {
        let allowed = members.iter().copied().find(|(number, _)| list[*number].kind == WindowKind::Allowed);
        let numbers = members.iter().map(|(number, _)| *number);
        let with_calendars = numbers.filter(|number| !list[*number].calendars.is_empty()).collect();
        Self { members, allowed, with_calendars, pages: RwLock::default() }
    }

    /// Tells whether no window is about the experiment.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl Facts {
    fn of(experiment: &Experiment) -> Self {
        let Experiment { tags, environment, labels, account, place, .. } = experiment.clone();
        Self { tags, environment, labels, account, region: place.region }
    }

    fn are_of(&self, experiment: &Experiment) -> bool {
        self.region == experiment.place.region
            && (self.labels, &self.environment) == (experiment.labels, &experiment.environment)
            && self.account == experiment.account
            && self.tags == experiment.tags
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memo")
    }
}

impl From<Vec<Window>> for Windows {
    fn from(list: Vec<Window>) -> Self {
        let longest = |of: fn(&Window) -> SignedDuration| list.iter().map(of).max().unwrap_or(SignedDuration::ZERO);
        let (longest_stop_lead, longest_lead) =
            (longest(|window| window.on_entry.lead()), longest(|window| window.lead));
        Self { list: list.into(), longest_stop_lead, longest_lead, memo: Arc::default() }
    }
}

impl FromIterator<Window> for Windows {
    fn from_iter<I: IntoIterator<Item = Window>>(windows: I) -> Self {
        windows.into_iter().collect::<Vec<_>>().into()
    }
}

impl Deref for Windows {
    type Target = [Window];
    fn deref(&self) -> &[Window] {
        &self.list
    }
}
