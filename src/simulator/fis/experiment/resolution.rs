//! The start of an experiment: its alarms are looked at and its targets resolved, once, before any action.

use jiff::Timestamp;

use super::{
    ActionsMode, Change, Experiment, Failure, World,
    course::{RUNNING, TOO_LONG_AFTER},
    log::Resolved,
    stop::HALTED,
};
use crate::{
    domain::{catalogue, fis::FisStatus},
    simulator::{
        choices::{AlarmAtStart, SilentAlarm},
        cloudwatch::AlarmState,
        fis::{
            targets::{self, Search, inventory::Resource},
            template::{AccountTargeting, EmptyTargetMode, StopCondition, TargetSpec},
        },
    },
};

/// What users see when nothing is found.
pub(super) const NO_TARGETS: &str = "Target resolution returned empty set.";

/// The simulator's words.
const TOO_MANY_TARGETS: &str = "Target resolution exceeded the number of targets allowed for the action.";
const NO_ACCOUNTS: &str = "The experiment template has no target account configurations.";

/// Subnets of one aws:network:disrupt-connectivity when its scope is not `all` (AWS FIS user guide, fis-quotas).
const SUBNETS_UNLESS_ALL: usize = 5;

/// Why an experiment does not get to run.
struct Refusal {
    code: &'static str,
    reason: String,
    location: Option<String>,
}

/// What the alarms of an experiment's stop conditions say.
enum Alarmed {
    No,
    /// One is in ALARM.
    Yes,
    Unknown(Refusal),
}

impl Experiment {
    /// Through `initiating`: targets are resolved first, and a while later it runs, or comes to an early end.
    pub(super) fn initiate(&mut self, world: World<'_>, at: Timestamp, changes: &mut Vec<Change>) {
        match self.begins.take() {
            Some(begins) => match self.resolve(world, at) {
                Ok(()) => self.due = Some(begins.max(at)),
                Err(refusal) => changes.push(self.refuse(refusal, world, at)),
            },
            None => self.begin(world, at, changes),
        }
    }

    fn refuse(&mut self, refusal: Refusal, world: World<'_>, at: Timestamp) -> Change {
        let Refusal { code, reason, location } = refusal;
        let account = world.account.account.to_owned();
        self.error = Some(Failure { account, code: code.to_owned(), location });
        self.finish(FisStatus::Failed, &reason, world, at)
    }

    fn begin(&mut self, world: World<'_>, at: Timestamp, changes: &mut Vec<Change>) {
        let refusal = match self.alarmed(world) {
            Alarmed::Unknown(refusal) => Some(refusal),
            Alarmed::Yes if world.choices.alarm_at_start == AlarmAtStart::Fail => {
                Some(Refusal { code: "ConfigurationFailure", reason: HALTED.to_owned(), location: None })
            }
            Alarmed::Yes | Alarmed::No => None,
        };
        if let Some(refusal) = refusal {
            changes.push(self.refuse(refusal, world, at));
        } else if self.mode == ActionsMode::RunAll && matches!(self.alarmed(world), Alarmed::Yes) {
            changes.extend(self.stop(HALTED, world, at));
            self.wind_down();
        } else {
            changes.push(self.turn(FisStatus::Running, RUNNING, at));
            self.due = Some(world.pace.after(at, TOO_LONG_AFTER));
            self.skip_actions(at);
            self.start_ready(world, at);
            self.complete_if_done(world, at, changes);
        }
    }

    /// The stop conditions at the start; what FIS makes of them is not documented, so each case is a choice.
    fn alarmed(&self, world: World<'_>) -> Alarmed {
        let mut alarmed = Alarmed::No;
        for arn in self.template.definition.stop_conditions.iter().filter_map(StopCondition::alarm) {
            let (choice, what) = match world.alarms.state_of(arn) {
                Some(AlarmState::Ok) => continue,
                Some(AlarmState::Alarm) => {
                    alarmed = Alarmed::Yes;
                    continue;
                }
                Some(AlarmState::InsufficientData) => (world.choices.alarm_without_data, "has insufficient data"),
                None => (world.choices.missing_alarm, "does not exist"),
            };
            if choice == SilentAlarm::Fail {
                let reason = format!("The alarm {arn} of a stop condition {what}.");
                return Alarmed::Unknown(Refusal { code: "ConfigurationFailure", reason, location: None });
            }
        }
        alarmed
    }

    /// Resolves the targets that actions use. All are resolved and recorded even when one is refused.
    fn resolve(&mut self, world: World<'_>, at: Timestamp) -> Result<(), Refusal> {
        let template = std::sync::Arc::clone(&self.template);
        let definition = &template.definition;
        let accounts: Vec<&str> = match definition.experiment_options.account_targeting {
            AccountTargeting::SingleAccount => vec![world.account.account],
            AccountTargeting::MultiAccount => template.accounts.keys().map(String::as_str).collect(),
        };
        if accounts.is_empty() {
            let reason = NO_ACCOUNTS.to_owned();
            return Err(Refusal { code: "ConfigurationFailure", reason, location: None });
        }
        let mut refusal = None;
        for name in definition.actions.values().flat_map(|action| action.targets.values()) {
            let Some(spec) = definition.targets.get(name).filter(|_| !self.resolved.contains_key(name)) else {
                continue;
            };
            let salt = format!("{}/{name}", self.number);
            let search = Search { account: world.account, accounts: &accounts, choices: world.choices, salt: &salt };
            let found = targets::resolved(spec, search);
            let refused = self.refusal(name, spec, &found);
            if let Some(log) = &mut self.log {
                let resource_type = spec.resource_type.as_str();
                let error = refused.as_ref().map(|(_, reason)| *reason);
                log.resolution(Resolved { name, resource_type, found: &found, accounts: &accounts, error }, at);
            }
            self.resolved.insert(name.clone(), found);
            if let (Some((code, reason)), None) = (refused, &refusal) {
                refusal = Some(Refusal { code, reason: reason.to_owned(), location: Some(name.clone()) });
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    /// Code and reason when what was found for a target does not do.
    fn refusal(&self, name: &str, spec: &TargetSpec, found: &[Resource]) -> Option<(&'static str, &'static str)> {
        let definition = &self.template.definition;
        let skips = definition.experiment_options.empty_target_resolution_mode == EmptyTargetMode::Skip;
        if found.is_empty() && (spec.is_unique() || !skips) {
            return Some(("InvalidTarget", NO_TARGETS));
        }
        let mut users = definition.actions.values().filter(|action| action.targets.values().any(|user| user == name));
        let over = users.any(|action| {
            let narrow = action.action_id == "aws:network:disrupt-connectivity"
                && action.parameters.get("scope").is_none_or(|scope| scope != "all");
            let limit = catalogue::action(&action.action_id).and_then(|known| known.max_targets_by_tag);
            let limit = if narrow { Some(SUBNETS_UNLESS_ALL) } else { limit };
            limit.is_some_and(|limit| found.len() > limit)
        });
        (over && spec.resource_arns.is_empty()).then_some(("QuotaExceededFailure", TOO_MANY_TARGETS))
    }
}
