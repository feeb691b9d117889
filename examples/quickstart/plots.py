"""Pictures of the quickstart and of the analyses, drawn by gnuplot as SVG and PNG."""

import json
import math
import statistics
import subprocess

COLOURS = {"base": "#555555", "whole": "#d95f02", "last_layers": "#e6ab02", "solar": "#a6761d",
           "llama_pro": "#1b9e77", "pkm": "#7570b3", "midus": "#e7298a"}


def bits(nats):
    return nats / math.log(2)


def steps(folder):
    with open(folder / "log.jsonl", encoding="utf-8") as log:
        return [json.loads(line) for line in log]


def gnuplot(folder, name, commands, width=900, height=560):
    """Draws NAME.svg and NAME.png."""
    script = "\n".join([f"set terminal svg size {width},{height} font 'sans,14' background 'white'",
                        f"set output '{name}.svg'", *commands,
                        f"set terminal pngcairo size {width},{height} font 'sans,11'", f"set output '{name}.png'", "replot"])
    (folder / f"{name}.gp").write_text(script + "\n", encoding="utf-8")
    subprocess.run(["gnuplot", f"{name}.gp"], cwd=folder, check=True)


def write_columns(path, rows):
    path.write_text("".join(" ".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in row) + "\n"
                            for row in rows), encoding="utf-8")


def smoothed(log, tokens_per_byte, count=25):
    """Means of `count` steps after one another: (step, bits per byte)."""
    groups = [log[i:i + count] for i in range(0, len(log), count)]
    return [(group[-1]["step"], bits(statistics.mean(step["loss"] for step in group)) * tokens_per_byte) for group in groups]


