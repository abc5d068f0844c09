//! A line on stderr for each call that the simulator answered.

use std::{io::Write, time::Duration};

use jiff::tz::TimeZone;
use tokio::sync::{mpsc, oneshot};

use crate::simulator::{Notice, Served};

/// Longest wait at the end for the last lines, on a terminal that stands still.
const LAST_LINES: Duration = Duration::from_secs(1);
/// Longest error message shown, in characters.
const MAX_MESSAGE: usize = 300;

/// Prints on a thread of its own, since a terminal may stand still.
#[derive(Debug)]
pub struct Calls {
    printed: oneshot::Receiver<()>,
}

impl Calls {
    /// Begins to print what comes in, until nothing can come any more.
    pub fn print(mut told: mpsc::Receiver<Notice>) -> Self {
        let (done, printed) = oneshot::channel();
        std::thread::spawn(move || {
            while let Some(notice) = told.blocking_recv() {
                let text = match notice {
                    Notice::Call(served) => line(&served),
                    Notice::LogNotWritten(problem) => problem,
                };
                // Nobody can be told of a closed stderr.
                let _closed = writeln!(std::io::stderr(), "{text}");
            }
            // Nobody may wait any more.
            let _waited_for = done.send(());
        });
        Self { printed }
    }

    /// Waits for the last lines, but not long.
    pub async fn end(self) {
        let _in_time = tokio::time::timeout(LAST_LINES, self.printed).await;
    }
}

/// `12:00:01.123 200 StartExperiment EXP…  3 ms`, and the error if it was one.
fn line(served: &Served) -> String {
    let at = served.at.to_zoned(TimeZone::UTC).strftime("%H:%M:%S%.3f");
    let status = served.status.map_or_else(|| "---".to_owned(), |status| status.to_string());
    let mut text = format!("{at} {status} {}", printable(&served.operation));
    if !served.subject.is_empty() {
        text = format!("{text} {}", printable(&served.subject));
    }
    text = format!("{text}  {} ms", served.took.as_millis());
    if let Some((code, message)) = &served.error {
        text = format!("{text}  {code}: {}", printable(message));
    }
    match served.dropped {
        0 => text,
        more => format!("({more} calls not shown)\n{text}"),
    }
}

/// Text from a client, in one line and without what a terminal would obey.
fn printable(text: &str) -> String {
    let shown = text.chars().take(MAX_MESSAGE).map(|c| if c.is_control() { ' ' } else { c });
    shown.chain((text.chars().nth(MAX_MESSAGE).is_some()).then_some('…')).collect()
}
