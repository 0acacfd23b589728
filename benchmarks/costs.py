"""The costs that autokd counts and measures, held against other counts and against the clock, over timm's models.

    python benchmarks/costs.py counts     # two counts of MACs, fvcore's own, memory, file size: every model
    python benchmarks/costs.py latency    # ONNX Runtime, one thread: every model
    python benchmarks/costs.py repeat     # ten times over, for 20 of up to 2 GMACs
    python benchmarks/costs.py print      # the tables of docs/costs.md, from benchmarks/data/costs.csv

Set OMP_NUM_THREADS=1. Rows that are in the file are kept; `--again` makes them anew, and `--only NAME …` takes
these models alone.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import logging
import random
import re
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import timm
import torch
from torch import nn

from autokd.cost import (
    check_counts,
    count_on_meta,
    count_with_fvcore,
    exact_cost,
    weight_bytes,
)
from autokd.errors import AutoKDError, one_line
from autokd.records import StudentSpec
from autokd.runtime import open_session, to_onnx
from autokd.runtime.latency_server import PRESSURE, time_graph
from autokd.students import create_student, deployed
from autokd.weights import save_weights

TABLE = Path(__file__).parent / "data" / "costs.csv"
CLASSES = 1000
MOST_REPEATED = MOST_SHOWN = 2e9  # MACs
REPEATED, REPEATS = 20, 10
REPEATED_COLUMNS = ("min_ms", "median_ms", "p90_ms", "contended", "pressure")
SHOWN = 0.002  # of the exact count: causes of a difference that are worth naming

# name, or name@pixels where its own resolution is beyond 5 GMACs.
MODELS = {
    "CNN": """resnet10t resnet14t resnet18 resnet34 resnet50 resnetv2_18 resnext50_32x4d seresnet50 resnetblur18
        resnetrs50 res2net50_14w_8s skresnet18 regnetx_002 regnety_004 regnetz_b16 densenet121 dla46_c
        ese_vovnet19b_dw selecsls42b hrnet_w18_small cspresnet50 darknet17 nf_regnet_b0 eca_nfnet_l0 repvgg_a0
        repvgg_b0 gernet_s hgnetv2_b0 convnext_atto convnext_femto convnext_pico convnext_tiny convnextv2_atto
        convmixer_1024_20_ks9_p14@196 inception_next_atto mambaout_femto focalnet_tiny_srf poolformer_s12""",
    "mobile": """mobilenetv1_100 mobilenetv2_050 mobilenetv2_100 mobilenetv3_small_050 mobilenetv3_small_100
        mobilenetv3_large_100 mobilenetv4_conv_small mobilenetv4_conv_medium mobilenet_edgetpu_100 mnasnet_small
        semnasnet_075 spnasnet_100 fbnetc_100 hardcorenas_a efficientnet_lite0 efficientnet_b0 efficientnet_b1
        efficientnet_es efficientnetv2_rw_t tf_efficientnet_b0 tf_efficientnetv2_b0 tinynet_a tinynet_e lcnet_050
        lcnet_100 mixnet_s rexnet_100 ghostnet_050 ghostnet_100 ghostnetv2_100 ghostnetv3_100 repghostnet_050
        repghostnet_100 mobileone_s0 mobileone_s1 mobileone_s4 starnet_s050 starnet_s1 starnet_s3 fasternet_t0
        fasternet_t1""",
    "ViT": """deit_tiny_patch16_224 deit_tiny_distilled_patch16_224 vit_small_patch32_224 vit_small_patch16_224
        vit_relpos_small_patch16_224 vit_small_patch16_rope_224 vit_wee_patch16_reg1_gap_256
        eva02_tiny_patch14_224 swin_tiny_patch4_window7_224 swinv2_cr_tiny_224 cait_xxs24_224 xcit_nano_12_p16_224
        xcit_tiny_12_p16_224 pit_ti_224 crossvit_9_240 crossvit_tiny_240 convit_tiny pvt_v2_b0 pvt_v2_b1
        pvt_v2_b2_li twins_svt_small twins_pcpvt_small nest_tiny@192 hiera_tiny_224 mvitv2_tiny davit_tiny
        gcvit_xxtiny coat_lite_tiny mixer_s32_224 gmlp_ti16_224 resmlp_12_224 sequencer2d_s@160""",
    "hybrid": """vit_tiny_r_s16_p8_224 levit_128s levit_256 levit_conv_128 visformer_tiny botnet26t_256 halonet26t
        lambda_resnet26t bat_resnext26ts mobilenetv4_hybrid_medium mobilevit_xxs mobilevit_xs mobilevit_s
        mobilevitv2_050 mobilevitv2_100 edgenext_xx_small edgenext_small efficientformer_l1 efficientformerv2_s0
        efficientvit_b0 efficientvit_b1 efficientvit_m0 efficientvit_m2 efficientvit_m5 fastvit_t8 fastvit_sa12
        fastvit_mci0 tiny_vit_5m_224 tiny_vit_11m_224 repvit_m0_9 repvit_m1_5 shvit_s1 shvit_s3 swiftformer_xs
        maxvit_pico_rw_256 maxvit_rmlp_pico_rw_256 coatnet_nano_rw_224 coatnext_nano_rw_224 caformer_s18 csatv2""",
}

# fvcore's names of operators, as a reader knows them.
CAUSES = {
    **dict.fromkeys(("batch_norm", "layer_norm", "group_norm", "instance_norm"), "norms counted"),
    "adaptive_avg_pool2d": "pools counted",
    **dict.fromkeys(
        ("upsample_nearest2d", "upsample_bilinear2d", "grid_sampler"), "resizing counted"
    ),
    "scaled_dot_product_attention": "fused attention missed",
    "lstm": "LSTM missed",
    "_convolution_mode": "padding='same' missed",
}

COLUMNS = [
    *("group", "module", "px", "date", "macs", "fvcore_macs", "default_macs", "cause", "params"),
    *("train_params", "activation_bytes", "allocated_bytes", "size_bytes", "size_fp16"),
    *("size_int8", "file_bytes", "meta_s", "build_s", "fvcore_s", "naive_s", "error"),
    *("timed", "min_ms", "median_ms", "p90_ms", "reference_ms", "contended", "pressure"),
    *("export_s", "onnx_difference", "latency_error", "device"),
    *(f"repeat_{column}" for column in REPEATED_COLUMNS),
]


class Model(NamedTuple):
    group: str
    name: str  # as in MODELS
    architecture: str
    px: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return (3, self.px, self.px)

    def build(self) -> nn.Module:
        spec = StudentSpec(model=self.architecture, image_size=self.px)
        return create_student(spec, classes=CLASSES, channels=3)

    def build_deployed(self) -> nn.Module:
        return deployed(self.build())


def models(only: Iterable[str]) -> list[Model]:
    found = []
    for group, names in MODELS.items():
        for name in names.split():
            architecture, _, size = name.partition("@")
            px = int(size) if size else timm.get_pretrained_cfg(architecture).input_size[-1]
            found.append(Model(group, name, architecture, px))
    wanted = set(only)
    return [model for model in found if not wanted or model.name in wanted]


# Counts


def count(model: Model) -> dict[str, Any]:
    """One row. Whatever goes wrong is in it, under `error`."""
    row: dict[str, Any] = {"group": model.group, "px": model.px, "date": today()}
    try:
        cost, row["meta_s"] = timed(lambda: exact_cost(model.build_deployed, model.shape))
        row |= {
            "macs": cost.macs,
            "params": cost.params,
            "activation_bytes": cost.activation_bytes,
            "size_bytes": cost.size_bytes,
        }
        built, row["build_s"] = timed(model.build)
        row |= count_otherwise(model, built)
    except Exception as error:  # noqa: BLE001 - a model that can't be counted is a result
        row["error"] = one_line(error)
    return row


def count_otherwise(model: Model, built: nn.Module) -> dict[str, Any]:
    """The row's part that needs the model itself, as it is trained and, folded, as it ships."""
    meta = count_on_meta(model.build_deployed, model.shape)
    by_default, naive_s = timed(lambda: count_by_default(built, model.shape))
    trained = count_with_fvcore(built, model.shape)
    ships = deployed(built)
    fvcore, fvcore_s = timed(lambda: count_with_fvcore(ships, model.shape))
    row = {
        "module": type(built).__module__.rpartition(".")[2],
        "fvcore_macs": fvcore.macs,
        "fvcore_s": fvcore_s,
        "naive_s": naive_s,
        "default_macs": sum(by_default.values()),
        "train_params": trained.params,
        "cause": explain(by_default, trained.by_operator, trained.macs - fvcore.macs, meta.macs),
        "size_fp16": weight_bytes(meta.weights, "fp16"),
        "size_int8": weight_bytes(meta.weights, "int8"),
        "file_bytes": file_bytes(ships),
        "allocated_bytes": allocated_bytes(ships, model.shape),
    }
    try:
        check_counts(meta, fvcore)
    except AutoKDError as error:
        row["error"] = one_line(error)
    return row


