//! Whose the safety lever is: a model of everybody who moves it, in any order, with lost answers and crashes between.

use std::sync::Arc;

use firedrill::{
    domain::{
        experiment::{Experiment, Rules},
        lever::{Found, HeldLever, Move, Standing, Stands, mark, to_engage, to_release},
        plan::{Halt, HaltRunning},
    },
    ingest::manual::{Asker, LeversOfHalt, ManualError, ManualIngest},
};
use proptest::prelude::*;
use tokio::sync::watch;

use crate::{
    sim::simulated::store::MemoryStore,
    support::{
        chance::cases,
        runs::{instant, name},
        world::t,
    },
};

/// An ingest of an agent with one experiment, and who asks it.
fn agent() -> (ManualIngest<MemoryStore>, impl Fn(&str) -> Asker) {
    let mut rules = Rules::default();
    rules.experiments.insert(name("e"), Experiment::gone(name("e")));
    let rules = watch::Sender::new(Arc::new(rules)).subscribe();
    let manual = ManualIngest::new(Arc::new(crate::store::simulated()), rules, Arc::default());
    (manual, |by| Asker { by: by.to_owned(), reason: None })
}

/// Levers take seconds to be let go, and somebody may halt again meanwhile.
#[tokio::test]
async fn halt_that_was_made_while_levers_were_let_go_stands() {
    let (manual, by) = agent();
    manual
        .halt(manual.halting(by("ann"), HaltRunning::Stop, LeversOfHalt::Engaged, t("09:00:00")))
        .await
        .expect("a halt");
    let asked = manual.halted().await.expect("rows").expect("a halt");
    assert_eq!(asked.levers.len(), 1);
    assert_eq!(manual.note_levers(asked.clone(), engaged(&asked)).await.expect("a note"), []);
    let seen = manual.halted().await.expect("rows").expect("a halt");
    assert_eq!(seen.levers, engaged(&asked));
    manual
        .halt(manual.halting(by("bob"), HaltRunning::Stop, LeversOfHalt::AsTheyAre, t("09:00:05")))
        .await
        .expect("another halt");
    let lifted = manual.lift(seen, Vec::new()).await;
    assert!(matches!(lifted, Err(ManualError::HaltedAgain)), "{lifted:?}");
    let stands = manual.halted().await.expect("rows").expect("the other halt");
    assert_eq!((stands.by.as_str(), &stands.levers[0].standing), ("bob", &Standing::Asked));
    manual.lift(stands, Vec::new()).await.expect("an end");
    assert_eq!(manual.halted().await.expect("rows"), None);
}

fn engaged(halt: &Halt) -> Vec<HeldLever> {
    halt.levers.iter().map(|held| HeldLever { standing: Standing::Engaged, ..held.clone() }).collect()
}

/// One replica engages levers, and another has lifted the halt or lets its levers go.
#[tokio::test]
async fn lever_that_is_engaged_while_its_halt_is_lifted_is_let_go_or_stays_the_halts() {
    let (manual, by) = agent();
    let halted = async || {
        manual
            .halt(manual.halting(by("ann"), HaltRunning::Stop, LeversOfHalt::Engaged, t("09:00:00")))
            .await
            .expect("a halt");
        manual.halted().await.expect("rows").expect("a halt")
    };
    // Lifted before it is noted: whoever engaged it lets it go, and the halt does not come back.
    let seen = halted().await;
    manual.lift(seen.clone(), Vec::new()).await.expect("an end");
    assert_eq!(manual.note_levers(seen.clone(), engaged(&seen)).await.expect("a note"), engaged(&seen));
    assert_eq!(manual.halted().await.expect("rows"), None);
    // Noted before it is lifted: whoever lifts it has not let it go.
    let seen = halted().await;
    assert_eq!(manual.note_levers(seen.clone(), engaged(&seen)).await.expect("a note"), []);
    let lifted = manual.lift(seen.clone(), Vec::new()).await;
    assert!(matches!(lifted, Err(ManualError::HaltedAgain)), "{lifted:?}");
    assert_eq!(manual.halted().await.expect("rows").expect("a halt").levers, engaged(&seen));
}

/// What happens to a lever.
#[derive(Debug, Clone, Copy)]
enum Happening {
    /// We are asked to engage it; the answer may be lost.
    Halt,
    /// We are asked to let it go.
    Resume,
    /// It has ended what ran.
    Ended,
    /// Somebody else engages it.
    Pulled,
    /// Somebody else lets it go.
    LetGo,
}

/// A lever, and who engaged it in truth.
struct Model {
    found: Found,
    others: bool,
    /// The mark of the halt that is on.
    mark: Option<String>,
}

impl Model {
    fn happen(&mut self, number: usize, happening: Happening) {
        match happening {
            Happening::Halt => {
                let at = instant("2026-03-02T10:00:00Z") + jiff::SignedDuration::from_secs(number as i64);
                let mark = self.mark.get_or_insert_with(|| mark("ann", Some("incident"), at)).clone();
                if to_engage(&self.found, &mark) == Move::Make {
                    assert_eq!(self.found.stands, Stands::Disengaged);
                    (self.found, self.others) = (Found { stands: Stands::Engaging, reason: mark }, false);
                }
            }
            Happening::Resume => {
                let Some(mark) = self.mark.clone() else { return };
                match to_release(&self.found, &mark) {
                    Move::Make => {
                        assert!(!self.others, "let go what somebody else engaged: {:?}", self.found);
                        assert_eq!(self.found.stands, Stands::Engaged);
                        self.found = Found { stands: Stands::Disengaged, reason: format!("lifted: {mark}") };
                        self.mark = None;
                    }
                    Move::None => {
                        assert_eq!(self.found.stands, Stands::Disengaged);
                        self.mark = None;
                    }
                    Move::Leave { .. } => {
                        assert!(self.others, "left ours engaged: {:?}", self.found);
                        self.mark = None;
                    }
                    // The halt stays on.
                    Move::Blocked { .. } => assert_eq!(self.found.stands, Stands::Engaging),
                }
            }
            Happening::Ended if self.found.stands == Stands::Engaging => self.found.stands = Stands::Engaged,
            Happening::Ended => {}
            Happening::Pulled if self.found.stands != Stands::Engaging => {
                (self.found, self.others) =
                    (Found { stands: Stands::Engaged, reason: format!("ticket {number}") }, true);
            }
            Happening::LetGo if self.found.stands == Stands::Engaged => {
                self.found = Found { stands: Stands::Disengaged, reason: "over".to_owned() };
            }
            Happening::Pulled | Happening::LetGo => {}
        }
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn lever_that_others_engaged_is_never_let_go_and_ours_is_never_forgotten(
        happenings in prop::collection::vec(
            prop::sample::select(vec![
                Happening::Halt,
                Happening::Resume,
                Happening::Ended,
                Happening::Pulled,
                Happening::LetGo,
            ]),
            1..40,
        )
    ) {
        let mut model =
            Model { found: Found { stands: Stands::Disengaged, reason: String::new() }, others: false, mark: None };
        for (number, happening) in happenings.into_iter().enumerate() {
            model.happen(number, happening);
        }
    }
}

#[test]
fn lever_whose_state_is_not_known_is_not_moved() {
    let found = Found { stands: Stands::from_text("half"), reason: "ours".to_owned() };
    assert!(matches!(to_engage(&found, "ours"), Move::Blocked { .. }));
    assert!(matches!(to_release(&found, "ours"), Move::Blocked { .. }));
    assert_eq!(mark("ann", Some(&"x".repeat(2_000)), instant("2026-03-02T10:00:00Z")).chars().count(), 500);
}
