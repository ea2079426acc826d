"""The plan: valid, ordered, each cell once, keys that hold what decides a number and nothing else."""

import copy
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import studies

import compiler
import schemas
from compiler import jobs, sweeps
from compiler.design import expand

SPECS = Path(__file__).resolve().parents[2] / "specs"


@pytest.fixture
def plan_of(tmp_path):
    def build(study, **options):
        return compiler.compile_plan(compiler.load_study(studies.write(study, tmp_path), **options))

    return build


def by_name(plan):
    return {job["name"]: job for job in plan["jobs"]}


def cells(plan, kind="evaluate"):
    return [job for job in plan["jobs"] if job["kind"] == kind and job["role"] == "cell"]


@pytest.mark.parametrize("name", ["study", "plan"])
def test_the_schemas_are_schemas(name):
    jsonschema.Draft202012Validator.check_schema(schemas.load(name))


def maps(schema):
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in schema.values():
            yield from maps(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from maps(value)


def test_every_key_of_the_language_is_described_with_an_example():
    schema = schemas.load("study")
    follow = lambda entry: {**schema["$defs"][entry["$ref"].rsplit("/", 1)[1]], **entry} if "$ref" in entry else entry
    for entry in maps(schema):
        assert entry.get("additionalProperties") is not None, f"{entry} is open"
        for key, inner in entry.get("properties", {}).items():
            inner = follow(inner)
            assert inner.get("description") and (inner.get("examples") or "const" in inner or inner.get("type") == "object"), key


def test_every_example_of_the_language_is_accepted():
    schema = schemas.load("study")

    def look(entry):
        if isinstance(entry, dict):
            for example in entry.get("examples", []):
                if not isinstance(example, dict) and ("type" in entry or "oneOf" in entry):
                    jsonschema.Draft202012Validator({**entry, "$defs": schema["$defs"]}).validate(example)
            for value in entry.values():
                look(value)

    look(schema)


@pytest.mark.parametrize("kind", ["synthetic", "files", "tiny", "quickstart"])
def test_plans_are_valid_and_resolved_studies_compile_to_the_same(tmp_path, kind):
    if kind in ("tiny", "quickstart"):
        path = SPECS / f"{kind}.yaml"
    else:
        path = studies.write(studies.synthetic() if kind == "synthetic" else studies.on_files(tmp_path), tmp_path)
    study = compiler.load_study(path)
    plan = compiler.compile_plan(study)
    jsonschema.Draft202012Validator(schemas.load("plan")).validate(plan)
    jsonschema.Draft202012Validator(schemas.load("study")).validate(study.resolved)
    again = compiler.load_study(studies.write(copy.deepcopy(study.resolved), tmp_path, "again.yaml"), [tmp_path])
    assert compiler.plan_text(compiler.compile_plan(again)) == compiler.plan_text(plan)


def test_jobs_stand_behind_what_they_need_and_names_are_unique(plan_of):
    plan = plan_of(studies.synthetic())
    seen = set()
    for job in plan["jobs"]:
        assert set(job["needs"]) <= seen, job["name"]
        assert job["name"] not in seen
        seen.add(job["name"])
        assert job["key"] is None or job["key"] == compiler.job_key(job["identity"])
        assert job["cost"]["memory_bytes"] >= 0 and (job["cost"]["flops"] > 0 or job["kind"] in ("data", "tokenizer"))
    assert "finetune/translation/lora-s-40.96K-r4-d128-s0" in seen and "evaluate/translation/none-xs-40.96K" in seen


def test_identities_hold_the_keys_of_what_is_needed(plan_of):
    study = studies.synthetic()
    for method, rate in (("full", 1e-3), ("lora", 1e-3)):
        study["methods"][method]["learning_rate"] = rate
    plan = plan_of(study)
    jobs_by_name = by_name(plan)
    for job in plan["jobs"]:
        assert job["key"], "plain learning rates leave nothing pending"
        text = compiler.canonical_json(job["identity"])
        for need in job["needs"]:
            assert jobs_by_name[need]["key"] in text, (job["name"], need)
    assert not [job for job in plan["jobs"] if job["role"] == "sweep"]


def test_a_cell_that_several_grids_name_runs_once(plan_of):
    plan = plan_of(studies.synthetic())
    places = [tuple(sorted(job["factors"].items())) for job in cells(plan)]
    assert len(places) == len(set(places))
    job = by_name(plan)["evaluate/translation/full-s-40.96K-d64-s0"]
    assert job["grids"] == ["model size", "pretraining"]
    assert by_name(plan)["evaluate/translation/lora-s-40.96K-r4-d128-s0"]["grids"] == ["model size", "ranks"]
    assert by_name(plan)["evaluate/translation/none-s-40.96K"]["grids"] == ["model size", "pretraining", "ranks", "lengths"]


def test_the_baseline_is_scored_once_for_every_base(plan_of):
    plan = plan_of(studies.synthetic())
    found = [(job["factors"]["model_size"], job["factors"]["pretraining_tokens"]) for job in cells(plan) if job["factors"]["method"] == "none"]
    assert sorted(found) == sorted([("xs", 40960), ("s", 40960), ("m", 40960), ("s", 10240), ("s", 20480)])
    assert all(job["factors"]["finetuning_examples"] == 0 and job["held_out"] == "" for job in cells(plan) if job["factors"]["method"] == "none")


def test_classes_of_held_out_cells(plan_of):
    study = studies.synthetic()
    study["models"]["sizes"]["l"] = {"layers": 2, "width": 64, "heads": 4, "mlp": 128}
    study["models"]["sizes"]["xl"] = {"layers": 2, "width": 96, "heads": 4, "mlp": 192}
    study["design"]["grids"][0] |= {"model_size": ["xs", "s", "m", "l", "xl"]}
    study["design"]["hold_out"] = [{"finetuning_examples": 256}, {"model_size": "xl"}, {"model_size": "m", "finetuning_examples": 64}]
    plan = plan_of(study)
    held = {(job["factors"]["model_size"], job["factors"]["finetuning_examples"]): job["held_out"] for job in cells(plan) if job["factors"]["method"] == "full" and job["factors"]["pretraining_tokens"] == 40960}
    assert held[("s", 256)] == "edge_data" and held[("xl", 64)] == "edge_size" and held[("xl", 256)] == "corner" and held[("m", 64)] == "interior"
    assert held[("s", 64)] == "" and {value for (_, examples), value in held.items() if examples < 64} == {"", "edge_size"}


def test_sweeps_stand_at_two_corners_or_at_each_level(plan_of, tmp_path):
    study = studies.synthetic()
    plan = plan_of(study)
    names = [job["name"] for job in plan["jobs"] if job["role"] == "sweep" and job["factors"]["method"] == "full"]
    assert names == [  # smallest size and data; middle size and largest fitted data (256 is held out); lowest rate first
        "sweep/translation/full-xs-40.96K-d32-s0-lr0.0003", "sweep/translation/full-xs-40.96K-d32-s0-lr0.001",
        "sweep/translation/full-s-40.96K-d128-s0-lr0.0003", "sweep/translation/full-s-40.96K-d128-s0-lr0.001",
    ]
    lora = {(job["factors"]["finetuning_examples"], job["factors"]["rank"]) for job in plan["jobs"] if job["role"] == "sweep" and job["factors"]["method"] == "lora"}
    assert lora == {(32, 4), (64, 4), (128, 4), (256, 4), (128, 1), (128, 2)}
    rate = by_name(plan)["finetune/translation/full-m-40.96K-d64-s0"]["identity"]["learning_rate"]["$rate"]
    assert rate["examples"] == 64 and [corner["examples"] for corner in rate["corners"]] == [32, 128] and rate["corners"][0]["trials"] == names[:2]
    per = by_name(plan)["finetune/translation/lora-s-40.96K-r2-d128-s1"]["identity"]["learning_rate"]["$rate"]
    assert per["corners"] == [{"examples": 128, "trials": ["sweep/translation/lora-s-40.96K-r2-d128-s0-lr0.001", "sweep/translation/lora-s-40.96K-r2-d128-s0-lr0.003"]}]
    study["methods"]["full"]["learning_rate"]["per"] = ["model_size"]
    each = [job for job in plan_of(study)["jobs"] if job["role"] == "sweep" and job["factors"]["method"] == "full"]
    places = list(dict.fromkeys((job["factors"]["model_size"], job["factors"]["finetuning_examples"]) for job in each))
    assert places[:4] == [("xs", 32), ("xs", 128), ("s", 32), ("s", 128)], "a level of per at both ends of its fitted data"
    del study["methods"]["full"]["learning_rate"]["per"]
    study["design"]["grids"] = [{"name": "one", "method": "full", "finetuning_examples": 64, "model_size": ["xs", "s", "m"]}]
    study["design"]["hold_out"] = []
    del study["laws"]["factors"]
    design = expand(compiler.load_study(studies.write(study, tmp_path)))
    assert [corner.model_size for corner in sweeps.corners(design, design.cells[0])] == ["s"], "one data size: one corner"


def test_budget_checks_double_the_steps_of_the_smallest_size_at_the_largest_data(plan_of):
    plan = plan_of(studies.synthetic())
    checks = [job for job in plan["jobs"] if job["role"] == "budget_check"]
    assert [(job["factors"]["method"], job["factors"]["model_size"], job["factors"]["finetuning_examples"]) for job in checks] == [("full", "xs", 256), ("lora", "xs", 256), ("prompt", "xs", 256)]
    for job in checks:
        cell = by_name(plan)[job["execution"]["beside"]]
        assert cell["factors"] == job["factors"] and cell["identity"] | {"steps": 2 * cell["identity"]["steps"]} == job["identity"]
    study = studies.synthetic()
    study["finetune"]["budget_check"] = False
    assert not [job for job in plan_of(study)["jobs"] if job["role"] == "budget_check"]


def test_steps_follow_data_and_batch(plan_of):
    study = studies.synthetic()
    study["methods"]["prompt"] |= {"steps": {"at_most": 40, "epochs": 3}}
    study["methods"]["lora"] |= {"steps": 70}
    steps = {(job["factors"]["method"], job["factors"]["finetuning_examples"]): job["identity"]["steps"] for job in cells(plan_of(study), "finetune")}
    assert [steps["full", size] for size in (32, 64, 128, 256)] == [30, 30, 30, 48]
    assert [steps["prompt", size] for size in (32, 64, 128, 256)] == [6, 12, 24, 40] if min(steps["prompt", 32], 5) > 5 else steps["lora", 32] == 70


def test_levels_branch_from_one_trunk(plan_of):
    plan = plan_of(studies.synthetic())
    trunk = by_name(plan)["pretrain/s/trunk"]
    levels = [by_name(plan)[f"pretrain/s/{name}"] for name in ("10.24K", "20.48K", "40.96K")]
    assert [job["identity"]["steps"] for job in levels] == [10, 20, 40] and [job["identity"]["trunk_step"] for job in levels] == [8, 16, 32]
    assert trunk["execution"]["checkpoint_steps"] == [8, 16, 32] and "steps" not in trunk["identity"]
    assert {job["identity"]["trunk"] for job in levels} == {trunk["key"]}
    assert trunk["identity"]["batch_size"] == 16 and "learning_rate" in trunk["identity"]["optimizer"] and "frozen" not in trunk["identity"]["precision"]


def test_a_new_level_extends_the_trunk_and_rekeys_nothing(plan_of):
    study = studies.synthetic()
    before = by_name(plan_of(study))
    study["models"]["pretrain"] |= {"tokens": 81920, "checkpoints": {"tokens": [10240, 20480, 40960, 81920]}}
    study["design"]["grids"][1]["pretraining_tokens"].append(81920)
    after = by_name(plan_of(study))
    assert after["pretrain/s/trunk"]["execution"]["checkpoint_steps"] == [8, 16, 32, 64]
    assert {name: job["key"] for name, job in before.items()}.items() <= {name: job["key"] for name, job in after.items()}.items()


def test_raw_levels_are_points_of_one_cosine_run_and_separate_ones_whole_runs(plan_of):
    study = studies.synthetic()
    study["models"]["pretrain"]["optimizer"] = {"schedule": "cosine", "final_learning_rate": 1e-3, "warmup_steps": 4}
    study["models"]["pretrain"]["checkpoints"]["kind"] = "raw"
    plan = by_name(plan_of(study))
    assert plan["pretrain/s/trunk"]["identity"]["steps"] == 40 and plan["pretrain/s/trunk"]["identity"]["optimizer"]["final_learning_rate"] == 1e-3
    assert (plan["pretrain/s/10.24K"]["identity"]["trunk_step"], plan["pretrain/s/10.24K"]["identity"]["steps"]) == (10, 10)
    study["models"]["pretrain"]["checkpoints"]["kind"] = "separate"
    study["models"]["pretrain"]["optimizer"] = {"schedule": "wsd", "decay": 0.2, "warmup_steps": 4}
    plan = by_name(plan_of(study))
    identity = plan["pretrain/s/20.48K"]["identity"]
    assert "pretrain/s/trunk" not in plan and (identity["trunk"], identity["trunk_step"], identity["steps"], identity["decay_start"]) == (None, 0, 20, 16)


def test_columns_hold_the_true_token_count(plan_of):
    study = studies.synthetic()
    study["models"]["pretrain"] |= {"tokens": 41000, "checkpoints": {"tokens": [10000, 20000, 41000]}}
    study["design"]["defaults"]["pretraining_tokens"] = 41000
    study["design"]["grids"][1]["pretraining_tokens"] = [10000, 20000, 41000]
    plan = plan_of(study)
    assert {job["factors"]["pretraining_tokens"] for job in cells(plan)} == {10240, 20480, 40960}
    assert plan["laws"]["defaults"]["pretraining_tokens"] == 40960 and plan["design"]["pretraining"]["levels"]["41000"] == 40960


def test_what_is_execution_and_what_is_not(plan_of):
    keys = lambda study: {job["name"]: (job["key"], job["identity"]) for job in plan_of(study)["jobs"]}
    study = studies.synthetic()
    before = keys(study)
    study["machine"] = {"mesh": {"data": 4, "model": 2}, "workers": 3, "unroll": False, "save_every_seconds": 1}
    assert keys(study) == before
    study["tasks"]["translation"]["metrics"] = ["loss"]
    after = keys(study)
    changed = {name.split("/")[0] for name in before if before[name] != after[name]}
    assert changed == {"evaluate"}, "a new metric never finetunes again"


def test_test_sets_are_named_jobs_and_never_finetune_again(plan_of, tmp_path):
    study = studies.on_files(tmp_path)
    before = by_name(plan_of(study))
    assert {"data/translation/test/near", "data/translation/test/both", "data/translation/zero_shot/far"} <= set(before)
    sets = before["evaluate/translation/none-s-40.96K"]["identity"]["sets"]
    assert [(entry["name"], entry["role"], entry["metrics"], entry["language"]) for entry in sets] == [
        ("near", "test", ["loss", "chrf"], "de"), ("both", "test", ["loss", "bleu", "chrf"], "de"), ("far", "zero_shot", ["loss"], "de")]
    del study["tasks"]["translation"]["data"]["test"]["both"]
    after = by_name(plan_of(study))
    assert all(before[name]["identity"] == job["identity"] for name, job in after.items() if job["kind"] != "evaluate")


def test_labels_are_exact():
    assert [jobs.label(tokens) for tokens in (8_000_000, 1_500_000, 3_932_160, 40_960, 500, 283_000_000_000, 2_400_000, 1_234_567)] == [
        "8M", "1.5M", "3932.16K", "40.96K", "500", "283B", "2.4M", "1234.567K"]


def test_importing_and_checking_are_quick_and_load_little():
    code = (
        "import time; start = time.process_time()\n"
        "import sys, compiler\n"
        f"compiler.compile_plan(compiler.load_study({str(SPECS / 'quickstart.yaml')!r}))\n"
        "taken = time.process_time() - start\n"
        "heavy = {'jsonschema', 'jax', 'numpy', 'scipy', 'pyarrow', 'sentencepiece'} & set(sys.modules)\n"
        "print(taken); sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )
    times = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        times.append(float(done.stdout))
    assert min(times) < 0.6, "process seconds of import, check and plan"
