//! Arguments: what may be written on the command line.

pub mod event;
pub mod queue;
pub mod store;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::exit;
use crate::{config, domain::civil};

/// Runs AWS FIS experiments on schedules and after deployments: never twice, never lost, never in a blackout.
#[derive(Debug, Parser)]
#[command(name = "firedrill", version, after_help = exit::HELP, propagate_version = true)]
pub struct Arguments {
    /// Configuration: a TOML file, or a folder of *.toml merged in name order.
    #[arg(long, short, global = true, env = "FIREDRILL_CONFIG", default_value = "/etc/firedrill", value_name = "PATH")]
    pub config: PathBuf,
    /// State directory, instead of the configuration's (for commands that only read or talk to the agent).
    #[arg(long, global = true, env = "FIREDRILL_STATE", value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Form of the output.
    #[arg(long, short, global = true, value_enum, default_value_t = Form::Table)]
    pub output: Form,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Form of the output of most commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Every form of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For calendars (iCalendar); only `plan` has it.
    #[value(skip)]
    Ics,
}

/// Reads a form, also that for calendars.
fn any_form(text: &str) -> Result<Form, String> {
    match text {
        "ics" => Ok(Form::Ics),
        other => Form::from_str(other, false).map_err(|_unknown| "it is `table`, `json` or `ics`".to_owned()),
    }
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent until it is told to stop.
    #[command(
        after_help = "Example:\n  firedrill run --config /etc/firedrill\n\nSIGHUP reloads the configuration, SIGTERM drains, a second SIGTERM ends at once."
    )]
    Run(RunArgs),
    /// Watch it work without an AWS account: simulator and agent in one process.
    #[command(after_help = "Example:\n  firedrill demo --for 60s")]
    Demo(DemoArgs),
    /// Serve FIS and what is around it on loopback, for tests and rehearsals.
    #[command(
        after_help = "Example:\n  firedrill simulator --listen 127.0.0.1:4566 --speed 60\n  aws fis list-experiments --endpoint-url http://127.0.0.1:4566",
        after_long_help = super::simulator::help()
    )]
    Simulator(SimulatorArgs),
    /// Check the configuration and name every mistake in it.
    #[command(after_help = "Example:\n  firedrill check --config config/firedrill.toml")]
    Check(CheckArgs),
    /// Show what is going to run in the next days, and what is not and why.
    #[command(
        after_help = "Examples:\n  firedrill plan --days 14 --experiment 'checkout-*'\n  firedrill plan --from 2027-03-01 --to 2027-04-01 --output ics > chaos.ics\n  firedrill plan --diff config-of-yesterday.toml"
    )]
    Plan(PlanArgs),
    /// Work with schedules.
    #[command(
        subcommand,
        after_help = "Example:\n  firedrill schedule next '30 2 * * MON-FRI' --timezone Europe/Berlin --count 3"
    )]
    Schedule(ScheduleCommand),
    /// Work with windows.
    #[command(
        subcommand,
        after_help = "Example:\n  firedrill window check --experiment checkout-nightly --next --free 45m --within 7d"
    )]
    Window(WindowCommand),
    /// Try patterns on events, and show the ready-made triggers.
    #[command(
        subcommand,
        after_help = "Examples:\n  firedrill event presets codedeploy-success\n  firedrill event match --event @event.json"
    )]
    Event(event::EventCommand),
    /// Make queues and the rules that lead to them, and see to messages that got stuck.
    #[command(
        subcommand,
        after_help = "Examples:\n  firedrill queue plan\n  firedrill queue apply\n  firedrill queue destroy deployments"
    )]
    Queue(queue::QueueCommand),
    /// List runs, newest first.
    #[command(
        after_help = "Examples:\n  firedrill runs --experiment checkout-nightly --limit 5\n  firedrill runs --deployment d-123456789"
    )]
    Runs(RunsArgs),
    /// Show one run: its actions and its journal.
    #[command(after_help = "Example:\n  firedrill show 3f9c1d2e")]
    Show(ShowArgs),
    /// Tell why something ran or did not.
    #[command(
        after_help = "Examples:\n  firedrill why checkout-nightly@2026-03-01T02:00:00Z\n  firedrill why 3f9c1d2e\n  firedrill why c071bfbf-83c4-49ca-a6ff-3df053957145"
    )]
    Why(WhyArgs),
    /// Run an experiment now; windows and limits hold for it as for any other.
    #[command(after_help = "Example:\n  firedrill start checkout-nightly --reason 'before the release' --wait")]
    Start(StartArgs),
    /// Stop a run, or take back one that has not started.
    #[command(after_help = "Example:\n  firedrill stop 3f9c1d2e --reason 'pager went off'")]
    Stop(StopArgs),
    /// Halt all chaos: nothing starts, what runs is stopped, until `resume`; survives restarts.
    #[command(
        after_help = "Examples:\n  firedrill halt --reason 'incident 4711'\n  firedrill halt --lever --reason 'incident 4711'"
    )]
    Halt(HaltArgs),
    /// Pause an experiment: nothing of it starts until `resume`, or until a time; what runs goes on.
    #[command(after_help = "Example:\n  firedrill pause checkout-nightly --for 2d --reason 'migration'")]
    Pause(PauseArgs),
    /// Lift the halt; with an experiment, its pause, and forgive its failures.
    #[command(after_help = "Examples:\n  firedrill resume\n  firedrill resume checkout-nightly")]
    Resume {
        /// Which experiment.
        experiment: Option<String>,
        /// Leave the safety levers that the halt engaged as they are, and forget them.
        #[arg(long, conflicts_with = "experiment")]
        keep_levers: bool,
    },
    /// Run slots of the past again, one after the other.
    #[command(
        after_help = "Example:\n  firedrill backfill checkout-nightly --from 2026-03-01T00:00:00Z --to 2026-03-03T00:00:00Z --reason 'agent was down'"
    )]
    Backfill(BackfillArgs),
    /// Load the configuration anew; with mistakes in it the old one stays.
    Reload,
    /// Show how the running agent is.
    Status,
    /// Look after the store: check it, keep a copy, move it, carry its journal away.
    #[command(
        subcommand,
        after_help = "Examples:\n  firedrill store check\n  firedrill store backup /var/backups/firedrill.db\n  firedrill store export --since 2026-03-01 | gzip > journal.jsonl.gz"
    )]
    Store(store::StoreCommand),
    /// Print completions for a shell.
    #[command(after_help = "Example:\n  firedrill completions bash > /etc/bash_completion.d/firedrill")]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// `run`.
