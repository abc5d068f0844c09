-- How long the body of a message was before it was cut; not known of older rows.
ALTER TABLE quarantine ADD COLUMN body_bytes INTEGER;
