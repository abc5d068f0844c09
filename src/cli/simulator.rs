//! `firedrill simulator`: FIS and what is around it on loopback, alone or for one command.

mod calls;
mod exec;

use std::io::ErrorKind;

use serde_json::Value;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use self::{calls::Calls, exec::Place};
use super::{
    args::SimulatorArgs,
    exit::{Exit, Failure},
    render,
};
use crate::simulator::{self, ACCESS_KEY, Choices, ENDPOINTS, Inventory, Options, SECRET_KEY, Signatures};

/// Most lines about calls that wait to be printed.
const MAX_LINES: usize = 4_096;

/// What `--help` says after the switches.
pub fn help() -> String {
    format!(
        "Examples:\n  firedrill simulator --listen 127.0.0.1:4566 --speed 60\n  \
         aws fis list-experiments --endpoint-url http://127.0.0.1:4566\n  \
         firedrill simulator --listen 127.0.0.1:0 --exec 'aws fis list-actions'\n\n\
         Each call is a line on stderr; the line to paste goes to stdout.\n\n\
         Choices where AWS does not say how it behaves, the default first:\n{}\n\
         Its own interface, for callers on this machine:\n{ENDPOINTS}\n\n\
         Version 1 of the AWS CLI needs --endpoint-url for sqs: there it does not look at AWS_ENDPOINT_URL.",
        Choices::described()
    )
}

/// Signals that end the simulator.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let on = |kind| signal(kind).map_err(|error| Failure::internal(error.into()));
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    /// Waits for one and returns its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "TERM",
            _ = self.interrupt.recv() => "INT",
            _ = self.hangup.recv() => "HUP",
        }
    }
}

/// Serves until interrupted, or until the command of `--exec` has ended.
///
/// # Errors
/// [`Exit::Usage`] for an inventory, an address, a folder or a choice that cannot be used.
pub async fn run(args: &SimulatorArgs) -> Result<Exit, Failure> {
    let mut options = options(args)?;
    let calls = if args.quiet {
        None
    } else {
        let (tell, told) = mpsc::channel(MAX_LINES);
        options.notices = Some(tell);
        Some(Calls::print(told))
    };
    let mut signals = Signals::new()?;
    let simulator = simulator::start(options).await.map_err(|error| {
        let exit = if error.kind() == ErrorKind::InvalidInput { Exit::Usage } else { Exit::Internal };
        Failure::new(exit, anyhow::Error::from(error).context(format!("could not start on {}", args.listen)))
    })?;
    let url = simulator.url();
    let exit = match &args.exec {
        Some(command) => exec::run(command, Place { url: &url, region: &args.region }, &mut signals).await,
        None => serve(args, &url, &mut signals).await,
    };
    simulator.shutdown().await;
    if let Some(calls) = calls {
        calls.end().await;
    }
    exit
}

async fn serve(args: &SimulatorArgs, url: &str, signals: &mut Signals) -> Result<Exit, Failure> {
    if !args.quiet {
        eprintln!("FIS and what is around it at {url}, {} times as fast; paste into a shell to use it:", args.speed);
    }
    render::line(&format!(
        "export AWS_ENDPOINT_URL={url} AWS_REGION={region} AWS_DEFAULT_REGION={region} \
         AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET_KEY}",
        region = args.region
    ))?;
    signals.next().await;
    Ok(Exit::Done)
}

fn options(args: &SimulatorArgs) -> Result<Options, Failure> {
    let inventory = match &args.inventory {
        None => Inventory::default(),
        Some(path) => Inventory::from_file(path).map_err(|error| Failure::new(Exit::Usage, error))?,
    };
    Ok(Options {
        listen: args.listen,
        speed: args.speed,
        region: args.region.clone(),
        account: args.account.clone(),
        inventory,
        inventory_file: args.inventory.clone(),
        seed: args.seed,
        choices: choices(&args.choices)?,
        log_dir: args.log_dir.clone(),
        signatures: if args.verify_signatures { Signatures::Verified } else { Signatures::Unchecked },
        ..Options::default()
    })
}

/// Sets choices by name; the defaults stand for the others.
fn choices(set: &[(String, String)]) -> Result<Choices, Failure> {
    set.iter().try_fold(Choices::default(), |choices, (name, value)| {
        let typed = value.parse::<u64>().map_or_else(|_word| Value::from(value.as_str()), Value::from);
        choices.with(name, typed).map_err(|text| Failure::say(Exit::Usage, format!("--choice {text}")))
    })
}
