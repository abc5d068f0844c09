//! Calendars as they were last read.

use firedrill::{
    domain::calendar::found::Found,
    store::{SqlStore, calendars::CalendarRow},
};

use super::{AT, empty, opening::connect, shown_of_databases};
use crate::support::{runs::name, world::t};

pub fn row(label: &str) -> CalendarRow {
    let texts = vec![("changes".to_owned(), "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n".to_owned())];
    let found = Some((t(AT), Found::ChangeCalendars(texts)));
    CalendarRow { name: name(label), source: "somewhere".to_owned(), found, failure: None }
}

async fn calendar_is_kept_once_with_what_was_last_found(store: &SqlStore) {
    assert_eq!(store.calendars().await.expect("rows"), []);
    let never = CalendarRow { found: None, failure: Some("denied".to_owned()), ..row("a") };
    let state = Found::State { is_open: true, until: Some(t("11:00:00")), because: "denied".to_owned() };
    let other = CalendarRow { found: Some((t("10:01:00"), state)), ..row("b") };
    for kept in [&row("a"), &other, &never] {
        store.keep_calendar(kept).await.expect("a write");
    }
    let mut rows = store.calendars().await.expect("rows");
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(rows, [never, other.clone()]);
    store.forget_other_calendars(&[name("b"), name("c")]).await.expect("a write");
    assert_eq!(store.calendars().await.expect("rows"), [other]);
    store.forget_other_calendars(&[]).await.expect("a write");
    assert_eq!(store.calendars().await.expect("rows"), []);
}

#[tokio::test]
async fn calendar_that_cannot_be_read_is_an_error() {
    let (folder, store) = empty().await;
    store.keep_calendar(&row("a")).await.expect("a write");
    let mut connection = connect(&folder.path().join("state")).await;
    sqlx::query("UPDATE calendars SET found = '{}'").execute(&mut connection).await.expect("an update");
    let error = store.calendars().await.expect_err("a row of nobody");
    let said = "the store's row `calendars` cannot be read; `firedrill store check` names all such rows";
    assert_eq!(error.to_string(), said);
}

shown_of_databases! {
    calendar_is_kept_once_with_what_was_last_found
}
