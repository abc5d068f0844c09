-- When the rows were last taken back from a backup: what happened between the two nobody wrote down here.
ALTER TABLE schema ADD COLUMN restored_at_us BIGINT;
UPDATE schema SET version = 8;
