"""What a piece of media is, and whether a model takes it. Delivering it is the work of `qwen_omni.delivery`."""
