-- Rollouts: changes that reach a part of the fleet first.
CREATE TABLE rollout (
	domain_id   integer NOT NULL REFERENCES domain,
	rollout_id  bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
	name        text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
	revision    bigint NOT NULL DEFAULT 1,   -- of the document, while it is a draft
	document    jsonb NOT NULL,
	state       text NOT NULL DEFAULT 'draft' CHECK (state IN ('draft', 'running', 'paused', 'rolling_back',
	            'completed', 'rolled_back', 'aborted', 'cancelled')),
	reason      text NOT NULL DEFAULT '',    -- why it is in that state
	opened      integer NOT NULL DEFAULT 0,  -- stages that devices are taken into
	stage_us    bigint NOT NULL DEFAULT 0,   -- since when, the last of them
	met_us      bigint NOT NULL DEFAULT 0,   -- since when it is good enough; 0: it is not
	window_open boolean NOT NULL DEFAULT true,
	window_us   bigint NOT NULL DEFAULT 0,   -- when that changes; 0: it does not
	version     bigint NOT NULL DEFAULT 1,   -- of the row: a step compares and sets
	settling    boolean NOT NULL DEFAULT false, -- ended, but some it reached are still on their way
	author      text NOT NULL,
	created_us  bigint NOT NULL,
	started_us  bigint,
	ended_us    bigint,
	PRIMARY KEY (domain_id, rollout_id),
	UNIQUE (domain_id, name)
);
CREATE INDEX rollout_live ON rollout (domain_id) WHERE state IN ('running', 'paused', 'rolling_back') OR settling;

-- The devices a rollout reached, and how far they are: forth, or on the way
-- back.
CREATE TABLE rollout_device (
	domain_id  integer NOT NULL,
	rollout_id bigint NOT NULL,
	device_id  bigint NOT NULL,
	stage      integer NOT NULL,
	back       boolean NOT NULL DEFAULT false,
	state      text NOT NULL CHECK (state IN ('offered', 'acknowledged', 'verified', 'refused', 'manifest_failed',
	           'attestation_failed', 'no_answer', 'not_effective', 'retry')),
	attempts   integer NOT NULL DEFAULT 0,
	offered_us bigint,
	changed_us bigint NOT NULL,
	PRIMARY KEY (domain_id, rollout_id, device_id),
	FOREIGN KEY (domain_id, rollout_id) REFERENCES rollout,
	FOREIGN KEY (domain_id, device_id) REFERENCES device
) WITH (fillfactor = 80);
CREATE INDEX rollout_device_device ON rollout_device (domain_id, device_id);
CREATE INDEX rollout_device_waiting ON rollout_device (domain_id, rollout_id, changed_us)
	WHERE state IN ('offered', 'acknowledged', 'retry');

-- How many are in which state: what was counted, and what is still to be
-- added.  Answers of devices only append, so that they never wait for each
-- other; the controller sums.
CREATE TABLE rollout_tally (
	domain_id  integer NOT NULL,
	rollout_id bigint NOT NULL,
	stage      integer NOT NULL,
	back       boolean NOT NULL,
	state      text NOT NULL,
	n          bigint NOT NULL,
	PRIMARY KEY (domain_id, rollout_id, stage, back, state)
);
CREATE TABLE rollout_tally_delta (
	domain_id  integer NOT NULL,
	rollout_id bigint NOT NULL,
	delta_id   bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
	stage      integer NOT NULL,
	back       boolean NOT NULL,
	state      text NOT NULL,
	n          bigint NOT NULL,
	PRIMARY KEY (domain_id, rollout_id, delta_id)
);

CREATE FUNCTION rollout_tally_note() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP <> 'INSERT' THEN
		INSERT INTO rollout_tally_delta (domain_id, rollout_id, stage, back, state, n)
		VALUES (OLD.domain_id, OLD.rollout_id, OLD.stage, OLD.back, OLD.state, -1);
	END IF;
	INSERT INTO rollout_tally_delta (domain_id, rollout_id, stage, back, state, n)
	VALUES (NEW.domain_id, NEW.rollout_id, NEW.stage, NEW.back, NEW.state, 1);
	RETURN NULL;
END $$;
CREATE TRIGGER rollout_tally_insert AFTER INSERT ON rollout_device
	FOR EACH ROW EXECUTE FUNCTION rollout_tally_note();
