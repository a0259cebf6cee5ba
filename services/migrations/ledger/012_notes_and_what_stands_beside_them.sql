-- What stands beside a signed note is what the note says, and a key has the form of one. The last checkpoint, which all
-- proofs are of, is found by its size. NOT VALID: what is there already stays, whatever it says, since none of it is
-- ever changed; the auditor finds it.
ALTER TABLE {schema}.checkpoints ADD CONSTRAINT checkpoints_say_their_size
    CHECK (split_part(note, E'\n', 2) = size::text) NOT VALID;

ALTER TABLE {schema}.digests ADD CONSTRAINT digests_say_what_they_are
    CHECK (split_part(note, E'\n', 2) = projection || ' ' || version
           AND split_part(note, E'\n', 3) = position::text
           AND split_part(note, E'\n', 5) = digest) NOT VALID;

-- A name, 8 hexadecimal digits, and 33 octets in base64.
ALTER TABLE {schema}.verifier_keys ADD CONSTRAINT verifier_keys_have_their_form
    CHECK (key ~ '^[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}$') NOT VALID;

ALTER TABLE {schema}.digest_keys ADD CONSTRAINT digest_keys_have_their_form
    CHECK (key ~ '^[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}$') NOT VALID;
