//! Replicas with different configurations: it is told on both sides, and a schedule that one of them lacks loses no slot
//! without a record.

use std::collections::BTreeSet;

use firedrill::{
    daemon::heartbeat,
    domain::run::{Away, Run, RunState, SkipReason, Trigger},
};
use jiff::{SignedDuration, Timestamp};

use super::replicas::{is_active, role};
use crate::support::{agent::Home, eventually, postgres::Postgres, stage::Stage};

/// Seconds between two slots.
const EVERY: i64 = 2;

fn tables(template: &str, schedules: &str) -> String {
    format!("[telemetry]\nlog_filter = \"info\"\n[experiments.often]\ntemplate = \"{template}\"\n{schedules}\n")
}

/// The slots that runs stand for, and how a run stands for those that were due while its schedule was away.
fn slots(runs: &[Run]) -> (BTreeSet<Timestamp>, usize) {
    let (mut slots, mut absent) = (BTreeSet::new(), 0);
    for run in runs {
        let Trigger::Slot { at, .. } = run.trigger else { panic!("{run:?}") };
        let through = match &run.state {
            RunState::Skipped { reason: SkipReason::Missed { through, away, .. }, .. } => {
                absent += usize::from(*away == Away::Schedule);
                *through
            }
            _ => at,
        };
        slots.extend(std::iter::successors(Some(at), |at| Some(*at + step())).take_while(|slot| *slot <= through));
    }
    (slots, absent)
}

fn step() -> SignedDuration {
    SignedDuration::from_secs(EVERY)
}

#[test]
fn replica_with_an_older_file_is_named_and_what_it_lacks_is_recorded() {
    let stage = Stage::start(600.0);
    let template = stage.template(&[("wait", "PT1M", &[])]);
    let server = Postgres::start();
    let url = server.database("drills");
    let schedules = format!("schedules = [{{ name = \"often\", cron = \"*/{EVERY} * * * * *\" }}]");
    let newer = Home::on(&stage.url(), &tables(&template, &schedules), &url, "newer");
    let older = Home::on(&stage.url(), &tables(&template, ""), &url, "older");
    let differs = |home: &Home| {
        eventually("a standby", || role(home).get("standby").map(|_| ()));
        let said = home.run(&["status"]);
        assert!(said.stdout.contains("\nDIFFERS     the active replica decides by another configuration"), "{said:?}");
        assert!(home.log().contains("the active replica decides by another configuration"), "{}", home.log());
    };

    let first = newer.agent();
    eventually("slots", || (newer.runs().len() > 1).then_some(()));
    let second = older.agent();
    differs(&older);
    assert_eq!(first.terminate(), 0);
    eventually("the older one active", || is_active(&older));
    let said = "the replica that was active before decided by another configuration";
    assert!(older.log().contains(said), "{}", older.log());
    let before = slots(&older.runs()).0.last().copied().expect("a slot");
    let first = newer.agent();
    differs(&newer);
    eventually("two slots", || (heartbeat::now() > before + step() * 3).then_some(()));
    assert_eq!(slots(&older.runs()).0.last(), Some(&before), "the older one has no such schedule");
    assert_eq!(second.terminate(), 0);
    eventually("the newer one active", || is_active(&newer));
    let absent = || slots(&newer.runs()).1 == 1;
    eventually("a record of what was due meanwhile", || absent().then_some(()));

    // With the same file nothing differs any more.
    older.configure(&tables(&template, &schedules));
    let second = older.agent();
    eventually("a standby", || (role(&older)["standby"]["configuration"] == "same").then_some(()));
    assert!(!older.run(&["status"]).stdout.contains("DIFFERS"));
    assert_eq!(second.terminate(), 0);
    assert_eq!(first.terminate(), 0);
    let (slots, absent) = slots(&newer.runs());
    let (from, to) = (slots.first().expect("a slot"), slots.last().expect("a slot"));
    let all: BTreeSet<_> =
        std::iter::successors(Some(*from), |at| Some(*at + step())).take_while(|at| at <= to).collect();
    assert_eq!((slots.clone(), absent), (all, 1), "each slot is in one record");
}
