-- A rollout knows how many devices its stages had when it started, and a way
-- back does not wait for devices that will not come.
ALTER TABLE rollout
	ADD sizes bigint[] NOT NULL DEFAULT '{}',    -- devices of each stage
	ADD warnings jsonb NOT NULL DEFAULT '[]',    -- what was wrong with that
	ADD looked_after bigint NOT NULL DEFAULT 0;  -- how far rollout_look() is
GRANT UPDATE (looked_after) ON rollout TO tam_wire;
ALTER TABLE rollout_device DROP CONSTRAINT rollout_device_state_check;
ALTER TABLE rollout_device ADD CONSTRAINT rollout_device_state_check CHECK (state IN ('offered', 'acknowledged', 'verified',
	'refused', 'manifest_failed', 'attestation_failed', 'no_answer', 'not_effective', 'retry', 'away'));

-- Marks the devices on the way back that nobody waits for: not active; or not
-- heard of since the way back began, which was before p_before_us.  A part of
-- them at a time, from the first again behind the last.  A device that comes
-- nevertheless gets what it would have got, and is counted.
CREATE FUNCTION rollout_look(p_domain integer, p_rollout bigint, p_before_us bigint, p_now_us bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	began bigint;
	after bigint;
	ids bigint[];
	step CONSTANT integer := 5000;
	n bigint;
BEGIN
	SELECT stage_us, looked_after INTO began, after FROM rollout WHERE domain_id = p_domain AND rollout_id = p_rollout;
	ids := ARRAY(SELECT device_id FROM rollout_device WHERE domain_id = p_domain AND rollout_id = p_rollout
		AND device_id > after ORDER BY device_id LIMIT step);
	IF after > 0 OR cardinality(ids) = step THEN
		UPDATE rollout SET looked_after = CASE WHEN cardinality(ids) < step THEN 0 ELSE ids[step] END
		WHERE domain_id = p_domain AND rollout_id = p_rollout;
	END IF;
	UPDATE rollout_device d SET back = true, state = 'away', changed_us = p_now_us
	FROM (SELECT p.device_id FROM rollout_device p JOIN device x USING (domain_id, device_id)
			JOIN device_seen s USING (domain_id, device_id)
		WHERE p.domain_id = p_domain AND p.rollout_id = p_rollout AND p.device_id = ANY (ids)
			AND NOT (p.back AND p.state IN ('verified', 'away'))
			AND (x.status <> 'active' OR s.seen_us < began AND began < p_before_us)
		FOR UPDATE OF p SKIP LOCKED) w
	WHERE d.domain_id = p_domain AND d.rollout_id = p_rollout AND d.device_id = w.device_id;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END $$;
