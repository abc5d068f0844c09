//! Migrations expand before they contract: what the program of before reads and writes stays as it is, as long as the schema
//! lets that program work.
//!
//! The catalogue of the server tells what a migration has changed. The program of before names the columns that it writes, so
//! that it can do without any that is new and may be empty.

use std::{collections::BTreeSet, fs};

use crate::support::postgres::Postgres;

/// Everything a statement may run into, one fact a line: columns, constraints, indexes that keep rows out, triggers, rules.
const FACTS: &str = "
    SELECT format('column %s.%s %s%s%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
                  CASE WHEN a.attnotnull THEN ' not null' ELSE '' END,
                  CASE WHEN a.atthasdef OR a.attidentity <> '' THEN ' filled' ELSE '' END)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL SELECT format('constraint %s %s', conrelid::regclass, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
    UNION ALL SELECT format('unique %s %s', indrelid::regclass, regexp_replace(pg_get_indexdef(indexrelid), '^.* ON ', ''))
        FROM pg_index WHERE indisunique AND indrelid::regclass::text IN (SELECT relname FROM pg_class
                                                                         WHERE relnamespace = 'public'::regnamespace)
    UNION ALL SELECT format('trigger %s %s', tgrelid::regclass, tgname) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT format('rule %s %s', tablename, rulename) FROM pg_rules WHERE schemaname = 'public'";

/// Our migrations of PostgreSQL, in order.
fn ours() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/postgres/migrations");
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read_to_string(path).expect("a text")).collect()
}

fn facts(server: &Postgres, database: &str) -> BTreeSet<String> {
    server.sql(database, FACTS).lines().map(str::to_owned).collect()
}

/// Makes the last of some migrations after all before it; tells what it has changed that the program of before trips over.
fn in_the_way(server: &Postgres, database: &str, migrations: &[String]) -> Vec<String> {
    server.database(database);
    let (last, before) = migrations.split_last().expect("a migration");
    before.iter().for_each(|migration| _ = server.sql(database, migration));
    let version = server.sql(database, "SELECT version FROM schema");
    let was = facts(server, database);
    server.sql(database, last);
    if server.sql(database, &format!("SELECT oldest > {version} FROM schema")) == "t" {
        // It is refused from now on.
        return Vec::new();
    }
    let is = facts(server, database);
    let table = |fact: &str| fact.split_whitespace().nth(1).and_then(|at| at.split('.').next()).map(str::to_owned);
    let known: BTreeSet<_> = was.iter().map(|fact| table(fact)).collect();
    let is_harmless = |fact: &&String| {
        !known.contains(&table(fact))
            || fact.starts_with("column ") && (fact.ends_with(" filled") || !fact.ends_with(" not null"))
    };
    let gone = was.difference(&is).map(|fact| format!("gone: {fact}"));
    gone.chain(is.difference(&was).filter(|fact| !is_harmless(fact)).map(|fact| format!("new: {fact}"))).collect()
}

#[test]
fn each_leaves_the_program_before_it_what_that_needs_or_has_it_refused() {
    let server = Postgres::start();
    let ours = ours();
    assert!(ours.len() > 1, "{ours:?}");
    for last in 1..ours.len() {
        assert_eq!(
            in_the_way(&server, &format!("step-{last}"), &ours[..=last]),
            Vec::<String>::new(),
            "{}",
            ours[last]
        );
    }
}

#[test]
fn what_the_program_before_trips_over_is_found() {
    let server = Postgres::start();
    let found = |number: usize, sql: &str| {
        let mut migrations = ours();
        migrations.push(sql.to_owned());
        in_the_way(&server, &format!("case-{number}"), &migrations).join("; ")
    };
    let cases = [
        ("ALTER TABLE runs DROP COLUMN phase", "gone: column runs.phase text not null"),
        ("ALTER TABLE runs RENAME COLUMN deployment_id TO id_of_deployment", "gone: column runs.deployment_id text"),
        ("ALTER TABLE runs ADD COLUMN later TEXT NOT NULL", "new: column runs.later text not null"),
        ("ALTER TABLE events ALTER COLUMN queue SET NOT NULL", "new: column events.queue text not null"),
        ("ALTER TABLE events ALTER COLUMN received_at_us TYPE NUMERIC", "new: column events.received_at_us numeric"),
        ("ALTER TABLE runs ADD CHECK (revision < 9)", "new: constraint runs CHECK ((revision < 9))"),
        ("CREATE UNIQUE INDEX ON journal (run, at_us)", "new: unique journal public.journal USING btree (run, at_us)"),
        ("DROP TABLE couriers", "gone: column couriers.name"),
        ("CREATE RULE no AS ON INSERT TO halt DO INSTEAD NOTHING", "new: rule halt no"),
    ];
    for (number, (sql, expected)) in cases.iter().enumerate() {
        let said = found(number, sql);
        assert!(said.contains(expected), "{sql}: {said}");
    }
    let harmless = [
        "ALTER TABLE runs ADD COLUMN later TEXT; ALTER TABLE runs ADD COLUMN n BIGINT NOT NULL DEFAULT 0",
        "CREATE INDEX ON runs (revision); CREATE TABLE later (id BIGINT PRIMARY KEY CHECK (id > 0))",
        "ALTER TABLE runs DROP COLUMN phase; UPDATE schema SET version = 10, oldest = 10",
    ];
    for (number, sql) in harmless.iter().enumerate() {
        assert_eq!(found(cases.len() + number, sql), "", "{sql}");
    }
}
