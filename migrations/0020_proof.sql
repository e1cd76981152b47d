-- Whether a device proved itself when it showed that a target was gone, and by
-- when all should have.
ALTER TABLE revocation_device ADD attested boolean NOT NULL DEFAULT false;
ALTER TABLE revocation ADD deadline_us bigint;

-- An answer to a QueryRequest, and whether it came with an appraisal that
-- affirmed the device.
CREATE FUNCTION wire_answer_query_as(
	p_domain integer, p_device bigint, p_exchange bigint, p_stamp_epoch bigint, p_stamp_us bigint,
	p_now_us bigint, p_version bigint, p_epoch bigint, p_numbering smallint, p_hash bytea,
	p_components bytea[], p_digests bytea[], p_shown bigint[], p_reason text,
	p_withdraw bigint, p_update bigint, p_opener bytea, p_content bytea, p_manifests bytea[],
	p_adds bytea[], p_add_digests bytea[], p_removes bytea[], p_expires_us bigint, p_attested boolean,
	OUT verdict text, OUT version bigint)
LANGUAGE plpgsql AS $$
BEGIN
	SELECT r.verdict, r.version INTO verdict, version FROM wire_answer_query(p_domain, p_device, p_exchange,
		p_stamp_epoch, p_stamp_us, p_now_us, p_version, p_epoch, p_numbering, p_hash, p_components, p_digests,
		p_shown, p_reason, p_withdraw, p_update, p_opener, p_content, p_manifests, p_adds, p_add_digests,
		p_removes, p_expires_us) r;
	IF verdict = 'applied' THEN
		UPDATE revocation_device d SET attested = p_attested
		WHERE d.domain_id = p_domain AND d.device_id = p_device AND d.verified_us = p_now_us
			AND d.attested <> p_attested;
	END IF;
END $$;

-- More to revoke: a range of sequence numbers, all of one signer.
ALTER TABLE revocation DROP CONSTRAINT revocation_target_check;
ALTER TABLE revocation ADD CONSTRAINT revocation_target_check
	CHECK (target IN ('component', 'manifest', 'range', 'signer'));
ALTER TABLE revocation
	ADD first_sequence bigint,      -- target = range, both included
	ADD last_sequence bigint,
	ADD signer text;                -- target = signer: its trust anchor's name
