-- A Verifier of our own: Evidence signed by an endorsed attestation key is
-- compared with reference values, and a result is signed with a key that does
-- nothing else.

ALTER TABLE tam_key DROP CONSTRAINT tam_key_use_check;
ALTER TABLE tam_key ADD CONSTRAINT tam_key_use_check CHECK (use IN ('sign', 'agree', 'verify'));
ALTER TABLE tam_key DROP CONSTRAINT tam_key_curve_check;
ALTER TABLE tam_key ADD CONSTRAINT tam_key_curve_check
	CHECK (use <> 'agree' AND curve IN ('p256', 'ed25519') OR use = 'agree' AND curve IN ('p256', 'x25519'));

-- How long a result that was passed back is good for as a passport; 0: none is
-- passed back.
ALTER TABLE domain ADD passport_s integer NOT NULL DEFAULT 3600 CHECK (passport_s BETWEEN 0 AND 31536000);
GRANT UPDATE (passport_s) ON domain TO tam_admin;

CREATE TABLE endorsement (
	domain_id  integer NOT NULL REFERENCES domain,
	name       text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
	curve      text NOT NULL CHECK (curve IN ('p256', 'ed25519')),
	public_key bytea NOT NULL,
	thumbprint bytea NOT NULL,
	hwmodel    bytea NOT NULL DEFAULT '', -- only Evidence of this model; empty: any
	PRIMARY KEY (domain_id, name),
	UNIQUE (domain_id, thumbprint)
);

CREATE TABLE reference_value (
	domain_id integer NOT NULL REFERENCES domain,
	name      text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
	hwmodel   bytea NOT NULL,
	hwversion text NOT NULL DEFAULT '',   -- empty: any
	dbgstat   integer NOT NULL DEFAULT 0 CHECK (dbgstat BETWEEN 0 AND 4), -- at least
	oemboot   boolean NOT NULL DEFAULT false, -- whether it must be true
	manifests bytea[] NOT NULL DEFAULT '{}',  -- the only ones it may run; none: any
	PRIMARY KEY (domain_id, name)
);

DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['endorsement', 'reference_value'] LOOP
		EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
		EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
		EXECUTE format('CREATE POLICY wire ON %I TO tam_wire USING (true) WITH CHECK (true)', t);
		EXECUTE format('CREATE POLICY owner ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
		EXECUTE format('CREATE POLICY admin ON %I TO tam_admin
			USING (domain_id = nullif(current_setting(''tam.domain'', true), '''')::integer)
			WITH CHECK (domain_id = nullif(current_setting(''tam.domain'', true), '''')::integer)', t);
	END LOOP;
END $$;
GRANT SELECT ON endorsement, reference_value TO tam_wire;
GRANT SELECT, INSERT, UPDATE, DELETE ON endorsement, reference_value TO tam_admin;
