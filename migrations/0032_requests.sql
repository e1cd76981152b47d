-- What a device asked for in its last answer (CONFORMANCE T42), so that
-- selectors can ask for it and an administrator sees it.
CREATE TABLE device_request (
	domain_id integer NOT NULL,
	device_id bigint NOT NULL,
	component bytea NOT NULL,  -- a component's id, or a manifest's
	PRIMARY KEY (domain_id, device_id, component),
	FOREIGN KEY (domain_id, device_id) REFERENCES device
);
CREATE INDEX device_request_component ON device_request (domain_id, component, device_id);
GRANT SELECT, INSERT, DELETE ON device_request TO tam_wire;
GRANT SELECT ON device_request TO tam_admin;
SELECT of_domains('device_request');

-- An answer to a QueryRequest, all of it in one place: what the device holds
-- and asks for (p_requested; NULL: that is not known), which revocations that
-- shows, the Update it causes, and what it says of rollouts (parallel arrays
-- of rollouts, stages, whether it is the way back, and what to note,
-- policy/policy.h, policy_mark: 0 offered, 1 held, 2 missing, 3 failed).
CREATE FUNCTION wire_query_answered(
	p_domain integer, p_device bigint, p_exchange bigint, p_stamp_epoch bigint, p_stamp_us bigint,
	p_now_us bigint, p_version bigint, p_epoch bigint, p_numbering smallint, p_hash bytea,
	p_components bytea[], p_digests bytea[], p_shown bigint[], p_reason text,
	p_withdraw bigint, p_update bigint, p_opener bytea, p_content bytea, p_manifests bytea[],
	p_adds bytea[], p_add_digests bytea[], p_removes bytea[], p_expires_us bigint, p_attested boolean,
	p_rollouts bigint[], p_stages integer[], p_back integer[], p_marks integer[], p_verify boolean,
	p_requested bytea[], OUT verdict text, OUT version bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	s device_seen%ROWTYPE;
	u outstanding_update%ROWTYPE;
	changed boolean;
	asks boolean := false; -- for something else than before
	said boolean := cardinality(p_rollouts) > 0 OR p_verify;
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
	UPDATE revocation_device r SET verified_us = p_now_us, attested = p_attested
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
			add_digests, removes, revocations, epoch, reason, committed_us, offered_us, expires_us, failures, verify, rollouts)
		VALUES (p_domain, p_update, p_device, p_opener, p_content, p_manifests, p_adds, p_add_digests,
			p_removes, p_shown, p_epoch, p_reason, p_now_us, p_now_us, p_expires_us,
			CASE WHEN u.content = p_content AND u.state = 'answered' THEN u.failures + 1 ELSE 0 END, p_verify,
			ARRAY(SELECT x.id FROM unnest(p_rollouts, p_marks) AS x (id, mark) WHERE x.mark = 0))
		ON CONFLICT (domain_id, update_id) DO UPDATE
		SET attempt = o.attempt + 1, offered_us = p_now_us, opener = p_opener,
			verify = CASE WHEN said THEN EXCLUDED.verify ELSE o.verify END,
			rollouts = CASE WHEN said THEN EXCLUDED.rollouts ELSE o.rollouts END;
		UPDATE revocation_device SET offered_us = p_now_us
		WHERE domain_id = p_domain AND device_id = p_device AND revocation_id = ANY (p_shown)
			AND offered_us IS NULL;
		INSERT INTO device_event (domain_id, device_id, at_us, kind, update_id, detail)
		VALUES (p_domain, p_device, p_now_us, 'update_committed', p_update, p_reason);
	END IF;

	-- What never left was not offered.
	IF p_withdraw > 0 THEN
		UPDATE rollout_device d SET state = 'retry', changed_us = p_now_us FROM outstanding_update u
		WHERE u.domain_id = p_domain AND u.update_id = p_withdraw AND d.domain_id = p_domain
			AND d.device_id = p_device AND d.rollout_id = ANY (u.rollouts) AND d.state = 'offered';
	END IF;
	IF cardinality(p_rollouts) > 0 THEN
		INSERT INTO rollout_device AS d (domain_id, rollout_id, device_id, stage, back, state, attempts, offered_us,
			changed_us)
		SELECT p_domain, x.id, p_device, x.stage, x.back <> 0, 'offered', 1, p_now_us, p_now_us
		FROM unnest(p_rollouts, p_stages, p_back, p_marks) AS x (id, stage, back, mark) WHERE x.mark = 0
		ON CONFLICT (domain_id, rollout_id, device_id) DO UPDATE
		SET back = EXCLUDED.back, state = 'offered', attempts = d.attempts + 1, offered_us = p_now_us,
			changed_us = p_now_us;
		-- What is shown counts if it was said after all that was done to the device.
		IF p_stamp_us > s.barrier_us THEN
			INSERT INTO rollout_device AS d (domain_id, rollout_id, device_id, stage, back, state, changed_us)
			SELECT p_domain, x.id, p_device, x.stage, x.back <> 0, 'verified', p_now_us
			FROM unnest(p_rollouts, p_stages, p_back, p_marks) AS x (id, stage, back, mark) WHERE x.mark = 1
			ON CONFLICT (domain_id, rollout_id, device_id) DO UPDATE
			SET back = EXCLUDED.back, state = 'verified', changed_us = p_now_us;
			UPDATE rollout_device d SET state = 'not_effective', changed_us = p_now_us
			FROM unnest(p_rollouts, p_marks) AS x (id, mark)
			WHERE d.domain_id = p_domain AND d.rollout_id = x.id AND d.device_id = p_device AND x.mark = 2
				AND d.state = 'acknowledged';
		END IF;
		UPDATE rollout_device d SET state = 'attestation_failed', changed_us = p_now_us
		FROM unnest(p_rollouts, p_marks) AS x (id, mark)
		WHERE d.domain_id = p_domain AND d.rollout_id = x.id AND d.device_id = p_device AND x.mark = 3
			AND d.state IN ('offered', 'acknowledged');
	END IF;

	IF p_requested IS NOT NULL THEN
		asks := NOT (SELECT coalesce(array_agg(q.component), '{}') <@ p_requested
				AND p_requested <@ coalesce(array_agg(q.component), '{}')
			FROM device_request q WHERE q.domain_id = p_domain AND q.device_id = p_device);
	END IF;
	IF asks THEN
		DELETE FROM device_request q WHERE q.domain_id = p_domain AND q.device_id = p_device
			AND q.component <> ALL (p_requested);
		INSERT INTO device_request SELECT DISTINCT p_domain, p_device, c FROM unnest(p_requested) AS c
		ON CONFLICT DO NOTHING;
	END IF;

	version := s.version + (changed OR asks OR p_update <> 0 OR p_withdraw <> 0)::integer;
	UPDATE device_seen d SET stamp_epoch = p_stamp_epoch, stamp_us = p_stamp_us, seen_us = p_now_us,
		barrier_us = CASE WHEN p_update <> 0 THEN p_now_us ELSE s.barrier_us END,
		version = wire_query_answered.version, exchange = p_exchange,
		inventory_hash = CASE WHEN trusted THEN p_hash ELSE s.inventory_hash END,
		numbering = p_numbering, reason = p_reason, decided_us = p_now_us,
		open_work = p_update <> 0 OR EXISTS (SELECT FROM revocation_device r WHERE r.domain_id = p_domain
				AND r.device_id = p_device AND r.verified_us IS NULL)
			OR EXISTS (SELECT FROM outstanding_update o WHERE o.domain_id = p_domain
				AND o.device_id = p_device AND o.state = 'committed')
	WHERE d.domain_id = p_domain AND d.device_id = p_device;
	verdict := 'applied';
