"""Table and report of a quickstart's results, as Markdown and as one HTML file.

Reads only what the stages left in the folder: logs, evaluations, checkpoints' headers.
"""

import base64
import html
import json
import math
import os
import platform
import statistics
import struct
import subprocess
from pathlib import Path

import plots
from plots import bits, steps


INTRODUCTION = (
    "A small base saw WordNet's glosses (the old domain). Every variant then saw the same text of the King James Bible "
    "(the new domain), batch by batch, in the tokens of a vocabulary that was made of the old domain. Perplexity and bits are "
    "per byte, on test text on which nothing was trained or chosen; the new domain's is the end of the book, where the text is another than in most of what was trained on. MIDUS, "
    "PKM and LLaMA-Pro start with the base's logits, so the base's numbers are theirs before; SOLAR starts elsewhere "
    "(before → after). Tokens a second and memory are those of the training.")


# --- reading results

def shape_of(directory):
    """What of a config.json decides which program runs the model."""
    config = json.loads((directory / "config.json").read_text())
    keys = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "head_dim", "tie_word_embeddings", "midus")
    return json.dumps([config.get(key) for key in keys])


def losses(folder, tokens_per_byte=None):
    """What a run was evaluated on, before its first step and after its last: nats per token of each text, or per byte."""
    with open(folder / "evaluations.jsonl", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    scale = lambda name: 1 if tokens_per_byte is None else tokens_per_byte[name]
    at = {step: {line["name"]: line["loss"] * scale(line["name"]) for line in lines if line["step"] == step}
          for step in (lines[0]["step"], lines[-1]["step"])}
    return tuple(at.values())


def parameters(path):
    """How many numbers the tensors of a safetensors file hold."""
    with open(path, "rb") as file:
        size, = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def trained_parameters(folder):
    """Of a run: its optimizer has two moments for each."""
    newest = max(folder.glob("step-*"))
    return parameters(newest / "optimizer.safetensors") // 2


def collect(quickstart, variants, planned, others):
    """All numbers of the report, as it is written to results.json."""
    base = quickstart.base
    _, before = losses(base.parent, quickstart.tokens_per_byte("test"))
    base_steps = steps(base.parent)
    results = {"base": {"losses": before, "parameters": parameters(base / "model.safetensors"),
                        "steps": len(base_steps), **cost(base_steps)},
               "variants": [], "others": []}
    for variant in variants:
        runs = [setting for setting in planned if setting.variant is variant]
        folders = [quickstart.folder(setting) for setting in runs]
        starts, ends = zip(*(losses(folder, quickstart.tokens_per_byte("test")) for folder in folders))
        logs = [steps(folder) for folder in folders]
        results["variants"].append({
            "name": variant.name, "title": variant.title, "learning_rate": runs[0].rate,
            "rate_scales": runs[0].rate_scales, "seeds": [setting.seed for setting in runs],
            "added": parameters(folders[0] / "final" / "model.safetensors") - results["base"]["parameters"],
            "trained": trained_parameters(folders[0]), "steps": len(logs[0]), "before": starts[0], "losses": ends,
            "folders": [str(folder.relative_to(quickstart.out)) for folder in folders],
            **cost(logs[0])})
    for setting in others:
        folder = quickstart.folder(setting)
        results["others"].append({"name": setting.variant.name, "learning_rate": setting.rate,
                                  "losses": losses(folder, quickstart.tokens_per_byte("test"))[1]})
    return results


def cost(log):
    return {"tokens_per_s": statistics.median(step["tokens_per_s"] for step in log),
            "peak_bytes": max(step["peak_bytes"] for step in log), "tokens": log[-1]["tokens"]}


# --- the table

def spread(values, form):
    """A mean, with its standard deviation where there are several values."""
    mean = statistics.mean(values)
    return f"{mean:{form}}" + (f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else "")


def table(results):
    """Rows of text; the first is the head."""
    rows = [["variant", "added", "trained", "rate", "new domain: perplexity", "bits per byte", "old domain: perplexity",
             "bits per byte", "tokens/s", "peak memory"]]
    base = results["base"]
    before = base["losses"]
    rows.append(["the base, before", "", f"{base['parameters']:,}", "", *evaluated([before], "new"),
                 *evaluated([before], "old"), f"{base['tokens_per_s']:,.0f}", f"{base['peak_bytes'] / 2**20:.0f} MiB"])
    for variant in results["variants"]:
        same = all(math.isclose(variant["before"][name], before[name], rel_tol=1e-6) for name in before)  # of two programs
        old = None if same else variant["before"]
        rows.append([variant["title"], f"{variant['added']:,}", f"{variant['trained']:,}", f"{variant['learning_rate']:g}",
                     *evaluated(variant["losses"], "new", old), *evaluated(variant["losses"], "old", old),
                     f"{variant['tokens_per_s']:,.0f}", f"{variant['peak_bytes'] / 2**20:.0f} MiB"])
    return rows


def evaluated(losses_of_seeds, name, before=None):
    """Perplexity per byte and bits per byte; where a variant does not start as the base, from where it came."""
    values = [each[name] for each in losses_of_seeds]
    start = (f"{math.exp(before[name]):.3f} → ", f"{bits(before[name]):.3f} → ") if before else ("", "")
    return [start[0] + spread([math.exp(value) for value in values], ".3f"),
            start[1] + spread([bits(value) for value in values], ".3f")]


def markdown(rows):
    lines = ["| " + " | ".join(rows[0]) + " |", "|---|" + "---:|" * (len(rows[0]) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows[1:]]) + "\n"


def machine():
    """The processor, and how many of it."""
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()}, {os.cpu_count()} logical processors"
    return f"{platform.machine()}, {os.cpu_count()} logical processors"


