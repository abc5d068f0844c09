//! What may happen in a world, and to whom.
//!
//! [`super::scenario`] and each kind of trouble draw it; the world makes it happen.

use firedrill::domain::run::WindowRule;

use super::releases::Release;
use crate::sim::troubles::{halts::Interruption, strays::Listed, unread::Kind};

/// Whom something happens to.
#[derive(Debug, Clone, Copy)]
pub enum Whom {
    /// The replica that decides.
    Active,
    /// One by its number, counted round.
    Number(usize),
}

/// Something that happens.
#[derive(Debug, Clone)]
pub enum Happening {
    /// A queue delivers an event, perhaps not for the first time.
    Deliver {
        event: u64,
        source: &'static str,
    },
    /// A queue delivers what is no event.
    DeliverNoise {
        id: u64,
    },
    /// A queue delivers the event of a release, perhaps not for the first time.
    Release(Release),
    /// A FIFO queue delivers what it holds, in order.
    DeliverNext,
    /// What was delivered is visible again, if somebody has it in hand still.
    VisibleAgain(u64),
    /// Whoever got a message last stands still for so many milliseconds while he has it in hand.
    StandInHand(u64),
    /// FIS tells of an experiment on the queue.
    FisTells,
    StartByHand {
        request: u64,
        experiment: u64,
        windows: WindowRule,
    },
    /// Slots of the last so many minutes are to be filled again.
    Backfill {
        request: u64,
        experiment: u64,
        minutes: u64,
    },
    /// An experiment is paused, for so long or until somebody resumes it.
    Pause {
        experiment: u64,
        for_ms: Option<u64>,
    },
    Unpause {
        experiment: u64,
    },
    /// The calendar is read again, perhaps in vain.
    ReadCalendar,
    StopByHand,
    Halt,
    Resume,
    /// Somebody halts or pauses when the next start is about to be recorded.
    Interrupt(Interruption),
    Reload,
    /// An experiment gets another name.
    Rename {
        experiment: u64,
    },
    /// An experiment leaves the configuration, or only its schedules do.
    Leave {
        experiment: u64,
        is_whole: bool,
    },
    /// What left the configuration is in it again.
    PutBack,
    /// A ledger that cannot be read is made anew.
    Retell,
    Step {
        by_ms: i64,
    },
    /// A process is gone after being polled so often, and back after so long.
    Crash {
        whom: Whom,
        polls: u64,
        down_ms: u64,
    },
    /// Each process is gone after what is asked of it was polled so often, and back after so long.
    CutShort {
        polls: u64,
        down_ms: u64,
    },
    /// A process is told to end in good order, or after it has stopped what runs, within so long.
    Drain {
        whom: Whom,
        stops_within: Option<u64>,
        down_ms: u64,
    },
    /// A process is not scheduled for so long, after being polled so often.
    Stand {
        whom: Whom,
        polls: u64,
        for_ms: u64,
    },
    /// A replica does not reach the store and FIS for so long.
    Cut {
        whom: Whom,
        store_ms: u64,
        fis_ms: u64,
    },
    /// Part of what the replica that decides tells the store arrives late for so long.
    Slow {
        for_ms: u64,
    },
    /// A replica's clock is so far from the common one from now on.
    SetApart {
        replica: usize,
        by_ms: i64,
    },
    /// A configuration reaches a replica.
    RulesReach {
        replica: usize,
        entry: usize,
    },
    /// Somebody starts an experiment, and whoever decides is far from the store as soon as it asks for the start.
    Lag {
        experiment: u64,
    },
    /// The next start of an experiment takes effect so late, or never, and no answer tells of it.
    LoseAnswer {
        experiment: u64,
        effect_ms: Option<u64>,
    },
    Backup,
    /// Every process ends, and the store is taken back from the backup after so long.
    Restore {
        down_ms: u64,
    },
    /// A row of the store cannot be read for so long.
    Unreadable {
        kind: Kind,
        for_ms: u64,
    },
    /// Rows of an experiment's runs are not taken for so long, from now on or from the next start on.
    RefuseRows {
        experiment: u64,
        for_ms: u64,
    },
    /// Whoever looks for strays asks FIS what goes on.
    AskForStrays,
    /// He has read the rows of what FIS told, and names strays.
    NameStrays(Listed),
    /// From now on nothing goes wrong.
    Calm,
    ReadOnly {
        for_ms: u64,
    },
    StoreOut {
        for_ms: u64,
    },
    /// FIS denies stops in the place of an experiment, for so long or for good.
    DenyStops {
        experiment: u64,
        for_ms: Option<u64>,
    },
    Weather {
        fis: u64,
        store: u64,
    },
    /// Somebody stops an experiment past us.
    StopOutside,
}
