-- A channel is a name that policies use for a manifest; where it points to can
-- change, and every time it did is kept.
CREATE TABLE channel (
	domain_id integer NOT NULL REFERENCES domain,
	name      text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
	revision  bigint NOT NULL,
	digest    bytea NOT NULL,       -- of a manifest
	PRIMARY KEY (domain_id, name),
	FOREIGN KEY (domain_id, digest) REFERENCES manifest
);
CREATE TABLE channel_revision (
	domain_id integer NOT NULL REFERENCES domain,
	name      text NOT NULL,
	revision  bigint NOT NULL,
	digest    bytea,                -- NULL: deleted
	author    text NOT NULL,
	reason    text NOT NULL DEFAULT '',
	at        timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (domain_id, name, revision)
);
GRANT SELECT ON channel, channel_revision TO tam_wire;
GRANT SELECT, INSERT, UPDATE, DELETE ON channel TO tam_admin;
GRANT SELECT, INSERT ON channel_revision TO tam_admin;
DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['channel', 'channel_revision'] LOOP
		EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
		EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
		EXECUTE format('CREATE POLICY wire ON %I TO tam_wire USING (true) WITH CHECK (true)', t);
		EXECUTE format('CREATE POLICY owner ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
		EXECUTE format('CREATE POLICY admin ON %I TO tam_admin
			USING (domain_id = nullif(current_setting(''tam.domain'', true), '''')::integer)
			WITH CHECK (domain_id = nullif(current_setting(''tam.domain'', true), '''')::integer)', t);
	END LOOP;
END $$;