#[derive(Debug, Args)]
pub struct RunArgs {}

/// `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End by itself after this time, such as 60s.
    #[arg(long = "for", value_name = "TIME", value_parser = length)]
    pub length: Option<SignedDuration>,
    /// Log lines instead of the live view (the default where stdout is not a terminal).
    #[arg(long)]
    pub plain: bool,
}

/// `simulator`.
#[derive(Debug, Args)]
pub struct SimulatorArgs {
    /// Loopback address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:4566", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Region in ARNs and events.
    #[arg(long, default_value = "us-east-1", value_parser = region)]
    pub region: String,
    /// Account in ARNs and events, 12 digits.
    #[arg(long, default_value = "123456789012", value_parser = account)]
    pub account: String,
    /// Declared durations are divided by this.
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = speed, allow_negative_numbers = true)]
    pub speed: f64,
    /// Resources that targets resolve to (TOML or JSON); without it every target finds something.
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// Seed of choices that are random at AWS, and of the event switches.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write FIS's experiment logs here, one file each.
    #[arg(long, value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// Check AWS signatures, by the wall clock; access key and secret are both `simulator`. Otherwise any credentials
    /// will do.
    #[arg(long)]
    pub verify_signatures: bool,
    /// Choose how to behave where AWS does not say how it does; may be repeated. --help lists them.
    #[arg(long = "choice", value_name = "NAME=VALUE", value_parser = choice)]
    pub choices: Vec<(String, String)>,
    /// Run a command with `sh -c` and the environment set for it, and end with its exit code when it ends.
    #[arg(long, value_name = "COMMAND")]
    pub exec: Option<String>,
    /// Leave out the line on stderr for each call.
    #[arg(long)]
    pub quiet: bool,
}

