-- The effects of a device's answer.  Each function is one device's share of a
-- batch: it locks the device's device_seen row first, so that two answers of
-- one device are one after the other, and decides by stamp, never by arrival.
-- p_exchange is made by the node: after a lost connection the batch is run
-- again, and what was done already says 'applied' once more.

-- An answer to a QueryRequest, applied in full; with p_update <> 0 it also
-- commits the Update the TAM is about to send.
CREATE FUNCTION wire_answer_query(
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

	changed := s.inventory_hash IS DISTINCT FROM p_hash;
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
		AND p_stamp_us > s.barrier_us;

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
		version = wire_answer_query.version, exchange = p_exchange, inventory_hash = p_hash,
		numbering = p_numbering, reason = p_reason, decided_us = p_now_us,
		open_work = p_update <> 0 OR EXISTS (SELECT FROM revocation_device r WHERE r.domain_id = p_domain
				AND r.device_id = p_device AND r.verified_us IS NULL)
			OR EXISTS (SELECT FROM outstanding_update o WHERE o.domain_id = p_domain
				AND o.device_id = p_device AND o.state = 'committed')
	WHERE d.domain_id = p_domain AND d.device_id = p_device;
	verdict := 'applied';
END $$;

-- A Success or Error: closes its own Update once, whatever was seen meanwhile,
-- and writes inventory only where no newer observation covers it.
CREATE FUNCTION wire_answer_update(
	p_domain integer, p_device bigint, p_exchange bigint, p_update bigint, p_stamp_epoch bigint,
	p_stamp_us bigint, p_now_us bigint, p_success boolean, p_err_code integer, p_detail text,
	OUT verdict text, OUT version bigint, OUT had_revocations boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	s device_seen%ROWTYPE;
	u outstanding_update%ROWTYPE;
BEGIN
	SELECT * INTO s FROM device_seen WHERE domain_id = p_domain AND device_id = p_device FOR UPDATE;
	SELECT * INTO u FROM outstanding_update WHERE domain_id = p_domain AND update_id = p_update FOR UPDATE;
	IF s.device_id IS NULL OR u.update_id IS NULL OR u.device_id <> p_device THEN
		verdict := 'unknown';
		RETURN;
	END IF;
	version := s.version;
	had_revocations := cardinality(u.revocations) > 0;
	IF u.outcome_exchange = p_exchange THEN
		verdict := 'applied';
		RETURN;
	END IF;
	IF u.outcome_exchange IS NOT NULL OR u.state = 'expired' THEN
		verdict := 'closed';
		RETURN;
	END IF;
	UPDATE outstanding_update SET closed_us = p_now_us, success = p_success, err_code = p_err_code,
		err_detail = p_detail, outcome_exchange = p_exchange,
		state = CASE WHEN u.state = 'committed' THEN 'answered' ELSE u.state END
	WHERE domain_id = p_domain AND update_id = p_update;
	IF p_success AND u.state = 'committed' AND (p_stamp_epoch, p_stamp_us) >= (s.stamp_epoch, s.stamp_us) THEN
		DELETE FROM device_component c WHERE c.domain_id = p_domain AND c.device_id = p_device
			AND c.component = ANY (u.removes);
		INSERT INTO device_component
		SELECT p_domain, p_device, n.component, nullif(n.digest, '\x'), 'acknowledged', p_now_us
		FROM unnest(u.adds, u.add_digests) AS n (component, digest)
		ON CONFLICT (domain_id, device_id, component) DO UPDATE
		SET digest = EXCLUDED.digest, source = 'acknowledged', since_us = p_now_us;
	END IF;
	IF p_success THEN
		UPDATE revocation_device SET acknowledged_us = p_now_us
		WHERE domain_id = p_domain AND device_id = p_device AND revocation_id = ANY (u.revocations)
			AND acknowledged_us IS NULL;
	END IF;
	INSERT INTO device_event (domain_id, device_id, at_us, kind, update_id, detail)
	VALUES (p_domain, p_device, p_now_us, CASE WHEN p_success THEN 'success' ELSE 'error' END, p_update, p_detail);
	version := s.version + 1;
	-- The hash is unknown now: the next answer is applied in full.
	UPDATE device_seen d SET version = wire_answer_update.version, inventory_hash = NULL,
		barrier_us = greatest(s.barrier_us, p_now_us), seen_us = greatest(s.seen_us, p_now_us),
		open_work = EXISTS (SELECT FROM revocation_device r WHERE r.domain_id = p_domain
				AND r.device_id = p_device AND r.verified_us IS NULL)
			OR EXISTS (SELECT FROM outstanding_update o WHERE o.domain_id = p_domain
				AND o.device_id = p_device AND o.state = 'committed')
	WHERE d.domain_id = p_domain AND d.device_id = p_device;
	verdict := 'applied';
END $$;
