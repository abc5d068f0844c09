//! The command line: one file a subcommand. Data goes to stdout, everything else to stderr.
//!
//! [`args`] is what may be written, [`exit`] what the exit codes mean, [`render`] how tables and JSON look.

pub mod act;
pub mod args;
pub mod check;
pub mod client;
pub mod context;
pub mod demo;
pub mod event;
pub mod exit;
pub mod lines;
pub mod plan;
pub mod presets;
mod private;
pub mod queue;
pub mod render;
pub mod run;
pub mod runs;
pub mod schedule;
pub mod simulator;
pub mod status;
pub mod store;
pub mod why;
pub mod window;

use std::{process::ExitCode, time::Duration};

use clap::{CommandFactory, Parser};

use self::{
    args::{Arguments, Command, ScheduleCommand, WindowCommand, event::EventCommand, queue::QueueCommand},
    context::Context,
    exit::{Exit, Failure},
};
use crate::http::api::LeversOfResume;

/// Parses the arguments, runs the command and says how it went.
pub fn main() -> ExitCode {
    // One TLS provider for the process; a second installation only says that there is one.
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            // Nothing can be done about a closed terminal.
            let _closed = error.print();
            return exit.into();
        }
    };
    match dispatch(arguments) {
        Ok(exit) => exit.into(),
        Err(Failure { exit, error }) => {
            eprintln!("firedrill: {error:#}");
            exit.into()
        }
    }
}

fn dispatch(arguments: Arguments) -> Result<Exit, Failure> {
    // The simulator holds no secrets, and what it starts for its user keeps the user's umask and limits.
    if !matches!(arguments.command, Command::Simulator(_)) {
        private::keep().map_err(|error| {
            Failure::internal(anyhow::Error::new(error).context("could not protect the memory of this process"))
        })?;
    }
    let context = Context::new(&arguments);
    match arguments.command {
        Command::Run(_) => run::run(&context),
        Command::Demo(demo) => block_on(demo::run(&demo)),
        Command::Simulator(simulator) => block_on(simulator::run(&simulator)),
        Command::Check(check) => block_on(check::run(&context, &check)),
        Command::Plan(plan) => block_on(plan::run(&context, &plan)),
        Command::Schedule(ScheduleCommand::Next(next)) => schedule::next(&context, &next),
        Command::Window(WindowCommand::Check(check)) => block_on(window::check(&context, &check)),
        Command::Event(EventCommand::Match(matching)) => event::matching(&context, &matching),
        Command::Event(EventCommand::Presets { name }) => presets::run(&context, name.as_deref()),
        Command::Queue(QueueCommand::Plan(names)) => block_on(queue::plan(&context, &names)),
        Command::Queue(QueueCommand::Apply(apply)) => block_on(queue::apply(&context, &apply)),
        Command::Queue(QueueCommand::Dlq(dlq)) => block_on(queue::dlq::run(&context, &dlq)),
        Command::Queue(QueueCommand::Quarantine(kept)) => block_on(queue::quarantine::run(&context, &kept)),
        Command::Queue(QueueCommand::Export(export)) => queue::export::export(&context, &export),
        Command::Queue(QueueCommand::Destroy(destroy)) => block_on(queue::destroy(&context, &destroy)),
        Command::Runs(runs) => block_on(runs::list(&context, &runs)),
        Command::Show(show) => block_on(runs::show(&context, &show)),
        Command::Why(why) => block_on(why::run(&context, &why)),
        Command::Start(start) => block_on(act::start(&context, &start)),
        Command::Stop(stop) => block_on(act::stop(&context, &stop)),
        Command::Halt(halt) => block_on(act::halt(&context, &halt)),
        Command::Pause(pause) => block_on(act::pause(&context, &pause)),
        Command::Resume { experiment, keep_levers } => {
            let levers = if keep_levers { LeversOfResume::AsTheyAre } else { LeversOfResume::Released };
            block_on(act::resume(&context, experiment.as_deref(), levers))
        }
        Command::Backfill(backfill) => block_on(act::backfill(&context, &backfill)),
        Command::Reload => block_on(act::reload(&context)),
        Command::Status => block_on(status::run(&context)),
        Command::Store(command) => block_on(store::run(&context, &command)),
        Command::Completions { shell } => {
            // Onto stdout it panics when whoever reads has seen enough.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "firedrill", &mut script);
            render::text(&String::from_utf8_lossy(&script)).map(|()| Exit::Done)
        }
    }
}

/// Stack of a worker, in bytes. A call of AWS whose credentials take calls of their own is polled in more than the usual
/// 2 MiB where nothing is optimized.
const WORKER_STACK: usize = 8 << 20;

/// How long threads that wait for others may go on once a command is done: nobody asks for what they do any more. Telemetry
/// that a collector does not take is waited for by whoever sends it.
const THREADS_END: Duration = Duration::from_millis(500);

/// Runs a command that waits for others.
fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_stack_size(WORKER_STACK).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::internal(error.into()))?;
    let done = runtime.block_on(command);
    runtime.shutdown_timeout(THREADS_END);
    done
}