END $$;

-- What nodes of the release before call.
CREATE OR REPLACE FUNCTION wire_answer_query(
	p_domain integer, p_device bigint, p_exchange bigint, p_stamp_epoch bigint, p_stamp_us bigint,
	p_now_us bigint, p_version bigint, p_epoch bigint, p_numbering smallint, p_hash bytea,
	p_components bytea[], p_digests bytea[], p_shown bigint[], p_reason text,
	p_withdraw bigint, p_update bigint, p_opener bytea, p_content bytea, p_manifests bytea[],
	p_adds bytea[], p_add_digests bytea[], p_removes bytea[], p_expires_us bigint,
	OUT verdict text, OUT version bigint)
LANGUAGE sql AS $$
	SELECT * FROM wire_query_answered(p_domain, p_device, p_exchange, p_stamp_epoch, p_stamp_us, p_now_us,
		p_version, p_epoch, p_numbering, p_hash, p_components, p_digests, p_shown, p_reason, p_withdraw, p_update,
		p_opener, p_content, p_manifests, p_adds, p_add_digests, p_removes, p_expires_us, false,
		'{}', '{}', '{}', '{}', false, NULL)
$$;
CREATE OR REPLACE FUNCTION wire_answer_query_as(
	p_domain integer, p_device bigint, p_exchange bigint, p_stamp_epoch bigint, p_stamp_us bigint,
	p_now_us bigint, p_version bigint, p_epoch bigint, p_numbering smallint, p_hash bytea,
	p_components bytea[], p_digests bytea[], p_shown bigint[], p_reason text,
	p_withdraw bigint, p_update bigint, p_opener bytea, p_content bytea, p_manifests bytea[],
	p_adds bytea[], p_add_digests bytea[], p_removes bytea[], p_expires_us bigint, p_attested boolean,
	OUT verdict text, OUT version bigint)
LANGUAGE sql AS $$
	SELECT * FROM wire_query_answered(p_domain, p_device, p_exchange, p_stamp_epoch, p_stamp_us, p_now_us,
		p_version, p_epoch, p_numbering, p_hash, p_components, p_digests, p_shown, p_reason, p_withdraw, p_update,
		p_opener, p_content, p_manifests, p_adds, p_add_digests, p_removes, p_expires_us, p_attested,
		'{}', '{}', '{}', '{}', false, NULL)
$$;
CREATE OR REPLACE FUNCTION wire_answer_query_in(
	p_domain integer, p_device bigint, p_exchange bigint, p_stamp_epoch bigint, p_stamp_us bigint,
	p_now_us bigint, p_version bigint, p_epoch bigint, p_numbering smallint, p_hash bytea,
	p_components bytea[], p_digests bytea[], p_shown bigint[], p_reason text,
	p_withdraw bigint, p_update bigint, p_opener bytea, p_content bytea, p_manifests bytea[],
	p_adds bytea[], p_add_digests bytea[], p_removes bytea[], p_expires_us bigint, p_attested boolean,
	p_rollouts bigint[], p_stages integer[], p_back integer[], p_marks integer[], p_verify boolean,
	OUT verdict text, OUT version bigint)
LANGUAGE sql AS $$
	SELECT * FROM wire_query_answered(p_domain, p_device, p_exchange, p_stamp_epoch, p_stamp_us, p_now_us,
		p_version, p_epoch, p_numbering, p_hash, p_components, p_digests, p_shown, p_reason, p_withdraw, p_update,
		p_opener, p_content, p_manifests, p_adds, p_add_digests, p_removes, p_expires_us, p_attested,
		p_rollouts, p_stages, p_back, p_marks, p_verify, NULL)
$$;