def draw_losses(quickstart, results, folder):
    base = smoothed(steps(quickstart.base.parent), quickstart.tokens_per_byte("train")["old"], 50)
    write_columns(folder / "base_loss.tsv", base)
    gnuplot(folder, "base_loss", ["set title 'Pre-training the base (WordNet glosses)'", "set xlabel 'step'",
                                  "set ylabel 'bits per byte'", "set grid", f"set yrange [:{base[0][1]:.2f}]",
                                  f"plot 'base_loss.tsv' with lines lw 2 lc rgb '{COLOURS['base']}' notitle"])
    curves, last = [], []
    for variant in results["variants"]:
        curve = smoothed(steps(quickstart.out / variant["folders"][0]), quickstart.tokens_per_byte("train")["new"])
        write_columns(folder / f"{variant['name']}_loss.tsv", curve)
        last += [curve[len(curve) // 10][1], curve[-1][1]]
        curves.append(f"'{variant['name']}_loss.tsv' with lines lw 2 lc rgb '{COLOURS[variant['name']]}' "
                      f"title \"{variant['title']}\"")
    gnuplot(folder, "cpt_loss", ["set title 'Continued pre-training (King James Bible), every byte seen for the first time'",
                                 "set xlabel 'step'", "set ylabel 'bits per byte'", "set grid", "set key top right",
                                 f"set yrange [{min(last) * 0.98:.3f}:{max(last) * 1.06:.3f}]", "plot " + ", ".join(curves)])


def draw_frontier(results, folder):
    """Old domain against new domain, both in bits per byte: down and left is better."""
    before = results["base"]["losses"]
    plots = []
    for variant in results["variants"]:
        name = variant["name"]
        points = [(variant["learning_rate"], statistics.mean(each["old"] for each in variant["losses"]),
                   statistics.mean(each["new"] for each in variant["losses"]))]
        points += [(other["learning_rate"], other["losses"]["old"], other["losses"]["new"])
                   for other in results["others"] if other["name"] == name]
        line = [(bits(old), bits(new), rate) for rate, old, new in sorted(points)]
        write_columns(folder / f"{name}_frontier.tsv", line)
        write_columns(folder / f"{name}_chosen.tsv", [(bits(points[0][1]), bits(points[0][2]))])
        colour = f"lc rgb '{COLOURS[name]}'"
        if len(points) > 1:
            plots.append(f"'{name}_frontier.tsv' with linespoints lw 1.5 pt 6 ps 0.6 {colour} notitle")
        plots.append(f"'{name}_chosen.tsv' with points pt 7 ps 1.6 {colour} title \"{variant['title']}\"")
    gnuplot(folder, "frontier", ["set title 'Learning the new domain against forgetting the old one (test text; down and left is better)'",
                                 "set xlabel 'old domain (WordNet glosses), bits per byte'",
                                 "set ylabel 'new domain (King James Bible), bits per byte'", "set grid",
                                 "set key outside top center horizontal Left reverse",
                                 f"set xrange [{bits(before['old']) - 0.03:.3f}:*]",
                                 f"set arrow from {bits(before['old']):.5f}, graph 0 to {bits(before['old']):.5f}, graph 1 nohead dt 2 lc rgb '#555555'",
                                 f"set label ' the base before: new {bits(before['new']):.3f}' at {bits(before['old']):.5f}, graph 0.04 tc rgb '#555555'",
                                 "set offsets graph 0.05, graph 0.05, graph 0.08, graph 0.08", "plot " + ", ".join(plots)])


def draw_slot_use(uses, folder):
    """Shares of used slots, the KL divergence to uniform use, and |read|/|x|, per block and head."""
    rows = []
    for name, use in uses.items():
        for block in use["blocks"]:
            heads = len(block["used_share"])
            ratios = block.get("read_ratio_of_heads", [block["read_ratio"]] * heads)  # the heads of PKM share one
            for head, values in enumerate(zip(block["used_share"], block["kl_to_uniform"], ratios)):
                rows.append((f"\"{name} {block['block']}.{head}\"", *map(float, values)))
    write_columns(folder / "slot_use.tsv", rows)
    gnuplot(folder, "slot_use", ["set title 'Use of the memory slots by each block.head'", "set style fill solid 0.8",
                                 "set boxwidth 0.4", "set xtics rotate by -45", "set ylabel 'share of slots that are ever read'",
                                 "set yrange [0:1]", "set y2label 'KL to uniform use, nats'", "set y2tics", "set y2range [0:*]",
                                 "set ytics nomirror", "set grid y", "set key outside top center horizontal",
                                 f"plot 'slot_use.tsv' using 0:2:xtic(1) with boxes lc rgb '{COLOURS['midus']}' title 'share used', "
                                 f"'slot_use.tsv' using ($0+0.2):3 axes x1y2 with points pt 7 ps 1 lc rgb '{COLOURS['pkm']}' title 'KL to uniform'"])
    gnuplot(folder, "read_ratio", ["set title 'Norm of what each block.head reads, over that of the stream to which it is added'",
                                   "set style fill solid 0.8", "set boxwidth 0.4", "set xtics rotate by -45", "set ylabel '|read|/|x|'",
                                   "set yrange [0:*]", "set grid y",
                                   f"plot 'slot_use.tsv' using 0:4:xtic(1) with boxes lc rgb '{COLOURS['midus']}' notitle"])


def draw_head_ablation(ablation, folder):
    """A heat map: by how much the loss grows without the memory of a block's head."""
    rows = [[float(value) for value in block["increase"]] for block in ablation["blocks"]]
    largest = max(abs(value) for row in rows for value in row) or 1.0
    write_columns(folder / "head_ablation.tsv", rows)
    labels = ", '' matrix using 1:2:(sprintf('%.4f', $3)) with labels font ',9' notitle" if len(rows[0]) <= 12 else ""
    gnuplot(folder, "head_ablation", [f"set title 'Loss without one head’s memory, minus the loss with all ({ablation['loss']:.4f} nats/token)'",
                                      "set xlabel 'head'", "set ylabel 'Memory block'", "set xtics 1 scale 0", "set ytics 1 scale 0",
                                      f"set xrange [-0.5:{len(rows[0]) - 0.5}]", f"set yrange [{len(rows) - 0.5}:-0.5]",
                                      "set palette defined (-1 '#2166ac', 0 '#ffffff', 1 '#b2182b')",
                                      f"set cbrange [{-largest:g}:{largest:g}]", "set cblabel 'nats/token'",
                                      "plot 'head_ablation.tsv' matrix with image notitle" + labels],
            height=200 + 40 * max(4, len(rows)))


SERIES = ["#e7298a", "#1b9e77", "#7570b3", "#d95f02", "#666666"]


def draw_sweep(name, label, rows, names, before, folder):
    """The loss on each text against one number, or for each placement; dashed, the base's. `rows` are (what was set,
    {text: loss}), smallest first."""
    numbers = not isinstance(rows[0][0], str)
    write_columns(folder / f"{name}.tsv", [(x if numbers else f'"{x}"', *(losses[each] for each in names)) for x, losses in rows])
    commands = [f"set title 'Loss after continued pre-training, by {label}'", f"set xlabel '{label}'", "set ylabel 'nats/token'",
                "set grid y", "set key outside top center horizontal"]
    plots = []
    for i, each in enumerate(names):
        colour = f"lc rgb '{SERIES[i % len(SERIES)]}'"
        if numbers:
            plots.append(f"'{name}.tsv' using 1:{i + 2} with linespoints lw 2 pt 7 {colour} title \"{each}\"")
        else:
            plots.append(f"'{name}.tsv' using {i + 2}:xtic(1) {colour} title \"{each}\"")
        plots.append(f"{before[each]:.6g} with lines dt 2 {colour} title \"{each}, the base\"")
    if numbers:
        commands += ["set logscale x 2", "set xtics (" + ", ".join(str(x) for x, _ in rows) + ")",
                     "set offsets graph 0.05, graph 0.05, graph 0.1, graph 0.1"]
    else:
        commands += ["set style data histograms", "set style histogram clustered gap 1", "set style fill solid 0.8",
                     "set yrange [0:*]", "set offsets 0, 0, graph 0.1, 0"]
    gnuplot(folder, name, [*commands, "plot " + ", ".join(plots)])
