"""The stand-in's embeddings: the rules of the route, and vectors that say something about their texts."""

import math

import pytest
from hypothesis import given, strategies as st

from qwen_omni.standin.answers.embeddings import embed

PATH = "/compatible-mode/v1/embeddings"


def near(one, other):
    return sum(a * b for a, b in zip(embed(one), embed(other), strict=True))


@given(st.text(min_size=1, max_size=40), st.sampled_from([64, 256, 1024]))
def test_a_vector_has_its_size_and_length_one_and_is_the_same_again(text, size):
    vector = embed(text, size)
    assert len(vector) == size
    assert math.isclose(math.sqrt(sum(number * number for number in vector)), 1, abs_tol=1e-5)
    assert embed(text, size) == vector


@pytest.mark.parametrize(
    ("question", "answer", "other"),
    [
        ("Where does the train stop?", "The train stops at platform nine.", "A dog sleeps in the sun."),
        ("When is the goal scored?", "The striker scores a goal.", "The weather is fine today."),
        ("火车在哪里停", "火车停在九号站台", "狗在草地上跑"),
        ("Is code 4711 shown?", "code 4711 is shown", "code 1234 is shown"),
    ],
)
def test_an_answer_is_nearer_than_something_else(question, answer, other):
    assert near(question, answer) > near(question, other)


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"model": "text-embedding-v99"}, 404, "text-embedding-v99"),
        ({"input": [f"{n}" for n in range(11)]}, 400, "should not be larger than 10"),
        ({"input": []}, 400, "neither str nor list"),
        ({"input": ["", "b"]}, 400, "neither str nor list"),
        ({"input": 7}, 400, "neither str nor list"),
        ({"dimensions": 100}, 400, "dimensions"),
        ({"encoding_format": "base64"}, 400, "encoding_format"),
        ({"input": "word " * 40_000}, 400, "Range of input length"),
    ],
)
def test_rules_of_the_service(ask, standin, change, status, words):
    answered = ask({"model": "text-embedding-v4", "input": ["a"], **change}, path=PATH)
    assert answered.status == status
    assert words in answered.message
    assert standin.requests[-1].refused == answered.message


def test_a_single_text_is_a_list_of_one(ask):
    answer = ask({"model": "text-embedding-v4", "input": "hello"}, path=PATH).body
    assert [one["index"] for one in answer["data"]] == [0]
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] > 0


def test_a_wrong_key_is_refused(ask):
    assert ask({"model": "text-embedding-v4", "input": "a"}, path=PATH, key="sk-other").status == 401