@torch.no_grad()
def count_by_default(model: nn.Module, shape: tuple[int, int, int]) -> dict[str, int]:
    """What fvcore says of the model as timm builds it, with fvcore's own handles: what most published figures are."""
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(model.eval(), torch.zeros(1, *shape))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return {operator: int(macs) for operator, macs in analysis.by_operator().items()}


def explain(
    by_default: Mapping[str, int], trained: Mapping[str, int], folded: int, exact: int
) -> str:
    """Where the default count of the trained form leaves the exact one of the deployed form, operator by operator."""
    causes = Counter({"branches unfolded": folded})
    for operator in {*by_default, *trained}:
        difference = by_default.get(operator, 0) - trained.get(operator, 0)
        causes[CAUSES.get(operator, operator)] += difference
    large = sorted(causes.items(), key=lambda cause: -abs(cause[1]))
    return ", ".join(
        f"{cause} {macs / exact:+.1%}" for cause, macs in large if abs(macs) > SHOWN * exact
    )


def file_bytes(model: nn.Module) -> int:
    with tempfile.TemporaryDirectory(prefix="autokd-costs-") as folder:
        path = Path(folder) / "weights.safetensors"
        save_weights(model, path)
        return path.stat().st_size


@torch.no_grad()
def allocated_bytes(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """The most that PyTorch's CPU allocator held at once for one image, beside the weights, by its profiler."""
    from torch.profiler import ProfilerActivity, profile

    model(torch.zeros(1, *shape))  # what is made once: packed weights, cached attention biases
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        model(torch.zeros(1, *shape))
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(itertools.accumulate(event.nbytes() for event in events))


# Latency


def measure(model: Model, folder: Path) -> dict[str, Any]:
    """What OnnxProbe does: export, then time. The graph stays in `folder`."""
    row: dict[str, Any] = {"timed": today()}
    try:
        ships = model.build_deployed()
        graph, row["export_s"] = timed(lambda: to_onnx(ships, model.shape))
        row["onnx_difference"] = answers_differ(ships, graph, model.shape)
        (folder / model.name).write_bytes(graph)
        return row | time_once(graph)
    except Exception as error:  # noqa: BLE001 - a model that can't be exported is a result
        return row | {"latency_error": one_line(first_cause(error))}


def first_cause(error: BaseException) -> BaseException:
    while error.__cause__:
        error = error.__cause__
    return error


def time_once(graph: bytes) -> dict[str, Any]:
    before = pressure()
    timing = time_graph(graph, threads=1)
    return {
        "min_ms": round(timing.min_ms, 4),
        "median_ms": round(timing.median_ms, 4),
        "p90_ms": round(timing.p90_ms, 4),
        "reference_ms": round(timing.reference_ms, 4),
        "contended": timing.contended,
        "pressure": max(before, pressure()),
        "device": timing.device,
    }


@torch.no_grad()
def answers_differ(model: nn.Module, graph: bytes, shape: tuple[int, int, int]) -> float:
    """Largest difference of a logit between PyTorch and ONNX Runtime, as a share of the largest logit."""
    images = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    session = open_session(graph, threads=1)
    (answer,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    logits = model(images).numpy()
    return float(np.abs(answer - logits).max() / np.abs(logits).max())


def repeat(chosen: list[Model], folder: Path) -> dict[str, dict[str, Any]]:
    """Every round times all models once, in an order of its own: a round is a ranking."""
    graphs = {model.name: folder / model.name for model in chosen}
    for model in chosen:
        if not graphs[model.name].exists():
            graphs[model.name].write_bytes(to_onnx(model.build_deployed(), model.shape))
    found: dict[str, dict[str, list[str]]] = {
        name: {c: [] for c in REPEATED_COLUMNS} for name in graphs
    }
    for number in range(REPEATS):
        for name in random.Random(number).sample(list(graphs), len(graphs)):
            once = time_once(graphs[name].read_bytes())
            for column in REPEATED_COLUMNS:
                found[name][column].append(str(once[column]))
        print(f"round {number + 1} of {REPEATS}: pressure {pressure():.0f}", flush=True)
    return {
        name: {f"repeat_{column}": " ".join(values) for column, values in by_column.items()}
        for name, by_column in found.items()
    }


def choose_repeated(table: pd.DataFrame) -> list[str]:
    """Evenly spaced in the order of measured latency."""
    timed_names = table[table["macs"] <= MOST_REPEATED]["min_ms"].dropna().sort_values().index
    places = np.linspace(0, len(timed_names) - 1, REPEATED).round().astype(int)
    return [timed_names[place] for place in places]


def pressure() -> float:
    """Percent of the last 10 s in which some task waited for a CPU."""
    found = re.search(r"some avg10=([0-9.]+)", PRESSURE.read_text()) if PRESSURE.exists() else None
    return float(found[1]) if found else 0.0


# Tables


def print_counts(table: pd.DataFrame) -> None:
    counted = table[table["macs"].notna()]
    difference = counted["fvcore_macs"] / counted["macs"] - 1
    naive = (counted["default_macs"] / counted["macs"] - 1).abs()
    differing = counted["fvcore_macs"] != counted["macs"]
    memory = counted["allocated_bytes"] / counted["activation_bytes"]
    size = (counted["size_bytes"] / counted["file_bytes"] - 1).abs()
    print(
        f"{len(table)} models, {counted['module'].nunique()} modules of timm; {table['date'].max()}"
    )
    print(
        f"errors {table['error'].notna().sum()}; equal to the last MAC {(~differing).sum()}; else: "
        + (
            ", ".join(f"{name} {difference[name]:+.3%}" for name in counted.index[differing])
            or "none"
        )
    )
    print(
        f"fvcore as it comes: |difference| median {naive.median():.2%}, over 1 % {(naive > 0.01).sum()}, "
        f"over 5 % {(naive > 0.05).sum()}, largest {naive.max():.0%} ({naive.idxmax()})"
    )
    for column in ("meta_s", "build_s", "fvcore_s", "naive_s"):
        low, median, high = counted[column].quantile([0, 0.5, 1])
        print(f"{column}: median {median:.3f} (from {low:.3f} to {high:.3f})")
    print(f"file: largest difference {size.max():.2e}, {(size == 0).sum()} equal")
    print(
        f"allocated / activation_bytes: median {memory.median():.2f}, quartiles "
        f"{memory.quantile(0.25):.2f} to {memory.quantile(0.75):.2f}, "
        f"from {memory.min():.2f} ({memory.idxmin()}) to {memory.max():.2f} ({memory.idxmax()}), "
        f"rank correlation {spearman(counted['activation_bytes'], counted['allocated_bytes']):.3f}\n"
    )


def print_causes(table: pd.DataFrame) -> None:
    counted = table[table["macs"].notna()]
    found = [
        (cause, float(share) / 100, name)
        for name, text in counted["cause"].dropna().items()
        for cause, share in re.findall(r"([^,]+?) ([+-][\d.]+)%", text)
    ]
    causes = pd.DataFrame(found, columns=["cause", "share", "model"])
    causes["cause"] = causes["cause"].str.strip()
    print("| cause | models | median | largest |\n| --- | --- | --- | --- |")
    by_cause = causes.groupby("cause")
    for cause in by_cause.size().sort_values(ascending=False).index:
        rows = by_cause.get_group(cause)
        worst = rows.loc[rows["share"].abs().idxmax()]
        print(
            f"| {cause} | {len(rows)} | {rows['share'].median():+.1%} | {worst['share']:+.1%} ({worst['model']}) |"
        )
    print()


def print_models(table: pd.DataFrame) -> None:
    print(
        "| model | px | MMACs | fvcore | params, M | activations, MB | fvcore as it comes | why | min ms |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    failed = table["error"].notna() | table["latency_error"].notna()
    shown = table[failed | (table["macs"] <= MOST_SHOWN)]
    for name, row in shown.sort_values("macs").iterrows():
        if pd.isna(row["macs"]):
            print(f"| {name} | {row['px']} | error: {row['error']} | | | | | | |")
            continue
        second = f"{row['fvcore_macs'] / row['macs'] - 1:+.2%}"
        second = "=" if row["fvcore_macs"] == row["macs"] else second
        if pd.notna(row["error"]):
            second += f", **error**: {row['error']}"
        naive = f"{row['default_macs'] / 1e6:.1f} ({row['default_macs'] / row['macs'] - 1:+.1%})"
        cause = row["cause"] if pd.notna(row["cause"]) else ""
        latency = "" if pd.isna(row["min_ms"]) else f"{row['min_ms']:.2f}"
        if pd.notna(row["latency_error"]):
            latency = "not exported"
        print(
            f"| {name} | {row['px']} | {row['macs'] / 1e6:.1f} | {second} | {row['params'] / 1e6:.2f} | "
            f"{row['activation_bytes'] / 1e6:.1f} | {naive} | {cause} | {latency} |"
        )
    print()


def print_latency(table: pd.DataFrame) -> None:
    timed_rows = table[table["min_ms"].notna()]
    print(f"{timed_rows['device'].iloc[0]}; {timed_rows['timed'].max()}; {len(timed_rows)} models")
    print(
        f"contended {int(timed_rows['contended'].astype(bool).sum())}, pressure median "
        f"{timed_rows['pressure'].median():.0f} %, at most {timed_rows['pressure'].max():.0f} %; "
        f"reference {timed_rows['reference_ms'].min():.3f} to {timed_rows['reference_ms'].max():.3f} ms"
    )
    for name, error in table["latency_error"].dropna().items():
        print(f"not exported: {name}: {error}")
    print(
        f"export s: median {timed_rows['export_s'].median():.1f}, at most {timed_rows['export_s'].max():.1f}; "
        f"largest difference of answers {timed_rows['onnx_difference'].max():.1e} "
        f"({timed_rows['onnx_difference'].idxmax()}), of {timed_rows['onnx_difference'].notna().sum()} whose new "
        "classifier is not all zeroes"
    )
    pace = timed_rows["min_ms"] / timed_rows["macs"] * 1e9
    print(
        f"ms per GMAC: median {pace.median():.0f}, quartiles {pace.quantile(0.25):.0f} to "
        f"{pace.quantile(0.75):.0f}, from {pace.min():.0f} ({pace.idxmin()}) to {pace.max():.0f} ({pace.idxmax()})\n"
    )
    print("| rank correlation with latency | n | MACs | params | activations | predicted |")
    print("| --- | --- | --- | --- | --- | --- |")
    predicted = predict(timed_rows, FEATURES, one_at_a_time)
    for most in (5, 2, 1):
        rows = timed_rows[timed_rows["macs"] <= 1e9 * most]
        cells = [interval(rows[column], rows["min_ms"]) for column in FEATURES]
        cells.append(interval(predicted[rows.index], rows["min_ms"]))
        print(f"| up to {most} GMACs | {len(rows)} | {' | '.join(cells)} |")
    print()


FEATURES = ["macs", "params", "activation_bytes"]


def print_prediction(table: pd.DataFrame) -> None:
    timed_rows = table[table["min_ms"].notna()]
    print("| predicted from | left out | median error | 90 % within | rank correlation |")
    print("| --- | --- | --- | --- | --- |")
    for label, columns in (("MACs", FEATURES[:1]), ("MACs, params, activations", FEATURES)):
        for left_out, split in (("one model", one_at_a_time), ("its module", one_module)):
            predicted = predict(timed_rows, columns, split)
            error = (predicted / timed_rows["min_ms"] - 1).abs()
            rank = spearman(predicted, timed_rows["min_ms"])
            print(
                f"| {label} | {left_out} | {error.median():.0%} | {error.quantile(0.9):.0%} | {rank:.3f} |"
            )
    print()


def one_at_a_time(table: pd.DataFrame) -> list[Any]:
    return list(range(len(table)))


def one_module(table: pd.DataFrame) -> list[Any]:
    return list(table["module"])


def predict(
    table: pd.DataFrame, columns: list[str], split: Callable[[pd.DataFrame], list[Any]]
) -> pd.Series:
    """Log-linear ridge regression; each model by one that has not seen its group."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regressor = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 1, 9)))
    answers = cross_val_predict(
        regressor,
        np.log(table[columns]),
        np.log(table["min_ms"]),
        groups=split(table),
        cv=LeaveOneGroupOut(),
    )
    return pd.Series(np.exp(answers), index=table.index)


def print_stability(table: pd.DataFrame) -> None:
    rows = table[table["repeat_min_ms"].notna()]
    busy = np.array([[v == "True" for v in text.split()] for text in rows["repeat_contended"]])
    pressures = [float(value) for value in " ".join(rows["repeat_pressure"]).split()]
    order = np.sort(numbers(rows, "min").min(axis=1))
    steps = order[1:] / order[:-1]
    print(
        f"{len(rows)} models of {order[0]:.1f} to {order[-1]:.1f} ms, neighbours apart by a factor of "
        f"{np.median(steps):.2f} in the median, {steps.min():.2f} at least; {busy.shape[1]} repeats; "
        f"contended {busy.sum()} of {busy.size}, in {busy.any(axis=0).sum()} repeats; "
        f"pressure median {np.median(pressures):.0f} %, at most {max(pressures):.0f} %\n"
    )
    print("| repeats | of | tau, mean | tau, least | slowest / fastest, median | largest |")
    print("| --- | --- | --- | --- | --- | --- |")
    everything = np.ones(busy.shape[1], dtype=bool)
    for label, kept in (("all", everything), ("calm", ~busy.any(axis=0))):
        for statistic in ("min", "median", "p90"):
            times = numbers(rows, statistic)[:, kept]
            taus = [kendall(a, b) for a, b in itertools.combinations(times.T, 2)]
            spread = times.max(axis=1) / times.min(axis=1)
            print(
                f"| {label}, {kept.sum()} | {statistic} | {np.mean(taus):.3f} | {min(taus):.3f} | "
                f"{np.median(spread):.2f} | {spread.max():.2f} |"
            )
    print()


def numbers(rows: pd.DataFrame, statistic: str) -> np.ndarray:
    """Milliseconds, (models, repeats)."""
    return np.array([[float(v) for v in text.split()] for text in rows[f"repeat_{statistic}_ms"]])


def interval(cost: pd.Series, latency: pd.Series) -> str:
    """Spearman's rho with a 95 % bootstrap interval over models."""
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(cost), len(cost)) for _ in range(1000)]
    low, high = np.quantile(
        [spearman(cost.iloc[d], latency.iloc[d]) for d in draws], [0.025, 0.975]
    )
    return f"{spearman(cost, latency):.2f} ({low:.2f} to {high:.2f})"


def spearman(first: pd.Series, second: pd.Series) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)


