"""The command line: `qwen-omni`. A door like the adapters; it decides nothing about models or media."""
