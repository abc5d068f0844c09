//! `firedrill simulator`: FIS, SQS and EventBridge on loopback.

use super::{
    args::SimulatorArgs,
    exit::{Exit, Failure},
    render,
};
use crate::simulator::{self, Inventory, Options};

/// Serves until interrupted.
///
/// # Errors
/// [`Exit::Usage`] for an inventory or an address that cannot be used.
pub async fn run(args: &SimulatorArgs) -> Result<Exit, Failure> {
    let inventory = match &args.inventory {
        None => Inventory::default(),
        Some(path) => Inventory::from_file(path).map_err(|error| Failure::new(Exit::Usage, error))?,
    };
    let options = Options {
        listen: args.listen,
        speed: args.speed,
        region: args.region.clone(),
        account: args.account.clone(),
        inventory,
        seed: args.seed,
        ..Options::default()
    };
    let simulator = simulator::start(options).await.map_err(|error| {
        Failure::new(Exit::Usage, anyhow::Error::from(error).context(format!("could not listen on {}", args.listen)))
    })?;
    eprintln!(
        "FIS, SQS and EventBridge at {}, {} times as fast; paste into a shell to use it:",
        simulator.url(),
        args.speed
    );
    render::line(&format!(
        "export AWS_ENDPOINT_URL={} AWS_REGION={region} AWS_DEFAULT_REGION={region} AWS_ACCESS_KEY_ID=simulator \
         AWS_SECRET_ACCESS_KEY=simulator",
        simulator.url(),
        region = args.region
    ))?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| Failure::internal(error.into()))?;
    tokio::select! {
        biased;
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(|error| Failure::internal(error.into()))?,
        _ = terminate.recv() => {}
    }
    simulator.shutdown().await;
    Ok(Exit::Done)
}
