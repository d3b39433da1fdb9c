-- The ledger's first schema. Columns that no engine writes yet are here because nobody can fill them in afterwards.
-- Times are milliseconds since 1970 UTC; digests are SHA-256, 32 bytes.

CREATE TABLE launcher (
  id         INTEGER PRIMARY KEY,
  name       TEXT    NOT NULL UNIQUE,            -- the section's name
  generation INTEGER NOT NULL DEFAULT 0,         -- raised before the first delivery of a cycle, here and in staging
  cursor     TEXT,                               -- the source's own text: how far it was seen through without a gap
  created    INTEGER NOT NULL
) STRICT;

CREATE TABLE item (
  id            INTEGER PRIMARY KEY,
  launcher      INTEGER NOT NULL REFERENCES launcher (id) ON DELETE CASCADE,
  key           TEXT    NOT NULL,                -- the server's key
  short         TEXT    NOT NULL,                -- {key}
  stage         TEXT    NOT NULL CHECK (stage IN
                  ('failed', 'recorded', 'confirmed', 'empty', 'rejected', 'quarantined', 'adopted')),
  whole         INTEGER NOT NULL DEFAULT 1,      -- 0: a part is in quarantine, so the source is left alone
  acknowledged  INTEGER,                         -- when `after` was carried out (or there was nothing to carry out)
  departed      INTEGER,                         -- when it was found to have left its source; back again it is new
  unconfirmed   INTEGER NOT NULL DEFAULT 0,      -- published before an interruption: nobody saw the rename succeed
  retry         INTEGER NOT NULL DEFAULT 0,      -- the next cycle takes it again
  failures      INTEGER NOT NULL DEFAULT 0,      -- cycles in a row in which this item failed by itself
  reason        TEXT,                            -- why it failed, was rejected or is in quarantine
  generation    INTEGER NOT NULL,                -- of the cycle that wrote the row
  message_id    TEXT,                            -- fingerprint: asked for when a source reissues its keys
  size          INTEGER,
  header_digest BLOB,
  digest        BLOB,                            -- of the item as it was received
  folder        TEXT,
  sender        TEXT,
  recipients    TEXT,
  subject       TEXT,
  date          INTEGER,                         -- what the item says of itself
  received      INTEGER,                         -- what its server says
  recorded      INTEGER NOT NULL,
  confirmed     INTEGER
) STRICT;
CREATE UNIQUE INDEX item_key ON item (launcher, key) WHERE departed IS NULL;
CREATE UNIQUE INDEX item_short ON item (launcher, short);
CREATE INDEX item_fingerprint ON item (launcher, message_id, size);
CREATE INDEX item_digest ON item (launcher, digest);
CREATE INDEX item_open ON item (launcher, stage) WHERE acknowledged IS NULL;

CREATE TABLE part (
  item          INTEGER NOT NULL REFERENCES item (id) ON DELETE CASCADE,
  n             INTEGER NOT NULL,                -- {n}, from 1; 0: the folder that holds the others; the last: the index
  role          TEXT    NOT NULL,
  original_name TEXT,                            -- decoded, not sanitised: what the filter judged
  media_type    TEXT,
  decision      TEXT    NOT NULL CHECK (decision IN ('taken', 'filtered', 'inline', 'quarantined')),
  filter        TEXT,                            -- the pattern that left it out
  size          INTEGER,
  sha256        BLOB,
  staged        TEXT,                            -- its name in the staging folder; FOLDER/NAME is published with it
  final         TEXT,                            -- its name in the delivery directory, or in its folder
  directory     TEXT,                            -- the delivery directory it was recorded for; empty in a folder
  published     INTEGER,
  PRIMARY KEY (item, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX part_sha256 ON part (sha256);
