-- Since when the configuration has no such schedule any more; NULL while it has.
ALTER TABLE cursors ADD COLUMN left_at_us BIGINT;
-- What the active replica decides by, in short; NULL of a program that does not say.
ALTER TABLE lease ADD COLUMN configuration TEXT;
UPDATE schema SET version = 9;
