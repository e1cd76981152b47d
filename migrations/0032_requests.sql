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
ALTER TABLE device_request ENABLE ROW LEVEL SECURITY;
ALTER TABLE device_request FORCE ROW LEVEL SECURITY;
CREATE POLICY wire ON device_request TO tam_wire USING (true) WITH CHECK (true);
CREATE POLICY owner ON device_request TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY admin ON device_request TO tam_admin
	USING (domain_id = nullif(current_setting('tam.domain', true), '')::integer)
	WITH CHECK (domain_id = nullif(current_setting('tam.domain', true), '')::integer);

-- An answer to a QueryRequest, with what it asks for; NULL: that is not known.
-- Another node that remembers the device reads it again, as its version is
-- another one.
CREATE FUNCTION wire_answer_query_on(
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
	asked bytea[];
BEGIN
	SELECT r.verdict, r.version INTO verdict, version FROM wire_answer_query_in(p_domain, p_device, p_exchange,
		p_stamp_epoch, p_stamp_us, p_now_us, p_version, p_epoch, p_numbering, p_hash, p_components, p_digests,
		p_shown, p_reason, p_withdraw, p_update, p_opener, p_content, p_manifests, p_adds, p_add_digests,
		p_removes, p_expires_us, p_attested, p_rollouts, p_stages, p_back, p_marks, p_verify) r;
	IF verdict <> 'applied' OR p_requested IS NULL THEN
		RETURN;
	END IF;
	asked := ARRAY(SELECT q.component FROM device_request q WHERE q.domain_id = p_domain AND q.device_id = p_device);
	IF asked <@ p_requested AND p_requested <@ asked THEN
		RETURN;
	END IF;
	DELETE FROM device_request q WHERE q.domain_id = p_domain AND q.device_id = p_device
		AND q.component <> ALL (p_requested);
	INSERT INTO device_request SELECT DISTINCT p_domain, p_device, c FROM unnest(p_requested) AS c
	ON CONFLICT DO NOTHING;
	UPDATE device_seen s SET version = s.version + 1 WHERE s.domain_id = p_domain AND s.device_id = p_device
	RETURNING s.version INTO version;
END $$;