def kendall(first: np.ndarray, second: np.ndarray) -> float:
    from scipy.stats import kendalltau

    return float(kendalltau(first, second).statistic)


# The file


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = call()
    return result, round(time.perf_counter() - start, 4)


def today() -> str:
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


def load() -> pd.DataFrame:
    table = pd.read_csv(TABLE, index_col="model") if TABLE.exists() else pd.DataFrame()
    return table.reindex(columns=COLUMNS)


def store(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Into the file, beside what it holds of these models and of others."""
    records = load().to_dict("index")
    for name, row in rows.items():
        records[name] = {**records.get(name, {}), **row}
    order = [model.name for model in models([]) if model.name in records]
    table = pd.DataFrame([records[name] for name in order], index=order, columns=COLUMNS)
    for column in table.select_dtypes("number"):
        if (table[column].dropna() % 1 == 0).all():
            table[column] = table[column].astype("Int64")
    table.to_csv(TABLE, index_label="model")


def has(table: pd.DataFrame, name: str, columns: list[str]) -> bool:
    return name in table.index and bool(table.loc[name, columns].notna().any())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["counts", "latency", "repeat", "print"])
    parser.add_argument("--only", nargs="+", default=[], help="models, as named in this file")
    parser.add_argument("--again", action="store_true", help="rows that are there, too")
    parser.add_argument(
        "--graphs", type=Path, help="folder for ONNX graphs; default: a temporary one"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("fvcore.nn.jit_analysis").disabled = True
    torch.set_num_threads(1)
    if options.what == "print":
        table = load()
        for show in (print_counts, print_causes, print_models):
            show(table)
        for show in (print_latency, print_prediction, print_stability):
            show(table)
        return
    with tempfile.TemporaryDirectory(prefix="autokd-costs-") as temporary:
        folder = options.graphs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        run(options, folder)


def run(options: argparse.Namespace, folder: Path) -> None:
    table, chosen = load(), models(options.only)
    if options.what == "counts":
        for model in chosen:
            if options.again or not has(table, model.name, ["macs", "error"]):
                report(model.name, count(model))
    elif options.what == "latency":
        for model in chosen:
            if options.again or not has(table, model.name, ["min_ms", "latency_error"]):
                report(model.name, measure(model, folder))
    else:
        names = options.only or choose_repeated(table)
        store(repeat(models(names), folder))


def report(name: str, row: dict[str, Any]) -> None:
    store({name: row})
    shown = ("macs", "fvcore_macs", "cause", "min_ms", "contended", "error", "latency_error")
    print(name, {key: row[key] for key in shown if key in row}, flush=True)


if __name__ == "__main__":
    main()
