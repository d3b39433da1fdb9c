-- Version 4: what an envelope says of itself is kept beside its item, so that its index can be made again and its copy read
-- again; what it is known by finds the deliveries that belong together. Recorded items are found by `item_open`.

ALTER TABLE item ADD COLUMN envelope TEXT;       -- JSON: name of the deposit, kind, metadata (until confirmed), missing …

CREATE TABLE relation (
  item    INTEGER NOT NULL REFERENCES item (id) ON DELETE CASCADE,
  kind    TEXT    NOT NULL CHECK (kind IN ('acte', 'aller', 'acquit')),
  name    TEXT    NOT NULL,                      -- acte: IDActe; aller, acquit: name of the flow and code of the authority
  answers TEXT,                                  -- acquit: the {key} of the aller that its index named
  PRIMARY KEY (item, kind, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX relation_name ON relation (kind, name, item);

DROP INDEX item_recorded;