def commit():
    """Which midus this is, where git knows."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True)
    return done.stdout.strip() or "unknown"


def times(quickstart):
    """Seconds of every stage that trained: (title, seconds)."""
    with open(quickstart.out / "times.jsonl", encoding="utf-8") as file:
        return [(line["stage"], line["seconds"]) for line in map(json.loads, file)]


def setting_lines(quickstart, results):
    """What somebody needs to have the same numbers."""
    base, variant = results["base"], results["variants"][0]
    return [("command", quickstart.command), ("processor", machine()), ("commit", commit()),
            ("base", f"{base['parameters']:,} parameters, {base['steps']:,} steps, {base['tokens']:,} tokens of WordNet's glosses"),
            ("continued pre-training", f"{variant['steps']:,} steps, the same {variant['tokens']:,} tokens of the King James "
                                       "Bible for every variant"),
            ("rates", f"chosen by {quickstart.rates['criterion']}; {quickstart.rates['effort']}"),
            ("seeds", seeds_note(results))]


def page(quickstart, results, rows):
    """The table and what it was made with, as Markdown."""
    lines = "".join(f"- {name}: {value}\n" for name, value in setting_lines(quickstart, results))
    return (f"# What the quickstart shows\n\n{INTRODUCTION}\n\n{markdown(rows)}\n"
            "![The new domain against the old one](frontier.png)\n\n## How it was made\n\n" + lines)


def python_lines(model):
    """How Python opens a model with Memory blocks."""
    return f"""    from transformers import AutoModelForCausalLM, AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained("{model}", trust_remote_code=True)
    model = AutoModelForCausalLM.from_pretrained("{model}", trust_remote_code=True)
    ids = tokenizer("And the LORD said unto", return_tensors="pt")
    print(tokenizer.decode(model.generate(**ids, max_new_tokens=40)[0]))"""


# --- the report

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1150px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;font-size:13px}td,th{border-bottom:1px solid #ddd;padding:4px 8px;text-align:right}
td:first-child,th:first-child{text-align:left}th{background:#f4f4f4}pre{background:#f6f6f6;padding:8px;white-space:pre-wrap}
figure{margin:1.5em 0}figure svg{max-width:100%;height:auto}"""


