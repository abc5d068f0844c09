-- Which schema the rows have, and the oldest one that a program must know to work on them. A migration that only adds what
-- an older program can do without leaves `oldest` as it is.
CREATE TABLE schema (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    oldest  INTEGER NOT NULL
) STRICT;
INSERT INTO schema (id, version, oldest) VALUES (1, 7, 7);
