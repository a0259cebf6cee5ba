\set number random(1, :rows)
SELECT message_store.write_message(gen_random_uuid()::varchar, stream, type, data::jsonb)
  FROM staged
 WHERE number = :number;
