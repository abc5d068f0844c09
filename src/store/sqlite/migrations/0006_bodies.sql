-- Of an event that no trigger took: its body and where it came from, so that it can be told why.
ALTER TABLE events ADD COLUMN queue TEXT;
ALTER TABLE events ADD COLUMN body TEXT;
