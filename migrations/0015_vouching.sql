-- Who was let in by a certificate shows it with every message: one that ran
-- out or was revoked keeps its device out even if it is no longer sent.
ALTER TABLE device ADD certified boolean NOT NULL DEFAULT false;
UPDATE device d SET certified = true FROM device_event e
WHERE e.domain_id = d.domain_id AND e.device_id = d.device_id AND e.kind = 'enrolled' AND e.detail LIKE 'by ca,%';

-- As before, and remembers that it was a certificate.
CREATE OR REPLACE FUNCTION wire_enrol_as(p_domain integer, p_how text, p_name text, p_thumbprint bytea, p_curve text,
	p_public_key bytea, p_oemid bytea, p_ueid bytea, p_now_us bigint, OUT verdict text, OUT device bigint)
LANGUAGE plpgsql AS $$
DECLARE
	d domain%ROWTYPE;
	st text;
	called text := encode(p_thumbprint, 'hex');
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
		IF d.enrol <> p_how THEN
			verdict := 'refused';
			RETURN;
		END IF;
		IF p_name <> '' AND NOT EXISTS (SELECT FROM device x WHERE x.domain_id = p_domain AND x.name = p_name) THEN
			called := p_name;
		END IF;
		INSERT INTO device (domain_id, name, class, status, certified)
		VALUES (p_domain, called, d.enrol_class, d.enrol_status, p_how = 'ca') RETURNING device_id INTO device;
		INSERT INTO device_seen (domain_id, device_id) VALUES (p_domain, device);
		INSERT INTO device_key VALUES (p_domain, p_thumbprint, device, p_curve, p_public_key);
		INSERT INTO device_identity VALUES (p_domain, p_oemid, p_ueid, device);
		INSERT INTO device_event (domain_id, device_id, at_us, kind, detail)
		VALUES (p_domain, device, p_now_us, 'enrolled', 'by ' || p_how || ', ' || d.enrol_status);
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

-- Which Evidence goes to which Verifier, by the media type in front of its
-- parameters, none for any; and whether what it finds is passed to the agent,
-- to be shown again.
ALTER TABLE verifier ADD media_types text[] NOT NULL DEFAULT '{}',
	ADD pass_back boolean NOT NULL DEFAULT false;
