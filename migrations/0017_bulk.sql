-- Changes devices alike, whom an administrator named or selected.  A NULL
-- changes nothing; p_labels is a merge patch (RFC 7396): a null removes.
CREATE FUNCTION device_change_many(p_domain integer, p_devices bigint[], p_class text, p_status text,
	p_limit integer, p_labels jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	n bigint;
BEGIN
	UPDATE device SET class = coalesce(p_class, class), status = coalesce(p_status, status),
		update_bytes = CASE WHEN p_limit IS NULL THEN update_bytes ELSE nullif(p_limit, 0) END
	WHERE domain_id = p_domain AND device_id = ANY (p_devices);
	GET DIAGNOSTICS n = ROW_COUNT;
	IF p_labels IS NOT NULL THEN
		DELETE FROM device_label WHERE domain_id = p_domain AND device_id = ANY (p_devices)
			AND p_labels ? key;
		INSERT INTO device_label (domain_id, key, value, device_id)
		SELECT p_domain, l.key, l.value, d.id FROM unnest(p_devices) AS d (id), jsonb_each_text(p_labels) AS l
		WHERE l.value IS NOT NULL;
	END IF;
	UPDATE device_seen SET version = version + 1 WHERE domain_id = p_domain AND device_id = ANY (p_devices);
	INSERT INTO device_change (domain_id, device_id) SELECT p_domain, unnest(p_devices);
	RETURN n;
END $$;
