//! Calendars: reads each source again and again, and puts what it says into force at once.
//!
//! What cannot be read leaves the last reading in place with the reason beside it; when that is too old to be believed is
//! decided by the windows. What Systems Manager said is kept in the store, so that it holds over a restart.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::timeout,
};

use super::{heartbeat, witness::chain};
use crate::{
    aws::{sdk::Places, ssm},
    config::{
        calendar_file,
        settings::{Calendar, CalendarSource},
    },
    domain::{
        calendar::{
            found::Found,
            reading::{Content, Reading},
        },
        experiment::{Place, Rules},
        ids::CalendarName,
    },
    engine::ports::StoreError,
    http::status::{CalendarStatus, Status},
    store::{SqlStore, calendars::CalendarRow},
};

/// Longest time between two looks at the clock.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Longest wait after a failure; a calendar that is read more often is tried that often.
const RETRY: SignedDuration = SignedDuration::from_secs(30);
/// Longest time that one read may take, all its calls together.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time that a configuration waits for calendars that nobody has read yet: without them its windows would be
/// closed, and what runs would be stopped, for no reason but that.
const FIRST_READS: Duration = Duration::from_secs(5);

/// All calendars of the configuration in force.
pub struct Calendars {
    store: Arc<SqlStore>,
    places: Arc<Places>,
    rules: watch::Sender<Arc<Rules>>,
    status: watch::Sender<Arc<Status>>,
    /// Held only to look and to change, so that a read that was under way during a reload is not taken for the new one's.
    entries: Mutex<BTreeMap<CalendarName, Entry>>,
    /// Notified when the configuration has changed.
    reconfigured: Notify,
}

/// One calendar.
struct Entry {
    calendar: Calendar,
    reading: Reading,
    /// What the reading's content was made of.
    found: Option<Arc<Found>>,
    tried: Tried,
}

/// When a calendar was last tried.
#[derive(Clone, Copy)]
enum Tried {
    Never,
    At(Timestamp),
    /// A read is under way.
    Now,
}

/// What a source said, and what that means.
type Known = (Arc<Found>, Content);

/// A read that has ended.
struct Read {
    calendar: Calendar,
    at: Timestamp,
    result: Result<Known, String>,
}

impl Entry {
    fn new(mut calendar: Calendar) -> Self {
        let reading = calendar.reading();
        // The text is not kept twice.
        let found = calendar.found.take().map(|(found, _)| found);
        let tried = reading.content.as_ref().map_or(Tried::Never, |content| Tried::At(content.read_at));
        Self { calendar, reading, found, tried }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let at = match self.tried {
            Tried::Never => return true,
            Tried::Now => return false,
            Tried::At(at) => at,
        };
        let wait = match self.reading.failure {
            None => self.calendar.refresh,
            Some(_) => self.calendar.refresh.min(RETRY),
        };
        let ended = self.reading.content.as_ref().and_then(|content| content.known_until);
        // Also when the clock was set back.
        now < at || now.duration_since(at) >= wait || ended.is_some_and(|ended| at < ended && ended <= now)
    }

    /// Takes in what a read found.
    fn take(&mut self, read: Read) {
        say(self, &read);
        self.tried = Tried::At(read.at);
        match read.result {
            Ok((found, content)) => {
                self.found = Some(found);
                self.reading.content = Some(content);
                self.reading.failure = None;
            }
            Err(failure) => self.reading.failure = Some(failure),
        }
    }

    fn row(&self) -> CalendarRow {
        let read_at = self.reading.content.as_ref().map(|content| content.read_at);
        CalendarRow {
            name: self.calendar.name.clone(),
            source: self.calendar.source.identity(),
            found: read_at.zip(self.found.as_deref().cloned()),
            failure: self.reading.failure.clone(),
        }
    }

    fn status(&self) -> CalendarStatus {
        let state_only = match self.found.as_deref() {
            Some(Found::State { because, .. }) => Some(because.clone()),
            _ => None,
        };
        let content = self.reading.content.as_ref();
        CalendarStatus {
            read_at: content.map(|content| content.read_at),
            known_until: content.and_then(|content| content.known_until),
            failure: self.reading.failure.clone(),
            state_only,
        }
    }
}

