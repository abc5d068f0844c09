-- What past runs of each experiment left behind, and which experiments are paused.
CREATE TABLE ledgers (
    experiment TEXT NOT NULL PRIMARY KEY,
    body       TEXT NOT NULL
) STRICT;

CREATE TABLE pauses (
    experiment TEXT NOT NULL PRIMARY KEY,
    body       TEXT NOT NULL
) STRICT;

-- What each guard said, where the entry is a decision.
ALTER TABLE journal ADD COLUMN explained TEXT;
