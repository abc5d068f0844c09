-- Rows of runs and triggers. Times are microseconds since 1970-01-01 UTC.
CREATE TABLE runs (
    id            TEXT    NOT NULL PRIMARY KEY,
    experiment    TEXT    NOT NULL,
    trigger_kind  TEXT    NOT NULL,
    trigger_key   TEXT    NOT NULL,
    phase         TEXT    NOT NULL,
    is_open       INTEGER NOT NULL,
    opened_at_us  INTEGER NOT NULL,
    changed_at_us INTEGER NOT NULL,
    revision      INTEGER NOT NULL,
    body          TEXT    NOT NULL,
    UNIQUE (experiment, trigger_key)
) STRICT;
CREATE INDEX runs_open ON runs (opened_at_us) WHERE is_open = 1;
CREATE INDEX runs_by_experiment ON runs (experiment, opened_at_us);

CREATE TABLE cursors (
    experiment TEXT    NOT NULL,
    schedule   TEXT    NOT NULL,
    at_us      INTEGER NOT NULL,
    PRIMARY KEY (experiment, schedule)
) STRICT;

CREATE TABLE events (
    source         TEXT    NOT NULL,
    event_id       TEXT    NOT NULL,
    detail_type    TEXT    NOT NULL,
    received_at_us INTEGER NOT NULL,
    runs           TEXT    NOT NULL,
    PRIMARY KEY (source, event_id)
) STRICT;
CREATE INDEX events_by_age ON events (received_at_us);

CREATE TABLE quarantine (
    queue          TEXT    NOT NULL,
    message_id     TEXT    NOT NULL,
    received_at_us INTEGER NOT NULL,
    reason         TEXT    NOT NULL,
    body           TEXT    NOT NULL,
    PRIMARY KEY (queue, message_id)
) STRICT;

CREATE TABLE journal (
    seq         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at_us       INTEGER NOT NULL,
    run         TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    observation TEXT    NOT NULL
) STRICT;
CREATE INDEX journal_by_run ON journal (run, seq);

CREATE TABLE stop_requests (
    run     TEXT    NOT NULL PRIMARY KEY,
    at_us   INTEGER NOT NULL,
    body    TEXT    NOT NULL
) STRICT;

CREATE TABLE halt (
    id   INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    body TEXT    NOT NULL
) STRICT;

-- How far each reader of the journal has come.
CREATE TABLE couriers (
    name TEXT    NOT NULL PRIMARY KEY,
    seq  INTEGER NOT NULL
) STRICT;
