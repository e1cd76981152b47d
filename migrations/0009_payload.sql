-- Binaries a TAM hosts for its devices, by the SHA-256 of what is served.
CREATE TABLE payload (
	domain_id   integer NOT NULL REFERENCES domain,
	digest      bytea NOT NULL,
	bytes       bytea NOT NULL CHECK (length(bytes) > 0),
	note        text NOT NULL DEFAULT '',
	uploaded_by text NOT NULL,
	uploaded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (domain_id, digest)
);
-- Read whole and not compressible, mostly.
ALTER TABLE payload ALTER bytes SET STORAGE EXTERNAL;

ALTER TABLE payload ENABLE ROW LEVEL SECURITY;
ALTER TABLE payload FORCE ROW LEVEL SECURITY;
CREATE POLICY wire ON payload TO tam_wire USING (true);
CREATE POLICY owner ON payload TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY admin ON payload TO tam_admin
	USING (domain_id = nullif(current_setting('tam.domain', true), '')::integer)
	WITH CHECK (domain_id = nullif(current_setting('tam.domain', true), '')::integer);
GRANT SELECT ON payload TO tam_wire;
GRANT SELECT, INSERT, DELETE ON payload TO tam_admin;
