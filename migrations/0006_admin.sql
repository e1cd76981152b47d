-- What an administrator's request does in more than one statement.

-- Enrols devices, or changes those that have the same name.  One row out per
-- document in: its place, what became of it, and why not.
CREATE FUNCTION device_import(p_domain integer, p_docs jsonb)
	RETURNS TABLE (n integer, status text, detail text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	doc jsonb;
	id bigint;
	owner bigint;
	fresh boolean;
BEGIN
	FOR n, doc IN SELECT ordinality, value FROM jsonb_array_elements(p_docs) WITH ORDINALITY LOOP
		detail := NULL;
		owner := NULL;
		SELECT k.device_id INTO owner FROM device_key k
		WHERE k.domain_id = p_domain AND k.thumbprint = decode(doc->>'thumbprint', 'hex');
		SELECT d.device_id INTO id FROM device d WHERE d.domain_id = p_domain AND d.name = doc->>'name';
		fresh := NOT FOUND;
		IF owner IS NOT NULL AND owner IS DISTINCT FROM id THEN
			status := 'error';
			detail := 'another device has this key';
			RETURN NEXT;
			CONTINUE;
		END IF;
		IF fresh THEN
			INSERT INTO device (domain_id, name, class) VALUES (p_domain, doc->>'name', doc->>'class')
			RETURNING device_id INTO id;
			INSERT INTO device_seen (domain_id, device_id) VALUES (p_domain, id);
		ELSE
			UPDATE device d SET class = doc->>'class' WHERE d.domain_id = p_domain AND d.device_id = id;
			PERFORM device_touch(p_domain, id);
		END IF;
		IF owner IS NULL THEN
			INSERT INTO device_key VALUES (p_domain, decode(doc->>'thumbprint', 'hex'), id,
				doc->>'curve', decode(doc->>'public_key', 'hex'));
		END IF;
		DELETE FROM device_label l WHERE l.domain_id = p_domain AND l.device_id = id;
		INSERT INTO device_label (domain_id, key, value, device_id)
		SELECT p_domain, l.key, l.value, id FROM jsonb_each_text(doc->'labels') AS l (key, value);
		status := CASE WHEN fresh THEN 'created' ELSE 'updated' END;
		RETURN NEXT;
	END LOOP;
END $$;

-- Who is affected the moment a revocation is made: who holds a target by the
-- last inventory, or has an Update under way that brings one.
CREATE FUNCTION revocation_spread(p_domain integer, p_revocation bigint, p_components bytea[],
	p_digests bytea[], p_now_us bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	INSERT INTO revocation_device (domain_id, revocation_id, device_id, affected_us)
	SELECT p_domain, p_revocation, d.device_id, p_now_us FROM (
		SELECT c.device_id FROM unnest(p_components, p_digests) AS t (component, digest)
		JOIN device_component c ON c.domain_id = p_domain AND c.component = t.component
			AND (t.digest = '\x' OR c.digest IS NULL OR c.digest = t.digest)
		UNION
		SELECT o.device_id FROM outstanding_update o
		WHERE o.domain_id = p_domain AND o.state = 'committed' AND o.adds && p_components
	) d;
	GET DIAGNOSTICS n = ROW_COUNT;
	-- Their next answer is looked at whole, whatever it shows.
	UPDATE device_seen s SET open_work = true, version = version + 1
	FROM revocation_device r
	WHERE r.domain_id = p_domain AND r.revocation_id = p_revocation
		AND s.domain_id = p_domain AND s.device_id = r.device_id;
	RETURN n;
END $$;
