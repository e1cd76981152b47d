-- A device's own limit on the manifests of one Update; the smaller of it and
-- its wire profile's counts.
ALTER TABLE device ADD update_bytes integer CHECK (update_bytes BETWEEN 512 AND 16777216);
