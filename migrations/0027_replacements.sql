-- What takes the place of what is revoked, and what is meant to come back.
ALTER TABLE revocation
	ADD replacement bytea,          -- a manifest for the devices that show the target
	ADD suspended boolean NOT NULL DEFAULT false,
	ADD FOREIGN KEY (domain_id, replacement) REFERENCES manifest;
