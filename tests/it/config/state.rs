//! Where the store is: a server's URL holds no password, and says nothing that is not understood.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use firedrill::config::{load, settings, state};

use super::{GOOD, loaded, refused, variables, with_files};

/// What is said of a `state`.
fn said(url: &str) -> String {
    refused(&[("a.toml", &format!("state = \"{url}\"\n{GOOD}"))], &[])
}

#[test]
fn url_with_a_password_is_refused_and_not_repeated() {
    for url in [
        "postgres://drill:hunter2@db.example/drills",
        "postgresql://drill:hunter2@db.example/drills?sslmode=require",
        "postgres://db.example/drills?user=drill&password=hunter2",
        "postgres://db.example/drills?passwd=hunter2",
        "mysql://drill:hunter2@db.example/drills",
    ] {
        let said = said(url);
        assert!(said.contains("a.toml:1:9 state: ") && !said.contains("hunter2"), "{said}");
        assert_eq!(said.contains("state_password_file"), !url.contains("passwd") && !url.contains("mysql"), "{said}");
    }
    let said = refused(&[("a.toml", GOOD)], &[("FIREDRILL__STATE", "postgres://drill:hunter2@db.example/drills")]);
    assert!(said.contains("FIREDRILL__STATE") && !said.contains("hunter2"), "{said}");
}

#[test]
fn url_that_says_what_is_not_understood_is_refused() {
    for (url, expected) in [
        ("drills.db", "is not the URL of a PostgreSQL server"),
        ("postgres://drill@db.example", "names no database"),
        ("postgres://drill@db.example/", "names no database"),
        ("postgres://drill@db.example/drills?ssl=true", "unknown parameter `ssl`"),
        ("postgres://drill@db.example/drills?sslmode=prefer", "`sslmode=prefer`"),
        ("postgres://drill@db.example/dri lls", "is not a URL"),
        ("postgres://drill@/drills?host=a,b&port=1,2,3", "do not fit each other"),
        ("postgres://drill@a,b,c/drills?port=1,2", "do not fit each other"),
        ("postgres://drill@a,b,c,d,e,f,g,h,i/drills", "do not fit each other"),
    ] {
        let said = said(url);
        assert!(said.contains(expected) && said.contains("hint: "), "{url}: {said}");
    }
    for key in ["state_password_file = \"/p\"", "replica = \"one\""] {
        let said = refused(&[("a.toml", &format!("{key}\n{GOOD}"))], &[]);
        assert!(said.contains("means nothing without `state`"), "{said}");
    }
    for replica in ["", "a\\nb", &"a".repeat(129)] {
        let text = format!("state = \"postgres:///drills?host=/run/postgresql\"\nreplica = \"{replica}\"\n{GOOD}");
        assert!(refused(&[("a.toml", &text)], &[]).contains("replica: "), "{replica}");
    }
}

#[test]
fn each_of_several_hosts_has_a_url() {
    for (url, expected) in [
        ("postgres://drill@db/drills", vec!["postgres://drill@db/drills?"]),
        (
            "postgres://drill@a:1,b:2/drills?user=x",
            vec!["postgres://drill@a:1/drills?user=x", "postgres://drill@b:2/drills?user=x"],
        ),
        ("postgres://a,b/drills?port=1", vec!["postgres://a/drills?port=1", "postgres://b/drills?port=1"]),
        (
            "postgres:///drills?host=/a,/b&port=1,2",
            vec!["postgres:///drills?host=/a&port=1", "postgres:///drills?host=/b&port=2"],
        ),
    ] {
        with_files(&[("a.toml", &format!("state = \"{url}\"\n{GOOD}"))], |folder| {
            let loaded = load(folder, []).expect("a good configuration");
            assert_eq!(loaded.settings.state.postgres.expect("a server").hosts(), expected);
        });
    }
}

#[test]
fn server_and_its_password_are_found_beside_the_configuration_also_with_mistakes() {
    let url = "postgres://drill@db.example:5433/drills?sslmode=verify-full";
    let text = format!("state = \"{url}\"\nstate_password_file = \"password\"\nreplica = \"one\"\n{GOOD}");
    with_files(&[("a.toml", &text), ("password", "secret\n")], |folder| {
        let file = folder.join("password");
        let doubts = |mode| {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
            let loaded = load(folder, []).expect("a good configuration");
            let server = loaded.settings.state.postgres.clone().expect("a server");
            let expected = settings::Postgres {
                url: url.to_owned(),
                password_file: Some(file.clone()),
                replica: Some("one".into()),
            };
            assert_eq!(server, expected);
            assert_eq!(server.shown(), "postgres://db.example:5433/drills");
            loaded.warnings.iter().filter(|doubt| doubt.to_string().contains("state_password_file")).count()
        };
        assert_eq!((doubts(0o600), doubts(0o640), doubts(0o644)), (0, 0, 1));
        fs::write(folder.join("b.toml"), "nonsense = 1\n").expect("a file");
        load(folder, []).expect_err("a mistake");
        let found = state(folder, &[]).expect("a state").postgres.expect("a server");
        assert_eq!((found.url.as_str(), found.password_file), (url, Some(file.clone())));
    });
    let none = loaded(&[("a.toml", GOOD)], &[]);
    assert_eq!(none.settings.state, settings::State { directory: "/var/lib/firedrill".into(), postgres: None });
    let elsewhere = variables(&[("FIREDRILL__STATE_DIRECTORY", "/elsewhere")]);
    assert_eq!(state(Path::new("/nowhere"), &elsewhere).expect("a state").directory, Path::new("/elsewhere"));
}

#[test]
fn number_of_finished_runs_that_are_kept_has_bounds() {
    let kept = |runs: &str| loaded(&[("a.toml", &format!("{runs}\n{GOOD}"))], &[]).settings.history_runs;
    assert_eq!(
        (kept(""), kept("history_runs = 1000"), kept("history_runs = 100000000")),
        (200_000, 1_000, 100_000_000)
    );
    for runs in ["0", "999", "100000001", "-1"] {
        let said = refused(&[("a.toml", &format!("history_runs = {runs}\n{GOOD}"))], &[]);
        assert!(said.contains("history_runs: "), "{said}");
    }
}
