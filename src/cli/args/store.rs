//! Arguments of `firedrill store`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::instant;

/// `store`.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Bring the tables up to date, as the agent does at its start, without an agent.
    ///
    /// Makes the store where there is none. A second time, or beside another one, it does nothing. A store that a newer
    /// version has changed beyond what this one knows is refused.
    #[command(after_help = "Examples:\n  firedrill store migrate --dry-run\n  firedrill store migrate")]
    Migrate(StoreMigrateArgs),
    /// Tell whether the store, or a backup, is sound: the file, every row, and what rows say of each other.
    ///
    /// Every row has to be readable by this version, and every run to be as its journal tells it. Nothing is changed; an
    /// agent may go on meanwhile.
    #[command(
        after_help = "Examples:\n  firedrill store check\n  firedrill store check /var/backups/firedrill.db --output json\n\nExit code 8: something is wrong."
    )]
    Check(StoreCheckArgs),
    /// Write all rows into a file, as they are at one moment; the agent goes on meanwhile.
    ///
    /// The file is a store by itself, whichever database the rows are in: `store check FILE` looks at it, and any command
    /// reads it as `firedrill.db` in the folder of `--state`. It is there as a whole and on disk, or not at all.
    #[command(
        after_help = "Examples:\n  firedrill store backup /var/backups/firedrill.db\n  firedrill store backup --force /var/backups/firedrill.db"
    )]
    Backup(StoreBackupArgs),
    /// Take a backup back into the configured store, which must have no rows and no agent.
    ///
    /// The backup is checked first; all of it is taken or nothing. Schedules are as they were in it: what they missed since
    /// is decided by `missed`, as after any downtime. Runs that were starting are looked for at FIS by their tag before
    /// anything else, running ones are asked about; what began after the backup it does not know. What of that goes on in
    /// FIS and is not started again is named by `firedrill status`: nothing here watches or stops it.
    ///
    /// All is halted then, since a halt, a pause or a stop of later is lost: nothing starts until `firedrill resume`.
    ///
    /// A store moves to PostgreSQL by a backup, `state = "postgres://…"` in the configuration, and a restore.
    #[command(
        after_help = "Examples:\n  firedrill store restore /var/backups/firedrill.db\n\nFrom SQLite to PostgreSQL, with the agent stopped:\n  firedrill store backup firedrill-moves.db\n  (now set `state = \"postgres://firedrill@db.example/firedrill\"`)\n  firedrill store restore firedrill-moves.db"
    )]
    Restore(StoreRestoreArgs),
    /// Print the journal as lines of JSON, oldest first; the agent goes on meanwhile.
    ///
    /// Each line has `seq` (rising, never used again), `at`, `run`, `experiment`, `trigger` (`kind` and `key`), `observation`
    /// (`observed` is its name, the rest depends on it) and, of decisions, `explained`: what each rule said. Names are those
    /// of run events.
    #[command(
        after_help = "Examples:\n  firedrill store export --since 2026-03-01 > journal.jsonl\n  firedrill store export --experiment checkout-nightly | grep finished"
    )]
    Export(StoreExportArgs),
}

/// `store migrate`.
#[derive(Debug, Args)]
pub struct StoreMigrateArgs {
    /// Only tell what would be done; exit code 5 when there is something.
    #[arg(long)]
    pub dry_run: bool,
}

/// `store check`.
#[derive(Debug, Args)]
pub struct StoreCheckArgs {
    /// A backup. Default: the configured store.
    pub file: Option<PathBuf>,
}

/// `store backup`.
#[derive(Debug, Args)]
pub struct StoreBackupArgs {
    /// Where to.
    pub file: PathBuf,
    /// Replace a file of that name.
    #[arg(long)]
    pub force: bool,
}

/// `store restore`.
#[derive(Debug, Args)]
pub struct StoreRestoreArgs {
    /// The backup.
    pub file: PathBuf,
    /// Put an SQLite store that has rows aside, under another name in its folder.
    #[arg(long)]
    pub force: bool,
}

/// `store export`.
#[derive(Debug, Args)]
pub struct StoreExportArgs {
    /// Only what was observed at or after this instant.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub since: Option<Timestamp>,
    /// Only of this experiment.
    #[arg(long, value_name = "NAME")]
    pub experiment: Option<String>,
    /// Only of this run; the beginning of its id will do.
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
}
