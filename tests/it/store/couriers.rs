//! Couriers over a real store: what cannot be read is passed over, told once, and hides nothing that can.

use std::sync::{Arc, Mutex};

use firedrill::{
    daemon::courier::{Courier, Load},
    domain::{
        fis::CallFailure,
        run::{JournalEntry, Run},
    },
    engine::ports::{EventSink, Outbound, Store, TraceSink},
    store::SqlStore,
};
use sqlx::AssertSqlSafe;

use super::{advance, commit, empty, empty_on, opening::connect, skip};
use crate::support::{
    log::Lines,
    postgres::Postgres,
    soon,
    world::{slot_run, t},
};

/// Who is told outside: runs by their ids.
#[derive(Clone, Default)]
struct Outside(Arc<Mutex<Vec<String>>>);

impl Outside {
    fn hear(&self, run: &str) {
        self.0.lock().expect("nobody panics with it").push(run.to_owned());
    }
}

impl TraceSink for Outside {
    fn are_wanted(&self) -> bool {
        true
    }

    fn export(&self, run: &Run, _: &[JournalEntry]) {
        self.hear(run.id.as_str());
    }

    async fn flush(&self) {}
}

impl EventSink for Outside {
    async fn put(&self, event: &Outbound) -> Result<(), CallFailure> {
        let said: serde_json::Value = serde_json::from_str(&event.detail).expect("JSON");
        self.hear(said["run"].as_str().expect("a run"));
        Ok(())
    }
}

/// Over both databases.
async fn check(load: fn(Outside) -> Load<Outside, Outside>, told: &[usize], passed_over: &[(&str, usize)]) {
    let (folder, store) = empty().await;
    let mut other = connect(&folder.path().join("state")).await;
    let tear = async |torn| _ = sqlx::raw_sql(AssertSqlSafe(torn)).execute(&mut other).await.expect("a change");
    check_on(store, tear, load, told, passed_over).await;
    let server = Postgres::start();
    let store = empty_on(&server, "torn").await;
    check_on(store, async |torn: String| _ = server.sql("torn", &torn), load, told, passed_over).await;
}

/// Of five runs that ended, the row of one, the end of another and the opening of a third cannot be read.
async fn check_on(
    store: SqlStore,
    tear: impl AsyncFnOnce(String),
    load: fn(Outside) -> Load<Outside, Outside>,
    told: &[usize],
    passed_over: &[(&str, usize)],
) {
    let runs = ["09:00:00", "09:10:00", "09:20:00", "09:30:00", "09:40:00"].map(slot_run);
    for run in &runs {
        store.request_runs(vec![run.clone()]).await.expect("a write");
        commit(&store, advance(run, skip()).1).await;
    }
    let torn = format!(
        "UPDATE runs SET body = '{{' WHERE id = '{}'; UPDATE journal SET observation = '{{' WHERE seq IN (6, 7)",
        runs[1].id
    );
    tear(torn).await;

    let (log, outside, store) = (Lines::default(), Outside::default(), Arc::new(store));
    let _kept = log.kept();
    let now = Box::new(|| t("10:10:00"));
    let courier = Courier { store: store.clone(), load: load(outside.clone()), grew: Arc::default(), now };
    let name = courier.name();
    let carrying = tokio::spawn(courier.run());
    soon("the end of the journal", async || (store.courier(name).await.ok()? == 10).then_some(())).await;
    carrying.abort();
    store.close().await;
    let expected: Vec<String> = told.iter().map(|n| runs[*n].id.to_string()).collect();
    assert_eq!(*outside.0.lock().expect("nobody panics with it"), expected);
    let said = log.taken();
    for (row, times) in passed_over {
        let row = row.replace("ID", runs[1].id.as_str());
        assert_eq!(said.matches(&format!("row `{row}` cannot be read")).count(), *times, "{row}: {said}");
    }
    let times: usize = passed_over.iter().map(|(_, times)| times).sum();
    assert_eq!(said.matches("passed over what cannot be read").count(), times, "{said}");
    assert_eq!(said.matches(&format!("courier=\"{name}\"")).count(), times, "{said}");
}

#[tokio::test]
async fn run_events_go_on_behind_what_cannot_be_read() {
    check(Load::Events, &[0, 3, 4], &[("runs, ID", 1), ("journal, entry 6", 1), ("journal, entry 7", 1)]).await;
}

/// The opening is passed over as an entry, and again as part of the journal that its run's trace would be made of.
#[tokio::test]
async fn traces_go_on_behind_what_cannot_be_read() {
    check(Load::Traces, &[0, 4], &[("runs, ID", 1), ("journal, entry 6", 1), ("journal, entry 7", 2)]).await;
}
