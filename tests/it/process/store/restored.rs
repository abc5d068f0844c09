//! A store that is taken back knows nothing of what began since its backup, and nothing of that begins twice.

use firedrill::domain::run::{Adopted, Observation, Run};

use super::{exits, text};
use crate::{
    process::deployment,
    support::{agent::Home, disk, stage::Stage},
};

fn tables(template: &str, queue: &str, team: &str) -> String {
    format!(
        "[queues.deployments]\nurl = \"{queue}\"\n[experiments.drill]\ntemplate = \"{template}\"\n\
         overlap = \"allow\"\ntags = {{ team = \"{team}\" }}\n\
         triggers = [{{ pattern = {{ source = [\"com.example.ci\"] }}, max_age = \"none\" }}]\n"
    )
}

#[test]
fn run_that_began_after_the_backup_is_found_by_its_tag_and_not_started_again() {
    let stage = Stage::start(600.0);
    let (queue, template) = (stage.queue("deployments"), stage.template(&[("wait", "PT1M", &[])]));
    let home = Home::new(&stage.url(), &tables(&template, &queue, "shop"));
    let agent = home.agent();
    let file = text(&home.path().join("backup.db"));
    exits(&home.run(&["store", "backup", &file]), 0, "0 runs");
    stage.send(&queue, &deployment("e-1"));
    let first = home.wait_for("a run", Run::is_over);
    agent.kill_nine();
    exits(&home.run(&["store", "restore", "--force", &file]), 0, "looked for by its tag before it is started");
    assert_eq!(home.runs(), []);
    // The clock of the restore was ahead: nothing is looked for again and again because of it.
    disk::execute(&home, "UPDATE schema SET restored_at_us = restored_at_us + 7200000000");

    // Its token is of no use any more: the request is another by now.
    home.configure(&tables(&template, &queue, "cart"));
    let agent = home.agent();
    exits(&home.run(&["resume"]), 0, "resumed");
    stage.send(&queue, &deployment("e-1"));
    let again = home.wait_for("the run", Run::is_over);
    assert_eq!((&again.id, &again.fis), (&first.id, &first.fis), "it is the experiment that there was");
    let adopted = |entry: &Observation| matches!(entry, Observation::Started { adopted: Adopted::ByTag, .. });
    assert!(home.journal(&again).iter().any(|entry| adopted(&entry.observation)));
    assert_eq!(stage.experiments().len(), 1, "nothing was started twice");

    // What never began is started after the look.
    stage.send(&queue, &deployment("e-2"));
    let other = home.wait_for("another run", |run| run.is_over() && run.id != first.id);
    let told: Vec<_> = home.journal(&other).iter().map(|entry| entry.observation.as_str()).collect();
    assert!(told.windows(2).any(|pair| pair == ["not-found", "start-asked"]), "{told:?}");
    assert_eq!(stage.experiments().len(), 2);
    assert_eq!(agent.terminate(), 0);
}
