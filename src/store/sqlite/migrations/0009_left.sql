-- Since when the configuration has no such schedule any more; NULL while it has.
ALTER TABLE cursors ADD COLUMN left_at_us INTEGER;
UPDATE schema SET version = 9;
