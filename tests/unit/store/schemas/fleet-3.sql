ALTER TABLE commands ADD COLUMN basis TEXT;
CREATE INDEX commands_unsettled ON commands (at) WHERE settled_at IS NULL;
