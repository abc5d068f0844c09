//! `firedrill queue export`: what `apply` would make, for those who make it by other tools. Nothing is called.

use crate::{
    cli::{
        args::queue::{QueueExportArgs, Tool},
        context::Context,
        exit::{Exit, Failure},
        queue::Purpose,
        render,
    },
    domain::provision::{
        self, Site,
        cloudformation::{self, MAX_RESOURCES},
        terraform,
    },
};

/// Region where the configuration names none: what is written leaves it to the tool.
const ANY_REGION: &str = "us-east-1";

/// Prints it.
///
/// # Errors
/// [`Exit::Usage`] for a configuration with mistakes, [`Exit::NotFound`] for an unknown queue.
pub fn export(context: &Context, args: &QueueExportArgs) -> Result<Exit, Failure> {
    let settings = context.load()?.settings;
    let desired = super::chosen(&settings, &args.names.queues, Purpose::Make)?.into_iter().map(|(queue, options)| {
        let region = queue.place.region.clone().unwrap_or_else(|| ANY_REGION.to_owned());
        let (account, _) = provision::queue_of_url(&queue.url).unwrap_or_default();
        super::desired(&settings, queue, &options, Site { region, account: account.to_owned() }, Purpose::Make)
    });
    let desired = desired.collect::<Result<Vec<_>, _>>()?;
    match args.format {
        Tool::Terraform => render::text(&terraform::text(&desired))?,
        Tool::Cloudformation => {
            let template = cloudformation::template(&desired);
            let count = template["Resources"].as_object().map_or(0, serde_json::Map::len);
            if count > MAX_RESOURCES {
                let hint = "hint: name the queues, and export one after the other";
                let text = format!("the template has {count} resources, {MAX_RESOURCES} are possible\n{hint}");
                return Err(Failure::say(Exit::Usage, text));
            }
            render::json(&template)?;
        }
    }
    Ok(Exit::Done)
}
