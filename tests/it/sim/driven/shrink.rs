//! Shrinking: of a world that breaks a promise, as little as still breaks it, and the command that replays that.
//!
//! What happens is left out in halves, quarters and so on down to single happenings (delta debugging), then experiments and
//! windows, all replicas but one, then the end of the world; and then once more what happens.

use std::{cell::Cell, collections::BTreeSet};

use crate::sim::{
    SEED_VARIABLE,
    drawn::{happening::Happening, recipe::Recipe},
    live,
    planted::{self, Bug},
    simulated::nature::Timeline,
    troubles::restore,
};

/// Most worlds that are tried for one that breaks a promise.
const TRIES: usize = 400;

/// The promise that a line of [`broken`](crate::sim::judged::check::broken) is about.
pub fn promise(told: &str) -> &str {
    told.split([':', ' ']).next().unwrap_or(told)
}

/// Whether a world breaks a promise.
pub fn breaks(recipe: &Recipe, of: &str) -> bool {
    live(recipe, Timeline::Dropped).broken.iter().any(|told| promise(told) == of)
}

/// Leaves out what is not needed for a world to break a promise. With too few tries left it is not the least there is.
pub fn shrink(recipe: Recipe, of: &str) -> Recipe {
    let tries = Cell::new(TRIES);
    let still = |recipe: &Recipe| {
        let left = tries.get();
        tries.set(left.saturating_sub(1));
        left > 0 && breaks(recipe, of)
    };
    let mut least = recipe.spelt_out();
    for _ in 0..2 {
        let happenings = least.happenings.clone().unwrap_or_default();
        let with = |kept: &BTreeSet<usize>| Recipe { happenings: Some(kept.clone()), ..least.clone() };
        least = with(&fewer(happenings, |kept| still(&with(kept))));
        let experiments = least.experiments.clone().unwrap_or_default();
        let with = |kept: &BTreeSet<String>| Recipe { experiments: Some(kept.clone()), ..least.clone() };
        least = with(&fewer(experiments, |kept| still(&with(kept))));
        let windows = least.windows.clone().unwrap_or_default();
        let with = |kept: &BTreeSet<String>| Recipe { windows: Some(kept.clone()), ..least.clone() };
        least = with(&fewer(windows, |kept| still(&with(kept))));
        let alone = Recipe { replicas: Some(1), ..least.clone() };
        if least.replicas != Some(1) && still(&alone) {
            least = alone;
        }
        least = shorter(least, &still);
    }
    least
}

/// Leaves out parts of a set, ever smaller ones, as long as what is left still does.
fn fewer<T: Ord + Clone>(all: BTreeSet<T>, still: impl Fn(&BTreeSet<T>) -> bool) -> BTreeSet<T> {
    let mut kept = all;
    let mut size = kept.len();
    while size > 0 {
        let items: Vec<T> = kept.iter().cloned().collect();
        for part in items.chunks(size) {
            let without: BTreeSet<T> = kept.iter().filter(|item| !part.contains(item)).cloned().collect();
            if still(&without) {
                kept = without;
            }
        }
        // What goes may have been all that kept others, so one by one they are tried until none goes.
        if size > 1 || kept.len() == items.len() {
            size /= 2;
        }
    }
    kept
}

/// Lets a world end earlier.
fn shorter(recipe: Recipe, still: &impl Fn(&Recipe) -> bool) -> Recipe {
    let (mut too_short, mut enough) = (0, recipe.until.unwrap_or_default());
    for _ in 0..6 {
        let until = u64::midpoint(too_short, enough);
        if still(&Recipe { until: Some(until), ..recipe.clone() }) { enough = until } else { too_short = until }
    }
    Recipe { until: Some(enough), ..recipe }
}

/// The command that replays a world.
pub fn command(recipe: &Recipe) -> String {
    format!("{SEED_VARIABLE}='{recipe}' cargo test --locked --test it sim::replay_one_seed -- --nocapture")
}

/// The timeline of a world, with a mark where it tells of a run or an experiment of a broken promise.
pub fn marked(timeline: &[String], broken: &[String]) -> String {
    let is_id = |word: &&str| {
        let is_run = word.len() == 20 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_run || word.strip_prefix("EXP").is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let words = |text: &str| -> BTreeSet<String> {
        text.split(|c: char| !c.is_ascii_alphanumeric()).filter(is_id).map(str::to_owned).collect()
    };
    let wanted: BTreeSet<String> = broken.iter().flat_map(|told| words(told)).collect();
    let mark = |line: &String| {
        let mark = if words(line).is_disjoint(&wanted) { "  " } else { ">>" };
        format!("{mark} {line}")
    };
    timeline.iter().map(mark).collect::<Vec<_>>().join("\n")
}

#[test]
fn failing_seed_shrinks_to_what_matters_and_its_command_replays_it() {
    let bug = Bug::HaltForgotten;
    // Among several replicas it may take a slow way, and all that comes with it, to keep one of them from what is forgotten.
    let worlds = (0..planted::WORLDS).map(|seed| Recipe { bug, ..Recipe::of(seed) }.spelt_out());
    // Whoever takes a store back halts by that, and who falls while a message is in hand needs all that led to it.
    let falls =
        |world: &Recipe| world.draw().happenings.iter().any(|(.., what)| matches!(what, Happening::CutShort { .. }));
    let mut alone = worlds.filter(|world| world.replicas == Some(1) && !restore::is_in(world.seed) && !falls(world));
    let whole = alone.find(|world| breaks(world, "halt")).expect("a world that notices");
    let least = shrink(whole.clone(), "halt");
    let many = whole.happenings.as_ref().map_or(0, BTreeSet::len);
    let few = least.happenings.as_ref().map_or(0, BTreeSet::len);
    // Somebody halts and the agent falls; something starts by itself or because of an event or two.
    assert!(few <= 5 && few < many, "{few} of {many} happenings: {least}");
    assert!(least.until < whole.until, "{least}");
    let command = command(&least);
    let inputs = command.split('\'').nth(1).expect("the inputs");
    let life = live(&Recipe::parse(inputs), Timeline::Kept);
    assert!(life.broken.iter().any(|told| promise(told) == "halt"), "{command}: {:?}", life.broken);
    let told = marked(&life.timeline, &life.broken);
    for what in ["-- Halt", " is gone", ">> ", "StartAsked"] {
        assert!(told.contains(what), "no {what:?} in\n{told}");
    }
    let sound = Recipe { bug: Bug::None, ..least };
    assert_eq!(live(&sound, Timeline::Dropped).broken, Vec::<String>::new(), "without the bug");
}
