-- Version 2: what is asked for at each cycle is found without looking through ten years of rows, messages are known again
-- by their header block, and reasons are kept in both languages.

ALTER TABLE item ADD COLUMN reason_fr TEXT;
DROP INDEX item_fingerprint;
CREATE INDEX item_header ON item (launcher, header_digest);
CREATE INDEX item_recorded ON item (launcher) WHERE stage = 'recorded';
CREATE INDEX item_again ON item (launcher) WHERE retry OR stage = 'failed';
