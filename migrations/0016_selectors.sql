-- What selectors ask of the database.

-- Versions in the order of policy/version.h: runs of digits and of letters.
-- What ends (10) is before a number (20) and after letters (08); zeroes behind
-- a separator do not count at the end or in front of letters.
CREATE FUNCTION version_key(v text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
	SELECT coalesce(string_agg(CASE WHEN r.m[1] ~ '^[0-9]'
		THEN '\x20'::bytea || int4send(length(ltrim(r.m[1], '0'))) || convert_to(ltrim(r.m[1], '0'), 'UTF8')
		ELSE '\x08'::bytea || convert_to(lower(r.m[1] COLLATE "C"), 'UTF8') || '\x00'::bytea END,
		''::bytea ORDER BY r.n), ''::bytea) || '\x10'::bytea
	FROM regexp_matches(regexp_replace(v COLLATE "C",
		'([^0-9A-Za-z]+0+)+(?=[^0-9A-Za-z]*([A-Za-z]|$))', '-', 'g'),
		'([0-9]+|[A-Za-z]+)', 'g') WITH ORDINALITY AS r (m, n)
$$;

-- A component id as CBOR, from its text (docs/adr/0004).
CREATE FUNCTION component_cbor(p_text text) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
	out bytea := '';
	part text;
	raw bytea;
	n integer := 0;
BEGIN
	FOREACH part IN ARRAY string_to_array(p_text, '/') LOOP
		raw := CASE WHEN part ~ '^0x([0-9a-f]{2})*$' THEN decode(substr(part, 3), 'hex')
			ELSE convert_to(part, 'UTF8') END;
		out := out || CASE
			WHEN length(raw) < 24 THEN set_byte('\x00', 0, 64 + length(raw))
			WHEN length(raw) < 256 THEN '\x58'::bytea || set_byte('\x00', 0, length(raw))
			ELSE '\x59'::bytea || int2send(length(raw)::smallint) END || raw;
		n := n + 1;
	END LOOP;
	RETURN CASE WHEN n < 24 THEN set_byte('\x00', 0, 128 + n)
		ELSE '\x98'::bytea || set_byte('\x00', 0, n) END || out;
END $$;

-- Which image each manifest brings for which component.
CREATE TABLE manifest_component (
	domain_id integer NOT NULL,
	digest    bytea NOT NULL,       -- the manifest's
	component bytea NOT NULL,
	image     bytea,                -- NULL: not known, or one of several
	sequence  bigint NOT NULL,
	PRIMARY KEY (domain_id, digest, component),
	FOREIGN KEY (domain_id, digest) REFERENCES manifest
);
CREATE INDEX manifest_component_image ON manifest_component (domain_id, component, image, sequence);
ALTER TABLE manifest_component ENABLE ROW LEVEL SECURITY;
ALTER TABLE manifest_component FORCE ROW LEVEL SECURITY;
CREATE POLICY wire ON manifest_component TO tam_wire USING (true) WITH CHECK (true);
CREATE POLICY owner ON manifest_component TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY admin ON manifest_component TO tam_admin
	USING (domain_id = nullif(current_setting('tam.domain', true), '')::integer)
	WITH CHECK (domain_id = nullif(current_setting('tam.domain', true), '')::integer);
GRANT SELECT ON manifest_component TO tam_wire;
GRANT SELECT, INSERT ON manifest_component TO tam_admin;
INSERT INTO manifest_component
SELECT m.domain_id, m.digest, component_cbor(c->>'component'), decode(c->>'digest', 'hex'), m.sequence
FROM manifest m, jsonb_array_elements(m.components) c
ON CONFLICT DO NOTHING;
GRANT SELECT ON device_attestation TO tam_admin;