CREATE TRIGGER rollout_tally_update AFTER UPDATE ON rollout_device
	FOR EACH ROW WHEN ((OLD.stage, OLD.back, OLD.state) IS DISTINCT FROM (NEW.stage, NEW.back, NEW.state))
	EXECUTE FUNCTION rollout_tally_note();

-- What is counted and what is not yet, together: exact at any time.
CREATE VIEW rollout_count WITH (security_invoker = true) AS
	SELECT domain_id, rollout_id, stage, back, state, sum(n)::bigint AS n
	FROM (SELECT domain_id, rollout_id, stage, back, state, n FROM rollout_tally
		UNION ALL SELECT domain_id, rollout_id, stage, back, state, n FROM rollout_tally_delta) t
	GROUP BY domain_id, rollout_id, stage, back, state;

-- Adds what is to be added, some of it; how much that was.
CREATE FUNCTION rollout_tally_add(p_domain integer, p_rollout bigint) RETURNS bigint
LANGUAGE sql AS $$
	WITH d AS (DELETE FROM rollout_tally_delta WHERE domain_id = p_domain AND rollout_id = p_rollout
		AND delta_id IN (SELECT delta_id FROM rollout_tally_delta
			WHERE domain_id = p_domain AND rollout_id = p_rollout ORDER BY delta_id LIMIT 20000)
		RETURNING stage, back, state, n),
	a AS (INSERT INTO rollout_tally AS t
		SELECT p_domain, p_rollout, stage, back, state, sum(n) FROM d GROUP BY stage, back, state
		ON CONFLICT (domain_id, rollout_id, stage, back, state) DO UPDATE SET n = t.n + EXCLUDED.n)
	SELECT count(*) FROM d
$$;

-- Where a device is in the order of a rollout: of its name, for good.
CREATE FUNCTION device_bucket(p_name text) RETURNS smallint
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	h bytea := sha256(convert_to(p_name, 'UTF8'));
BEGIN
	RETURN (get_byte(h, 0) * 65536 + get_byte(h, 1) * 256 + get_byte(h, 2)) % 10000;
END $$;
ALTER TABLE device ADD bucket smallint NOT NULL GENERATED ALWAYS AS (device_bucket(name)) STORED;

-- The Update that brings what a rollout changes; and whether it is to be
-- looked at as soon as the device said Success.
ALTER TABLE outstanding_update
	ADD rollouts bigint[] NOT NULL DEFAULT '{}',
	ADD verify boolean NOT NULL DEFAULT false;

-- Whether one of the windows is open, and until when; or when one opens.
-- days: none is every day; a window that ends before it begins ends on the
-- next day, and belongs to the day it begins on.
CREATE FUNCTION rollout_window(p_windows jsonb, p_now_us bigint, OUT is_open boolean, OUT until_us bigint)
LANGUAGE plpgsql STABLE AS $$
DECLARE
	w jsonb;
	day date;
	begins bigint;
	ends bigint;
BEGIN
	is_open := p_windows IS NULL;
	until_us := 0;
	FOR w IN SELECT value FROM jsonb_array_elements(coalesce(p_windows, '[]')) LOOP
		FOR i IN -1..8 LOOP
			day := (to_timestamp(p_now_us / 1e6) AT TIME ZONE (w->>'zone'))::date + i;
			CONTINUE WHEN w ? 'days' AND NOT w->'days' ? (ARRAY['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'])
				[extract(isodow FROM day)::integer];
			begins := (extract(epoch FROM (day + (w->>'from')::time) AT TIME ZONE (w->>'zone')) * 1e6)::bigint;
			ends := (extract(epoch FROM (day + ((w->>'to')::time <= (w->>'from')::time)::integer
				+ (w->>'to')::time) AT TIME ZONE (w->>'zone')) * 1e6)::bigint;
			IF begins <= p_now_us AND p_now_us < ends THEN
				until_us := CASE WHEN is_open THEN greatest(until_us, ends) ELSE ends END;
				is_open := true;
			ELSIF NOT is_open AND begins > p_now_us AND (until_us = 0 OR begins < until_us) THEN
				until_us := begins;
			END IF;
		END LOOP;
	END LOOP;
END $$;

