//! Checks of which places may be used, and of what has to be well in them.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::{
    super::{
        path::KeyPath,
        raw::{RawAws, RawHealth, RawPlace},
    },
    Check,
    values::DAY,
};
use crate::domain::{
    experiment::{Experiment, Place},
    place::{Health, PlaceLimits},
};

/// Most experiments that may be active in one place; FIS's own quota is five, and can be raised.
const MAX_ACTIVE: u32 = 100;

/// Most alarms of an experiment, which one call tells of.
const MAX_ALARMS: usize = 100;

/// Longest name of an alarm, in characters (CloudWatch API reference, DescribeAlarms).
const MAX_ALARM_NAME: usize = 255;

impl Check<'_> {
    /// Checks where AWS is called when nothing else is said, and which places may be used.
    pub(super) fn aws(&mut self, raw: RawAws) -> (Place, PlaceLimits) {
        let path = KeyPath::default().key("aws");
        let place = RawPlace { region: raw.region, endpoint_url: raw.endpoint_url, role_arn: raw.role_arn };
        let place = self.place(&path, place, &Place::default());
        let accounts = self.allowed(&path.key("allowed_accounts"), raw.allowed_accounts, Self::account);
        let regions = self.allowed(&path.key("allowed_regions"), raw.allowed_regions, Self::region);
        let max = path.key("max_active_experiments");
        let max_active = raw.max_active_experiments.map(|most| self.number(&max, Some(most), 1, MAX_ACTIVE));
        (place, PlaceLimits { accounts, regions, max_active })
    }

    fn allowed(
        &mut self,
        path: &KeyPath,
        raw: Option<Vec<String>>,
        read: fn(&mut Self, &KeyPath, String) -> Option<String>,
    ) -> Option<BTreeSet<String>> {
        let raw = raw?;
        if raw.is_empty() {
            let hint = "leave it out to allow any".to_owned();
            self.problem(path, "holds nothing, so nothing could ever start".to_owned(), Some(hint));
            return None;
        }
        let read: Vec<_> = raw.into_iter().enumerate().map(|(n, text)| read(self, &path.item(n), text)).collect();
        read.into_iter().collect()
    }

    /// Refuses an experiment that could never start, since its own account or Region is not allowed.
    pub(super) fn allows(&mut self, path: &KeyPath, experiment: &Experiment, limits: &PlaceLimits) {
        let of_role = experiment.place.account();
        let own = experiment.account.clone().filter(|account| of_role.as_ref() != Some(account));
        let region = experiment.place.region.clone();
        let named = [
            ("role_arn", of_role, &limits.accounts, "account"),
            ("account", own, &limits.accounts, "account"),
            ("region", region, &limits.regions, "region"),
        ];
        for (key, named, allowed, what) in named {
            let Some((named, allowed)) = named.zip(allowed.as_ref()) else { continue };
            if !allowed.contains(&named) {
                let hint = format!("add it to `aws.allowed_{what}s`, or let the experiment run elsewhere");
                let message = format!("`{named}` is not in `aws.allowed_{what}s`, so nothing of it could ever start");
                self.problem(&path.key(key), message, Some(hint));
            }
        }
    }

    /// Checks what has to be well before an experiment starts.
    pub(super) fn health(&mut self, path: &KeyPath, raw: Option<RawHealth>) -> Option<Health> {
        let raw = raw?;
        let alarms = path.key("alarms");
        if raw.alarms.is_empty() || raw.alarms.len() > MAX_ALARMS {
            let message = format!("has {} alarms: from 1 to {MAX_ALARMS} are possible", raw.alarms.len());
            self.problem(&alarms, message, None);
        }
        for (n, alarm) in raw.alarms.iter().enumerate() {
            let name = match alarm.strip_prefix("arn:") {
                Some(arn) => arn.split_once(":alarm:").map(|(_, name)| name).unwrap_or_default(),
                None => alarm,
            };
            if name.is_empty() || name.chars().count() > MAX_ALARM_NAME || name.chars().any(char::is_control) {
                let hint = "write its name, or `arn:aws:cloudwatch:REGION:ACCOUNT:alarm:NAME`".to_owned();
                self.problem(&alarms.item(n), format!("`{alarm}` names no CloudWatch alarm"), Some(hint));
            }
        }
        let zero = SignedDuration::ZERO;
        let ok_for = self.duration(&path.key("ok_for"), raw.ok_for, zero, zero..=DAY * 7);
        Some(Health { alarms: raw.alarms.into_iter().collect(), ok_for })
    }
}