fn region(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('-').collect();
    let letters = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    match parts.as_slice() {
        [words @ .., number] if words.len() >= 2 && words.iter().all(letters) && number.parse::<u8>().is_ok() => {
            Ok(text.to_owned())
        }
        _other => Err("a region looks like eu-west-1".to_owned()),
    }
}

fn account(text: &str) -> Result<String, String> {
    let good = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if good { Ok(text.to_owned()) } else { Err("an account has 12 digits".to_owned()) }
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed: &f64| speed.is_finite() && *speed > 0.0);
    speed.ok_or_else(|| "a speed is a number above zero".to_owned())
}

fn choice(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    pair.ok_or_else(|| "a choice looks like stop-of-ended=answer".to_owned())
}

/// `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Print the JSON Schema of the configuration instead.
    #[arg(long)]
    pub schema: bool,
}

/// `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// How many days ahead.
    #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u16).range(1..=366), conflicts_with = "to")]
    pub days: u16,
    /// Begin at this instant instead of now: RFC 3339, or a date (its midnight in UTC).
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub from: Option<Timestamp>,
    /// End before this instant, at most 366 days after the begin.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub to: Option<Timestamp>,
    /// Only these experiments, `*` for any characters; may be repeated.
    #[arg(long = "experiment", value_name = "NAME")]
    pub experiments: Vec<String>,
    /// Compare with this older configuration: what is added, dropped, moved or decided otherwise.
    #[arg(long, value_name = "OLD_CONFIG")]
    pub diff: Option<PathBuf>,
    /// Leave out the single slots.
    #[arg(long, conflicts_with = "diff")]
    pub totals: bool,
    /// Draw a picture of the time first; `auto` does so on a terminal.
    #[arg(long, value_enum, default_value_t = Picture::Auto)]
    pub picture: Picture,
    /// Form of the output: `table`, `json` or `ics`, which other calendars read.
    #[arg(id = "output", long, short, value_parser = any_form, default_value = "table", value_name = "OUTPUT")]
    pub output: Form,
}

/// When a picture is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Picture {
    /// Where somebody looks: on a terminal.
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

/// Reads an instant; a local time or a date is one of UTC.
fn instant(text: &str) -> Result<Timestamp, String> {
    let wrong =
        || "an instant is written 2027-03-28T02:30:00Z or 2027-03-28T02:30:00+02:00, a date 2027-03-28".to_owned();
    civil::instant(&TimeZone::UTC, text).ok_or_else(wrong)
}

/// Reads how long something takes.
fn length(text: &str) -> Result<SignedDuration, String> {
    config::duration(text).ok_or_else(|| "it is not a time such as 60s, 36h or 2d".to_owned())
}

/// `schedule`.
#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// Show the next instants that an expression names.
    #[command(
        after_help = "Examples:\n  firedrill schedule next '0 4 * * *' --timezone Europe/Berlin\n  firedrill schedule next 'every 36h' --after 2026-03-01T00:00:00Z\n  echo '{\"cron\": \"@daily\", \"count\": 2}' | firedrill schedule next --jsonl"
    )]
    Next(ScheduleNextArgs),
}

/// `schedule next`.
#[derive(Debug, Args)]
pub struct ScheduleNextArgs {
    /// A cron expression, a macro such as @hourly, or `every 36h`.
    #[arg(required_unless_present = "jsonl", conflicts_with = "jsonl")]
    pub expression: Option<String>,
    /// IANA time zone.
    #[arg(long, default_value = "UTC", value_name = "ZONE")]
    pub timezone: String,
    /// Strictly after this instant; a local time is one of the zone. Default: now.
    #[arg(long, value_name = "TIME")]
    pub after: Option<String>,
    /// How many, up to 100000.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub count: u32,
    /// What happens to a time that clocks skip.
    #[arg(long, value_enum, default_value_t = Dst::Shift)]
    pub dst: Dst,
    /// Read lines such as {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "after": "2026-03-28T12:00:00Z", "count": 3}
    /// from stdin and answer each with {"fires": […]} in UTC or {"error": "…"}.
    #[arg(long)]
    pub jsonl: bool,
}

/// What happens to a time that clocks skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dst {
    /// It is made up for right after the gap.
    Shift,
    /// It is dropped.
    Skip,
}

