"""Write a Qwen2.5-Omni with few, random weights. Runs in the virtualenv of a server: needs transformers and torch.

Its words are noise. The processors are the model's own, so media decoding, limits and `usage.prompt_tokens` are those
of the real model. Their numbers are those of the published `preprocessor_config.json` (Qwen/Qwen2.5-Omni-7B, read
2026-11); the vocabulary is the one in the `dashscope` package.

    python tiny_model.py FOLDER
"""

import importlib.util
import sys
from pathlib import Path

WIDTH = 256
IDS = {"vision_start_token_id": 151652, "vision_end_token_id": 151653}
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|AUDIO|>",
    "<|audio_bos|>",
    "<|audio_eos|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_bos|>",
    "<|vision_eos|>",
    "<|vision_pad|>",
    "<|IMAGE|>",
    "<|VIDEO|>",
]
NAMED = {
    "image_token": "<|IMAGE|>", "audio_token": "<|AUDIO|>", "video_token": "<|VIDEO|>",
    "vision_bos_token": "<|vision_bos|>", "vision_eos_token": "<|vision_eos|>",
    "audio_bos_token": "<|audio_bos|>", "audio_eos_token": "<|audio_eos|>",
}  # fmt: skip
# As the real model's, without its default system prompt.
TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] -%}
{%- if part['type'] == 'image' %}<|vision_bos|><|IMAGE|><|vision_eos|>
{%- elif part['type'] == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>
{%- elif part['type'] == 'video' %}<|vision_bos|><|VIDEO|><|vision_eos|>
{%- else %}{{ part['text'] }}{% endif -%}
{%- endfor %}{% endif %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif -%}
"""


def write_weights(folder: Path) -> None:
    """Write the configuration and the weights."""
    import torch
    from transformers import Qwen2_5OmniConfig, Qwen2_5OmniForConditionalGeneration

    torch.manual_seed(0)
    audio = {"d_model": 64, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 64,
             "output_dim": WIDTH, "num_mel_bins": 128, "n_window": 100}  # fmt: skip
    vision = {"depth": 2, "hidden_size": 64, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": WIDTH,
              "fullatt_block_indexes": [1]}  # fmt: skip
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]}
    text = {"hidden_size": WIDTH, "intermediate_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": 152064, "max_position_embeddings": 131072,
            "rope_parameters": rope, "eos_token_id": 151645, "pad_token_id": 151643}  # fmt: skip
    thinker = {**IDS, "audio_config": audio, "vision_config": vision, "text_config": text}
    model = Qwen2_5OmniForConditionalGeneration(Qwen2_5OmniConfig(enable_audio_output=False, thinker_config=thinker))
    model = model.to(torch.bfloat16)
    model.generation_config.eos_token_id = [151645]
    model.generation_config.max_new_tokens = 64  # noise does not end by itself
    model.save_pretrained(folder)
    torch.save({}, folder / "spk_dict.pt")  # loading insists on the voices' file


def write_processor(folder: Path) -> None:
    """Write the tokenizer, the processors of images, videos and audio, and the chat template."""
    from transformers import (
        PreTrainedTokenizerFast,
        Qwen2_5OmniProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
        WhisperFeatureExtractor,
    )
    from transformers.convert_slow_tokenizer import TikTokenConverter

    package = importlib.util.find_spec("dashscope")
    assert package is not None and package.origin is not None, "pip install dashscope"
    ranks = Path(package.origin).parent / "resources" / "qwen.tiktoken"
    converted = TikTokenConverter(vocab_file=str(ranks), extra_special_tokens=SPECIAL).converted()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=converted, eos_token="<|im_end|>", pad_token="<|endoftext|>", extra_special_tokens=NAMED
    )
    processor = Qwen2_5OmniProcessor(
        image_processor=Qwen2VLImageProcessor(size={"shortest_edge": 3136, "longest_edge": 12845056}),
        video_processor=Qwen2VLVideoProcessor(),
        feature_extractor=WhisperFeatureExtractor(feature_size=128, chunk_length=300),
        tokenizer=tokenizer,
    )
    processor.chat_template = TEMPLATE
    processor.save_pretrained(folder)


if __name__ == "__main__":
    write_weights(Path(sys.argv[1]))
    write_processor(Path(sys.argv[1]))