def svg(folder, name):
    """A picture that the page holds in itself."""
    data = base64.b64encode((folder / f"{name}.svg").read_bytes()).decode()
    return f'<figure><img alt="{name}" style="max-width:100%" src="data:image/svg+xml;base64,{data}"></figure>'


def html_table(rows):
    cells = lambda tag, row: "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"
    return "<table>" + cells("th", rows[0]) + "".join(cells("td", row) for row in rows[1:]) + "</table>"


def write_html(quickstart, results, rows, samples, uses, prompts, python, folder):
    parts = ["<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>midus quickstart</title>",
             f"<style>{STYLE}</style></head><body><h1>midus: the quickstart's results</h1>",
             f"<p>{INTRODUCTION}</p>", html_table(rows),
             "<h2>Learning against forgetting</h2>", svg(folder, "frontier"), "<h2>Loss curves</h2>",
             svg(folder, "cpt_loss"), svg(folder, "base_loss")]
    if uses:
        parts += ["<h2>Slot use</h2>", svg(folder, "slot_use"), svg(folder, "read_ratio")]
    parts.append("<h2>Continuations</h2>")
    for i, prompt in enumerate(prompts):
        parts.append(f"<h3>“{html.escape(prompt)}”</h3>")
        parts += [f"<p>{html.escape(title)}</p><pre>{html.escape(texts[i])}</pre>" for title, texts in samples.items()]
    checks = {path.stem: path.read_text() for path in sorted((quickstart.out / "models").glob("*.txt"))}
    parts.append("<h2>What upscale printed</h2>")
    parts += [f"<p>{html.escape(name)}</p><pre>{html.escape(printed)}</pre>" for name, printed in checks.items()]
    parts.append(f"<h2>In Python</h2><pre>{html.escape(python)}</pre>")
    parts.append("<h2>How it was made</h2>" + html_table([("what", ""), *setting_lines(quickstart, results)]))
    parts.append(html_table([("stage", "seconds"), *((title, f"{seconds:.0f}") for title, seconds in times(quickstart))]))
    (folder / "report.html").write_text("\n".join(parts) + "</body></html>\n", encoding="utf-8")


def seeds_note(results):
    count = len(results["variants"][0]["seeds"])
    if count == 1:
        return "One seed: others spread by up to 0.017 bits on the new domain and 0.015 on the old one (docs/quickstart/results.md)."
    return f"Mean ± standard deviation over {count} seeds of insertion and data order, one base."


def write(quickstart, variants, planned, others, prompts):
    """The whole report, in OUT/report."""
    folder = quickstart.out / "report"
    folder.mkdir(exist_ok=True)
    results = collect(quickstart, variants, planned, others)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    rows = table(results)
    (folder / "results.md").write_text(page(quickstart, results, rows), encoding="utf-8")
    plots.draw_losses(quickstart, results, folder)
    plots.draw_frontier(results, folder)
    first = {variant["title"]: quickstart.out / variant["folders"][0] for variant in results["variants"]}
    uses = {title.split(",")[0]: json.loads((path / "slot_use.json").read_text())
            for title, path in first.items() if (path / "slot_use.json").exists()}
    if uses:
        plots.draw_slot_use(uses, folder)
    samples = {title: json.loads((path / "samples.json").read_text())
               for title, path in {"the base": quickstart.base.parent, **first}.items()
               if (path / "samples.json").exists()}
    python = python_lines(quickstart.folder(quickstart.setting(variants[-1])) / "final")
    write_html(quickstart, results, rows, samples, uses, prompts, python, folder)
    print("\n" + markdown(rows))
    print(f"report: {folder / 'report.html'}\nto go on in Python (with torch and transformers):\n{python}")
