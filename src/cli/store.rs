//! `firedrill store`: what people do with the store as a whole. Nothing here needs an agent, and most of it bears one.

pub mod backup;
pub mod export;

use std::{collections::BTreeMap, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    args::{
        Output,
        store::{StoreCheckArgs, StoreCommand, StoreMigrateArgs},
    },
    context::Context,
    exit::{Exit, Failure},
    render,
};
use crate::store::{
    OpenError,
    schema::SCHEMA,
    upkeep::{
        Progress, UpkeepError,
        check::{self, Report},
        migrate::{self, Intent, Migrated},
        shown,
        snapshot::Snapshot,
    },
};

/// What a bar says during the last step.
const ENDING: &str = "ending";

/// How often a bar without news is drawn.
const TICK: Duration = Duration::from_millis(200);

/// Runs a subcommand.
///
/// # Errors
/// [`Exit::Usage`] for mistakes, [`Exit::NoAgent`] when there is no store.
pub async fn run(context: &Context, command: &StoreCommand) -> Result<Exit, Failure> {
    match command {
        StoreCommand::Migrate(args) => migrate(context, args).await,
        StoreCommand::Check(args) => check(context, args).await,
        StoreCommand::Backup(args) => backup::backup(context, args).await,
        StoreCommand::Restore(args) => backup::restore(context, args).await,
        StoreCommand::Export(args) => export::export(context, args).await,
    }
}

/// A store without rows is told apart from one that fails.
fn failure(error: UpkeepError) -> Failure {
    let exit = match &error {
        UpkeepError::Open(OpenError::Missing { .. }) => Exit::NoAgent,
        UpkeepError::Exists { .. } | UpkeepError::NotEmpty { .. } => Exit::Usage,
        _ => Exit::Internal,
    };
    Failure::new(exit, error)
}

/// A bar on stderr, where that is a terminal.
fn bar(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {spinner} {bar:30} {human_pos} of {human_len} rows");
    let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what);
    bar.enable_steady_tick(TICK);
    bar
}

/// Moves a bar.
fn move_bar(bar: &ProgressBar) -> impl Fn(Progress) + Send + Sync {
    |progress| match progress {
        Progress::Total(rows) => {
            bar.set_length(rows);
            bar.set_position(0);
        }
        Progress::Rows(rows) => bar.inc(rows),
        Progress::Ending => bar.set_message(ENDING),
    }
}

/// Waits for what is being done, unless somebody ends it: then it is dropped, and takes what it has written with it. Its last
/// step is waited for in any case, since nobody could say whether it was made.
async fn unless_ended<T>(bar: &ProgressBar, work: impl Future<Output = Result<T, UpkeepError>>) -> Result<T, Failure> {
    let internal = |error: std::io::Error| Failure::internal(error.into());
    let mut interrupt = signal(SignalKind::interrupt()).map_err(internal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(internal)?;
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            done = &mut work => return done.map_err(failure),
        }
        if bar.message() != ENDING {
            return Err(Failure::say(Exit::Internal, "ended before it was done: nothing was kept"));
        }
    }
}

async fn migrate(context: &Context, args: &StoreMigrateArgs) -> Result<Exit, Failure> {
    let intent = if args.dry_run { Intent::Tell } else { Intent::Do };
    let migrated = migrate::migrate(&context.state()?, intent).await.map_err(|error| failure(error.into()))?;
    let Migrated { store, from, to, steps } = &migrated;
    if context.output == Output::Json {
        let step = |(version, name): &(i64, String)| json!({ "version": version, "name": name });
        let steps: Vec<_> = steps.iter().map(step).collect();
        let done = intent == Intent::Do;
        render::json(&json!({ "store": store, "from": from, "to": to, "steps": steps, "done": done }))?;
    } else {
        let begin = from.map_or_else(|| "there was none".to_owned(), |from| format!("it had schema {from}"));
        match (intent, steps.is_empty()) {
            (_, true) if *to > SCHEMA => {
                render::line(&format!("`{store}` has schema {to} of a newer version, beside which this one works"))?;
            }
            (_, true) => render::line(&format!("`{store}` is up to date: schema {to}"))?,
            (Intent::Do, false) => render::line(&format!("`{store}` has schema {to} now; {begin}"))?,
            (Intent::Tell, false) => render::line(&format!("`{store}` would have schema {to}; {begin}"))?,
        }
        for (version, name) in steps {
            render::line(&format!("  {version}  {name}"))?;
        }
    }
    let is_left = intent == Intent::Tell && !steps.is_empty();
    Ok(if is_left { Exit::Changes } else { Exit::Done })
}

async fn check(context: &Context, args: &StoreCheckArgs) -> Result<Exit, Failure> {
    let bar = bar("checking");
    let told = move_bar(&bar);
    let (store, report) = match &args.file {
        Some(file) => (file.display().to_string(), unless_ended(&bar, check::file_at(file, &told)).await?),
        None => {
            let state = context.state()?;
            let mut snapshot = unless_ended(&bar, Snapshot::of(&state)).await?;
            let report = unless_ended(&bar, check::check(&mut snapshot, &told)).await?;
            snapshot.close().await;
            (shown(&state), report)
        }
    };
    bar.finish_and_clear();
    show(context, &store, &report)?;
    Ok(if report.count == 0 { Exit::Done } else { Exit::Unsound })
}

fn show(context: &Context, store: &str, report: &Report) -> Result<(), Failure> {
    let Report { rows, findings, count } = report;
    if context.output == Output::Json {
        return render::json(&json!({ "store": store, "rows": rows, "count": count, "findings": findings }));
    }
    if findings.is_empty() {
        return render::line(&format!("`{store}` is sound: {}", counted(rows)));
    }
    let mut table = render::table(&["table", "row", "problem"]);
    for finding in findings {
        table.add_row([finding.table, &finding.key, &finding.problem]);
    }
    render::line(&table.trim_fmt())?;
    let shown = findings.len() as u64;
    let more = if *count > shown { format!(", of which the first {shown} are shown") } else { String::new() };
    render::line(&format!(
        "\n`{store}` has {}{more}",
        render::count(usize::try_from(*count).unwrap_or_default(), "fault")
    ))
}

/// Says how many rows there are, in the tables that people know.
fn counted(rows: &BTreeMap<&'static str, u64>) -> String {
    let count = |table, noun| {
        let count = rows.get(table).copied().unwrap_or_default();
        render::count(usize::try_from(count).unwrap_or(usize::MAX), noun)
    };
    let entries = rows.get("journal").copied().unwrap_or_default();
    format!("{}, {} in the journal, {}", count("runs", "run"), entries, count("events", "event"))
}
