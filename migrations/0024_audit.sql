-- Whether the audit chain of a domain is whole, and the sealed device events
-- are what was sealed.  No rows: nothing is wrong.  As the owner, who reads it
-- all; from is the number and hash somebody kept elsewhere, or 0 and empty.
CREATE FUNCTION audit_verify(p_domain integer, p_seq bigint, p_hash bytea)
	RETURNS TABLE (seq bigint, problem text)
LANGUAGE sql STABLE AS $$
	WITH c AS (
		SELECT e.*, lag(e.seq) OVER w AS before_seq, lag(e.hash) OVER w AS before_hash
		FROM audit_event e WHERE e.domain_id = p_domain WINDOW w AS (ORDER BY e.seq)),
	s AS (
		SELECT x.*, coalesce(lag(x.last_event) OVER (ORDER BY x.last_event), 0) AS after_event
		FROM device_event_seal x WHERE x.domain_id = p_domain),
	r AS (
		SELECT s.*, (SELECT a.after FROM audit_event a WHERE a.domain_id = p_domain AND a.seq = s.audit_seq) AS said,
			(SELECT count(*) FROM device_event d WHERE d.domain_id = p_domain AND d.event_id > s.after_event
				AND d.event_id <= s.last_event) AS n,
			(SELECT sha256(convert_to(string_agg(concat_ws('|', d.event_id, d.device_id, d.at_us, d.kind, d.update_id,
				d.detail), E'\n' ORDER BY d.event_id), 'UTF8')) FROM device_event d WHERE d.domain_id = p_domain
				AND d.event_id > s.after_event AND d.event_id <= s.last_event) AS now
		FROM s)
	SELECT p.seq, p.problem FROM (
		SELECT c.seq, 'changed: its hash is not that of what it says' AS problem FROM c
		WHERE c.hash <> audit_hash(c.prev_hash, c.seq, c.at, c.actor, c.action, c.object, c.reason, c.request_id,
			c.before, c.after)
		UNION ALL
		SELECT c.seq, CASE WHEN c.before_seq IS NULL THEN 'the events before it are missing'
			ELSE 'the events after ' || c.before_seq || ' are missing' END FROM c
		WHERE c.seq <> coalesce(c.before_seq, 0) + 1
		UNION ALL
		SELECT c.seq, 'it does not follow the one before it' FROM c
		WHERE c.prev_hash <> coalesce(c.before_hash, ''::bytea)
		UNION ALL
		SELECT d.audit_seq, 'the end of the chain is not the last event there is' FROM domain d
		WHERE d.domain_id = p_domain AND d.audit_seq > 0 AND NOT EXISTS (SELECT FROM c WHERE c.seq = d.audit_seq
			AND c.hash = d.audit_hash AND c.seq = (SELECT max(e.seq) FROM audit_event e WHERE e.domain_id = p_domain))
		UNION ALL
		SELECT p_seq, 'this event is not the one that was kept elsewhere' WHERE p_seq > 0 AND NOT EXISTS
			(SELECT FROM c WHERE c.seq = p_seq AND c.hash = p_hash)
		UNION ALL
		SELECT r.audit_seq, 'device events up to ' || r.last_event || ' are not what was sealed' FROM r
		WHERE r.said IS NULL OR r.n <> r.count OR r.now IS DISTINCT FROM r.hash OR r.said->>'hash' <> encode(r.hash, 'hex')
			OR (r.said->>'count')::bigint <> r.count OR (r.said->>'last_event')::bigint <> r.last_event
		UNION ALL
		SELECT c.seq, 'its seal is missing' FROM c WHERE c.actor = 'tamd' AND c.action = 'seal' AND NOT EXISTS
			(SELECT FROM device_event_seal x WHERE x.domain_id = p_domain AND x.audit_seq = c.seq)
	) p ORDER BY 1
$$;
REVOKE ALL ON FUNCTION audit_verify FROM PUBLIC;
