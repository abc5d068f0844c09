//! The statements as PostgreSQL takes them: `$1` is a JSON list, of the parameters or of rows that are lists themselves.
//!
//! No body is looked into: what is asked of runs has columns of its own, since a body may hold what `jsonb` refuses.

use crate::store::statement::{Statement, given};

given! {
    // One statement is one consistent picture; without workers beside each other the parts and the runs keep their order.
    Rows => "SELECT 'cursors', experiment, schedule, left_at_us::text, at_us FROM cursors
         UNION ALL SELECT 'runs', id, experiment, body, (phase IN ('starting', 'running', 'stopping'))::int FROM
             (SELECT id, experiment, body, phase FROM runs WHERE is_open = 1 ORDER BY opened_at_us, seq) AS open
         UNION ALL SELECT 'deployments', experiment, key, body, NULL FROM deployments
             WHERE (experiment, key) IN
                 (SELECT experiment, deployment_key FROM runs WHERE is_open = 1 AND deployment_key IS NOT NULL)
         UNION ALL SELECT 'halt', NULL, NULL, body, NULL FROM halt
         UNION ALL SELECT 'stop_requests', run, NULL, body, NULL FROM stop_requests
         UNION ALL SELECT 'ledgers', experiment, NULL, body, NULL FROM ledgers
         UNION ALL SELECT 'pauses', experiment, NULL, body, NULL FROM pauses
         UNION ALL SELECT 'schema', NULL, NULL, NULL, restored_at_us FROM schema WHERE restored_at_us IS NOT NULL",

    Adopt => "INSERT INTO cursors (experiment, schedule, at_us)
         SELECT value ->> 0, value ->> 1, (value ->> 2)::bigint FROM jsonb_array_elements($1::jsonb) AS new(value)
         ON CONFLICT (experiment, schedule) DO UPDATE
             SET at_us = GREATEST(cursors.at_us, excluded.at_us), left_at_us = NULL WHERE cursors.left_at_us IS NOT NULL
         RETURNING experiment, schedule",
    Leave => "UPDATE cursors SET left_at_us = (new.value ->> 2)::bigint FROM jsonb_array_elements($1::jsonb) AS new(value)
         WHERE experiment = new.value ->> 0 AND schedule = new.value ->> 1",
    Forget => "DELETE FROM cursors WHERE left_at_us IS NOT NULL AND (experiment, schedule) IN
         (SELECT value ->> 0, value ->> 1 FROM jsonb_array_elements($1::jsonb) AS old(value))",
    // Of several rows for one cursor only one would count.
    Move => "UPDATE cursors SET at_us = GREATEST(cursors.at_us, new.at_us), left_at_us = NULL FROM
             (SELECT value ->> 0 AS experiment, value ->> 1 AS schedule, MAX((value ->> 2)::bigint) AS at_us
              FROM jsonb_array_elements($1::jsonb) AS each(value) GROUP BY 1, 2) AS new
         WHERE cursors.experiment = new.experiment AND cursors.schedule = new.schedule",
    Open => "INSERT INTO runs (id, experiment, trigger_kind, trigger_key, opened_at_us, phase, is_open, changed_at_us,
                               revision, body, deployment_key, deployment_version, deployment_id, has_facts)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, (value ->> 4)::bigint, value ->> 5,
                (value ->> 6)::bigint, (value ->> 7)::bigint, (value ->> 8)::bigint, value ->> 9, value ->> 10,
                value ->> 11, value ->> 12, (value ->> 13)::bigint
         FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS new(value, n) ORDER BY n
         ON CONFLICT DO NOTHING RETURNING id",
    Advance => "UPDATE runs SET phase = value ->> 5, is_open = (value ->> 6)::bigint,
                         changed_at_us = (value ->> 7)::bigint, revision = (value ->> 8)::bigint, body = value ->> 9,
                         has_facts = (value ->> 13)::bigint
         FROM jsonb_array_elements($1::jsonb) AS new(value)
         WHERE runs.id = value ->> 0 AND runs.revision = (value ->> 8)::bigint - 1 RETURNING id",
    Forbidding => "SELECT 'halt', NULL::text, NULL::text FROM halt
         UNION ALL SELECT 'stop_requests', run, NULL FROM stop_requests
             WHERE run IN (SELECT value ->> 0 FROM jsonb_array_elements($1::jsonb) AS start(value))
         UNION ALL SELECT 'pauses', experiment, body FROM pauses
             WHERE experiment IN (SELECT value ->> 1 FROM jsonb_array_elements($1::jsonb) AS start(value))",
    Withdraw => "DELETE FROM stop_requests WHERE run IN (SELECT jsonb_array_elements_text($1::jsonb))",
    Append => "INSERT INTO journal (at_us, run, kind, observation, explained)
         SELECT (value ->> 0)::bigint, value ->> 1, value ->> 2, value ->> 3, value ->> 4
         FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS new(value, n) ORDER BY n",
    Ledgers => "SELECT experiment, body FROM ledgers
         WHERE experiment IN (SELECT jsonb_array_elements_text($1::jsonb))",
    Note => "INSERT INTO ledgers (experiment, body)
         SELECT value ->> 0, value ->> 1 FROM jsonb_array_elements($1::jsonb) AS new(value)
         ON CONFLICT (experiment) DO UPDATE SET body = excluded.body",
    Deployments => "SELECT experiment, key, body FROM deployments WHERE (experiment, key) IN
         (SELECT value ->> 0, value ->> 1 FROM jsonb_array_elements($1::jsonb) AS wanted(value))",
    Remember => "INSERT INTO deployments (experiment, key, changed_at_us, body)
         SELECT value ->> 0, value ->> 1, (value ->> 2)::bigint, value ->> 3
         FROM jsonb_array_elements($1::jsonb) AS new(value)
         ON CONFLICT (experiment, key) DO UPDATE SET changed_at_us = excluded.changed_at_us, body = excluded.body",

    RecordEvents => "INSERT INTO events (source, event_id, detail_type, received_at_us, runs, queue, body)
         SELECT value ->> 0, value ->> 1, value ->> 2, (value ->> 3)::bigint, value ->> 4, value ->> 5, value ->> 6
         FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS new(value, n) ORDER BY n
         ON CONFLICT DO NOTHING RETURNING source, event_id",
    EventRuns => "SELECT runs, queue FROM events WHERE source = $1::jsonb ->> 0 AND event_id = $1::jsonb ->> 1",
    NoteCopy => "UPDATE events SET runs = $1::jsonb ->> 2
         WHERE source = $1::jsonb ->> 0 AND event_id = $1::jsonb ->> 1",

    Quarantine => "INSERT INTO quarantine (queue, message_id, received_at_us, reason, body, body_bytes)
         SELECT value ->> 0, value ->> 1, (value ->> 2)::bigint, value ->> 3, value ->> 4, (value ->> 5)::bigint
         FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS new(value, n) ORDER BY n ON CONFLICT DO NOTHING",
    CountQuarantined => "SELECT COUNT(*) FROM quarantine",
    Quarantined => "SELECT queue, message_id, received_at_us, reason, body, body_bytes FROM quarantine
         ORDER BY received_at_us DESC LIMIT ($1::jsonb ->> 0)::bigint",
    QuarantinedMessage => "SELECT queue, message_id, received_at_us, reason, body, body_bytes FROM quarantine
         WHERE queue = $1::jsonb ->> 0 AND message_id = $1::jsonb ->> 1",
    ForgetQuarantined => "DELETE FROM quarantine WHERE queue = $1::jsonb ->> 0 AND message_id = $1::jsonb ->> 1",

    AskStop => "INSERT INTO stop_requests (run, at_us, body)
         SELECT id, ($1::jsonb ->> 1)::bigint, $1::jsonb ->> 2 FROM runs WHERE id = $1::jsonb ->> 0 AND is_open = 1
         ON CONFLICT (run) DO UPDATE SET body = stop_requests.body",
    Halt => "INSERT INTO halt (id, body) VALUES (1, $1::jsonb ->> 0)
         ON CONFLICT (id) DO UPDATE SET body = excluded.body",
    Halted => "SELECT body FROM halt",
    Unhalt => "DELETE FROM halt",
    Pause => "INSERT INTO pauses (experiment, body) VALUES ($1::jsonb ->> 0, $1::jsonb ->> 1)
         ON CONFLICT (experiment) DO UPDATE SET body = excluded.body",

    Calendars => "SELECT name, source, read_at_us, found, failure FROM calendars",
    KeepCalendar => "INSERT INTO calendars (name, source, read_at_us, found, failure)
         VALUES ($1::jsonb ->> 0, $1::jsonb ->> 1, ($1::jsonb ->> 2)::bigint, $1::jsonb ->> 3, $1::jsonb ->> 4)
         ON CONFLICT (name) DO UPDATE SET source = excluded.source, read_at_us = excluded.read_at_us,
                                          found = excluded.found, failure = excluded.failure",
    ForgetOtherCalendars => "DELETE FROM calendars
         WHERE NOT EXISTS (SELECT 1 FROM jsonb_array_elements_text($1::jsonb) AS kept(name)
                           WHERE kept.name = calendars.name)",

    Courier => "SELECT seq FROM couriers WHERE name = $1::jsonb ->> 0",
    MoveCourier => "INSERT INTO couriers (name, seq) VALUES ($1::jsonb ->> 0, ($1::jsonb ->> 1)::bigint)
         ON CONFLICT (name) DO UPDATE SET seq = excluded.seq WHERE couriers.seq < excluded.seq",
    MoveCourierToEnd => "INSERT INTO couriers (name, seq) SELECT $1::jsonb ->> 0, COALESCE(MAX(seq), 0) FROM journal
         ON CONFLICT (name) DO UPDATE SET seq = excluded.seq WHERE couriers.seq < excluded.seq",

    // Of the journal not the newest time: that may be of a clock that has been set right since.
    LastTold => "SELECT COALESCE(
             (SELECT at_us FROM journal ORDER BY seq DESC LIMIT 1)
             - (SELECT GREATEST(COALESCE(SUM(leap), 0), 0)::bigint FROM
                    (SELECT at_us - LAG(at_us) OVER (ORDER BY seq) AS leap FROM
                         (SELECT seq, at_us FROM journal ORDER BY seq DESC LIMIT ($1::jsonb ->> 1)::bigint) AS newest) AS leaps
                WHERE ABS(leap) > ($1::jsonb ->> 0)::bigint),
             (SELECT MAX(received_at_us) FROM events), (SELECT MAX(received_at_us) FROM quarantine),
             (SELECT MAX(changed_at_us) FROM deployments))",
    LastKept => "SELECT changed_at_us FROM runs WHERE is_open = 0 ORDER BY changed_at_us DESC
         LIMIT 1 OFFSET ($1::jsonb ->> 0)::bigint",
    PruneJournal => "DELETE FROM journal WHERE run IN
         (SELECT id FROM runs WHERE is_open = 0 AND changed_at_us < ($1::jsonb ->> 0)::bigint
          AND NOT EXISTS (SELECT 1 FROM journal WHERE run = runs.id AND seq > ($1::jsonb ->> 2)::bigint)
          ORDER BY changed_at_us, id LIMIT ($1::jsonb ->> 1)::bigint)",
    PruneRuns => "DELETE FROM runs WHERE id IN
         (SELECT id FROM runs WHERE is_open = 0 AND changed_at_us < ($1::jsonb ->> 0)::bigint
          AND NOT EXISTS (SELECT 1 FROM journal WHERE run = runs.id AND seq > ($1::jsonb ->> 2)::bigint)
          ORDER BY changed_at_us, id LIMIT ($1::jsonb ->> 1)::bigint)
         AND NOT EXISTS (SELECT 1 FROM journal WHERE journal.run = runs.id)",
    PruneEvents => "DELETE FROM events WHERE (source, event_id) IN
         (SELECT source, event_id FROM events WHERE received_at_us < ($1::jsonb ->> 0)::bigint
          LIMIT ($1::jsonb ->> 1)::bigint)",
    LastKeptEvent => "SELECT received_at_us FROM events ORDER BY received_at_us DESC
         LIMIT 1 OFFSET ($1::jsonb ->> 0)::bigint",
    PruneUnmatched => "DELETE FROM events WHERE (source, event_id) IN
         (SELECT source, event_id FROM events
          WHERE received_at_us >= ($1::jsonb ->> 0)::bigint AND received_at_us < ($1::jsonb ->> 1)::bigint AND runs = '[]'
          ORDER BY received_at_us LIMIT ($1::jsonb ->> 2)::bigint)
         RETURNING received_at_us",
    // Long after the last event of a key nothing of it is needed, unless a run of it still waits.
    PruneDeployments => "DELETE FROM deployments WHERE (experiment, key) IN
         (SELECT experiment, key FROM deployments AS old WHERE changed_at_us < ($1::jsonb ->> 0)::bigint AND NOT EXISTS
          (SELECT 1 FROM runs WHERE is_open = 1 AND runs.experiment = old.experiment AND deployment_key = old.key)
          LIMIT ($1::jsonb ->> 1)::bigint)",
    PruneQuarantine => "DELETE FROM quarantine WHERE seq IN
         (SELECT seq FROM quarantine WHERE received_at_us < ($1::jsonb ->> 0)::bigint LIMIT ($1::jsonb ->> 1)::bigint)",

    Runs => "SELECT body FROM runs
         WHERE ($1::jsonb ->> 0 IS NULL OR experiment = $1::jsonb ->> 0) AND opened_at_us >= ($1::jsonb ->> 1)::bigint
             AND ($1::jsonb ->> 2 IS NULL OR $1::jsonb ->> 2 IN (deployment_key, deployment_version, deployment_id))
         ORDER BY opened_at_us DESC, id LIMIT ($1::jsonb ->> 3)::bigint",
    Run => "SELECT body FROM runs WHERE id = $1::jsonb ->> 0",
    RunsByPrefix => "SELECT body FROM runs WHERE starts_with(id, $1::jsonb ->> 0) LIMIT 2",
    Journal => "SELECT seq, at_us, run, observation, explained FROM journal WHERE run = $1::jsonb ->> 0 ORDER BY seq",
    JournalAfter => "SELECT seq, at_us, run, observation, explained FROM journal WHERE seq > ($1::jsonb ->> 0)::bigint
         ORDER BY seq LIMIT ($1::jsonb ->> 1)::bigint",
    JournalWithRuns => "SELECT entry.seq, at_us, run, observation, explained, experiment, trigger_kind, trigger_key
         FROM (SELECT * FROM journal WHERE seq > ($1::jsonb ->> 0)::bigint
               ORDER BY seq LIMIT ($1::jsonb ->> 1)::bigint) AS entry
         LEFT JOIN runs ON runs.id = run ORDER BY entry.seq",
    Events => "SELECT source, detail_type, received_at_us, runs, queue, body FROM events
         WHERE event_id = $1::jsonb ->> 0 ORDER BY received_at_us",
    LastFacts => "SELECT body FROM runs WHERE experiment = $1::jsonb ->> 0 AND has_facts = 1
         ORDER BY opened_at_us DESC LIMIT 1",
}
