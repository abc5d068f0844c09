//! The order that `startAfter` gives to the actions of a template.
//!
//! It is called with as many actions as a template may have, so nothing here minds their number.

use std::collections::{BTreeMap, BTreeSet};

use super::{ActionSpec, wrong};
use crate::simulator::wire::ApiError;

/// Actions that may run in parallel (AWS FIS user guide, fis-quotas).
const MAX_PARALLEL: usize = 10;

/// Each action, and all that end before it can start.
type Before<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

pub(super) fn check(actions: &BTreeMap<String, ActionSpec>) -> Result<(), ApiError> {
    for (name, action) in actions {
        if let Some(unknown) = action.start_after.iter().find(|other| !actions.contains_key(*other)) {
            return Err(wrong(format!("actions.{name}.startAfter"), format!("there is no action {unknown}")));
        }
    }
    let before = before(actions);
    if let Some((name, _)) = before.iter().find(|(name, others)| others.contains(*name)) {
        return Err(wrong(format!("actions.{name}.startAfter"), "the action would start after itself, in a cycle"));
    }
    if width(&before) > MAX_PARALLEL {
        let text =
            format!("actions: more than {MAX_PARALLEL} could run in parallel, as startAfter does not keep them apart");
        return Err(ApiError::quota(text));
    }
    Ok(())
}

fn before(actions: &BTreeMap<String, ActionSpec>) -> Before<'_> {
    let mut before: Before<'_> = actions
        .iter()
        .map(|(name, action)| (name.as_str(), action.start_after.iter().map(String::as_str).collect()))
        .collect();
    // Each round makes some set larger, and none can hold more than all actions.
    loop {
        let further: Before<'_> = before
            .iter()
            .map(|(name, others)| {
                (*name, others.iter().filter_map(|other| before.get(other)).flatten().copied().collect())
            })
            .collect();
        let size = |before: &Before<'_>| before.values().map(BTreeSet::len).sum::<usize>();
        let known = size(&before);
        for (name, others) in further {
            before.entry(name).or_default().extend(others);
        }
        if size(&before) == known {
            return before;
        }
    }
}

/// The most actions of which none ends before another starts. By Dilworth's theorem that is as many as there are chains
/// when the actions are put into as few as possible, and by Fulkerson a largest matching makes them few.
fn width(before: &Before<'_>) -> usize {
    let mut followers = BTreeMap::new();
    let matched = before.keys().filter(|name| follows(name, before, &mut followers, &mut BTreeSet::new())).count();
    before.len() - matched
}

/// Finds an action for `name` to follow in a chain, moving others where that helps. `followers` tells who follows whom.
fn follows<'a>(
    name: &'a str,
    before: &'a Before<'a>,
    followers: &mut BTreeMap<&'a str, &'a str>,
    tried: &mut BTreeSet<&'a str>,
) -> bool {
    for earlier in before.get(name).into_iter().flatten() {
        if !tried.insert(earlier) {
            continue;
        }
        let free = match followers.get(earlier).copied() {
            None => true,
            Some(other) => follows(other, before, followers, tried),
        };
        if free {
            followers.insert(earlier, name);
            return true;
        }
    }
    false
}
