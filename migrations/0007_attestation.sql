-- Attestation: whom a domain believes, what a device was found to be, and
-- answers whose content is not believed.

-- Keys that sign attestation results.  One with a URL is also asked to
-- appraise Evidence.
CREATE TABLE verifier (
	domain_id  integer NOT NULL REFERENCES domain,
	name       text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
	curve      text NOT NULL CHECK (curve IN ('p256', 'ed25519')),
	public_key bytea NOT NULL,
	thumbprint bytea NOT NULL,
	worst_tier text NOT NULL DEFAULT 'affirming' CHECK (worst_tier IN ('affirming', 'warning')),
	unbound    boolean NOT NULL DEFAULT false, -- an EAR that names no key passes
	max_age_s  integer NOT NULL DEFAULT 0 CHECK (max_age_s BETWEEN 0 AND 31536000),
	url        text NOT NULL DEFAULT '' CHECK (length(url) < 256),
	ca         text NOT NULL DEFAULT '',
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (domain_id, name),
	UNIQUE (domain_id, thumbprint)
);

-- The last appraisal of each device, by the stamp of the answer it came with.
CREATE TABLE device_attestation (
	domain_id   integer NOT NULL,
	device_id   bigint NOT NULL,
	stamp_epoch bigint NOT NULL,
	stamp_us    bigint NOT NULL,
	at_us       bigint NOT NULL,
	result      text NOT NULL CHECK (result IN ('affirmed', 'failed')),
	reason      text NOT NULL,      -- why it failed
	verifier    text NOT NULL,
	tier        integer NOT NULL,
	oemid       bytea NOT NULL,
	ueid        bytea NOT NULL,
	hwmodel     bytea NOT NULL,
	hwversion   text NOT NULL,
	PRIMARY KEY (domain_id, device_id),
	FOREIGN KEY (domain_id, device_id) REFERENCES device
) WITH (fillfactor = 70);

ALTER TABLE domain ADD teep_profile text NOT NULL DEFAULT 'urn:ietf:rfc:rfcXXXX';

-- A TAM's key signs, or agrees on keys for what is encrypted to it; none does
-- both.
ALTER TABLE tam_key ADD use text NOT NULL DEFAULT 'sign' CHECK (use IN ('sign', 'agree'));
ALTER TABLE tam_key DROP CONSTRAINT tam_key_curve_check;
ALTER TABLE tam_key ADD CONSTRAINT tam_key_curve_check
	CHECK (use = 'sign' AND curve IN ('p256', 'ed25519') OR use = 'agree' AND curve IN ('p256', 'x25519'));

DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['verifier', 'device_attestation'] LOOP
		EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
		EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
		EXECUTE format('CREATE POLICY wire ON %I TO tam_wire USING (true) WITH CHECK (true)', t);
		EXECUTE format('CREATE POLICY owner ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
		EXECUTE format('CREATE POLICY admin ON %I TO tam_admin
			USING (domain_id = nullif(current_setting(''tam.domain'', true), '''')::integer)
			WITH CHECK (domain_id = nullif(current_setting(''tam.domain'', true), '''')::integer)', t);
	END LOOP;
END $$;
GRANT SELECT ON verifier, device_attestation TO tam_wire;
GRANT INSERT, UPDATE ON device_attestation TO tam_wire;
GRANT SELECT, INSERT, UPDATE, DELETE ON verifier TO tam_admin;
GRANT SELECT ON device_attestation TO tam_admin;

-- As before, but for an empty p_hash (which no node of the release before
-- sends): the inventory is left alone, and no revocation is verified by it.
CREATE OR REPLACE FUNCTION wire_answer_query(
	p_domain integer, p_device bigint, p_exchange bigint, p_stamp_epoch bigint, p_stamp_us bigint,
	p_now_us bigint, p_version bigint, p_epoch bigint, p_numbering smallint, p_hash bytea,
	p_components bytea[], p_digests bytea[], p_shown bigint[], p_reason text,
	p_withdraw bigint, p_update bigint, p_opener bytea, p_content bytea, p_manifests bytea[],
	p_adds bytea[], p_add_digests bytea[], p_removes bytea[], p_expires_us bigint,
	OUT verdict text, OUT version bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	s device_seen%ROWTYPE;
	u outstanding_update%ROWTYPE;
	changed boolean;
	-- Attestation failed: what the answer shows is not believed.
	trusted boolean := p_hash IS DISTINCT FROM ''::bytea;
BEGIN
	SELECT * INTO s FROM device_seen WHERE domain_id = p_domain AND device_id = p_device FOR UPDATE;
	IF NOT FOUND THEN
		verdict := 'gone';
		RETURN;
	END IF;
	version := s.version;
	IF s.exchange = p_exchange AND p_withdraw = 0 THEN
		verdict := 'applied';
		RETURN;
	END IF;
	IF p_withdraw <> 0 THEN
		IF (s.stamp_epoch, s.stamp_us) <> (p_stamp_epoch, p_stamp_us) THEN
			verdict := 'stale';
			RETURN;
		END IF;
		UPDATE outstanding_update SET state = 'withdrawn', closed_us = p_now_us,
			opener = opener || '\x00'::bytea -- the answer may cause another one
		WHERE domain_id = p_domain AND update_id = p_withdraw AND device_id = p_device AND state = 'committed';
	ELSIF (p_stamp_epoch, p_stamp_us) <= (s.stamp_epoch, s.stamp_us) THEN
		verdict := CASE WHEN (p_stamp_epoch, p_stamp_us) = (s.stamp_epoch, s.stamp_us)
			THEN 'replayed' ELSE 'stale' END;
		RETURN;
	END IF;
	IF s.version <> p_version THEN
		verdict := 'changed';
		RETURN;
	END IF;
	-- A token is anybody's until it is answered; it causes one Update.
	IF p_update <> 0 AND EXISTS (SELECT FROM outstanding_update
		WHERE domain_id = p_domain AND opener = p_opener AND update_id <> p_update
			AND update_id <> p_withdraw) THEN
		verdict := 'replayed';
		RETURN;
	END IF;

	changed := trusted AND s.inventory_hash IS DISTINCT FROM p_hash;
	IF changed THEN
		DELETE FROM device_component c WHERE c.domain_id = p_domain AND c.device_id = p_device
			AND c.component <> ALL (p_components);
		INSERT INTO device_component AS c
		SELECT p_domain, p_device, n.component, nullif(n.digest, '\x'), 'reported', p_now_us
		FROM unnest(p_components, p_digests) AS n (component, digest)
		ON CONFLICT (domain_id, device_id, component) DO UPDATE
		SET digest = EXCLUDED.digest, source = 'reported',
			since_us = CASE WHEN c.digest IS DISTINCT FROM EXCLUDED.digest THEN p_now_us ELSE c.since_us END;
		INSERT INTO device_event (domain_id, device_id, at_us, kind, detail)
		VALUES (p_domain, p_device, p_now_us, 'inventory_changed', cardinality(p_components)::text || ' components');
	END IF;

	-- Revocations: what the answer shows is affected, what it shows gone is
	-- verified if it was given after everything we did to the device.
	INSERT INTO revocation_device AS r (domain_id, revocation_id, device_id, affected_us)
	SELECT p_domain, id, p_device, p_now_us FROM unnest(p_shown) AS id
	ON CONFLICT (domain_id, revocation_id, device_id) DO UPDATE
	SET affected_us = p_now_us, offered_us = NULL, acknowledged_us = NULL, verified_us = NULL
	WHERE r.verified_us IS NOT NULL;
	UPDATE revocation_device r SET verified_us = p_now_us
	FROM revocation v
	WHERE r.domain_id = p_domain AND r.device_id = p_device AND r.verified_us IS NULL
		AND r.revocation_id <> ALL (p_shown) AND v.domain_id = p_domain
		AND v.revocation_id = r.revocation_id AND v.epoch <= p_stamp_epoch AND v.epoch <= p_epoch
		AND p_stamp_us > s.barrier_us AND trusted;

	IF p_update <> 0 THEN
		SELECT * INTO u FROM outstanding_update
		WHERE domain_id = p_domain AND device_id = p_device ORDER BY committed_us DESC LIMIT 1;
		UPDATE outstanding_update SET state = 'superseded', closed_us = p_now_us
		WHERE domain_id = p_domain AND device_id = p_device AND state = 'committed'
			AND (content <> p_content OR update_id <> p_update);
		INSERT INTO outstanding_update AS o (domain_id, update_id, device_id, opener, content, manifests, adds,
			add_digests, removes, revocations, epoch, reason, committed_us, offered_us, expires_us, failures)
		VALUES (p_domain, p_update, p_device, p_opener, p_content, p_manifests, p_adds, p_add_digests,
			p_removes, p_shown, p_epoch, p_reason, p_now_us, p_now_us, p_expires_us,
			CASE WHEN u.content = p_content AND u.state = 'answered' THEN u.failures + 1 ELSE 0 END)
		ON CONFLICT (domain_id, update_id) DO UPDATE
		SET attempt = o.attempt + 1, offered_us = p_now_us, opener = p_opener;
		UPDATE revocation_device SET offered_us = p_now_us
		WHERE domain_id = p_domain AND device_id = p_device AND revocation_id = ANY (p_shown)
			AND offered_us IS NULL;
		INSERT INTO device_event (domain_id, device_id, at_us, kind, update_id, detail)
		VALUES (p_domain, p_device, p_now_us, 'update_committed', p_update, p_reason);
	END IF;

	version := s.version + (changed OR p_update <> 0 OR p_withdraw <> 0)::integer;
	UPDATE device_seen d SET stamp_epoch = p_stamp_epoch, stamp_us = p_stamp_us, seen_us = p_now_us,
		barrier_us = CASE WHEN p_update <> 0 THEN p_now_us ELSE s.barrier_us END,
		version = wire_answer_query.version, exchange = p_exchange,
		inventory_hash = CASE WHEN trusted THEN p_hash ELSE s.inventory_hash END,
		numbering = p_numbering, reason = p_reason, decided_us = p_now_us,
		open_work = p_update <> 0 OR EXISTS (SELECT FROM revocation_device r WHERE r.domain_id = p_domain
				AND r.device_id = p_device AND r.verified_us IS NULL)
			OR EXISTS (SELECT FROM outstanding_update o WHERE o.domain_id = p_domain
				AND o.device_id = p_device AND o.state = 'committed')
	WHERE d.domain_id = p_domain AND d.device_id = p_device;
	verdict := 'applied';
END $$;
