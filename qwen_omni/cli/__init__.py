"""The command line `qwen-omni`. A thin layer like the adapters; it decides nothing about models or media."""
