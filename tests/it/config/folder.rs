//! A folder whose files are of several teams: none of them undoes in silence what another one says.

use firedrill::domain::departed;

use super::{GOOD, loaded, refused, with_files};

/// What is doubted, without the folder's own path.
fn doubts(files: &[(&str, &str)]) -> String {
    with_files(files, |folder| {
        let loaded = firedrill::config::load(folder, []).expect("a good configuration");
        let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        warnings.join("\n").replace(&format!("{}/", folder.display()), "")
    })
}

#[test]
fn group_in_two_files_is_refused_with_both_places() {
    let files = [("a.toml", "[groups.g]\nmin_gap = \"1h\"\n"), ("b.toml", "[groups.g]\nmin_gap = \"0s\"\n")];
    insta::assert_snapshot!(refused(&files, &[]), @r#"
    b.toml:1:1 groups.g: group `g` is declared twice, first at a.toml:1:1
      hint: give one of them another name, or put both into one file
    "#);
}

#[test]
fn guards_in_two_files_are_doubted_with_both_places() {
    let first =
        format!("{GOOD}[policy]\nrequire_tags = {{}}\n[budget]\nmonthly_usd = 10\n[aws]\nregion = \"eu-west-1\"\n");
    let second = "aws.allowed_accounts = [\"123456789012\"]\n[policy]\nmax_duration = \"1h\"\n";
    let third = "[agent]\non_shutdown = \"stop\"\n[budget]\nmonthly_usd = 1000\n";
    let files = [("a.toml", first.as_str()), ("b.toml", second), ("c.toml", third)];
    insta::assert_snapshot!(doubts(&files), @r#"
    b.toml:1:1 aws: holds for all experiments and stands in two files, first at a.toml:7:2; what both say counts as said here
      hint: keep it in one file that every team can see
    b.toml:2:2 policy: holds for all experiments and stands in two files, first at a.toml:3:2; what both say counts as said here
      hint: keep it in one file that every team can see
    c.toml:3:2 budget: holds for all experiments and stands in two files, first at a.toml:5:2; what both say counts as said here
      hint: keep it in one file that every team can see
    "#);
    assert_eq!(doubts(&files[..1]), "");
    assert_eq!(doubts(&[files[0], ("b.toml", "[experiments.other]\ntemplate = \"EXT2\"\n")]), "");
}

#[test]
fn policy_is_not_loosened_by_another_file_and_by_an_experiment_with_a_reason_alone() {
    let policy = "[policy]\nrequire_stop_condition = true\n";
    let lifted = ("b.toml", "policy = { require_stop_condition = false }\n");
    let less = "[experiments.checkout]\ntemplate = \"EXT1\"\npolicy = { require_stop_condition = false }\n";
    insta::assert_snapshot!(refused(&[("a.toml", policy), lifted, ("c.toml", less)], &[]), @r#"
    b.toml:1:12 policy.require_stop_condition: demand `require_stop_condition` is declared twice, first at a.toml:2:1
      hint: say it once, for all; an experiment that needs less says so in its own `policy`, with a reason
    "#);
    let files = [("a.toml", policy), ("b.toml", less)];
    insta::assert_snapshot!(refused(&files, &[]), @r#"
    b.toml:3:10 experiments.checkout.policy.reason: demands less than `policy` does of all, without a reason
      hint: say why, for whoever asks later: `reason = "…"`
    "#);
}

#[test]
fn what_a_configuration_takes_away_is_named_within_a_bound() {
    let windows = |count| {
        let window = |n| format!("[windows.w{n:02}]\nweekly = [\"Sat\"]\nexperiments = [\"*\"]\n");
        loaded(&[("a.toml", &format!("{GOOD}{}", (0..count).map(window).collect::<String>()))], &[]).settings.rules
    };
    let [none, some, many] = [0, 2, 23].map(windows);
    assert!(departed::taken_away(&none, &many).is_empty() && departed::taken_away(&many, &many).is_empty());
    let said = |old| departed::taken_away(old, &none).join("\n");
    assert_eq!(said(&some), "windows are no longer in the configuration: `w00`, `w01`; they close nothing any more");
    assert!(said(&many).contains("`w18`, `w19` and 3 more; "), "{}", said(&many));
}
