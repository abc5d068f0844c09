//! The scenarios of clock changes, one to fifteen: what a schedule names. Those about the agent are in `agent`.

use firedrill::domain::schedule::{CronError, CronSchedule};
use jiff::tz::TimeZone;

use super::{at, check, cron, schedule};

#[test]
fn row_01_fixed_in_gap_fires_once_after_it() {
    let expected = ["2026-03-28 02:30:00 +01:00", "2026-03-29 03:00:00 +02:00 !", "2026-03-30 02:30:00 +02:00"];
    check("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", &expected);
}

#[test]
fn row_02_list_in_gap_fires_once_after_it() {
    let expected = ["2026-03-29 03:00:00 +02:00 !", "2026-03-30 02:00:00 +02:00", "2026-03-30 02:30:00 +02:00"];
    check("0,30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &expected);
    check("20 2,14 * * *", "Europe/Berlin", "2026-03-28T14:00:00Z", &[expected[0], "2026-03-29 14:20:00 +02:00"]);
}

#[test]
fn row_02_time_named_anyway_is_not_shifted() {
    let expected = ["2026-03-29 01:30:00 +01:00", "2026-03-29 03:00:00 +02:00", "2026-03-29 03:30:00 +02:00"];
    check("0,30 1-3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", &expected);
}

#[test]
fn row_03_interval_in_gap_follows_elapsed_time() {
    let expected = ["2026-03-29 01:45:00 +01:00", "2026-03-29 03:00:00 +02:00", "2026-03-29 03:15:00 +02:00"];
    check("*/15 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", &expected);
    check("*/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &["2026-03-30 02:00:00 +02:00"]);
}

#[test]
fn row_04_fixed_in_overlap_fires_in_first_pass() {
    let expected = ["2026-10-25 02:30:00 +02:00", "2026-10-26 02:30:00 +01:00"];
    check("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &expected);
    check("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", &expected[1..]);
}

#[test]
fn row_05_list_in_overlap_fires_in_first_pass() {
    let expected = [
        "2026-10-25 01:45:00 +02:00",
        "2026-10-25 02:15:00 +02:00",
        "2026-10-25 02:45:00 +02:00",
        "2026-10-25 03:15:00 +01:00",
    ];
    check("15,45 0-4 * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", &expected);
}

#[test]
fn row_06_interval_in_overlap_fires_in_both_passes() {
    let expected = [
        "2026-10-25 02:30:00 +02:00",
        "2026-10-25 02:00:00 +01:00",
        "2026-10-25 02:30:00 +01:00",
        "2026-10-25 03:00:00 +01:00",
    ];
    check("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", &expected);
}

#[test]
fn row_07_midnight_gap_keeps_the_day() {
    let days = [
        ("Africa/Cairo", "2026-04-23T12:00:00Z", "2026-04-24 01:00:00 +03:00 !"),
        ("Asia/Beirut", "2026-03-28T12:00:00Z", "2026-03-29 01:00:00 +03:00 !"),
        ("America/Havana", "2026-03-07T12:00:00Z", "2026-03-08 01:00:00 -04:00 !"),
        ("America/Santiago", "2026-09-05T12:00:00Z", "2026-09-06 01:00:00 -03:00 !"),
    ];
    for (zone, after, expected) in days {
        check("0 0 * * *", zone, after, &[expected]);
    }
}

#[test]
fn row_08_odd_gaps_and_overlaps_are_not_one_hour() {
    let lord_howe = ["2026-10-04 02:30:00 +11:00 !", "2026-10-05 02:15:00 +11:00"];
    check("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", &lord_howe);
    let overlap = ["2026-04-05 01:45:00 +11:00", "2026-04-06 01:45:00 +10:30"];
    check("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", &overlap);
    check("0 3 * * *", "Pacific/Chatham", "2026-09-26T12:00:00Z", &["2026-09-27 03:45:00 +13:45 !"]);
    check("30 1 * * *", "Antarctica/Troll", "2026-03-28T12:00:00Z", &["2026-03-29 03:00:00 +02:00 !"]);
    let hourly = ["2026-10-04 01:00:00 +10:30", "2026-10-04 03:00:00 +11:00"];
    check("0 * * * *", "Australia/Lord_Howe", "2026-10-03T14:00:00Z", &hourly);
}

#[test]
fn row_09_change_of_the_zone_itself_is_gap_or_overlap() {
    let almaty = ["2024-02-29 23:30:00 +06:00", "2024-03-01 23:30:00 +05:00"];
    check("30 23 * * *", "Asia/Almaty", "2024-02-29T12:00:00Z", &almaty);
    check("45 23 4 5 *", "Asia/Pyongyang", "2018-05-01T00:00:00Z", &["2018-05-05 00:00:00 +09:00 !"]);
    check("45 2 1 5 *", "America/Caracas", "2016-04-30T00:00:00Z", &["2016-05-01 03:00:00 -04:00 !"]);
}

#[test]
fn row_10_skipped_day_loses_its_slot() {
    let expected = ["2011-12-29 00:00:00 -10:00", "2011-12-31 00:00:00 +14:00", "2012-01-01 00:00:00 +14:00"];
    check("0 0 * * *", "Pacific/Apia", "2011-12-28T23:00:00Z", &expected);
    let interval = ["2011-12-29 12:30:00 -10:00", "2011-12-31 12:00:00 +14:00"];
    check("*/30 12 * * *", "Pacific/Apia", "2011-12-29T22:00:00Z", &interval);
    check("0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", &["2012-12-30 12:00:00 +14:00"]);
    let slot =
        schedule("30 12 * * *", "Pacific/Apia").latest_in(at("2011-12-29T23:00:00Z"), at("2011-12-30T12:00:00Z"));
    assert_eq!(slot, None);
}

#[test]
fn row_11_negative_dst_goes_by_offset() {
    check("30 1 * * *", "Europe/Dublin", "2026-03-28T12:00:00Z", &["2026-03-29 02:00:00 +01:00 !"]);
    check("30 2 * * *", "Africa/Casablanca", "2026-02-14T12:00:00Z", &["2026-02-15 02:30:00 +01:00"]);
    check("30 2 * * *", "Africa/Casablanca", "2026-03-21T12:00:00Z", &["2026-03-22 03:00:00 +01:00 !"]);
}

#[test]
fn row_12_offsets_that_are_not_whole_hours() {
    check("0 9 * * *", "Asia/Kathmandu", "2026-01-01T00:00:00Z", &["2026-01-01 09:00:00 +05:45"]);
    check("0 9 * * *", "Australia/Eucla", "2026-01-01T12:00:00Z", &["2026-01-02 09:00:00 +08:45"]);
    check("0 9 * * *", "Australia/Darwin", "2026-01-01T12:00:00Z", &["2026-01-02 09:00:00 +09:30"]);
    check("0 9 * * *", "Pacific/Marquesas", "2026-01-01T12:00:00Z", &["2026-01-01 09:00:00 -09:30"]);
    check("0 9 * * *", "America/St_Johns", "2026-01-01T00:00:00Z", &["2026-01-01 09:00:00 -03:30"]);
}

#[test]
fn row_13_rare_days_are_found_and_impossible_ones_refused() {
    check("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", &["2104-02-29 00:00:00 +00:00"]);
    check("* * 29 2 *", "Europe/Berlin", "2096-03-01T00:00:00Z", &["2104-02-29 00:00:00 +01:00"]);
    check("0 0 31 * *", "UTC", "2026-03-31T00:00:00Z", &["2026-05-31 00:00:00 +00:00"]);
    let never = CronSchedule::parse("30 2 30 2 *", TimeZone::UTC, "");
    assert!(matches!(never, Err(CronError::Never { .. })), "{never:?}");
}

#[test]
fn row_14_both_day_fields_are_or_unless_one_begins_with_a_star() {
    let either = ["2026-06-05 00:00:00 +00:00", "2026-06-12 00:00:00 +00:00", "2026-06-13 00:00:00 +00:00"];
    check("0 0 13 * FRI", "UTC", "2026-06-01T00:00:00Z", &either);
    let both = ["2026-06-05 00:00:00 +00:00", "2026-06-19 00:00:00 +00:00"];
    check("0 0 */2 * FRI", "UTC", "2026-06-01T00:00:00Z", &both);
    assert!(cron("0 0 13 * FRI", "UTC").has_two_day_fields());
    assert!(!cron("0 0 */2 * FRI", "UTC").has_two_day_fields());
}

#[test]
fn row_15_next_is_strictly_after() {
    let next = |after: &str| schedule("30 2 * * *", "UTC").next_after(at(after)).map(|slot| slot.at);
    assert_eq!(next("2026-01-01T02:30:00Z"), Some(at("2026-01-02T02:30:00Z")));
    assert_eq!(next("2026-01-01T02:29:59Z"), Some(at("2026-01-01T02:30:00Z")));
    assert_eq!(next("2026-01-01T02:29:59.5Z"), Some(at("2026-01-01T02:30:00Z")));
    assert_eq!(next("2026-01-01T02:30:00.5Z"), Some(at("2026-01-02T02:30:00Z")));
}
