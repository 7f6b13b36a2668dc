"""Media as tools for agents, confined to one folder. One definition for every framework and MCP."""
