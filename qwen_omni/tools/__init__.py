"""Media as tools: what an agent may ask about the files of one folder. One definition for every framework and MCP."""
