-- An origin names one log: two under one name, with one key, would be two histories of it.
CREATE UNIQUE INDEX ledgers_origin_once ON registry.ledgers (origin);
