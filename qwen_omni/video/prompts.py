"""All prompts for long videos, in the user's language where it is available. Pure.

The prompts are part of a run's key, so that a changed prompt is never combined with answers to an older one.
`PROMPTS_VERSION` changes with the meaning of answers, which keeps answers to identical prompts apart as well.
"""

from dataclasses import dataclass

from qwen_omni.structured.prompts import instructions
from qwen_omni.structured.schema import CaptionSchema

PROMPTS_VERSION = 1

_CHINESE = ("zh", "chinese", "中文", "汉语", "漢語", "普通话", "简体", "繁體", "繁体", "mandarin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The prompts in one language, as format strings."""

    segment: str
    whole: str
    combine: str
    combine_parts: str
    ask_segment: str
    ask_part: str
    ask_whole: str
    ask_library: str
    focus: str
    same_language: str


_ENGLISH = Words(
    segment=(
        "This is one clip of a longer video; look at it and listen to it from the first second to the last and take "
        "notes. Say only what can be seen or heard. Count all times in seconds from the beginning of this clip, which "
        "lasts {seconds} seconds."
    ),
    whole=(
        "Look at this video and listen to it from the first second to the last, then summarise it: what it is about, "
        "its chapters, and everything that happens. Say only what can be seen or heard. Count all times in seconds "
        "from the beginning; it lasts {seconds} seconds."
    ),
    combine=(
        "Below are notes about a video of {seconds} seconds, in order of time; all times are seconds of the whole "
        "video. Write one summary of the whole for somebody who has not seen it, and divide it into chapters where "
        "its subject or place changes. Use only what the notes say."
    ),
    combine_parts=(
        "Below are notes about a part of a video, in order of time; all times are seconds of the whole video. Write "
        "one summary of this part, and divide it into chapters where its subject or place changes. Use only what "
        "the notes say. Others will join your summary with those of other parts."
    ),
    ask_segment=(
        "This is one clip of a longer video, and somebody asks: {question}\n"
        "Look at it and listen to it from the first second to the last. Say whether it holds anything that helps to "
        "answer, and what, with times in seconds from the beginning of this clip, which lasts {seconds} seconds. "
        "A clip that holds nothing is usual: then say so and leave the lists empty."
    ),
    ask_part=(
        "Below is what was found in some clips of a video; all times are seconds of the whole video. Somebody asks: "
        "{question}\n"
        "Say what these clips hold for an answer, with the moments that show it. Keep every moment that matters: "
        "others will join your answer with those about other clips, and see nothing else of these."
    ),
    ask_whole=(
        "Below is what was found in the clips of a video of {seconds} seconds; all times are seconds of the whole "
        "video. Answer the question from it alone: {question}\n"
        "If it is not answered there, say so."
    ),
    ask_library=(
        "Below is what is known about {count} shots of videos in a library, most promising first. Those that were "
        "watched for this question come with what was seen and heard; of the others, only earlier notes are known. "
        "Answer the question from this alone: {question}\n"
        "If it is not answered there, say so. Trust what was watched more than notes."
    ),
    focus="Above all, note this: {focus}",
    same_language="Write in the language that is spoken in the video; in English if nobody speaks.",
)
_CHINESE_WORDS = Words(
    segment=(
        "这是一段较长视频中的一个片段。请从第一秒看到、听到最后一秒并做记录，只写看得见或听得见的内容。"
        "所有时间都以秒为单位，从本片段的开头算起；本片段长 {seconds} 秒。"
    ),
    whole=(
        "请把这段视频从第一秒看到、听到最后一秒，然后总结：它讲什么，分为哪些章节，发生了哪些事。"
        "只写看得见或听得见的内容。所有时间都以秒为单位，从开头算起；视频长 {seconds} 秒。"
    ),
    combine=(
        "下面是一段长 {seconds} 秒的视频的记录，按时间顺序排列，所有时间都是整段视频中的秒数。"
        "请为没有看过的人写一份整体总结，并在主题或地点变化处划分章节。只用记录中的内容。"
    ),
    combine_parts=(
        "下面是一段视频其中一部分的记录，按时间顺序排列，所有时间都是整段视频中的秒数。"
        "请总结这一部分，并在主题或地点变化处划分章节。只用记录中的内容。你的总结之后会与其他部分合并。"
    ),
    ask_segment=(
        "这是一段较长视频中的一个片段，有人问：{question}\n"
        "请从第一秒看到、听到最后一秒，说明其中有没有有助于回答的内容、是什么，时间以秒为单位，从本片段的开头算起；"
        "本片段长 {seconds} 秒。没有相关内容是常事：那就如实说明，并让列表为空。"
    ),
    ask_part=(
        "下面是在一段视频的部分片段中找到的内容，所有时间都是整段视频中的秒数。有人问：{question}\n"
        "请说明这些片段中有哪些有助于回答的内容，以及能够证明它的时刻。请保留所有重要的时刻："
        "你的回答之后会与关于其他片段的回答合并，那时不会再看到这些内容。"
    ),
    ask_whole=(
        "下面是在一段长 {seconds} 秒的视频的各片段中找到的内容，所有时间都是整段视频中的秒数。"
        "请只根据这些内容回答问题：{question}\n如果其中没有答案，请如实说明。"
    ),
    ask_library=(
        "下面是视频库中 {count} 个镜头的已知内容，最有希望的排在前面。为回答本问题而观看过的镜头附有所见所闻；"
        "其余镜头只有早先的记录。请只根据这些内容回答问题：{question}\n"
        "如果其中没有答案，请如实说明。观看所得比记录更可信。"
    ),
    focus="请特别注意：{focus}",
    same_language="请用视频中所说的语言书写；如果没有人说话，请用中文。",
)


def words_for(language: str | None) -> Words:
    """Return the prompts in a language; English if it is not available.

    Example:
        >>> words_for("zh-CN").focus[:4]
        '请特别注'
    """
    wanted = (language or "").strip().lower()
    return _CHINESE_WORDS if wanted.startswith(_CHINESE) else _ENGLISH


def system_text(schema: CaptionSchema, *, language: str | None) -> str:
    """Return the system prompt: the form of the answer and its language."""
    text = instructions(schema, language=language)
    return text if language else f"{text}\n{words_for(language).same_language}"


def task_text(task: str, *, focus: str | None, language: str | None) -> str:
    """Return the task with the caller's focus, if there is one."""
    return task if not focus else f"{task}\n{words_for(language).focus.format(focus=focus)}"


def seconds_text(seconds: float) -> str:
    """Format a length for a prompt.

    Example:
        >>> seconds_text(90.0), seconds_text(12.345)
        ('90', '12.3')
    """
    return f"{seconds:.1f}".removesuffix(".0")