/// `window`.
#[derive(Debug, Subcommand)]
pub enum WindowCommand {
    /// Show which experiments the windows permit to run, and when there is time for one.
    #[command(
        after_help = "Examples:\n  firedrill window check --next\n  firedrill window check --experiment checkout-nightly --at 2026-12-24T02:00:00Z\n  firedrill window check --free 45m --within 7d"
    )]
    Check(WindowCheckArgs),
}

/// `window check`.
#[derive(Debug, Args)]
pub struct WindowCheckArgs {
    /// Only this experiment.
    #[arg(long, value_name = "NAME")]
    pub experiment: Option<String>,
    /// At this instant. Default: now.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub at: Option<Timestamp>,
    /// Show when it changes next between open and closed.
    #[arg(long)]
    pub next: bool,
    /// List times in which a run of this length fits, the longest `stop_lead` included.
    #[arg(long, value_name = "LENGTH")]
    pub free: Option<String>,
    /// How far ahead `--free` looks.
    #[arg(long, default_value = "7d", value_name = "LENGTH")]
    pub within: String,
}

/// `runs`.
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// Only of this experiment.
    #[arg(long, value_name = "NAME")]
    pub experiment: Option<String>,
    /// Only of deployments that have this key, version or id.
    #[arg(long, value_name = "TEXT")]
    pub deployment: Option<String>,
    /// Only opened at or after this instant.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub since: Option<Timestamp>,
    /// At most so many.
    #[arg(long, default_value_t = 20)]
    pub limit: u32,
}

/// `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Id of the run, or its beginning.
    pub run: String,
}

/// `why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// EXPERIMENT@TIME, the id of a run or an event, or a deployment's key, version or id.
    pub question: String,
}

/// `start`.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// Which experiment.
    pub experiment: String,
    /// Wait for its end and exit with its outcome.
    #[arg(long)]
    pub wait: bool,
    /// Longest time to wait, such as 90m.
    #[arg(long, default_value = "13h", value_name = "TIME", requires = "wait", value_parser = length)]
    pub timeout: SignedDuration,
    /// Why; it is recorded.
    #[arg(long)]
    pub reason: Option<String>,
    /// Identity of the request: asked again with the same text, nothing starts twice.
    #[arg(long, value_name = "TEXT")]
    pub request: Option<String>,
    /// Start over every window, and let none stop it. Needs a reason; both are recorded.
    #[arg(long, requires = "reason")]
    pub override_windows: bool,
}

/// `pause`.
#[derive(Debug, Args)]
pub struct PauseArgs {
    /// Which experiment.
    pub experiment: String,
    /// End the pause by itself after this time, such as 36h or 2d.
    #[arg(long = "for", value_name = "TIME", value_parser = length)]
    pub length: Option<SignedDuration>,
    /// Why; it is recorded.
    #[arg(long)]
    pub reason: Option<String>,
}

/// `backfill`.
#[derive(Debug, Args)]
pub struct BackfillArgs {
    /// Which experiment.
    pub experiment: String,
    /// First instant (inclusive).
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub from: Timestamp,
    /// Last instant (inclusive), in the past.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub to: Timestamp,
    /// Which schedule; may be left out when there is one only.
    #[arg(long, value_name = "NAME")]
    pub schedule: Option<String>,
    /// Why; it is recorded.
    #[arg(long)]
    pub reason: Option<String>,
    /// Identity of the request: asked again with the same text, nothing starts twice.
    #[arg(long, value_name = "TEXT")]
    pub request: Option<String>,
}

/// `stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// Id of the run, or its beginning.
    pub run: String,
    /// Why; it is recorded.
    #[arg(long)]
    pub reason: Option<String>,
}

/// `halt`.
#[derive(Debug, Args)]
pub struct HaltArgs {
    /// Let what runs finish.
    #[arg(long)]
    pub finish: bool,
    /// Engage the safety lever of every account and Region of the configuration besides: FIS itself ends what runs,
    /// whoever started it, and lets nothing begin. Also where the store cannot record the halt (exit code 1): then run it
    /// again, and let the levers go by hand.
    #[arg(long, conflicts_with = "finish")]
    pub lever: bool,
    /// Why; it is recorded.
    #[arg(long)]
    pub reason: Option<String>,
}
