"""trials.csv as a study without sweeps and budget checks leaves it: a header and no rows."""

import laws

HEADER = "role,level,task,method,learning_rate,seed,dev_loss,chosen,at_edge,key,status\n"


def test_a_table_of_trials_without_rows_is_none(tmp_path):
    rows = "".join(f"t,full,{n},{d},{40 * n**-0.2 * d**-0.4 + 1}\n" for n in (1e5, 3e5, 1e6) for d in (100, 300, 1000))
    (tmp_path / "results.csv").write_text("task,method,non_embedding_parameters,finetuning_examples,test_loss\n" + rows)
    (tmp_path / "trials.csv").write_text(HEADER)
    assert laws.read_trials(tmp_path) is None
    fitted = laws.fit_table(tmp_path / "results.csv", {"responses": ["test_loss"], "intervals": "none"}, trials=laws.read_trials(tmp_path))
    assert any(not law["refused"] for law in fitted["laws"])


def test_a_table_of_trials_with_rows_is_read(tmp_path):
    (tmp_path / "trials.csv").write_text(HEADER + "sweep,xs d16,t,full,0.001,0,2.5,1,,aa,ok\n")
    assert len(laws.read_trials(tmp_path)) == 1
