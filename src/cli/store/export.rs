//! `firedrill store export`: the journal as lines of JSON, a page at a time.

use std::io::{BufWriter, ErrorKind, Write};

use crate::{
    cli::{
        args::store::StoreExportArgs,
        context::{Context, find_run},
        exit::{Exit, Failure},
    },
    domain::ids::Name,
    store::history::Exported,
};

/// Entries read at once; the largest have what a template says.
const PAGE: u32 = 500;

/// Prints the journal. A reader that went away has seen enough.
///
/// # Errors
/// [`Exit::NoAgent`] when there is no store; an entry that is no JSON is named.
pub async fn export(context: &Context, args: &StoreExportArgs) -> Result<Exit, Failure> {
    let internal = |error: std::io::Error| Failure::internal(error.into());
    let experiment = args.experiment.as_deref().map(Name::parse).transpose();
    let experiment = experiment.map_err(|error| Failure::new(Exit::Usage, error))?;
    let store = context.store().await?;
    let run = match &args.run {
        Some(prefix) => Some(find_run(&store, prefix).await?.id),
        None => None,
    };
    let is_wanted = |entry: &Exported| {
        args.since.is_none_or(|since| entry.at >= since)
            && run.as_ref().is_none_or(|run| entry.run == *run)
            && experiment.as_ref().is_none_or(|wanted| entry.experiment.as_deref() == Some(wanted.as_str()))
    };
    let mut output = BufWriter::new(std::io::stdout());
    let mut after = 0;
    loop {
        let page = store.journal_with_runs_after(after, PAGE).await.map_err(|error| {
            let hint = "`firedrill store check` names every row that cannot be read";
            Failure::internal(
                anyhow::Error::new(error).context(format!("the journal ends here behind entry {after}\nhint: {hint}")),
            )
        })?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for entry in page.iter().filter(|entry| is_wanted(entry)) {
            let line = serde_json::to_string(entry).map_err(|error| Failure::internal(error.into()))?;
            match writeln!(output, "{line}") {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Exit::Done),
                written => written.map_err(internal)?,
            }
        }
    }
    match output.flush() {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Exit::Done),
        flushed => flushed.map(|()| Exit::Done).map_err(internal),
    }
}
