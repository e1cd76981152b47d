-- The device path has no business with who signs in, not even with hashes.
REVOKE SELECT ON principal FROM tam_wire;
