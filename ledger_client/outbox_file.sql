-- make --
-- The tables of a new file. `body` comes last, so that what is looked at more often is read without it.
CREATE TABLE outbox_events (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'deferred', 'refused')),
    put_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at REAL NOT NULL DEFAULT 0,
    status INTEGER NOT NULL DEFAULT 0,
    problem TEXT NOT NULL DEFAULT '{}',
    digest BLOB NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (source, id)
) STRICT;
CREATE INDEX outbox_events_state ON outbox_events (state, place);
CREATE TABLE outbox_room (events INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
INSERT INTO outbox_room VALUES (0, 0);
CREATE TRIGGER outbox_event_put AFTER INSERT ON outbox_events BEGIN
    UPDATE outbox_room SET events = events + 1, bytes = bytes + length(NEW.body);
END;
CREATE TRIGGER outbox_event_mended AFTER UPDATE OF body ON outbox_events BEGIN
    UPDATE outbox_room SET bytes = bytes - length(OLD.body) + length(NEW.body);
END;
CREATE TRIGGER outbox_event_gone AFTER DELETE ON outbox_events BEGIN
    UPDATE outbox_room SET events = events - 1, bytes = bytes - length(OLD.body);
END;
CREATE TABLE outbox_of (ledger TEXT NOT NULL) STRICT;

-- ledger --
-- The name of the ledger that the events are for.
SELECT ledger FROM outbox_of;

-- claim --
-- The file is for this ledger from now on.
INSERT INTO outbox_of (ledger) VALUES (?);

-- room --
-- How many events there are, and their bytes.
SELECT events, bytes FROM outbox_room;

-- counts --
-- How many events are in each state, and when the oldest was put.
SELECT state, count(*), min(put_at) FROM outbox_events GROUP BY state;

-- known --
-- The body of an event that is here already.
SELECT body FROM outbox_events WHERE source = ? AND id = ?;

-- place --
-- Where an event is.
SELECT place FROM outbox_events WHERE source = ? AND id = ?;

-- put --
-- An event joins at the end.
INSERT INTO outbox_events (source, id, state, put_at, digest, body) VALUES (?, ?, 'waiting', ?, ?, ?);

-- keep --
-- An event joins at a place and in a state that it had elsewhere.
INSERT OR IGNORE INTO outbox_events (place, source, id, state, put_at, attempts, due_at, status, problem, digest, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- waiting --
-- The next events to send, with the bytes of each, before a place.
SELECT place, length(body) FROM outbox_events WHERE state = 'waiting' AND place < ? ORDER BY place LIMIT ?;

-- due --
-- The events before a place whose next attempt is due stand aside no more; nor do those that are to wait for longer
-- than anything waits.
UPDATE outbox_events SET state = 'waiting'
 WHERE place IN (SELECT place FROM outbox_events
                  WHERE state = 'deferred' AND (due_at <= ? OR due_at > ?) AND place < ? ORDER BY place LIMIT ?);

-- first_standing --
-- The first event that nothing may overtake where order is strict.
SELECT min(place) FROM outbox_events
 WHERE state = 'refused' OR (state = 'deferred' AND due_at > ? AND due_at <= ?);

-- bodies --
-- Events by place.
SELECT place, digest, body, attempts FROM outbox_events WHERE place >= ? AND place <= ? ORDER BY place;

-- sent --
-- What the ledger has acknowledged goes.
DELETE FROM outbox_events WHERE place = ?;

-- set_aside --
-- What the ledger has refused stands aside, until a time or until somebody says so.
UPDATE outbox_events
   SET state = ?, attempts = attempts + 1, due_at = ?, status = ?, problem = ?
 WHERE place = ?;

-- aside --
-- What stands aside, in order.
SELECT place, source, id, state, put_at, attempts, due_at, status, problem, body FROM outbox_events
 WHERE state IN ('deferred', 'refused') ORDER BY place;

-- id_aside --
-- The id of an event that stands aside.
SELECT id FROM outbox_events WHERE place = ? AND state IN ('deferred', 'refused');

-- resend --
-- An event that stood aside is sent again, at its old place.
UPDATE outbox_events SET state = 'waiting' WHERE place = ? AND state IN ('deferred', 'refused');

-- mend --
-- An event that stood aside has another content from now on, and is sent at its old place.
UPDATE outbox_events SET state = 'waiting', attempts = 0, source = ?, id = ?, digest = ?, body = ?
 WHERE place = ? AND state IN ('deferred', 'refused');

-- drop --
-- An event that stood aside is given up.
DELETE FROM outbox_events WHERE place = ? AND state IN ('deferred', 'refused');

-- altered --
-- The places whose bytes are not those that were put.
SELECT place FROM outbox_events WHERE sha256(body) <> digest ORDER BY place LIMIT 20;
