-- What an export says an import takes: keys as JWK (RFC 7517), status and size
-- of Updates too.
CREATE FUNCTION base64url(p bytea) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT translate(rtrim(encode(p, 'base64'), '='), '+/', '-_')
$$;
CREATE FUNCTION key_jwk(p_curve text, p_key bytea) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE p_curve WHEN 'p256' THEN jsonb_build_object('kty', 'EC', 'crv', 'P-256',
			'x', base64url(substr(p_key, 1, 32)), 'y', base64url(substr(p_key, 33, 32)))
		ELSE jsonb_build_object('kty', 'OKP', 'crv', 'Ed25519', 'x', base64url(p_key)) END
$$;

-- As before, and with the status and the size of Updates, where they are given.
CREATE OR REPLACE FUNCTION device_import(p_domain integer, p_docs jsonb)
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
		-- Nobody comes back from there but by name (device set).
		IF doc->>'status' <> 'decommissioned' AND EXISTS (SELECT FROM device d WHERE d.domain_id = p_domain
			AND d.device_id = id AND d.status = 'decommissioned') THEN
			status := 'error';
			detail := 'this device is decommissioned';
			RETURN NEXT;
			CONTINUE;
		END IF;
		IF fresh THEN
			INSERT INTO device (domain_id, name, class, status, update_bytes) VALUES (p_domain, doc->>'name',
				doc->>'class', coalesce(doc->>'status', 'active'), (doc->>'update_bytes')::integer)
			RETURNING device_id INTO id;
			INSERT INTO device_seen (domain_id, device_id) VALUES (p_domain, id);
		ELSE
			UPDATE device d SET class = doc->>'class', status = coalesce(doc->>'status', d.status),
				update_bytes = coalesce((doc->>'update_bytes')::integer, d.update_bytes) WHERE d.domain_id = p_domain AND d.device_id = id;
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
