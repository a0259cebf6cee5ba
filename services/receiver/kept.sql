-- make_kept --
-- What could not become events yet. `request` and `reason` are sealed; `digest` is an HMAC of the body.
CREATE TABLE IF NOT EXISTS kept (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    hook        TEXT NOT NULL,
    delivery    TEXT NOT NULL,
    digest      BLOB NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('waiting', 'refused')),
    problem     TEXT NOT NULL,
    reason      BLOB NOT NULL,
    size        INTEGER NOT NULL,
    received_at TEXT NOT NULL,
    tried_at    TEXT NOT NULL,
    tries       INTEGER NOT NULL,
    request     BLOB NOT NULL, -- The last: who reads the others passes over none of its pages.
    UNIQUE (hook, delivery)
) STRICT

-- make_kept_by_hook --
-- What counts and sums read, and no row with its body.
CREATE INDEX IF NOT EXISTS kept_by_hook ON kept (hook, state, size, received_at)

-- make_delivered --
-- Which deliveries have become events, so that another body under the same id is noticed.
CREATE TABLE IF NOT EXISTS delivered (
    hook     TEXT NOT NULL,
    delivery TEXT NOT NULL,
    digest   BLOB NOT NULL,
    at       TEXT NOT NULL,
    PRIMARY KEY (hook, delivery)
) STRICT, WITHOUT ROWID

-- make_delivered_at --
CREATE INDEX IF NOT EXISTS delivered_at ON delivered (at)

-- digest_of --
-- The body that came before under the id of a delivery.
SELECT digest FROM delivered WHERE hook = :hook AND delivery = :delivery
UNION ALL
SELECT digest FROM kept WHERE hook = :hook AND delivery = :delivery
LIMIT 1

-- keep --
-- Keep a request, or say anew why it is kept: the first place in the order stays its own. What its sender sends again
-- may have the headers that it lacked.
INSERT INTO kept (hook, delivery, digest, state, problem, reason, request, size, received_at, tried_at, tries)
VALUES (:hook, :delivery, :digest, :state, :problem, :reason, :request, :size, :now, :now, 1)
ON CONFLICT (hook, delivery) DO UPDATE
SET state = excluded.state, problem = excluded.problem, reason = excluded.reason, tried_at = excluded.tried_at,
    tries = tries + 1, request = excluded.request, size = excluded.size
RETURNING id

-- keep_on --
-- Why one is still kept. Who was dropped or settled meanwhile does not come back.
UPDATE kept SET state = :state, problem = :problem, reason = :reason, tried_at = :now, tries = tries + 1 WHERE id = :id

-- held --
-- The bytes of all that is kept, those of one hook, and whether one of its deliveries is kept already.
SELECT coalesce(sum(size), 0), coalesce(sum(size) FILTER (WHERE hook = :hook), 0),
       EXISTS (SELECT 1 FROM kept WHERE hook = :hook AND delivery = :delivery)
  FROM kept

-- deliver --
INSERT INTO delivered (hook, delivery, digest, at) VALUES (:hook, :delivery, :digest, :now)
ON CONFLICT (hook, delivery) DO NOTHING

-- settle --
-- This one only: another body under the same id, or the same with other headers, may have come in meanwhile.
DELETE FROM kept
 WHERE hook = :hook AND delivery = :delivery AND digest = :digest AND (:tries IS NULL OR tries = :tries)

-- drop --
DELETE FROM kept WHERE id = :id

-- give_back --
-- The free pages of the file, to the system.
PRAGMA incremental_vacuum

-- cut_log --
-- The write-ahead log, to nothing, unless somebody reads in it now.
PRAGMA wal_checkpoint(TRUNCATE)

-- waiting_hooks --
SELECT DISTINCT hook FROM kept WHERE state = 'waiting' ORDER BY hook

-- is_waiting --
SELECT EXISTS (SELECT 1 FROM kept WHERE hook = :hook AND state = 'waiting')

-- page --
-- What is kept, in the order in which it came, without the bodies.
SELECT id, hook, delivery, digest, state, problem, reason, size, received_at, tried_at, tries
  FROM kept
 WHERE id > :after AND (:hook IS NULL OR hook = :hook) AND (:state IS NULL OR state = :state)
 ORDER BY id
 LIMIT :limit

-- find --
SELECT id, hook, delivery, digest, state, problem, reason, size, received_at, tried_at, tries
  FROM kept WHERE id = :id

-- request --
-- The request itself.
SELECT request FROM kept WHERE id = :id

-- counts --
SELECT hook, state, count(*), sum(size), min(received_at) FROM kept GROUP BY hook, state ORDER BY hook, state

-- expire_refused --
DELETE FROM kept WHERE state = 'refused' AND received_at < :before

-- expire_delivered --
DELETE FROM delivered WHERE at < :before
