//! Places in the configuration: accounts and Regions that are allowed, how much may go on, and what has to be well.

use std::collections::BTreeSet;

use firedrill::{
    config::load,
    domain::place::{Health, PlaceLimits},
};
use jiff::SignedDuration;

use super::{refused, with_files};

const GOOD: &str = "\
[aws]
region = \"eu-west-1\"
allowed_accounts = [\"111111111111\", \"222222222222\"]
allowed_regions = [\"eu-west-1\"]
max_active_experiments = 4
[experiments.checkout]
template = \"EXT1\"
role_arn = \"arn:aws:iam::222222222222:role/chaos\"
[experiments.checkout.health]
alarms = [\"errors\", \"arn:aws:cloudwatch:eu-west-1:222222222222:alarm:latency\"]
ok_for = \"10m\"
[experiments.search]
template = \"EXT2\"
";

#[test]
fn what_a_place_must_be_like_is_read() {
    let rules = with_files(&[("a.toml", GOOD)], |folder| load(folder, []).expect("good").settings.rules);
    let accounts = BTreeSet::from(["111111111111", "222222222222"].map(str::to_owned));
    let regions = BTreeSet::from(["eu-west-1".to_owned()]);
    let limits = PlaceLimits { accounts: Some(accounts), regions: Some(regions), max_active: Some(4) };
    assert_eq!(rules.limits, limits);
    let health: Vec<Option<&Health>> = rules.experiments.values().map(|declared| declared.health.as_ref()).collect();
    let alarms = ["errors", "arn:aws:cloudwatch:eu-west-1:222222222222:alarm:latency"].map(str::to_owned).into();
    assert_eq!(health, [Some(&Health { alarms, ok_for: SignedDuration::from_mins(10) }), None]);
    let rules = with_files(&[("a.toml", "[experiments.e]\ntemplate = \"EXT1\"\n")], |folder| {
        load(folder, []).expect("good").settings.rules
    });
    assert_eq!(rules.limits, PlaceLimits::default(), "nothing is restricted unless it is asked for");
}

#[test]
fn what_could_never_start_and_what_is_no_account_region_or_alarm_is_named() {
    let text = "\
[aws]
allowed_accounts = [\"1111\"]
allowed_regions = []
max_active_experiments = 0
[experiments.a]
template = \"EXT1\"
[experiments.a.health]
ok_for = \"8d\"
[experiments.b]
template = \"EXT1\"
[experiments.b.health]
alarms = [\"\", \"arn:aws:sns:eu-west-1:222222222222:topic\"]
";
    insta::assert_snapshot!(refused(&[("a.toml", text)], &[]), @r#"
    a.toml:2:21 aws.allowed_accounts[0]: `1111` is not an AWS account
      hint: write its 12 digits in quotes, such as `"123456789012"`
    a.toml:3:19 aws.allowed_regions: holds nothing, so nothing could ever start
      hint: leave it out to allow any
    a.toml:4:26 aws.max_active_experiments: `0` is out of range: from 1 to 100 is possible
    a.toml:7:1 experiments.a.health.alarms: has 0 alarms: from 1 to 100 are possible
    a.toml:8:10 experiments.a.health.ok_for: `8d` is out of range: from 0s to 7d is possible
    a.toml:12:11 experiments.b.health.alarms[0]: `` names no CloudWatch alarm
      hint: write its name, or `arn:aws:cloudwatch:REGION:ACCOUNT:alarm:NAME`
    a.toml:12:15 experiments.b.health.alarms[1]: `arn:aws:sns:eu-west-1:222222222222:topic` names no CloudWatch alarm
      hint: write its name, or `arn:aws:cloudwatch:REGION:ACCOUNT:alarm:NAME`
    "#);
    let elsewhere =
        GOOD.replace("template = \"EXT2\"", "template = \"EXT2\"\nregion = \"us-east-1\"\naccount = \"333333333333\"");
    insta::assert_snapshot!(refused(&[("a.toml", &elsewhere)], &[]), @"
    a.toml:14:10 experiments.search.region: `us-east-1` is not in `aws.allowed_regions`, so nothing of it could ever start
      hint: add it to `aws.allowed_regions`, or let the experiment run elsewhere
    a.toml:15:11 experiments.search.account: `333333333333` is not in `aws.allowed_accounts`, so nothing of it could ever start
      hint: add it to `aws.allowed_accounts`, or let the experiment run elsewhere
    ");
    let words = GOOD.replace("[\"eu-west-1\"]", "[\"Ireland\"]").replace("222222222222:role", "333333333333:role");
    insta::assert_snapshot!(refused(&[("a.toml", &words)], &[]), @"
    a.toml:4:20 aws.allowed_regions[0]: `Ireland` is not an AWS Region
      hint: write it as AWS does, such as `eu-west-1`
    a.toml:8:12 experiments.checkout.role_arn: `333333333333` is not in `aws.allowed_accounts`, so nothing of it could ever start
      hint: add it to `aws.allowed_accounts`, or let the experiment run elsewhere
    ");
}
