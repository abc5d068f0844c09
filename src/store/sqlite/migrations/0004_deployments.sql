-- What is remembered of each key that deployments of an experiment have.
CREATE TABLE deployments (
    experiment    TEXT NOT NULL,
    key           TEXT NOT NULL,
    changed_at_us INTEGER NOT NULL,
    body          TEXT NOT NULL,
    PRIMARY KEY (experiment, key)
) STRICT, WITHOUT ROWID;
