//! The statements as SQLite takes them: `?1` is a JSON list, of the parameters or of rows that are lists themselves. A body that
//! is no JSON must not keep others from being read.

use crate::store::statement::{Statement, given};

given! {
    // One statement is one consistent picture. The limit keeps the order of the runs.
    Rows => "SELECT 'cursors', experiment, schedule, CAST(left_at_us AS TEXT), at_us FROM cursors
         UNION ALL SELECT 'runs', id, experiment, body, phase IN ('starting', 'running', 'stopping') FROM
             (SELECT id, experiment, body, phase FROM runs WHERE is_open = 1 ORDER BY opened_at_us, rowid LIMIT -1)
         UNION ALL SELECT 'deployments', experiment, key, body, NULL FROM deployments
             WHERE (experiment, key) IN
                 (SELECT experiment, CASE WHEN json_valid(body) THEN body ->> '$.trigger.deployment.key' END
                  FROM runs WHERE is_open = 1)
         UNION ALL SELECT 'halt', NULL, NULL, body, NULL FROM halt
         UNION ALL SELECT 'stop_requests', run, NULL, body, NULL FROM stop_requests
         UNION ALL SELECT 'ledgers', experiment, NULL, body, NULL FROM ledgers
         UNION ALL SELECT 'pauses', experiment, NULL, body, NULL FROM pauses
         UNION ALL SELECT 'schema', NULL, NULL, NULL, restored_at_us FROM schema WHERE restored_at_us IS NOT NULL",

    Adopt => "INSERT INTO cursors (experiment, schedule, at_us)
         SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1) WHERE TRUE
         ON CONFLICT DO UPDATE SET at_us = MAX(at_us, excluded.at_us), left_at_us = NULL WHERE left_at_us IS NOT NULL
         RETURNING experiment, schedule",
    Leave => "UPDATE cursors SET left_at_us = new.value ->> 2 FROM json_each(?1) AS new
         WHERE experiment = new.value ->> 0 AND schedule = new.value ->> 1",
    Forget => "DELETE FROM cursors WHERE left_at_us IS NOT NULL
         AND (experiment, schedule) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))",
    Move => "UPDATE cursors SET at_us = MAX(at_us, new.value ->> 2), left_at_us = NULL FROM json_each(?1) AS new
         WHERE experiment = new.value ->> 0 AND schedule = new.value ->> 1",
    Open => "INSERT INTO runs (id, experiment, trigger_kind, trigger_key, opened_at_us, phase, is_open, changed_at_us,
                               revision, body)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
                value ->> 8, value ->> 9
         FROM json_each(?1) WHERE TRUE ON CONFLICT DO NOTHING RETURNING id",
    Advance => "UPDATE runs SET phase = new.value ->> 5, is_open = new.value ->> 6, changed_at_us = new.value ->> 7,
                         revision = new.value ->> 8, body = new.value ->> 9
         FROM json_each(?1) AS new
         WHERE runs.id = new.value ->> 0 AND runs.revision = (new.value ->> 8) - 1 RETURNING id",
    Forbidding => "SELECT 'halt', NULL, NULL FROM halt
         UNION ALL SELECT 'stop_requests', run, NULL FROM stop_requests
             WHERE run IN (SELECT value ->> 0 FROM json_each(?1))
         UNION ALL SELECT 'pauses', experiment, body FROM pauses
             WHERE experiment IN (SELECT value ->> 1 FROM json_each(?1))",
    Withdraw => "DELETE FROM stop_requests WHERE run IN (SELECT value FROM json_each(?1))",
    Append => "INSERT INTO journal (at_us, run, kind, observation, explained)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?1)",
    Ledgers => "SELECT experiment, body FROM ledgers WHERE experiment IN (SELECT value FROM json_each(?1))",
    Note => "INSERT INTO ledgers (experiment, body) SELECT value ->> 0, value ->> 1 FROM json_each(?1) WHERE TRUE
         ON CONFLICT DO UPDATE SET body = excluded.body",
    Deployments => "SELECT experiment, key, body FROM deployments
         WHERE (experiment, key) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))",
    Remember => "INSERT INTO deployments (experiment, key, changed_at_us, body)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1) WHERE TRUE
         ON CONFLICT DO UPDATE SET changed_at_us = excluded.changed_at_us, body = excluded.body",

    RecordEvents => "INSERT INTO events (source, event_id, detail_type, received_at_us, runs, queue, body)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
         FROM json_each(?1) WHERE TRUE ON CONFLICT DO NOTHING RETURNING source, event_id",
    EventRuns => "SELECT runs, queue FROM events WHERE source = ?1 ->> 0 AND event_id = ?1 ->> 1",
    NoteCopy => "UPDATE events SET runs = ?1 ->> 2 WHERE source = ?1 ->> 0 AND event_id = ?1 ->> 1",

    Quarantine => "INSERT INTO quarantine (queue, message_id, received_at_us, reason, body, body_bytes)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
         FROM json_each(?1) WHERE TRUE ON CONFLICT DO NOTHING",
    CountQuarantined => "SELECT COUNT(*) FROM quarantine",
    Quarantined => "SELECT queue, message_id, received_at_us, reason, body, body_bytes FROM quarantine
         ORDER BY received_at_us DESC LIMIT ?1 ->> 0",
    QuarantinedMessage => "SELECT queue, message_id, received_at_us, reason, body, body_bytes FROM quarantine
         WHERE queue = ?1 ->> 0 AND message_id = ?1 ->> 1",
    ForgetQuarantined => "DELETE FROM quarantine WHERE queue = ?1 ->> 0 AND message_id = ?1 ->> 1",

    AskStop => "INSERT INTO stop_requests (run, at_us, body)
         SELECT id, ?1 ->> 1, ?1 ->> 2 FROM runs WHERE id = ?1 ->> 0 AND is_open = 1
         ON CONFLICT DO UPDATE SET body = body",
    Halt => "INSERT INTO halt (id, body) VALUES (1, ?1 ->> 0) ON CONFLICT DO UPDATE SET body = excluded.body",
    Halted => "SELECT body FROM halt",
    Unhalt => "DELETE FROM halt",
    Pause => "INSERT INTO pauses (experiment, body) VALUES (?1 ->> 0, ?1 ->> 1)
         ON CONFLICT DO UPDATE SET body = excluded.body",

    Calendars => "SELECT name, source, read_at_us, found, failure FROM calendars",
    KeepCalendar => "INSERT OR REPLACE INTO calendars (name, source, read_at_us, found, failure)
         VALUES (?1 ->> 0, ?1 ->> 1, ?1 ->> 2, ?1 ->> 3, ?1 ->> 4)",
    ForgetOtherCalendars => "DELETE FROM calendars WHERE name NOT IN (SELECT value FROM json_each(?1))",

    Courier => "SELECT seq FROM couriers WHERE name = ?1 ->> 0",
    MoveCourier => "INSERT INTO couriers (name, seq) VALUES (?1 ->> 0, ?1 ->> 1)
         ON CONFLICT DO UPDATE SET seq = excluded.seq WHERE seq < excluded.seq",
    MoveCourierToEnd => "INSERT INTO couriers (name, seq) SELECT ?1 ->> 0, COALESCE(MAX(seq), 0) FROM journal WHERE TRUE
         ON CONFLICT DO UPDATE SET seq = excluded.seq WHERE seq < excluded.seq",

    // Of the journal not the newest time: that may be of a clock that has been set right since.
    LastTold => "SELECT COALESCE(
             (SELECT at_us FROM journal ORDER BY seq DESC LIMIT 1)
             - (SELECT MAX(COALESCE(SUM(leap), 0), 0) FROM
                    (SELECT at_us - LAG(at_us) OVER (ORDER BY seq) AS leap FROM
                         (SELECT seq, at_us FROM journal ORDER BY seq DESC LIMIT ?1 ->> 1))
                WHERE ABS(leap) > ?1 ->> 0),
             (SELECT MAX(received_at_us) FROM events), (SELECT MAX(received_at_us) FROM quarantine),
             (SELECT MAX(changed_at_us) FROM deployments))",
    LastKept => "SELECT changed_at_us FROM runs WHERE is_open = 0 ORDER BY changed_at_us DESC LIMIT 1 OFFSET ?1 ->> 0",
    PruneJournal => "DELETE FROM journal WHERE run IN
         (SELECT id FROM runs WHERE is_open = 0 AND changed_at_us < ?1 ->> 0
          AND NOT EXISTS (SELECT 1 FROM journal WHERE run = runs.id AND seq > ?1 ->> 2)
          ORDER BY changed_at_us, id LIMIT ?1 ->> 1)",
    PruneRuns => "DELETE FROM runs WHERE id IN
         (SELECT id FROM runs WHERE is_open = 0 AND changed_at_us < ?1 ->> 0
          AND NOT EXISTS (SELECT 1 FROM journal WHERE run = runs.id AND seq > ?1 ->> 2)
          ORDER BY changed_at_us, id LIMIT ?1 ->> 1)
         AND NOT EXISTS (SELECT 1 FROM journal WHERE journal.run = runs.id)",
    PruneEvents => "DELETE FROM events WHERE rowid IN
         (SELECT rowid FROM events WHERE received_at_us < ?1 ->> 0 LIMIT ?1 ->> 1)",
    LastKeptEvent => "SELECT received_at_us FROM events ORDER BY received_at_us DESC LIMIT 1 OFFSET ?1 ->> 0",
    PruneUnmatched => "DELETE FROM events WHERE rowid IN
         (SELECT rowid FROM events WHERE received_at_us >= ?1 ->> 0 AND received_at_us < ?1 ->> 1 AND runs = '[]'
          ORDER BY received_at_us LIMIT ?1 ->> 2)
         RETURNING received_at_us",
    // Long after the last event of a key nothing of it is needed, unless a run of it still waits.
    PruneDeployments => "DELETE FROM deployments WHERE (experiment, key) IN
         (SELECT experiment, key FROM deployments AS old WHERE changed_at_us < ?1 ->> 0 AND NOT EXISTS
          (SELECT 1 FROM runs WHERE is_open = 1 AND experiment = old.experiment
           AND CASE WHEN json_valid(body) THEN body ->> '$.trigger.deployment.key' = old.key ELSE TRUE END)
          LIMIT ?1 ->> 1)",
    PruneQuarantine => "DELETE FROM quarantine WHERE rowid IN
         (SELECT rowid FROM quarantine WHERE received_at_us < ?1 ->> 0 LIMIT ?1 ->> 1)",

    Runs => "SELECT body FROM runs WHERE (?1 ->> 0 IS NULL OR experiment = ?1 ->> 0) AND opened_at_us >= ?1 ->> 1
             AND (?1 ->> 2 IS NULL OR ?1 ->> 2 IN
                 (body ->> '$.trigger.deployment.key', body ->> '$.trigger.deployment.version',
                  body ->> '$.trigger.deployment.id'))
         ORDER BY opened_at_us DESC, id LIMIT ?1 ->> 3",
    Run => "SELECT body FROM runs WHERE id = ?1 ->> 0",
    RunsByPrefix => "SELECT body FROM runs WHERE substr(id, 1, length(?1 ->> 0)) = ?1 ->> 0 LIMIT 2",
    Journal => "SELECT seq, at_us, run, observation, explained FROM journal WHERE run = ?1 ->> 0 ORDER BY seq",
    JournalAfter => "SELECT seq, at_us, run, observation, explained FROM journal WHERE seq > ?1 ->> 0
         ORDER BY seq LIMIT ?1 ->> 1",
    JournalWithRuns => "SELECT entry.seq, at_us, run, observation, explained, experiment, trigger_kind, trigger_key
         FROM (SELECT * FROM journal WHERE seq > ?1 ->> 0 ORDER BY seq LIMIT ?1 ->> 1) AS entry
         LEFT JOIN runs ON runs.id = run ORDER BY entry.seq",
    Events => "SELECT source, detail_type, received_at_us, runs, queue, body FROM events WHERE event_id = ?1 ->> 0
         ORDER BY received_at_us",
    LastFacts => "SELECT body FROM runs WHERE experiment = ?1 ->> 0 AND json_extract(body, '$.facts') IS NOT NULL
         ORDER BY opened_at_us DESC LIMIT 1",
}
