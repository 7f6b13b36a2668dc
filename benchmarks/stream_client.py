"""One measured client of `benchmarks/stream.py`, in its own process and environment.

Reads commands as JSON lines (`{"client": "ChatOpenAI", "way": "stream", "url": "…", "times": 1}`) and answers each
with CPU seconds, wall seconds, seconds to the first delta, and the peak memory. Apart from its own
classes it needs nothing from this project.
"""

# ruff: noqa: PLC0415  (each client imports only what it is measured with)

import asyncio
import gc
import json
import sys
import time

QUESTION = "Go."


def made(name, url):
    if name == "ChatQwenOmni":
        from langchain_qwen_omni import ChatQwenOmni

        speaks = {"modalities": ["text", "audio"]} if "/audio/" in url else {}
        return ChatQwenOmni(api_key="sk-x", base_url=url, model="qwen3.5-omni-flash", dialect="dashscope",
                            max_retries=0, media_root="/", **speaks)  # fmt: skip
    if name == "ChatOpenAI":
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(api_key="sk-x", base_url=url, model="m", streaming=True, max_retries=0)
    if name == "ChatQwen":
        from langchain_qwq import ChatQwen

        return ChatQwen(api_key="sk-x", base_url=url, model="m", streaming=True, max_retries=0)
    import openai

    return {"sync": openai.OpenAI(api_key="sk-x", base_url=url, max_retries=0),
            "async": openai.AsyncOpenAI(api_key="sk-x", base_url=url, max_retries=0)}  # fmt: skip


def asked(command):
    """Return the prompt: a question, optionally with an inline video."""
    path = command.get("video")
    if not path:
        return QUESTION
    if command["client"] == "ChatQwenOmni":
        block = {"type": "video", "path": path, "extras": {"budget": "original"}}
    else:
        import base64

        with open(path, "rb") as file:  # noqa: PTH123
            data = base64.b64encode(file.read()).decode()
        block = {"type": "video_url", "video_url": {"url": f"data:;base64,{data}"}}
    return [{"role": "user", "content": [block, {"type": "text", "text": QUESTION}]}]


def typed(prompt):
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return {"model": "m", "messages": messages, "stream": True, "stream_options": {"include_usage": True}}


def bare(client, way, prompt):
    if way in ("stream", "invoke"):
        first = None
        for _ in client["sync"].chat.completions.create(**typed(prompt)):
            first = first or moment()
        return first

    async def read():
        first = None
        async for _ in await client["async"].chat.completions.create(**typed(prompt)):
            first = first or moment()
        return first

    return read()


def langchain(client, way, prompt):
    if way == "invoke":
        return client.invoke(prompt) and None
    if way == "ainvoke":
        return client.ainvoke(prompt)
    if way == "stream":
        first = None
        for _ in client.stream(prompt):
            first = first or moment()
        return first

    async def read():
        first = None
        async for _ in client.astream(prompt):
            first = first or moment()
        return first

    return read()


def raw(url):
    """Read the first delta with httpx alone; return the moment it arrived."""
    client = made.__dict__.setdefault("httpx", {})
    if "client" not in client:
        import httpx

        client["client"] = httpx.Client()
    first = None
    with client["client"].stream("POST", f"{url}/chat/completions", json=typed(QUESTION)) as answer:
        for line in answer.iter_lines():
            if first is None and '"content": "one "' in line:
                json.loads(line[6:])
                first = moment()
    return first


def moment():
    """Return the wall time and the CPU time of this process."""
    return time.perf_counter(), time.process_time()


def memory(name):
    """Return a memory figure of this process in kB, as reported by Linux."""
    with open("/proc/self/status") as status:  # noqa: PTH123
        return next(int(line.split()[1]) for line in status if line.startswith(name))


def cleared_peak():
    """Reset the peak memory, and return the current use."""
    with open("/proc/self/clear_refs", "w") as file:  # noqa: PTH123
        file.write("5")
    return memory("VmRSS")


def main():
    loop, clients = asyncio.new_event_loop(), {}
    for line in sys.stdin:
        command = json.loads(line)
        name, way, url = command["client"], command["way"], command["url"]
        key = (name, url)
        if name != "httpx" and key not in clients:
            clients[key] = made(name, url)
        prompt = asked(command)
        # A full collection of all that a client has imported takes 100 ms, in whichever call it happens to fall.
        gc.collect()
        gc.freeze()
        before = cleared_peak()
        cpu, wall, firsts = time.process_time(), time.perf_counter(), []
        for _ in range(command.get("times", 1)):
            begun = moment()
            if name == "httpx":
                first = raw(url)
            else:
                first = (bare if name == "openai" else langchain)(clients[key], way, prompt)
                if asyncio.iscoroutine(first):
                    first = loop.run_until_complete(first)
            seen = isinstance(first, tuple)
            firsts.append([there - start for there, start in zip(first, begun, strict=True)] if seen else None)
        result = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "firsts": firsts,
                "before_kb": before, "peak_kb": memory("VmHWM")}  # fmt: skip
        print(json.dumps(result), flush=True)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


if __name__ == "__main__":
    main()
