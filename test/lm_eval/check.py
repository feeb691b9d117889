#!/usr/bin/env python3
"""Compares the program `score` with lm-evaluation-harness, number for number.

    python test/lm_eval/check.py --text-programs FOLDER --programs PROGRAMS

FOLDER holds `train_tokenizer` and `prepare`; PROGRAMS those of the shape of config.json beside this file
(examples/build_for.sh test/lm_eval). This repository's text trains a tokenizer, and for some steps a MIDUS model of random
weights; the harness opens what midus wrote by the model's own Python code. For each row of `CASES` both score the same
documents (longer than the model's context, empty, with white space at their ends, in other scripts) and the same questions
(choices that begin alike, empty contexts, contexts that end with white space or are too long): word and byte perplexity,
bits per byte, acc, acc_norm with their errors, and the log-likelihood of every document and choice. No network is needed.
"""

import argparse
import json
import logging
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
TEMPORARY = tempfile.TemporaryDirectory()
os.environ["HF_HOME"] = TEMPORARY.name

try:
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
except ImportError as error:
    print(f"SKIPPED: {error}")
    sys.exit(77)

logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of every context that is cut
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BEGIN, END = "<|begin|>", "<|end|>"


@dataclass
class Case:
    name: str
    begins: bool  # the tokenizer has a begin token, and puts it before a text
    harness: dict = field(default_factory=dict)  # arguments of HFLM
    score: tuple = ()  # arguments of `score`
    delimiter: str = " "


CASES = [
    Case("an end token only", False),
    Case("a begin token before every text", True),
    Case("a begin token, left out", True, {"add_bos_token": False}, ("--no-special-tokens",)),
    # Behind "word" the delimiter may be part of the token "words": the choice itself always has tokens of its own.
    Case("a shorter context, tokens across the border", True, {"max_length": 32, "batch_size": 7}, ("--length", 32, "--batch", 5), "s "),
]


def run(*command):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"test/lm_eval/check.py: {command[0]} failed: {result.stderr}")


def texts():
    files = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "include/midus/ops").glob("*.hpp"))]
    return [path.read_text(encoding="utf-8") for path in files]


def make_model(options, folder):
    """A model that midus trained for some steps, and its tokenizer."""
    (folder / "text.txt").write_text("\n".join(texts()), encoding="utf-8")
    model = folder / "random"
    run(sys.executable, ROOT / "test/torch/random_checkpoint.py", model, "--config", HERE / "config.json", "--dtype", "F32")
    vocabulary = json.loads((HERE / "config.json").read_text())["vocab_size"]
    run(options.text_programs / "train_tokenizer", folder / "text.txt", "--out", model, "--vocab-size", vocabulary,
        "--special-tokens", f"{END},{BEGIN}")
    run(options.text_programs / "prepare", folder / "text.txt", "--tokenizer", model, "--out", folder / "text.bin")
    run(options.programs / "cpt", model, "--train", "everything", "--data", folder / "text.bin", "--out", folder / "run",
        "--steps", 60, "--batch", 8, "--length", 32, "--learning-rate", 0.003)
    return folder / "run/final"


def with_tokenizer(model, folder, begins):
    """A copy of the model whose tokenizer does or does not put BEGIN before a text, as transformers is told it."""
    shutil.copytree(model, folder)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "clean_up_tokenization_spaces": False}
    if begins:
        settings["bos_token"] = BEGIN
        tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        id_of_begin = next(token["id"] for token in tokenizer["added_tokens"] if token["content"] == BEGIN)
        template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": BEGIN, "type_id": 0}},
                                                             {"Sequence": {"id": "A", "type_id": 0}}],
                    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                    "special_tokens": {BEGIN: {"id": BEGIN, "ids": [id_of_begin], "tokens": [BEGIN]}}}
        tokenizer["post_processor"] = template
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def documents():
    rng = random.Random(1)
    paragraphs = [part for text in texts() for part in text.split("\n\n") if part.strip()]
    chosen = rng.sample(paragraphs, 30)
    return [{"text": text} for text in [
        *chosen, texts()[1][:6000], "", "x", " begins and ends with white space \n", "\n\n", f"{BEGIN}begins with a special token",
        f"ends with one{END}", "Ein kürzerer Text: Grüße, 東京, Кремль, 🦙🦙. " * 3, "two  blanks,\tand\u00a0more\u3000\x1f."]]