impl Calendars {
    /// Takes the calendars of a configuration, with what the store knows of them, and puts that into force.
    pub async fn start(
        store: Arc<SqlStore>,
        places: Arc<Places>,
        calendars: Vec<Calendar>,
        rules: watch::Sender<Arc<Rules>>,
        status: watch::Sender<Arc<Status>>,
    ) -> Arc<Self> {
        let kept = kept(&store, &calendars).await.unwrap_or_else(|error| {
            tracing::warn!(error = chain(&error), "calendars as they were last read could not be loaded");
            BTreeMap::new()
        });
        let asked: Vec<Calendar> = calendars.iter().filter(|calendar| !calendar.source.is_file()).cloned().collect();
        let mut entries: BTreeMap<_, _> =
            calendars.into_iter().map(|calendar| (calendar.name.clone(), Entry::new(calendar))).collect();
        for (name, (found, reading)) in kept {
            if let Some(entry) = entries.get_mut(&name) {
                entry.found = found;
                entry.reading = reading;
            }
        }
        let reconfigured = Notify::new();
        let this = Self { store, places, rules, status, entries: Mutex::new(entries), reconfigured };
        this.enforce(&this.entries(), None);
        for read in this.read_first(asked).await {
            this.take(read).await;
        }
        Arc::new(this)
    }

