"""Embedded serving: one MLServer a version, Envoy in front of them, a supervisor that keeps both alive; all on loopback."""