-- An answer to a QueryRequest, and what it says of rollouts: parallel arrays
-- of rollouts, stages, whether it is the way back, and what to note
-- (policy/policy.h, policy_mark): 0 offered, 1 held, 2 missing, 3 failed.
CREATE FUNCTION wire_answer_query_in(
	p_domain integer, p_device bigint, p_exchange bigint, p_stamp_epoch bigint, p_stamp_us bigint,
	p_now_us bigint, p_version bigint, p_epoch bigint, p_numbering smallint, p_hash bytea,
	p_components bytea[], p_digests bytea[], p_shown bigint[], p_reason text,
	p_withdraw bigint, p_update bigint, p_opener bytea, p_content bytea, p_manifests bytea[],
	p_adds bytea[], p_add_digests bytea[], p_removes bytea[], p_expires_us bigint, p_attested boolean,
	p_rollouts bigint[], p_stages integer[], p_back integer[], p_marks integer[], p_verify boolean,
	OUT verdict text, OUT version bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	barrier bigint;
	done bigint;
BEGIN
	IF cardinality(p_rollouts) > 0 OR p_withdraw > 0 THEN
		SELECT s.barrier_us, s.exchange INTO barrier, done FROM device_seen s
		WHERE s.domain_id = p_domain AND s.device_id = p_device FOR UPDATE;
	END IF;
	SELECT r.verdict, r.version INTO verdict, version FROM wire_answer_query_as(p_domain, p_device, p_exchange,
		p_stamp_epoch, p_stamp_us, p_now_us, p_version, p_epoch, p_numbering, p_hash, p_components, p_digests,
		p_shown, p_reason, p_withdraw, p_update, p_opener, p_content, p_manifests, p_adds, p_add_digests,
		p_removes, p_expires_us, p_attested) r;
	IF verdict <> 'applied' OR done = p_exchange AND p_withdraw = 0 THEN
		RETURN;
	END IF;
	-- What never left was not offered.
	IF p_withdraw > 0 THEN
		UPDATE rollout_device d SET state = 'retry', changed_us = p_now_us FROM outstanding_update u
		WHERE u.domain_id = p_domain AND u.update_id = p_withdraw AND d.domain_id = p_domain
			AND d.device_id = p_device AND d.rollout_id = ANY (u.rollouts) AND d.state = 'offered';
	END IF;
	IF cardinality(p_rollouts) = 0 AND NOT p_verify THEN
		RETURN;
	END IF;
	IF p_update <> 0 THEN
		UPDATE outstanding_update SET verify = p_verify, rollouts = ARRAY(SELECT x.id
			FROM unnest(p_rollouts, p_marks) AS x (id, mark) WHERE x.mark = 0)
		WHERE domain_id = p_domain AND update_id = p_update;
	END IF;
	INSERT INTO rollout_device AS d (domain_id, rollout_id, device_id, stage, back, state, attempts, offered_us,
		changed_us)
	SELECT p_domain, x.id, p_device, x.stage, x.back <> 0, 'offered', 1, p_now_us, p_now_us
	FROM unnest(p_rollouts, p_stages, p_back, p_marks) AS x (id, stage, back, mark) WHERE x.mark = 0
	ON CONFLICT (domain_id, rollout_id, device_id) DO UPDATE
	SET back = EXCLUDED.back, state = 'offered', attempts = d.attempts + 1, offered_us = p_now_us,
		changed_us = p_now_us;
	-- What is shown counts if it was said after all that was done to the device.
	IF p_stamp_us > barrier THEN
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
END $$;

-- As before, and tells rollouts; what asks to be looked at is, as a revocation.
CREATE OR REPLACE FUNCTION wire_answer_update(
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
	had_revocations := cardinality(u.revocations) > 0 OR u.verify;
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
	IF cardinality(u.rollouts) > 0 THEN
		UPDATE rollout_device d SET changed_us = p_now_us, state = CASE WHEN p_success THEN 'acknowledged'
			WHEN p_err_code = 11 THEN 'manifest_failed' ELSE 'refused' END
		WHERE d.domain_id = p_domain AND d.device_id = p_device AND d.rollout_id = ANY (u.rollouts)
			AND d.state IN ('offered', 'no_answer') AND u.state = 'committed';
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

-- The end of a good rollout: what it brought is what its policy or channel
-- says from now on.  False when a person was faster.
CREATE FUNCTION rollout_complete(p_domain integer, p_rollout bigint, p_version bigint, p_now_us bigint,
	p_reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
	r rollout%ROWTYPE;
	n bigint;
	who text;
BEGIN
	UPDATE rollout SET state = 'completed', settling = true, reason = p_reason, ended_us = p_now_us, version = p_version + 1
	WHERE domain_id = p_domain AND rollout_id = p_rollout AND version = p_version AND state = 'running'
	RETURNING * INTO r;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	who := 'rollout ' || r.name;
	IF r.document ? 'channel' THEN
		SELECT coalesce(max(revision), 0) + 1 INTO n FROM channel_revision
		WHERE domain_id = p_domain AND name = r.document->>'channel';
		INSERT INTO channel_revision (domain_id, name, revision, digest, author, reason)
		VALUES (p_domain, r.document->>'channel', n, decode(r.document->>'manifest', 'hex'), who, p_reason);
		UPDATE channel SET revision = n, digest = decode(r.document->>'manifest', 'hex')
		WHERE domain_id = p_domain AND name = r.document->>'channel';
	ELSE
		SELECT coalesce(max(revision), 0) + 1 INTO n FROM policy_revision
		WHERE domain_id = p_domain AND name = r.document->>'policy';
		INSERT INTO policy_revision (domain_id, name, revision, document, author, reason)
		VALUES (p_domain, r.document->>'policy', n, r.document->'document', who, p_reason);
		INSERT INTO policy VALUES (p_domain, r.document->>'policy', n, r.document->'document')
		ON CONFLICT (domain_id, name) DO UPDATE SET revision = EXCLUDED.revision, document = EXCLUDED.document;
	END IF;
	RETURN true;
END $$;
REVOKE ALL ON FUNCTION rollout_complete FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rollout_complete TO tam_wire;

-- Those that failed are offered it again, at once; how many.
CREATE FUNCTION rollout_retry(p_domain integer, p_rollout bigint, p_now_us bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	ids bigint[];
BEGIN
	ids := ARRAY(SELECT device_id FROM rollout_device WHERE domain_id = p_domain AND rollout_id = p_rollout
		AND state IN ('refused', 'manifest_failed', 'attestation_failed', 'no_answer', 'not_effective'));
	PERFORM FROM device_seen WHERE domain_id = p_domain AND device_id = ANY (ids) ORDER BY device_id FOR UPDATE;
	UPDATE rollout_device SET state = 'retry', changed_us = p_now_us
	WHERE domain_id = p_domain AND rollout_id = p_rollout AND device_id = ANY (ids);
	-- What was answered with an Error makes the next offer wait no more.
	UPDATE outstanding_update SET state = 'withdrawn', closed_us = coalesce(closed_us, p_now_us)
	WHERE domain_id = p_domain AND device_id = ANY (ids) AND p_rollout = ANY (rollouts)
		AND state IN ('answered', 'committed');
	UPDATE device_seen SET version = version + 1 WHERE domain_id = p_domain AND device_id = ANY (ids);
	INSERT INTO device_change (domain_id, device_id) SELECT p_domain, unnest(ids);
	RETURN cardinality(ids);
END $$;

GRANT SELECT ON rollout, rollout_device, rollout_tally, rollout_tally_delta, rollout_count TO tam_wire, tam_admin;
GRANT UPDATE (state, settling, reason, opened, stage_us, met_us, window_open, window_us, version, ended_us) ON rollout TO tam_wire;
GRANT INSERT, UPDATE ON rollout_device, rollout_tally TO tam_wire;
GRANT INSERT, DELETE ON rollout_tally_delta TO tam_wire;
GRANT UPDATE (epoch) ON domain TO tam_wire;
GRANT INSERT, UPDATE, DELETE ON rollout TO tam_admin;
GRANT UPDATE (state, changed_us) ON rollout_device TO tam_admin;
GRANT INSERT ON rollout_tally_delta TO tam_admin;
GRANT UPDATE (state, closed_us) ON outstanding_update TO tam_admin;

DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['rollout', 'rollout_device', 'rollout_tally', 'rollout_tally_delta'] LOOP
		EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
		EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
		EXECUTE format('CREATE POLICY wire ON %I TO tam_wire USING (true) WITH CHECK (true)', t);
		EXECUTE format('CREATE POLICY owner ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
		EXECUTE format('CREATE POLICY admin ON %I TO tam_admin
			USING (domain_id = nullif(current_setting(''tam.domain'', true), '''')::integer)
			WITH CHECK (domain_id = nullif(current_setting(''tam.domain'', true), '''')::integer)', t);
	END LOOP;
END $$;
