"""Servers of MCP, real ones, and what becomes of their tools."""
