-- What was last read of each calendar, and why the latest read failed, if it did. A row is of no use to another source.
CREATE TABLE calendars (
    name       TEXT    NOT NULL PRIMARY KEY,
    source     TEXT    NOT NULL,
    read_at_us INTEGER,
    found      TEXT,
    failure    TEXT
) STRICT;
