"""The benchmark of the training step: its table goes between its markers, its own side runs, MFU is what it says."""

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "step.py"


@pytest.fixture
def step():
    spec = importlib.util.spec_from_file_location("benchmark_step", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_what_stands_between_the_markers_is_replaced(step, tmp_path, monkeypatch):
    monkeypatch.setattr(step, "HERE", tmp_path)
    (tmp_path / "README.md").write_text("# Benchmarks\n\nWords.\n")
    step.write("first", "small")
    step.write("other", "1b")
    step.write("second", "small")
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# Benchmarks\n\nWords.\n") and "first" not in text
    assert text.index("second") < text.index("other") and text.count("<!-- step small: begin -->") == 1


@pytest.mark.parametrize("method", ["full", "LoRA r=8"])
def test_our_side_takes_the_steps_that_it_is_asked_for(step, method):
    case = {
        "shape": dict(step.SHAPES["48x2"][0], width=16, heads=2, head_width=8, mlp=16, vocabulary=32), "T": 8, "B": 2,
        "method": step.METHODS[method], "dtype": "float32", "threads": 1, "remat": False, "seconds": 0.1,
    }
    run, device = step.ours(case)
    run(step.CHUNK)
    state = next(cell.cell_contents for cell in run.__closure__ if isinstance(cell.cell_contents, dict) and "step" in cell.cell_contents)
    assert int(state["step"]) == step.CHUNK and device
    run(2 * step.CHUNK)
    state = next(cell.cell_contents for cell in run.__closure__ if isinstance(cell.cell_contents, dict) and "step" in cell.cell_contents)
    assert int(state["step"]) == 3 * step.CHUNK


def test_utilisation_is_flops_over_peak(step):
    sizes, T, _ = step.SHAPES["1b"]
    matrices = sizes["layers"] * (2 * sizes["width"] * 2048 + 2 * sizes["width"] * 256 + 3 * sizes["width"] * sizes["mlp"])
    a_token = 6 * (matrices + sizes["vocabulary"] * sizes["width"]) + 12 * sizes["layers"] * 2048 * T
    assert step.utilisation("1b", "full", 1000, 989) == pytest.approx(a_token * 1000 / 989e12)


def test_the_table_has_a_row_a_shape_and_says_where_it_was_measured(step, monkeypatch):
    import argparse

    monkeypatch.setattr(step.metadata, "version", lambda package: "9")
    options = argparse.Namespace(peak_tflops=None, dtype="float32", rounds=3, threads=2)
    results = [{"shape": "48x2", "method": m, "speed": {"theirs": 100.0, "ours": 150.0}, "device": "a CPU"} for m in step.METHODS]
    text = step.table(results, options)
    assert "| 48 x 2, 1,024, 64 x 32 | 100 | 150 | 1.50 | 100 | 150 | 1.50 |" in text and "a CPU, 2 threads" in text and "MFU" not in text
    results[0]["device"] = "NVIDIA H200"
    assert "MFU" in step.table(results, options)
