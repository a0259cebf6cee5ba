// Appends by Emmett's PostgreSQL store, or projects what it has appended: see workers.py for how it is asked.

import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { rawSql, sql } from '@event-driven-io/dumbo';
import {
  getPostgreSQLEventStore,
  postgreSQLRawSQLProjection,
  rebuildPostgreSQLProjections,
} from '@event-driven-io/emmett-postgresql';
import pg from 'pg';

const ROWS_MAX = 20_000; // Of the file, over and over.
const PULLED_EVENTS = 100;
const POLL_MILLISECONDS = 50;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const job = JSON.parse((await lines.next()).value);
const pool = new pg.Pool({ connectionString: job.dsn, max: job.clients });
const store = getPostgreSQLEventStore(job.dsn, {
  connectionOptions: { pooled: true, pool },
  schema: { autoMigration: 'None' },
});
if (job.part === 0) await store.schema.migrate();

const rows = await read(job.rows);
const run = job.does === 'append' ? appending(rows) : await catchingUp(rows);
say('ready');
for (let line = await lines.next(); !line.done; line = await lines.next()) {
  say(JSON.stringify(await run(Number(line.value) * 1000)));
}
await store.close();
await pool.end();

function say(line) {
  process.stdout.write(`${line}\n`);
}

/** The rows of the file as events, each with its stream. */
async function read(path) {
  const found = [];
  const file = createInterface({ input: createReadStream(path) });
  for await (const line of file) {
    const [, , type, state, , , subject] = JSON.parse(line);
    found.push({ stream: subject.replace('/', '-'), event: { type, data: JSON.parse(Buffer.from(state, 'base64')) } });
    if (found.length === ROWS_MAX) break;
  }
  file.close();
  return found;
}

// Each client has streams of its own: two that append to one stream would refuse each other's versions.
function appending(rows) {
  const clients = job.parts * job.clients;
  const shares = Array.from({ length: job.clients }, (_, client) =>
    batches(rows.filter(({ stream }) => hash(stream) % clients === job.part * job.clients + client)),
  );
  return async (milliseconds) => {
    const begun = performance.now();
    const done = await Promise.all(shares.map((share) => append(share, begun + milliseconds)));
    return { events: done.reduce((sum, events) => sum + events, 0), seconds: (performance.now() - begun) / 1000 };
  };
}

async function append(share, until) {
  let events = 0;
  do {
    const { stream, batch } = share.next().value;
    await store.appendToStream(stream, batch);
    events += batch.length;
  } while (performance.now() < until);
  return events;
}

/** These rows over and over. What is appended at once goes to one stream, as appendToStream has it. */
function* batches(rows) {
  for (let first = 0; ; first = (first + job.batch) % rows.length) {
    const batch = Array.from({ length: job.batch }, (_, offset) => rows[(first + offset) % rows.length].event);
    yield { stream: rows[first].stream, batch };
  }
}

function hash(text) {
  let found = 0;
  for (const character of text) found = (found * 31 + character.codePointAt(0)) >>> 0;
  return found;
}

// A read model: of each stream, how many events were seen, and the type of the last.
async function catchingUp(rows) {
  const share = batches(rows);
  for (let events = 0; events < job.events; events += job.batch) {
    const { stream, batch } = share.next().value;
    await store.appendToStream(stream, batch);
  }
  const seeing = postgreSQLRawSQLProjection({
    name: 'seeing',
    canHandle: [...new Set(rows.map(({ event }) => event.type))],
    init: () => rawSql('CREATE TABLE IF NOT EXISTS seen (stream text PRIMARY KEY, events bigint, last text)'),
    evolve: ({ type, metadata }) =>
      sql(
        `INSERT INTO seen VALUES (%L, 1, %L)
         ON CONFLICT (stream) DO UPDATE SET events = seen.events + 1, last = excluded.last`,
        metadata.streamName,
        type,
      ),
  });
  await pool.query('CREATE TABLE IF NOT EXISTS seen (stream text PRIMARY KEY, events bigint, last text)');
  const seen = async () => {
    const found = await pool.query('SELECT coalesce(sum(events), 0)::bigint AS events FROM seen');
    return Number(found.rows[0].events);
  };
  return async (milliseconds) => {
    await pool.query('TRUNCATE seen, emt_processors, emt_projections');
    const begun = performance.now();
    const consumer = rebuildPostgreSQLProjections({
      connectionString: job.dsn,
      projection: seeing,
      pulling: { batchSize: PULLED_EVENTS },
    });
    let ended = false;
    const stopping = sleep(milliseconds).then(async () => {
      while (!ended && (await seen()) === 0) await sleep(POLL_MILLISECONDS);
      if (!ended) await consumer.stop();
    });
    await consumer.start();
    ended = true;
    const seconds = (performance.now() - begun) / 1000;
    await stopping;
    await consumer.close();
    return { events: await seen(), seconds };
  };
}
