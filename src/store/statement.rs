//! What is asked of a database: the same of each, in its own SQL. Every statement has one parameter, a JSON list: of the
//! parameters, or of rows that are lists themselves, since a statement costs more than a row.

/// A statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statement {
    /// All that decisions rest on: its table, what names a row, its body, and a time; of a run whether it may be running.
    Rows,
    /// `[experiment, schedule, at]`, each a row; returns those that are new.
    Adopt,
    /// `[experiment, schedule, since]`, each a row.
    Leave,
    /// `[experiment, schedule]`, each a row.
    Forget,
    /// `[experiment, schedule, at]`, each a row.
    Move,
    /// Columns of runs, each a row; returns the ids of those that are new.
    Open,
    /// Columns of runs, each a row; returns the ids of those whose revision was one lower.
    Advance,
    /// `[run, experiment]`, each a row; returns `[table, run or experiment, body of a pause]` of what may forbid their starts.
    Forbidding,
    /// Ids of runs.
    Withdraw,
    /// `[at, run, kind, observation, explained]`, each a row.
    Append,
    /// Names of experiments; returns `[experiment, body]`.
    Ledgers,
    /// `[experiment, body]`, each a row.
    Note,
    /// `[experiment, key]`, each a row; returns `[experiment, key, body]`.
    Deployments,
    /// `[experiment, key, changed at, body]`, each a row.
    Remember,
    /// `[source, id, detail-type, received at, runs, queue, body]`, each a row; returns `[source, id]` of the new ones.
    RecordEvents,
    /// `source, id`; returns the ids of the event's runs.
    EventRuns,
    /// `source, id, runs`.
    NoteCopy,
    /// `[queue, message, received at, reason, body, bytes]`, each a row.
    Quarantine,
    /// Returns how many messages there are.
    CountQuarantined,
    /// `limit`; returns messages.
    Quarantined,
    /// `queue, message`; returns it.
    QuarantinedMessage,
    /// `queue, message`.
    ForgetQuarantined,
    /// `run, at, body`.
    AskStop,
    /// Nothing; returns the body.
    Halted,
    /// `body`.
    Halt,
    /// Nothing.
    Unhalt,
    /// `experiment, body`.
    Pause,
    /// Nothing; returns all.
    Calendars,
    /// `name, source, read at, found, failure`.
    KeepCalendar,
    /// The names to be kept.
    ForgetOtherCalendars,
    /// `name`; returns the position.
    Courier,
    /// `name, position`.
    MoveCourier,
    /// `name`.
    MoveCourierToEnd,
    /// `least leap, entries`; returns the time of the journal's last entry, less the leaps among the newest of them, or,
    /// without one, of the newest of what else is deleted by its age.
    LastTold,
    /// `how many newer ones`; returns when the newest finished run behind those changed.
    LastKept,
    /// `before, limit, position of the last entry`.
    PruneJournal,
    /// `before, limit, position of the last entry`.
    PruneRuns,
    /// `before, limit`.
    PruneEvents,
    /// `how many newer ones`; returns when the newest event behind those was received.
    LastKeptEvent,
    /// `since, before, limit`; returns when each event that goes was received. Only of those that opened nothing.
    PruneUnmatched,
    /// `before, limit`.
    PruneDeployments,
    /// `before, limit`.
    PruneQuarantine,
    /// `experiment, since, deployment, limit`; returns bodies.
    Runs,
    /// `id`; returns the body.
    Run,
    /// `prefix`; returns two bodies at most.
    RunsByPrefix,
    /// `run`; returns entries.
    Journal,
    /// `position, limit`; returns entries.
    JournalAfter,
    /// `position, limit`; returns entries as they are written, with experiment and trigger of their run.
    JournalWithRuns,
    /// `id`; returns events.
    Events,
    /// `experiment`; returns the body of the newest run that knows its template.
    LastFacts,
}

/// Gives each statement its SQL; one that is forgotten does not compile.
macro_rules! given {
    ($($name:ident => $sql:literal),* $(,)?) => {
        /// Returns the SQL of a statement.
        pub const fn sql(statement: Statement) -> &'static str {
            match statement {
                $(Statement::$name => $sql,)*
            }
        }
    };
}
pub(super) use given;