    /// Returns what is in force.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.borrow().clone()
    }

    /// Puts another configuration into force; what is known of a calendar whose source is the same stays known, others
    /// are read before.
    pub async fn reconfigure(&self, rules: Rules, calendars: Vec<Calendar>) {
        let is_known = |calendar: &Calendar| {
            self.entries().get(&calendar.name).is_some_and(|entry| entry.calendar.source == calendar.source)
        };
        let asked = calendars.iter().filter(|calendar| !calendar.source.is_file() && !is_known(calendar));
        let reads = self.read_first(asked.cloned().collect()).await;
        self.replace(rules, calendars, reads);
        self.reconfigured.notify_one();
    }

    fn replace(&self, rules: Rules, calendars: Vec<Calendar>, reads: Vec<Read>) {
        let mut entries = self.entries();
        let mut old = std::mem::take(&mut *entries);
        for calendar in calendars {
            let name = calendar.name.clone();
            let mut entry = Entry::new(calendar);
            let known = old.remove(&name).filter(|old| old.calendar.source == entry.calendar.source);
            if let Some(known) = known.filter(|_| entry.found.is_none()) {
                entry.reading = Reading { good_for: entry.reading.good_for, ..known.reading };
                entry.found = known.found;
                entry.tried = known.tried;
            }
            entries.insert(name, entry);
        }
        for read in reads {
            if let Some(entry) = entries.get_mut(&read.calendar.name) {
                entry.take(read);
            }
        }
        self.enforce(&entries, Some(rules));
    }

    /// Reads calendars at once; those that do not answer in time are left to be read later.
    async fn read_first(&self, calendars: Vec<Calendar>) -> Vec<Read> {
        let now = heartbeat::now();
        let mut reads = JoinSet::new();
        for calendar in calendars {
            reads.spawn(read(self.places.clone(), calendar, None, now));
        }
        let mut done = Vec::new();
        let all = async {
            while let Some(ended) = reads.join_next().await {
                match ended {
                    Ok(read) => done.push(read),
                    Err(error) => tracing::error!(%error, "a read of a calendar died"),
                }
            }
        };
        if timeout(FIRST_READS, all).await.is_err() {
            tracing::warn!("not every calendar answers; windows that follow those are closed until they do");
        }
        done
    }

    /// Reads every calendar when it is due, for ever.
    pub async fn run(self: Arc<Self>) {
        let mut reads = JoinSet::new();
        self.forget_others().await;
        loop {
            let now = heartbeat::now();
            for (calendar, known) in self.due(now) {
                reads.spawn(read(self.places.clone(), calendar, known, now));
            }
            tokio::select! {
                biased;
                Some(ended) = reads.join_next(), if !reads.is_empty() => match ended {
                    Ok(read) => self.take(read).await,
                    Err(error) => {
                        tracing::error!(%error, "a read of a calendar died");
                        self.release(now);
                    }
                },
                () = self.reconfigured.notified() => self.forget_others().await,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<CalendarName, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks the calendars that are due as being read, and returns them with what is known of them.
    fn due(&self, now: Timestamp) -> Vec<(Calendar, Option<Known>)> {
        let mut entries = self.entries();
        let due = entries.values_mut().filter(|entry| entry.is_due(now));
        let begun = due.map(|entry| {
            entry.tried = Tried::Now;
            (entry.calendar.clone(), entry.found.clone().zip(entry.reading.content.clone()))
        });
        begun.collect()
    }

    /// Takes no read for being under way any more: it is not known which of them died.
    fn release(&self, now: Timestamp) {
        let mut entries = self.entries();
        for entry in entries.values_mut().filter(|entry| matches!(entry.tried, Tried::Now)) {
            entry.tried = Tried::At(now);
        }
    }

    /// Takes in what a read found, unless the calendar has another source by now.
    async fn take(&self, read: Read) {
        let row = {
            let mut entries = self.entries();
            let entry = entries.get_mut(&read.calendar.name);
            let Some(entry) = entry.filter(|entry| entry.calendar.source == read.calendar.source) else { return };
            entry.take(read);
            // A file is read when the configuration is.
            let row = (!entry.calendar.source.is_file()).then(|| entry.row());
            self.enforce(&entries, None);
            row
        };
        if let Some(row) = row
            && let Err(error) = self.store.keep_calendar(&row).await
        {
            tracing::warn!(calendar = %row.name, error = chain(&error), "calendar could not be kept");
        }
    }

    /// Gives the engine and the status what is known, together with new rules if there are any.
    fn enforce(&self, entries: &BTreeMap<CalendarName, Entry>, rules: Option<Rules>) {
        let readings = entries.iter().map(|(name, entry)| (name.clone(), entry.reading.clone())).collect();
        self.rules.send_if_modified(|current| {
            if rules.is_none() && entries.is_empty() {
                return false;
            }
            let rules = rules.unwrap_or_else(|| (**current).clone());
            *current = Arc::new(rules.with_readings(&readings));
            true
        });
        let said = entries.iter().map(|(name, entry)| (name.to_string(), entry.status())).collect();
        self.status.send_modify(|status| Arc::make_mut(status).calendars = said);
    }

    async fn forget_others(&self) {
        let names: Vec<CalendarName> = self.entries().keys().cloned().collect();
        if let Err(error) = self.store.forget_other_calendars(&names).await {
            tracing::debug!(error = chain(&error), "calendars that are gone could not be forgotten");
        }
    }
}

/// Returns what the store knows of calendars that are not files: what was found, if anything, and the reading it makes.
///
/// # Errors
/// [`StoreError`] when the store cannot be read.
pub async fn kept(
    store: &SqlStore,
    calendars: &[Calendar],
) -> Result<BTreeMap<CalendarName, (Option<Arc<Found>>, Reading)>, StoreError> {
    let mut kept = BTreeMap::new();
    for row in store.calendars().await? {
        let of_row = |calendar: &&Calendar| calendar.name == row.name && calendar.source.identity() == row.source;
        let Some(calendar) = calendars.iter().find(of_row) else { continue };
        let mut reading = Reading { failure: row.failure, ..calendar.reading() };
        let mut known = None;
        if let Some((read_at, found)) = row.found {
            match found.content(read_at) {
                Ok(content) => {
                    reading.content = Some(content);
                    known = Some(Arc::new(found));
                }
                Err(error) => reading.failure = Some(error.to_string()),
            }
        }
        kept.insert(row.name, (known, reading));
    }
    Ok(kept)
}

/// Says when a calendar begins to fail, when that is over, and when AWS's text of it cannot be used any more.
fn say(entry: &Entry, read: &Read) {
    let calendar = &entry.calendar.name;
    match &read.result {
        Err(failure) if entry.reading.failure.is_none() => {
            tracing::warn!(%calendar, error = failure, "calendar cannot be read; trying on");
        }
        Err(_) => {}
        Ok((found, _)) => {
            if entry.reading.failure.is_some() {
                tracing::info!(%calendar, "calendar can be read again");
            }
            let was_state = matches!(entry.found.as_deref(), Some(Found::State { .. }));
            match &**found {
                Found::State { because, .. } if !was_state => {
                    tracing::warn!(%calendar, reason = because, "only the state of the calendar is known, up to its next change");
                }
                _ => {}
            }
        }
    }
}

/// Reads a calendar once. What it says is computed anew only if it differs from what is known.
async fn read(places: Arc<Places>, calendar: Calendar, known: Option<Known>, at: Timestamp) -> Read {
    let asked = timeout(READ_TIMEOUT, ask(&places, &calendar.source, at)).await;
    let found = asked.unwrap_or_else(|_| Err(format!("no answer within {} s", READ_TIMEOUT.as_secs())));
    let result = match found {
        Err(failure) => Err(failure),
        Ok(found) => match known {
            Some((same, content)) if *same == found => Ok((same, Content { read_at: at, ..content })),
            _ => content(found, at).await,
        },
    };
    Read { calendar, at, result }
}

async fn content(found: Found, at: Timestamp) -> Result<Known, String> {
    // Rules of a large calendar take their time.
    let made = tokio::task::spawn_blocking(move || found.content(at).map(|content| (Arc::new(found), content))).await;
    made.map_err(|died| died.to_string())?.map_err(|error| error.to_string())
}

async fn ask(places: &Places, source: &CalendarSource, at: Timestamp) -> Result<Found, String> {
    match source {
        CalendarSource::File { path, timezone } => {
            let (file, timezone) = (path.clone(), timezone.clone());
            let read = tokio::task::spawn_blocking(move || calendar_file::read(&file, &timezone)).await;
            let read = read.map_err(|died| died.to_string())?;
            read.map_err(|error| format!("`{}`: {error}", path.display()))
        }
        CalendarSource::ChangeCalendars { names, place } => change_calendars(places, place, names, at).await,
    }
}

/// Asks AWS what calendars are, and for their texts; texts that cannot be had or say something else do not count.
async fn change_calendars(places: &Places, place: &Place, names: &[String], at: Timestamp) -> Result<Found, String> {
    // To the second, so that AWS and the texts are asked of the same instant.
    let at = Timestamp::from_second(at.as_second()).unwrap_or(at);
    let state = ssm::state(places, place, names, at).await.map_err(|failure| failure.to_string())?;
    let state_only = |because| Found::State { is_open: state.is_open, until: state.until, because };
    let mut texts = Vec::new();
    for name in names {
        match ssm::document(places, place, name).await {
            Ok(text) => texts.push((name.clone(), text)),
            Err(failure) if failure.class.is_transient() => return Err(failure.to_string()),
            Err(failure) => return Ok(state_only(format!("`{name}`: {failure}"))),
        }
    }
    let found = Found::ChangeCalendars(texts);
    let checked = tokio::task::spawn_blocking(move || {
        let closed = found.content(at).map_err(|error| error.to_string())?.calendar.covering(at);
        let is_open = closed.map_err(|error| error.to_string())?.is_none();
        Ok::<_, String>((found, is_open))
    });
    Ok(match checked.await.map_err(|died| died.to_string())? {
        Ok((found, is_open)) if is_open == state.is_open => found,
        Ok(_) => {
            state_only(format!("its text says the contrary of AWS, which says that it is {}", word(state.is_open)))
        }
        Err(error) => state_only(error),
    })
}

fn word(is_open: bool) -> &'static str {
    if is_open { "open" } else { "closed" }
}
