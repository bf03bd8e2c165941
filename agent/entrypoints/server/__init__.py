"""One process, several doors: HTTP, A2A and MCP; the same desk behind all."""
