//! The examples of RFC 5545, 3.8.5.3, with the dates that it lists; and random rules against python-dateutil.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use firedrill::domain::calendar::Calendar;
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use super::{at, event};
use crate::support::{chance::Chance, venv::python};

/// Date of `DTSTART` (at 09:00 in New York), rule, date up to which it is looked at (`-` for all), and the dates by month.
#[rustfmt::skip]
const EXAMPLES: &[(&str, &str, &str, &str)] = &[
    ("19970902", "FREQ=DAILY;COUNT=10", "-", "1997-09: 2-11"),
    ("19970902", "FREQ=DAILY;UNTIL=19971224T000000Z", "-", "1997-09: 2-30; 1997-10: 1-31; 1997-11: 1-30; 1997-12: 1-23"),
    ("19970902", "FREQ=DAILY;INTERVAL=2", "19971204", "1997-09: 2 4 6 8 10 12 14 16 18 20 22 24 26 28 30; 1997-10: 2 4 6 8 10 12 14 16 18 20 22 24 26 28 30; 1997-11: 1 3 5 7 9 11 13 15 17 19 21 23 25 27 29; 1997-12: 1 3"),
    ("19970902", "FREQ=DAILY;INTERVAL=10;COUNT=5", "-", "1997-09: 2 12 22; 1997-10: 2 12"),
    ("19980101", "FREQ=YEARLY;UNTIL=20000131T140000Z;BYMONTH=1;BYDAY=SU,MO,TU,WE,TH,FR,SA", "-", "1998-01: 1-31; 1999-01: 1-31; 2000-01: 1-31"),
    ("19980101", "FREQ=DAILY;UNTIL=20000131T140000Z;BYMONTH=1", "-", "1998-01: 1-31; 1999-01: 1-31; 2000-01: 1-31"),
    ("19970902", "FREQ=WEEKLY;COUNT=10", "-", "1997-09: 2 9 16 23 30; 1997-10: 7 14 21 28; 1997-11: 4"),
    ("19970902", "FREQ=WEEKLY;UNTIL=19971224T000000Z", "-", "1997-09: 2 9 16 23 30; 1997-10: 7 14 21 28; 1997-11: 4 11 18 25; 1997-12: 2 9 16 23"),
    ("19970902", "FREQ=WEEKLY;INTERVAL=2;WKST=SU", "19980218", "1997-09: 2 16 30; 1997-10: 14 28; 1997-11: 11 25; 1997-12: 9 23; 1998-01: 6 20; 1998-02: 3 17"),
    ("19970902", "FREQ=WEEKLY;UNTIL=19971007T000000Z;WKST=SU;BYDAY=TU,TH", "-", "1997-09: 2 4 9 11 16 18 23 25 30; 1997-10: 2"),
    ("19970902", "FREQ=WEEKLY;COUNT=10;WKST=SU;BYDAY=TU,TH", "-", "1997-09: 2 4 9 11 16 18 23 25 30; 1997-10: 2"),
    ("19970901", "FREQ=WEEKLY;INTERVAL=2;UNTIL=19971224T000000Z;WKST=SU;BYDAY=MO,WE,FR", "-", "1997-09: 1 3 5 15 17 19 29; 1997-10: 1 3 13 15 17 27 29 31; 1997-11: 10 12 14 24 26 28; 1997-12: 8 10 12 22"),
    ("19970902", "FREQ=WEEKLY;INTERVAL=2;COUNT=8;WKST=SU;BYDAY=TU,TH", "-", "1997-09: 2 4 16 18 30; 1997-10: 2 14 16"),
    ("19970905", "FREQ=MONTHLY;COUNT=10;BYDAY=1FR", "-", "1997-09: 5; 1997-10: 3; 1997-11: 7; 1997-12: 5; 1998-01: 2; 1998-02: 6; 1998-03: 6; 1998-04: 3; 1998-05: 1; 1998-06: 5"),
    ("19970905", "FREQ=MONTHLY;UNTIL=19971224T000000Z;BYDAY=1FR", "-", "1997-09: 5; 1997-10: 3; 1997-11: 7; 1997-12: 5"),
    ("19970907", "FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU", "-", "1997-09: 7 28; 1997-11: 2 30; 1998-01: 4 25; 1998-03: 1 29; 1998-05: 3 31"),
    ("19970922", "FREQ=MONTHLY;COUNT=6;BYDAY=-2MO", "-", "1997-09: 22; 1997-10: 20; 1997-11: 17; 1997-12: 22; 1998-01: 19; 1998-02: 16"),
    ("19970928", "FREQ=MONTHLY;BYMONTHDAY=-3", "19980227", "1997-09: 28; 1997-10: 29; 1997-11: 28; 1997-12: 29; 1998-01: 29; 1998-02: 26"),
    ("19970902", "FREQ=MONTHLY;COUNT=10;BYMONTHDAY=2,15", "-", "1997-09: 2 15; 1997-10: 2 15; 1997-11: 2 15; 1997-12: 2 15; 1998-01: 2 15"),
    ("19970930", "FREQ=MONTHLY;COUNT=10;BYMONTHDAY=1,-1", "-", "1997-09: 30; 1997-10: 1 31; 1997-11: 1 30; 1997-12: 1 31; 1998-01: 1 31; 1998-02: 1"),
    ("19970910", "FREQ=MONTHLY;INTERVAL=18;COUNT=10;BYMONTHDAY=10,11,12,13,14,15", "-", "1997-09: 10-15; 1999-03: 10-13"),
    ("19970902", "FREQ=MONTHLY;INTERVAL=2;BYDAY=TU", "19980401", "1997-09: 2 9 16 23 30; 1997-11: 4 11 18 25; 1998-01: 6 13 20 27; 1998-03: 3 10 17 24 31"),
    ("19970610", "FREQ=YEARLY;COUNT=10;BYMONTH=6,7", "-", "1997-06: 10; 1997-07: 10; 1998-06: 10; 1998-07: 10; 1999-06: 10; 1999-07: 10; 2000-06: 10; 2000-07: 10; 2001-06: 10; 2001-07: 10"),
    ("19970310", "FREQ=YEARLY;INTERVAL=2;COUNT=10;BYMONTH=1,2,3", "-", "1997-03: 10; 1999-01: 10; 1999-02: 10; 1999-03: 10; 2001-01: 10; 2001-02: 10; 2001-03: 10; 2003-01: 10; 2003-02: 10; 2003-03: 10"),
    ("19970101", "FREQ=YEARLY;INTERVAL=3;COUNT=10;BYYEARDAY=1,100,200", "-", "1997-01: 1; 1997-04: 10; 1997-07: 19; 2000-01: 1; 2000-04: 9; 2000-07: 18; 2003-01: 1; 2003-04: 10; 2003-07: 19; 2006-01: 1"),
    ("19970519", "FREQ=YEARLY;BYDAY=20MO", "19990601", "1997-05: 19; 1998-05: 18; 1999-05: 17"),
    ("19970512", "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "19990601", "1997-05: 12; 1998-05: 11; 1999-05: 17"),
    ("19970313", "FREQ=YEARLY;BYMONTH=3;BYDAY=TH", "19990401", "1997-03: 13 20 27; 1998-03: 5 12 19 26; 1999-03: 4 11 18 25"),
    ("19970605", "FREQ=YEARLY;BYDAY=TH;BYMONTH=6,7,8", "19990901", "1997-06: 5 12 19 26; 1997-07: 3 10 17 24 31; 1997-08: 7 14 21 28; 1998-06: 4 11 18 25; 1998-07: 2 9 16 23 30; 1998-08: 6 13 20 27; 1999-06: 3 10 17 24; 1999-07: 1 8 15 22 29; 1999-08: 5 12 19 26"),
    ("19970902", "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "20001101", "1998-02: 13; 1998-03: 13; 1998-11: 13; 1999-08: 13; 2000-10: 13"),
    ("19970913", "FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13", "19980614", "1997-09: 13; 1997-10: 11; 1997-11: 8; 1997-12: 13; 1998-01: 10; 1998-02: 7; 1998-03: 7; 1998-04: 11; 1998-05: 9; 1998-06: 13"),
    ("19961105", "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8", "20041103", "1996-11: 5; 2000-11: 7; 2004-11: 2"),
    ("19970904", "FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", "-", "1997-09: 4; 1997-10: 7; 1997-11: 6"),
    ("19970929", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", "19980401", "1997-09: 29; 1997-10: 30; 1997-11: 27; 1997-12: 30; 1998-01: 29; 1998-02: 26; 1998-03: 30"),
    ("19970805", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", "-", "1997-08: 5 10 19 24"),
    ("19970805", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", "-", "1997-08: 5 17 19 31"),
    ("20070115", "FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=5", "-", "2007-01: 15 30; 2007-02: 15; 2007-03: 15 30"),
];

/// Those whose times of day differ: the rule, and the local times on 2 September 1997. The end of the first one is that of
/// the erratum; as printed it lies four hours early.
const TIMES: &[(&str, &str)] = &[
    ("FREQ=HOURLY;INTERVAL=3;UNTIL=19970902T210000Z", "09:00 12:00 15:00"),
    (
        "FREQ=DAILY;BYHOUR=9,10,11,12,13,14,15,16;BYMINUTE=0,20,40",
        "09:00 09:20 09:40 10:00 10:20 10:40 11:00 11:20 11:40 12:00 12:20 12:40 13:00 13:20 13:40 14:00 14:20 14:40 \
         15:00 15:20 15:40 16:00 16:20 16:40",
    ),
];

/// Those that recur by minutes are refused, with what to write instead.
const REFUSED: &[&str] = &[
    "FREQ=MINUTELY;INTERVAL=15;COUNT=6",
    "FREQ=MINUTELY;INTERVAL=90;COUNT=4",
    "FREQ=MINUTELY;INTERVAL=20;BYHOUR=9,10,11,12,13,14,15,16",
];

fn new_york() -> TimeZone {
    TimeZone::get("America/New_York").expect("a zone")
}

/// The local starts of events of a minute.
fn starts(text: &str, to: Timestamp) -> Vec<DateTime> {
    let calendar = Calendar::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let spans = calendar.spans(at("1990-01-01T00:00:00Z"), to).expect("few enough");
    spans.iter().map(|span| new_york().to_datetime(span.start)).collect()
}

fn in_new_york(start: &str, more: &str) -> String {
    event(&format!("DTSTART;TZID=America/New_York:{start}T090000\nDURATION:PT1M\n{more}"))
}

/// Reads `1997-09: 2 12-14; 1997-10: 2`.
fn listed(text: &str) -> Vec<DateTime> {
    let mut dates = Vec::new();
    for month in text.split("; ") {
        let (month, days) = month.split_once(": ").expect("a month");
        for days in days.split(' ') {
            let (first, last) = days.split_once('-').unwrap_or((days, days));
            for day in first.parse::<u8>().expect("a day")..=last.parse().expect("a day") {
                dates.push(format!("{month}-{day:02}T09:00").parse().expect("a date"));
            }
        }
    }
    dates
}

#[test]
fn examples_of_rfc_5545_have_the_dates_that_it_lists() {
    for (start, rule, end, expected) in EXAMPLES {
        let to = if *end == "-" { "20150101" } else { *end };
        let to: DateTime = format!("{}-{}-{}T00:00", &to[..4], &to[4..6], &to[6..]).parse().expect("a date");
        let to = new_york().to_timestamp(to).expect("an instant");
        let mut lines = format!("RRULE:{rule}");
        if rule.ends_with("BYMONTHDAY=13") {
            // The one whose first date is none of its own.
            lines.push_str("\nEXDATE;TZID=America/New_York:19970902T090000");
        }
        assert_eq!(starts(&in_new_york(start, &lines), to), listed(expected), "{rule}");
    }
    for (rule, expected) in TIMES {
        let found = starts(&in_new_york("19970902", &format!("RRULE:{rule}")), at("1997-09-03T04:00:00Z"));
        let found: Vec<String> = found.iter().map(|local| local.strftime("%H:%M").to_string()).collect();
        assert_eq!(found.join(" "), *expected, "{rule}");
    }
    for rule in REFUSED {
        let error = Calendar::parse(&in_new_york("19970902", &format!("RRULE:{rule}"))).map(drop).expect_err(rule);
        assert!(error.to_string().contains("FREQ=DAILY with BYHOUR and BYMINUTE says the same"), "{error}");
    }
}

/// Reads lines of a start and a rule; writes the first times that the rule names, the first one as the new start.
const DATEUTIL: &str = "\
import sys, datetime
from dateutil.rrule import rrulestr
form = '%Y%m%dT%H%M%S'
for line in sys.stdin:
    start, rule = line.split()
    def times(start, most):
        found = []
        end = datetime.datetime(2040, 1, 1)
        for time in rrulestr(f'DTSTART:{start}\\nRRULE:{rule}'):
            if len(found) == most or time > end:
                break
            found.append(time.strftime(form))
        return found
    first = times(start, 1)
    print(' '.join(times(first[0], 40) if first else []))
";

/// A rule by chance, of those that calendars hold.
fn rule(chance: &mut Chance) -> String {
    let frequency = chance.pick(&["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY"]);
    let mut rule = format!("FREQ={frequency}");
    if chance.one_in(2) {
        rule.push_str(&format!(";INTERVAL={}", chance.between(2, 5)));
    }
    if chance.one_in(3) {
        rule.push_str(chance.pick(&[";WKST=SU", ";WKST=MO", ";WKST=WE"]));
    }
    let mut by = |rule: &mut String, often: u64, parts: &[&'static str]| {
        let takes = chance.one_in(often);
        if takes {
            rule.push_str(chance.pick(parts));
        }
        takes
    };
    match frequency {
        "HOURLY" => {
            by(&mut rule, 2, &[";BYMINUTE=0,30", ";BYMINUTE=15"]);
            by(&mut rule, 3, &[";BYHOUR=8,9,10,11,12,13,14,15,16", ";BYDAY=MO,TU,WE,TH,FR"]);
        }
        "DAILY" | "WEEKLY" => {
            by(&mut rule, 2, &[";BYDAY=MO,TU,WE,TH,FR", ";BYDAY=SA,SU", ";BYDAY=TU"]);
            by(&mut rule, 4, &[";BYHOUR=2,14", ";BYHOUR=22;BYMINUTE=30"]);
            by(&mut rule, 4, &[";BYMONTH=1,2,12", ";BYMONTH=6"]);
        }
        "MONTHLY" => {
            let days = [";BYDAY=MO,WE", ";BYDAY=-1FR", ";BYDAY=2TU,4TU", ";BYMONTHDAY=-1", ";BYMONTHDAY=1,15,31"];
            if by(&mut rule, 1, &days) {
                by(&mut rule, 4, &[";BYSETPOS=1", ";BYSETPOS=-1", ";BYSETPOS=1,-1"]);
            }
            by(&mut rule, 4, &[";BYMONTH=2", ";BYMONTH=3,6,9,12"]);
        }
        _yearly => {
            by(
                &mut rule,
                1,
                &[
                    ";BYMONTH=2;BYMONTHDAY=29",
                    ";BYMONTH=3;BYDAY=-1SU",
                    ";BYDAY=20MO",
                    ";BYWEEKNO=1,53;BYDAY=TH",
                    ";BYYEARDAY=1,100,-1",
                    ";BYMONTH=12;BYMONTHDAY=24,25,26",
                    ";BYMONTH=5,11;BYDAY=MO,TU;BYSETPOS=-1",
                ],
            );
        }
    }
    rule
}

#[test]
fn random_rules_recur_as_python_dateutil_says() {
    let mut chance = Chance::new(5545);
    let asked: Vec<(String, String)> = (0..400)
        .map(|_| {
            let day = format!("{:02}{:02}", chance.between(1, 12), chance.between(1, 28));
            let start = format!(
                "{}{day}T{:02}{:02}00",
                chance.between(2016, 2026),
                chance.between(0, 23),
                chance.pick(&[0, 15, 30])
            );
            (start, rule(&mut chance))
        })
        .collect();
    let mut child = Command::new(python())
        .args(["-c", DATEUTIL])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python runs");
    let lines: String = asked.iter().map(|(start, rule)| format!("{start} {rule}\n")).collect();
    child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("questions");
    let output = child.wait_with_output().expect("an end");
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).expect("text");
    let (mut compared, mut refused) = (0, 0);
    for ((_, rule), answer) in asked.iter().zip(answers.lines()) {
        let times: Vec<&str> = answer.split_whitespace().collect();
        let [first, .., last] = times[..] else { continue };
        let text = event(&format!("DTSTART:{first}Z\nDURATION:PT1S\nRRULE:{rule}"));
        let calendar = match Calendar::parse(&text) {
            Ok(calendar) => calendar,
            Err(error) => {
                assert!(error.to_string().contains("not supported"), "{error}: {rule} from {first}");
                refused += 1;
                continue;
            }
        };
        let instant =
            |text: &str| TimeZone::UTC.to_timestamp(DateTime::strptime("%Y%m%dT%H%M%S", text).expect("a time"));
        let (from, to) = (instant(first).expect("an instant"), instant(last).expect("an instant"));
        let spans = calendar.spans(from, to + SignedDuration::from_secs(1)).expect("few");
        let found: Vec<String> = spans.iter().map(|span| span.start.strftime("%Y%m%dT%H%M%S").to_string()).collect();
        assert_eq!(found, times, "{rule} from {first}");
        compared += 1;
    }
    assert!(compared > 300 && refused < 40, "{compared} compared, {refused} refused");
}
