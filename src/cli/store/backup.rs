//! `firedrill store backup` and `restore`.

use serde_json::json;

use super::{bar, counted, move_bar, unless_ended};
use crate::{
    cli::{
        args::{
            Output,
            store::{StoreBackupArgs, StoreRestoreArgs},
        },
        context::{Context, now},
        exit::{Exit, Failure},
        render,
    },
    store::upkeep::{
        backup::{self, Backup, Existing},
        restore::{self, Restored},
    },
};

fn existing(force: bool) -> Existing {
    if force { Existing::Replace } else { Existing::Refuse }
}

/// Writes a backup.
///
/// # Errors
/// [`Exit::Usage`] when there is a file of that name, [`Exit::NoAgent`] when there is no store.
pub async fn backup(context: &Context, args: &StoreBackupArgs) -> Result<Exit, Failure> {
    let state = context.state()?;
    let bar = bar("copying");
    let told = move_bar(&bar);
    let Backup { store, schema, rows, bytes } =
        unless_ended(&bar, backup::backup(&state, &args.file, existing(args.force), &told)).await?;
    bar.finish_and_clear();
    let file = args.file.display().to_string();
    if context.output == Output::Json {
        render::json(&json!({ "store": store, "file": file, "schema": schema, "rows": rows, "bytes": bytes }))?;
    } else {
        let counted = if rows.is_empty() { format!("schema {schema}") } else { counted(&rows) };
        render::line(&format!("`{store}` is in `{file}` ({bytes} bytes): {counted}"))?;
    }
    Ok(Exit::Done)
}

/// Takes a backup back.
///
/// # Errors
/// [`Exit::Usage`] when the store has rows.
pub async fn restore(context: &Context, args: &StoreRestoreArgs) -> Result<Exit, Failure> {
    let state = context.state()?;
    let bar = bar("copying");
    let told = move_bar(&bar);
    let restoring = restore::restore(&state, &args.file, existing(args.force), now(), &told);
    let restored = unless_ended(&bar, restoring).await?;
    bar.finish_and_clear();
    let Restored { store, rows, known_until, may_be_running, halt, aside } = &restored;
    if context.output == Output::Json {
        let file = args.file.display().to_string();
        render::json(&json!({
            "store": store, "file": file, "rows": rows, "known_until": known_until, "may_be_running": may_be_running,
            "halt": halt, "aside": aside.as_ref().map(|path| path.display().to_string()),
        }))?;
        return Ok(Exit::Done);
    }
    render::line(&format!("`{store}` has what was in `{}`: {}", args.file.display(), counted(rows)))?;
    if let Some(aside) = aside {
        render::line(&format!("what was there before is `{}`", aside.display()))?;
    }
    let until =
        known_until.map_or_else(|| "nothing".to_owned(), |at| format!("what happened up to {}", render::instant(at)));
    render::line(&format!("it knows {until}, and nothing of runs that began later"))?;
    render::line(&format!("all is halted by {}: nothing starts until `firedrill resume`", halt.by))?;
    render::line(
        "what is due until then is skipped; a halt, a pause or a stop that was made later is lost; what runs goes on",
    )?;
    render::line("slots that schedules have missed since are decided by `missed`, as after any downtime")?;
    render::line("what may have begun since then is looked for by its tag before it is started")?;
    render::line(
        "what goes on in FIS and is not started again is watched by nobody: it is named by `firedrill status`",
    )?;
    if *may_be_running > 0 {
        let runs = render::count(usize::try_from(*may_be_running).unwrap_or(usize::MAX), "run");
        render::line(&format!("{runs} may be running: FIS is asked first, by the tag of those that were starting"))?;
    }
    Ok(Exit::Done)
}
