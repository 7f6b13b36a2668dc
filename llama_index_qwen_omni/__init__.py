"""The LlamaIndex adapter of Qwen-Omni. It has no public names yet; see the changelog for what works today."""
