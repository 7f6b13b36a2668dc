"""Run `transformers serve` on CPU, with decoders that need no CUDA. Runs in the server's own virtualenv.

The registry's torchcodec is built for CUDA, so PyAV decodes video and audio, and Pillow decodes images. What the server
accepts is not changed: which fields, which URLs, and what it does with the sound of a video.

    python transformers_server.py MODEL_FOLDER PORT
"""

import io
import sys

import av
import httpx
import numpy as np
import torch
import torchvision.io
from PIL import Image, ImageOps
from transformers import (
    Qwen2_5OmniForConditionalGeneration,
    processing_utils,
    video_processing_utils,
    video_utils,
)
from transformers.cli.transformers import app

RATE = 16_000


def decode_audio(source):
    """Return the audio of a link or a file as one channel; `None` if it has none."""
    held = io.BytesIO(httpx.get(source).content) if source.startswith("http") else source
    with av.open(held) as container:
        if not container.streams.audio:
            return None
        resampler = av.AudioResampler("s16", "mono", RATE)
        frames = [one for frame in container.decode(audio=0) for one in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32) / 32768


def fetch_videos(self, video, sample_indices_fn=None):
    """Read as the original does, with PyAV instead of torchcodec."""
    if isinstance(video, list):
        return list(zip(*[fetch_videos(self, one, sample_indices_fn) for one in video], strict=True))
    return video_utils.load_video(video, backend="pyav", sample_indices_fn=sample_indices_fn)


_original = processing_utils.OmniModalProcessorMixin._resolve_audio_from_video


def resolve_audio(self, videos, audio=None, audio_from_video_indices=None):
    """Follow the original up to where it opens the container, which it does with torchcodec."""
    try:
        return _original(self, videos, audio=audio, audio_from_video_indices=audio_from_video_indices)
    except ImportError:
        pass
    videos = [one for held in videos for one in (held if isinstance(held, list) else [held])]
    own, resolved, of_video = iter(audio or []), [], [None] * len(videos)
    for index in audio_from_video_indices or range(len(videos)):
        sound = next(own) if index is None else decode_audio(videos[index])
        if sound is None:
            continue
        if index is not None:
            of_video[index] = len(resolved)
        resolved.append(sound)
    return resolved or None, of_video


def decode_image(data, mode=None, **_):
    """Decode an image file in a tensor of bytes."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data.numpy().tobytes()))).convert("RGB")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def generate(self, *args, generation_mode=None, **inputs):
    """Ask the thinker: the model has no voice."""
    if "pixel_values_videos" in inputs and "input_features" in inputs:
        inputs["use_audio_in_video"] = True
    return self.thinker.generate(*args, **inputs)


video_processing_utils.BaseVideoProcessor.fetch_videos = fetch_videos
processing_utils.OmniModalProcessorMixin._resolve_audio_from_video = resolve_audio
torchvision.io.decode_image = decode_image
Qwen2_5OmniForConditionalGeneration.generate = generate
sys.argv = ["transformers", "serve", sys.argv[1], "--port", sys.argv[2], "--host", "127.0.0.1", "--device", "cpu",
            "--dtype", "float32", "--log-level", "warning"]  # fmt: skip
app()