def questions():
    rng = random.Random(2)
    words = [re.findall(r"\b[a-z]{1,6}\b", text) for text in texts()]  # a choice must fit into every case's context
    made = []
    for _ in range(150):
        source = rng.choice([text for text in words if len(text) > 100])
        at = rng.randrange(len(source) - 40)
        count = rng.choice([1, 4, 12, 30])
        context = " ".join(source[at : at + count])
        right = source[at + count : at + count + rng.randrange(1, 4)]
        choices = [right]
        for _ in range(rng.randrange(1, 5)):
            place = rng.randrange(len(source) - 3)
            other = (right[: rng.randrange(len(right) + 1)] + source[place : place + rng.randrange(1, 4)])[:4]
            if other not in choices:  # of equal ones, rounding would choose
                choices.append(other)
        rng.shuffle(choices)
        made.append((context, [" ".join(choice) for choice in choices], choices.index(right)))
    long = " ".join(words[1][:200])
    made += [(long, ["a", "an answer"], 1), (long + " ", ["a", "an answer"], 0), ("Answer:", ["yes", "no"], 0),
             ("Answer: ", ["yes", "no"], 1), ("Answer:  ", ["yes", "no"], 0), ("Answer:\n", ["yes", "no", "yesterday"], 0),
             ("Answer:\u3000\t", ["yes", "no"], 1), ("", ["yes", "yes and", "no"], 1), ("", [BEGIN + "yes", "no", END + "no"], 2),
             (BEGIN + "one", ["two", "three"], 0), ("東京", ["ünïcödé", "plain", "🦙"], 0), ("a", ["b" * 20, "b c d e f g h i j"], 0)]
    return [{"context": context, "choices": choices, "answer": answer} for context, choices, answer in made]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def by_harness(case, model, data, folder):
    common = {"dataset_path": "json", "test_split": "test"}
    tasks = [
        {**common, "task": "documents", "dataset_kwargs": {"data_files": {"test": str(data / "documents.jsonl")}},
         "output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "text",
         "metric_list": [{"metric": name} for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")]},
        {**common, "task": "questions", "dataset_kwargs": {"data_files": {"test": str(data / "questions.jsonl")}},
         "output_type": "multiple_choice", "doc_to_text": "context", "doc_to_choice": "choices", "doc_to_target": "answer",
         "target_delimiter": case.delimiter, "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}]},
    ]
    folder.mkdir()
    for task in tasks:
        (folder / f"{task['task']}.yaml").write_text(json.dumps(task))  # JSON is YAML
    arguments = {"batch_size": 4, "dtype": "float32", "device": "cpu", "trust_remote_code": True, **case.harness}
    found = lm_eval.simple_evaluate(HFLM(pretrained=str(model), **arguments), tasks=["documents", "questions"], bootstrap_iters=100,
                                    task_manager=TaskManager(include_path=str(folder), include_defaults=False))
    numbers = {}
    for result in found["results"].values():
        numbers.update({key.removesuffix(",none"): value for key, value in result.items() if key.endswith(",none")})
    samples = {task: [sample["resps"] for sample in sorted(rows, key=lambda sample: sample["doc_id"])]
               for task, rows in found["samples"].items()}
    likelihoods = [float(resps[0][0]) for resps in samples["documents"]]
    likelihoods += [float(resp[0][0]) for resps in samples["questions"] for resp in resps]
    return {key.replace("_stderr,none", "_stderr"): value for key, value in numbers.items()}, likelihoods


def by_midus(case, model, data, options):
    run(options.programs / "score", model, "--perplexity", data / "documents.jsonl", "--multiple-choice", data / "questions.jsonl",
        "--delimiter", case.delimiter, "--json", data / "score.json", "--samples", data / "samples.jsonl", *case.score)
    numbers = {key: value for task in json.loads((data / "score.json").read_text()) for key, value in task.items()}
    samples = [json.loads(line) for line in (data / "samples.jsonl").read_text().splitlines()]
    return numbers, [x for sample in samples for x in sample.get("log_likelihoods", [sample.get("log_likelihood")])]


def close(a, b):
    return abs(a - b) <= 2e-5 * max(abs(a), abs(b)) + 1e-4


def compare(case, model, data, options, folder):
    expected, expected_each = by_harness(case, model, data, folder)
    found, found_each = by_midus(case, model, data, options)
    failures = []
    for key in ("word_perplexity", "byte_perplexity", "bits_per_byte", "acc", "acc_norm", "acc_stderr", "acc_norm_stderr"):
        exact = key.startswith("acc")
        if abs(found[key] - expected[key]) > (1e-12 if exact else 2e-5 * expected[key]):
            failures.append(f"{key} is {found[key]}, the harness has {expected[key]}")
    if len(found_each) != len(expected_each):
        failures.append(f"{len(found_each)} log-likelihoods, the harness has {len(expected_each)}")
    for i, (a, b) in enumerate(zip(found_each, expected_each)):
        if not close(a, b):
            failures.append(f"log-likelihood {i} is {a}, the harness has {b}")
    worst = max(abs(a - b) / max(1, abs(b)) for a, b in zip(found_each, expected_each))
    print(f"{'FAILED ' if failures else ''}{case.name}: {len(found_each)} log-likelihoods within {worst:.1e}; the harness's in brackets: " +
          ", ".join(f"{key} {found[key]:.8g} ({expected[key]:.8g})" for key in ("word_perplexity", "byte_perplexity", "acc", "acc_norm")),
          flush=True)
    for failure in failures[:20]:
        print(f"  {failure}")
    return not failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    folder_of = lambda name: Path(name).resolve()  # noqa: E731
    parser.add_argument("--text-programs", type=folder_of, required=True)
    parser.add_argument("--programs", type=folder_of, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_jsonl(folder / "documents.jsonl", documents())
        write_jsonl(folder / "questions.jsonl", questions())
        model = make_model(options, folder)
        good = []
        for i, case in enumerate(CASES):
            copy = with_tokenizer(model, folder / f"model{i}", case.begins)
            good.append(compare(case, copy, folder, options, folder / f"tasks{i}"))
    print(f"lm-eval {lm_eval.__version__}: {sum(good)} of {len(CASES)} passed")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
