//! Whose the safety lever is: a model of everybody who moves it, in any order, with lost answers and crashes between.

use firedrill::domain::lever::{Found, Move, Stands, mark, to_engage, to_release};
use proptest::prelude::*;

use crate::support::{chance::cases, runs::instant};

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
