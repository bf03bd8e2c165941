"""Seldon Core 2 on Kubernetes: the cluster's objects, the calls on them, the port, and a shipped double of the API server."""
