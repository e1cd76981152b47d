-- Enrolment at first contact: who a device is, is what a Verifier says of it.

ALTER TABLE domain ADD enrol_status text NOT NULL DEFAULT 'pending' CHECK (enrol_status IN ('pending', 'active'));
ALTER TABLE domain ADD enrol_class text NOT NULL DEFAULT '';
ALTER TABLE domain ADD rekey text NOT NULL DEFAULT 'refuse' CHECK (rekey IN ('refuse', 'pending', 'auto'));
GRANT UPDATE (enrol, enrol_status, enrol_class, rekey, teep_profile) ON domain TO tam_admin;

-- The attested identity, and the one device that is it.
CREATE TABLE device_identity (
	domain_id integer NOT NULL,
	oemid     bytea NOT NULL,
	ueid      bytea NOT NULL,
	device_id bigint NOT NULL,
	PRIMARY KEY (domain_id, oemid, ueid),
	FOREIGN KEY (domain_id, device_id) REFERENCES device
);

-- A new key that waits for somebody to say whether it replaces the old one.
CREATE TABLE device_rekey (
	domain_id  integer NOT NULL,
	thumbprint bytea NOT NULL,
	device_id  bigint NOT NULL,
	curve      text NOT NULL CHECK (curve IN ('p256', 'ed25519')),
	public_key bytea NOT NULL,
	asked_us   bigint NOT NULL,
	PRIMARY KEY (domain_id, thumbprint),
	FOREIGN KEY (domain_id, device_id) REFERENCES device
);
CREATE INDEX device_rekey_device ON device_rekey (domain_id, device_id);

DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['device_identity', 'device_rekey'] LOOP
		EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
		EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
		EXECUTE format('CREATE POLICY wire ON %I TO tam_wire USING (true) WITH CHECK (true)', t);
		EXECUTE format('CREATE POLICY owner ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
		EXECUTE format('CREATE POLICY admin ON %I TO tam_admin
			USING (domain_id = nullif(current_setting(''tam.domain'', true), '''')::integer)
			WITH CHECK (domain_id = nullif(current_setting(''tam.domain'', true), '''')::integer)', t);
	END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE ON device_identity TO tam_wire;
GRANT SELECT, INSERT, DELETE ON device_rekey TO tam_wire;
GRANT INSERT ON device, device_key TO tam_wire;
GRANT DELETE ON device_key TO tam_wire;
GRANT USAGE ON SEQUENCE device_id_seq TO tam_wire;
GRANT SELECT ON device_identity TO tam_admin;
GRANT SELECT, DELETE ON device_rekey TO tam_admin;

-- Puts a key in the place of a device's old ones.
CREATE FUNCTION device_rekey_apply(p_domain integer, p_device bigint, p_thumbprint bytea, p_curve text,
	p_public_key bytea) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM device_key WHERE domain_id = p_domain AND device_id = p_device;
	INSERT INTO device_key VALUES (p_domain, p_thumbprint, p_device, p_curve, p_public_key);
	DELETE FROM device_rekey WHERE domain_id = p_domain AND device_id = p_device;
	UPDATE device_seen SET version = version + 1 WHERE domain_id = p_domain AND device_id = p_device;
	INSERT INTO device_change (domain_id, device_id) VALUES (p_domain, p_device);
END $$;

-- A key nobody knows, vouched for by a Verifier's result that names it whole,
-- with the identity it found.  Verdicts: known, created, rekeyed, pending,
-- refused.  A quarantined or decommissioned identity gets no new key, whatever
-- the domain says.
CREATE FUNCTION wire_enrol(p_domain integer, p_thumbprint bytea, p_curve text, p_public_key bytea, p_oemid bytea,
	p_ueid bytea, p_now_us bigint, OUT verdict text, OUT device bigint)
LANGUAGE plpgsql AS $$
DECLARE
	d domain%ROWTYPE;
	st text;
BEGIN
	SELECT * INTO d FROM domain WHERE domain_id = p_domain;
	-- One at a time for one identity; the key's own row settles the rest.
	PERFORM pg_advisory_xact_lock(p_domain, hashtext(encode(p_oemid || '/'::bytea || p_ueid, 'hex')));
	SELECT k.device_id INTO device FROM device_key k WHERE k.domain_id = p_domain AND k.thumbprint = p_thumbprint;
	IF FOUND THEN
		verdict := 'known';
		RETURN;
	END IF;
	SELECT i.device_id INTO device FROM device_identity i
	WHERE i.domain_id = p_domain AND i.oemid = p_oemid AND i.ueid = p_ueid;
	IF NOT FOUND THEN
		IF d.enrol <> 'attested' THEN
			verdict := 'refused';
			RETURN;
		END IF;
		INSERT INTO device (domain_id, name, class, status)
		VALUES (p_domain, encode(p_thumbprint, 'hex'), d.enrol_class, d.enrol_status) RETURNING device_id INTO device;
		INSERT INTO device_seen (domain_id, device_id) VALUES (p_domain, device);
		INSERT INTO device_key VALUES (p_domain, p_thumbprint, device, p_curve, p_public_key);
		INSERT INTO device_identity VALUES (p_domain, p_oemid, p_ueid, device);
		INSERT INTO device_event (domain_id, device_id, at_us, kind, detail)
		VALUES (p_domain, device, p_now_us, 'enrolled', 'by attestation, ' || d.enrol_status);
		verdict := 'created';
		RETURN;
	END IF;
	SELECT x.status INTO st FROM device x WHERE x.domain_id = p_domain AND x.device_id = device;
	IF d.rekey = 'refuse' OR st IN ('quarantined', 'decommissioned') THEN
		verdict := 'refused';
		RETURN;
	END IF;
	IF d.rekey = 'auto' THEN
		PERFORM device_rekey_apply(p_domain, device, p_thumbprint, p_curve, p_public_key);
		INSERT INTO device_event (domain_id, device_id, at_us, kind, detail)
		VALUES (p_domain, device, p_now_us, 'rekeyed', encode(p_thumbprint, 'hex'));
		verdict := 'rekeyed';
		RETURN;
	END IF;
	INSERT INTO device_rekey VALUES (p_domain, p_thumbprint, device, p_curve, p_public_key, p_now_us)
	ON CONFLICT DO NOTHING;
	verdict := 'pending';
END $$;
