"""The cost of a clip and a long video with each preset and each `detail`: the table in the README.

python benchmarks/cost_table.py [MODEL] [REGION]

Nothing is decoded or sent: the planner and the formulas of a real call are applied to the properties of two files. The
bytes of files that would be encoded are the planner's prediction, with a bucket for large files. A long video is asked
about in segments; the tokens of the prompts and of combining the notes come on top and are the same for each detail.
"""

import sys
from dataclasses import dataclass
from fractions import Fraction

from qwen_omni.errors import MediaDoesNotFitError
from qwen_omni.media.budget import PRESETS, MediaBudget, PlanInputs, budget_named
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.plan.plan import plan_media
from qwen_omni.media.plan.segments import plan_segments
from qwen_omni.pricing.costs import TokenCounts, pricing_for
from qwen_omni.profiles import DEFAULT_MODEL, profile_for
from qwen_omni.request.media_estimate import Asked, media_tokens, predicted_info, within

SEGMENT, OVERLAP = Fraction(90), Fraction(2)
DETAILS = {"low": 0.5, "medium": 1.0, "high": 2.0}


def video(seconds, megabits):
    return MediaInfo(
        kind="video", container="mp4", media_type="video/mp4", size_bytes=int(seconds * megabits * 1e6 / 8),
        duration=Fraction(seconds), width=1920, height=1080, fps=Fraction(30), video_codec="h264", audio_codec="aac",
        sample_rate=48_000, channels=2,
    )  # fmt: skip


FILES = {"2-minute clip (1080p30, 8 Mbit/s)": video(120, 8), "2-hour video (1080p30, 2 Mbit/s)": video(7200, 2)}


@dataclass
class Row:
    way: str
    calls: int
    tokens: TokenCounts
    upload: int
    note: str = ""


def as_is(info, profile):
    tokens = media_tokens(info, profile)
    too_long = info.duration > profile.limits.video_seconds
    return Row("original file, service default", 1, tokens, info.size_bytes, "too long for it" if too_long else "")


def preset(name, info, profile):
    budget = budget_named(name)
    plan = plan_media(info, PlanInputs(budget=budget, profile=profile, lively=False), label="it")
    made = predicted_info(info, plan)
    note = "at most: few key frames bill less" if budget.key_frames else ""
    if made.duration > profile.limits.video_seconds:
        note = "too long for it"
    return Row(
        f"`budget={name!r}`", 1, media_tokens(made, profile, Asked(sampling=plan.sampling)), made.size_bytes, note
    )


def detail(name, info, profile):
    fps = DETAILS[name]
    budget = MediaBudget(name=name, fps=2 * fps if profile.sampling_fields else fps, sampling_fps=fps)
    longest = min(SEGMENT, Fraction(profile.limits.video_seconds))
    shortest = Fraction(profile.limits.min_video_seconds)
    tokens, upload, calls = TokenCounts(), 0, 0
    for segment in plan_segments(
        info.duration, seconds=longest, overlap=OVERLAP, shortest=shortest, places=lambda _, __: ()
    ):
        inputs = PlanInputs(budget=budget, profile=profile, start=segment.start, end=segment.end, lively=False)
        plan = plan_media(info, inputs, label="it")
        made = predicted_info(within(info, Fraction(0), None), plan)
        tokens += media_tokens(made, profile, Asked(sampling=plan.sampling))
        upload += made.size_bytes
        calls += 1
    return Row(f"long video, `detail={name!r}`", calls, tokens, upload)


def cost_table(model=DEFAULT_MODEL, region="intl"):
    profile, pricing = profile_for(model), pricing_for(model, region)
    written = [
        f"`{model}`, prices in `{region}` ({pricing.prices[0].source}), input only, without the answer:",
        "",
        "| file | option | calls | input tokens | vs default | CNY | USD | upload MB | |",
        "|" + "---|" * 2 + "--:|" * 6 + "---|",
    ]
    for name, info in FILES.items():
        rows = [as_is(info, profile), *(preset(each, info, profile) for each in PRESETS if each != "original")]
        rows += [detail(each, info, profile) for each in DETAILS]
        for row in rows:
            cost, share = pricing.cost(row.tokens), row.tokens.input / rows[0].tokens.input
            note = row.note or ("**costs more**" if share > 1 else "")
            shown = name if row is rows[0] else ""
            written.append(
                f"| {shown} | {row.way} | {row.calls:,} | {row.tokens.input:,} | {share:.2f}x | {cost.cny:.4f} | "
                f"{cost.usd:.4f} | {row.upload / 1e6:,.1f} | {note} |"
            )
    return "\n".join(written)


def main():
    print(cost_table(*sys.argv[1:]))


if __name__ == "__main__":
    try:
        main()
    except MediaDoesNotFitError as error:
        sys.exit(str(error))
