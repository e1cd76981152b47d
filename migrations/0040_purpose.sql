-- The purpose that an extKeyUsage of the certificates of a device CA's devices
-- must allow: an object identifier, or any; empty: clientAuth, if they have one.
ALTER TABLE device_ca ADD purpose text NOT NULL DEFAULT '';
