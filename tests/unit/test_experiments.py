"""Recipes become jobs, and scores of jobs become tables and plots."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from sparsecover.classes import ClassScheme
from sparsecover.errors import ConfigError
from sparsecover.experiments.jobs import Job, plan_jobs
from sparsecover.experiments.outcome import Outcome
from sparsecover.experiments.plots import by_sampler, study_plots, usual_sampler
from sparsecover.experiments.recipe import Recipe
from sparsecover.experiments.shelf import find_recipe, shelved_recipes
from sparsecover.experiments.summary import CellScores, scene_sums, summarize
from sparsecover.experiments.tables import as_csv, cell_rows, failures, job_rows, legend, markdown

SCHEME = ClassScheme.from_names(["land", "water"])
VALUES = {
    "title": "Study",
    "base": {
        "data": {"simulate": {"fraction": 0.1}},
        "split": {"by": "files"},
        "model": {"name": "unet", "base_channels": 4},
    },
    "grid": {
        "method": {"U-Net": {}, "forest": {"model": {"name": "random-forest"}}, "wide": {"model.base_channels": 8}},
        "labels": {"100%": {"data.simulate": None}, "10%": {}},
    },
    "seeds": [0, 1],
    "budget": "labels",
}


def recipe(**changes: object) -> Recipe:
    return Recipe.from_dict({**VALUES, **changes})


def jobs_of(given: Recipe) -> list[Job]:
    return plan_jobs(given, Path())


def test_a_grid_becomes_jobs_with_whole_configurations() -> None:
    jobs = jobs_of(recipe())
    assert [job.name for job in jobs[:3]] == ["U-Net, 100%, seed 0", "U-Net, 100%, seed 1", "U-Net, 10%, seed 0"]
    assert len(jobs) == 3 * 2 * 2
    by_name = {job.name: job.config for job in jobs}
    assert by_name["U-Net, 100%, seed 1"].data.simulate is None
    labels = by_name["U-Net, 10%, seed 1"].data.simulate
    assert labels is not None
    assert (labels.fraction, labels.seed) == (0.1, 1)  # another seed, other labels
    assert by_name["forest, 10%, seed 0"].model.options == {}  # a mapping replaces the section
    assert by_name["wide, 10%, seed 0"].model.options == {"base_channels": 8}  # a dotted key one value of it
    assert by_name["wide, 10%, seed 1"].seed == 1


def test_only_some_combinations_are_wanted() -> None:
    jobs = jobs_of(recipe(only=[{"method": ["U-Net", "forest"]}, {"method": "wide", "labels": "10%"}], seeds=[3]))
    assert [job.cell_name for job in jobs][-1] == "wide, 10%"
    assert len(jobs) == 5


def test_folds_are_named_dealt_out_or_those_of_a_variation() -> None:
    named = {"a": {"split.train": ["x"]}, "b": {"split.train": ["y"]}}
    jobs = jobs_of(recipe(folds=named, seed_per_fold=True))
    assert [(j.fold, j.seed, j.config.split.train) for j in jobs[:2]] == [("a", 0, ("x",)), ("b", 1, ("y",))]
    dealt = jobs_of(recipe(base={"split": {"folds": 3}}, seeds=[0]))
    assert [(j.fold, j.fold_index) for j in dealt[:3]] == [("fold 1", 0), ("fold 2", 1), ("fold 3", 2)]
    own = jobs_of(recipe(grid={"question": {"same": {"folds": named}, "unseen": {}}}, seeds=[0], budget=None))
    assert [(j.cell_name, j.fold) for j in own] == [("same", "a"), ("same", "b"), ("unseen", "")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"grud": {}}, "Did you mean 'grid'"),
        ({"budget": "label"}, "Did you mean 'labels'"),
        ({"full": {"labels": "100"}}, "Did you mean '100%'"),
        ({"only": [{"methd": "U-Net"}]}, "Did you mean 'method'"),
        ({"published": {"U-Net, 11%": {"miou": 0.5}}}, "Did you mean 'U-Net, 10%'"),
        ({"published": {"U-Net, 10%": {"miu": 0.5}}}, "Did you mean 'miou'"),
        ({"base": {"trian": {}}}, "Did you mean 'train'"),
        ({"grid": {"method": {"a": {"train.epoch": 3}}}, "budget": None}, "Did you mean 'epochs'"),
        ({"grid": {"method": {}}, "budget": None}, "grid.method is empty"),
        ({"baseline": {"method": []}}, "baseline.method names nothing"),
        ({"base": {"augment": {"name": "light", "brightnes": 1}}}, "Did you mean 'brightness'"),
        ({"seed_per_fold": True, "base": {"split": {"folds": 3}}}, "a seed for each of 3 folds"),
        ({"grid": {"method": {"a": {"folds": 3}}}, "budget": None}, r"grid.method.a.folds is 3; give each fold a name"),
        ({"grid": {"method": {"a": {"folds": {"one": 3}}}}, "budget": None}, "what it changes of the split"),
        ({"base": {"split": {"folds": "three"}}}, "three"),
        ({"base": {"split": "scene"}}, "split"),
        ({"base": {"split": {"folds": 3}}, "checkpoint": "best_iou"}, "leave out checkpoint: best_iou, or name folds"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_near_matches(changes: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("(", "\\(")):
        jobs_of(recipe(**changes))


def test_quick_settings_and_seeds_change_the_base() -> None:
    quick = {"settings": {"train.epochs": 2}, "seeds": 1, "only": [{"labels": "10%"}]}
    adapted = recipe(quick=quick).adapted(quick=True, settings=["model.base_channels=2"])
    jobs = jobs_of(adapted)
    assert {job.config.train.epochs for job in jobs} == {2}
    assert [job.name for job in jobs] == ["U-Net, 10%, seed 0", "forest, 10%, seed 0", "wide, 10%, seed 0"]
    assert jobs[0].config.model.options == {"base_channels": 2}
    assert jobs[2].config.model.options == {"base_channels": 8}  # a variation has the last word
    assert {job.seed for job in jobs_of(recipe().adapted(seeds=[7]))} == {7}
    assert recipe().base == VALUES["base"]
    assert adapted.about.startswith("This is the recipe's quick form")
    assert adapted.about.endswith(recipe().about)
    assert "quick form" not in recipe().adapted().about


def test_a_job_is_told_by_its_settings_and_data_not_by_names_or_places() -> None:
    job = jobs_of(recipe())[0]
    moved = replace(job, config=job.config.with_changes({"data.root": "/elsewhere"}), cell={"method": "renamed"})
    assert job.digest("data") == moved.digest("data") != job.digest("other data")
    longer = replace(job, config=job.config.with_changes({"train.epochs": 31}))
    assert longer.digest("data") != job.digest("data")
    assert job.folder("data").startswith("U-Net-100pct-seed-0-")


@pytest.mark.parametrize(
    ("change", "words"),
    [({"model": {"name": "unett"}}, "Did you mean 'unet'"), ({"loss.name": "dize"}, "dize"),
     ({"data.simulate": {"sampler": "point", "n": 3}}, "Did you mean 'points'"),
     ({"data.simulate": {"sampler": "points", "options": {"n": 3}}}, "holds n, which is data.simulate.n itself"),
     ({"data.simulate": {"sampler": "points", "n": 3, "options": {"width_px": 3}}}, "no option width_px")],
)  # fmt: skip
def test_parts_that_do_not_exist_are_told_before_anything_runs(change: dict[str, object], words: str) -> None:
    values = {"title": "t", "base": {"split": {"folds": 2}}, "grid": {"method": {"right": {}, "wrong": change}}}
    with pytest.raises(ConfigError, match=rf"wrong: .*{words}"):
        plan_jobs(Recipe.from_dict(values), Path())


def test_an_option_that_only_one_network_has_names_it_in_studies_too() -> None:
    base = {"split": {"by": "files", "validation": ["a"]}, "model": {"smooth_px": 4}}
    given = Recipe.from_dict({"title": "t", "base": base, "grid": {"method": {"own": {}}}, "score": "validation"})
    assert {job.config.model.name for job in jobs_of(given)} == {"hypercolumns"}


def test_what_is_wrong_in_all_variations_is_not_told_of_one() -> None:
    values = {"title": "t", "base": {"data": {"rezise": 0.5}}, "grid": {"method": {"a": {}, "b": {"seed": 1}}}}
    with pytest.raises(ConfigError) as refused:
        plan_jobs(Recipe.from_dict(values), Path())
    assert "rezise" in str(refused.value)
    assert not str(refused.value).startswith("a: ")


def test_a_setting_that_the_grid_undoes_is_refused() -> None:
    every = {"one": {"data.simulate": {"n": 1}}, "two": {"data.simulate.n": 2}}
    grid = {"labels": every, "method": {"a": {"loss": {}}, "b": {}}}
    given = Recipe.from_dict({"title": "t", "base": {}, "grid": grid})
    with pytest.raises(ConfigError, match=r"would change nothing: each variation of labels \(one, two\) sets it"):
        given.adapted(settings=["data.simulate.n=5"])
    for key in ("seed", "data.simulate.seed"):
        with pytest.raises(ConfigError, match="Give --seeds"):
            given.adapted(settings=[f"{key}=3"])
    # Where one variation leaves something of it, it is taken.
    assert given.adapted(settings=["data.simulate={sampler: points}"]).base["data"]["simulate"] == {"sampler": "points"}
    assert given.adapted(settings=["loss.name=dice"]).base["loss"] == {"name": "dice"}
    assert given.adapted(settings=["data.simulated=3"]).base["data"] == {"simulated": 3}


@pytest.mark.parametrize(
    ("split", "words"),
    [({"by": "scene"}, "the test side is empty. Give split.folds, or split.fractions"),
     ({"by": "pattern", "pattern": "(a)", "train": ["a"]}, "Give split.folds, or split.test, or score another side"),
     ({"by": "scene", "test": ["a"]}, "split.test lists names, but split.by is scene")],
)  # fmt: skip
def test_a_study_that_would_have_nothing_to_score_is_refused(split: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        jobs_of(recipe(base={"split": split}))


def test_a_seed_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="give each once"):
        recipe(seeds=[0, 0])
    with pytest.raises(ConfigError, match="give each once"):
        recipe().adapted(seeds=(1, 1))
    assert recipe().adapted(seeds=(1, 2)).seeds == (1, 2)


def outcome(job: Job, hits: int = 90, pixels: int = 100, error: str | None = None) -> Outcome:
    if error:
        return Outcome(job, Path("jobs") / job.name, error, fault=False)
    matrix = np.array([[hits, 100 - hits], [100 - hits, hits]])
    scenes = {f"scene {i}": matrix + i for i in range(12)}
    counts = {"train": pixels, "validation": 5}
    taught = dict.fromkeys(SCHEME.names, pixels // 2)
    return Outcome(
        job, Path("jobs"), scheme=SCHEME, scenes=scenes, labelled_pixels=counts, spent_pixels=pixels + 5, taught=taught,
        seconds=2.0, peak_memory_mib=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def study() -> tuple[Recipe, list[Job], dict[str, Outcome], list[CellScores]]:
    published = {"U-Net, 10%": {"miou": 0.61}}
    given = recipe(full={"labels": "100%", "method": "U-Net"}, baseline={"method": "forest"}, published=published,
                   published_in="A paper.")  # fmt: skip
    jobs = jobs_of(given)
    quality = {"U-Net, 100%": 95, "U-Net, 10%": 90, "forest, 100%": 85, "forest, 10%": 80}
    outcomes = {}
    for job in jobs[:10]:
        pixels = 1000 if job.cell["labels"] == "100%" else 100
        if job.cell["method"] == "wide":
            outcomes[job.name] = outcome(job, error="The loss\nis not finite.")
        else:
            outcomes[job.name] = outcome(job, quality[job.cell_name] - job.seed, pixels)
    return given, jobs, outcomes, summarize(given, jobs, outcomes)


def test_scores_by_cell(study: tuple) -> None:
    _, _, outcomes, rows = study
    network, few = rows[0], rows[1]
    runs = [outcomes[f"U-Net, 10%, seed {seed}"].confusion for seed in (0, 1)]
    expected = [np.diag(c).sum() / (2 * c.sum() - np.diag(c).sum()) for c in runs]  # both classes have the same IoU
    assert few.miou.mean == pytest.approx(np.mean(expected))
    assert few.miou.std == pytest.approx(np.std(expected, ddof=1))
    assert (few.miou.n, few.over, few.spent_pixels) == (2, "seeds", 105)
    assert few.share == pytest.approx(few.miou.mean / network.miou.mean)
    assert few.gain == pytest.approx(few.miou.mean - rows[3].miou.mean)
    assert few.gain_interval is not None
    assert few.gain_interval[0] <= few.gain <= few.gain_interval[1]
    assert few.interval is not None
    assert few.interval[0] < few.miou.mean < few.interval[1]
    wide = rows[4]
    assert (len(wide.failed), wide.missing, wide.miou.n) == (2, 0, 0)
    assert rows[5].missing == 2


def test_a_scene_that_each_seed_deals_to_another_fold_is_drawn_as_one(study: tuple) -> None:
    _, jobs, _, _ = study
    dealt = [outcome(replace(jobs[0], fold=f"fold {number}", seed=number)) for number in range(3)]
    sums = scene_sums(dealt)
    assert [scene for _, scene in sums] == list(dealt[0].scenes)
    diagonal, in_truth, predicted = next(counted for (_, scene), counted in sums.items() if scene == "scene 1")
    one = dealt[0].scenes["scene 1"]
    np.testing.assert_array_equal(diagonal, 3 * np.diag(one))
    np.testing.assert_array_equal((in_truth, predicted), (3 * one.sum(1), 3 * one.sum(0)))
    elsewhere = replace(jobs[0], config=jobs[0].config.with_changes({"data.root": "other"}))
    assert len(scene_sums([*dealt, outcome(elsewhere)])) == 2 * len(sums)


def test_of_several_baselines_and_full_supervisions_the_best_counts(study: tuple) -> None:
    given, jobs, outcomes, rows = study
    either = given.model_copy(
        update={"full": {"labels": "100%", "method": ("forest", "U-Net")}, "baseline": {"method": ("forest", "wide")}}
    )
    network, few, _, forest, wide, _ = summarize(either, jobs, outcomes)  # of wide every run failed
    assert few.share == pytest.approx(few.miou.mean / network.miou.mean)
    assert (few.gain, few.gain_interval) == (rows[1].gain, rows[1].gain_interval)
    begun = {name: each for name, each in outcomes.items() if name != "U-Net, 100%, seed 1"}  # the best, half done
    of_whole = summarize(either, jobs, begun)[3]
    assert of_whole.share == pytest.approx(forest.miou.mean / rows[2].miou.mean)
    assert forest.gain is None
    assert wide.gain is None
    assert "mIoU above method forest or wide (whichever is best) on" in legend(either, rows)
    assert "share of the mIoU of labels 100%, method forest or U-Net (whichever is best)." in legend(either, rows)
    assert "whichever" not in legend(given, rows)
    none = summarize(given, jobs, {})
    assert "Of full" not in legend(given, none)
    assert "Gain" not in legend(given, none)


def test_folds_of_one_run_are_pooled_and_their_spread_is_told() -> None:
    given = recipe(base={"split": {"folds": 3}}, seeds=[0], grid={"method": {"U-Net": {}}}, budget=None)
    jobs = jobs_of(given)
    (row,) = summarize(
        given, jobs, {job.name: outcome(job, hits) for job, hits in zip(jobs, (60, 80, 90), strict=True)}
    )
    pooled = sum(o.confusion for o in row.outcomes)
    assert row.over == "folds"
    assert row.accuracy.mean == pytest.approx(np.trace(pooled) / pooled.sum())
    assert (row.accuracy.n, row.accuracy.std > 0.05) == (3, True)


def test_what_only_one_cell_has_scores_of_is_not_compared() -> None:
    grid = {"method": {"U-Net": {}, "forest": {"model": {"name": "random-forest"}}}}
    beside = {"method": "forest"}
    given = recipe(base={"split": {"folds": 3}}, seeds=[0], grid=grid, budget=None, full=beside, baseline=beside)
    jobs = jobs_of(given)
    hits = {"fold 1": 95, "fold 2": 90, "fold 3": 60}
    outcomes = {job.name: outcome(job, hits[job.fold]) for job in jobs}
    hardest = jobs[2]
    outcomes[hardest.name] = outcome(hardest, error="Out of memory.")
    network, forest = summarize(given, jobs, outcomes)
    assert network.miou.mean > forest.miou.mean + 0.1  # it was spared the hardest fold
    assert (network.share, network.gain, network.gain_interval) == (1.0, 0.0, (0.0, 0.0))
    del outcomes[jobs[0].name], outcomes[jobs[1].name]
    network, _ = summarize(given, jobs, outcomes)
    assert (network.share, network.gain, network.gain_interval) == (None, None, None)
    for job in jobs[3:5]:
        del outcomes[job.name]
    outcomes[jobs[0].name] = outcome(jobs[0])
    network, _ = summarize(given, jobs, outcomes)  # each has a fold that the other has not
    assert (network.share, network.gain) == (None, None)


def test_tables_show_everything_and_what_failed(study: tuple) -> None:
    given, jobs, outcomes, rows = study
    table = as_csv(job_rows(jobs, outcomes)).splitlines()
    assert len(table) == 1 + len(jobs)
    head = table[0].split(",")
    assert head[:5] == ["method", "labels", "seed", "fold", "state"]
    assert head[-1] == "error"
    assert {"miou", "accuracy", "iou_land", "labelled_pixels", "seconds", "peak_memory_mib"} <= set(head)
    assert "The loss is not finite." in as_csv(job_rows(jobs, outcomes))
    summary = cell_rows(rows)
    assert summary[1]["published_miou"] == 0.61
    assert [row["jobs_failed"] for row in summary] == [0, 0, 0, 0, 2, 0]
    page = markdown(given, rows)
    assert "| 0.6100 |" in page
    assert "wide, 100%, seed 0 and 1 more: The loss is not finite." in page
    assert failures(rows) == [("wide, 100%, seed 0 and 1 more", "The loss is not finite.")]
    # Both classes are half of the truth.
    assert "A map all of one class would have a mean IoU of 0.250 and an accuracy of 0.500" in page
    assert "Without a training label" not in page


def test_classes_that_nothing_could_be_learned_of_are_named_below_the_table(study: tuple) -> None:
    given, jobs, outcomes, _ = study
    name = jobs[0].name
    poor = outcomes | {name: replace(outcomes[name], taught={"land": 50, "water": 0})}
    page = markdown(given, summarize(given, jobs, poor))
    assert "Without a training label, so that nothing could be mapped as it: water (1 of 8 jobs)." in page
    old = {key: replace(outcome, taught={}) for key, outcome in poor.items()}
    assert "water (1 of 1 jobs)" in markdown(given, summarize(given, jobs, old | {name: poor[name]}))
    nowhere = {scene: np.diag([9, 0]) for scene in poor[name].scenes}  # what is not scored is not missed
    assert replace(poor[name], scenes=nowhere).untaught == []


def test_ground_that_differs_from_row_to_row_has_no_score_of_no_skill(study: tuple) -> None:
    given, jobs, outcomes, _ = study
    name = jobs[0].name
    scenes = {scene: np.array([[9, 1], [0, 0]]) for scene in outcomes[name].scenes}
    page = markdown(given, summarize(given, jobs, outcomes | {name: replace(outcomes[name], scenes=scenes)}))
    assert "the most common class" not in page


def test_cells_may_differ_in_their_classes(study: tuple) -> None:
    given, jobs, outcomes, _ = study
    name = jobs[0].name
    three = ClassScheme.from_names(["land", "water", "ice"])
    scenes = {scene: np.diag([9, 9, 9]) for scene in outcomes[name].scenes}
    cold = outcomes | {name: replace(outcomes[name], scheme=three, scenes=scenes)}
    rows = summarize(given, jobs, {name: cold[name]} | {job.name: cold[job.name] for job in jobs[2:4]})
    assert [rows[0].class_iou("ice").mean, rows[1].class_iou("ice").n] == [1.0, 0]
    for plot in study_plots(given, rows):
        assert plot.draw("paper", "svg")
    assert b"ice" in study_plots(given, rows)[1].draw("paper", "svg")


def test_jobs_of_different_releases_are_told(study: tuple) -> None:
    given, jobs, outcomes, rows = study
    assert "different releases" not in markdown(given, rows)
    newer = outcomes | {jobs[0].name: replace(outcomes[jobs[0].name], release="9.1")}
    page = markdown(given, summarize(given, jobs, newer))
    assert "different releases of sparsecover: an earlier one (7 of 8 jobs), 9.1 (1 of 8 jobs)" in page


def test_plots_with_and_without_a_budget(study: tuple) -> None:
    given, _, _, rows = study
    plots = study_plots(given, rows)
    assert [plot.name for plot in plots] == ["label_efficiency", "per_class"]
    assert plots[0].draw("paper", "png")[:8] == b"\x89PNG\r\n\x1a\n"
    svg = plots[0].draw("paper", "svg")
    assert svg == plots[0].draw("paper", "svg")
    assert b"</svg>" in svg
    bars = study_plots(given.model_copy(update={"budget": None}), rows)
    assert [plot.name for plot in bars] == ["scores", "per_class"]
    assert bars[0].draw("dark", "png") != bars[1].draw("dark", "png")
    panels = study_plots(given.model_copy(update={"panel": "method"}), rows)
    assert [plot.name for plot in panels] == [
        "label_efficiency_u_net", "per_class_u_net", "label_efficiency_forest", "per_class_forest"
    ]  # fmt: skip


def test_clicks_and_random_pixels_are_lines_of_their_own() -> None:
    labels = {
        "100%": {"data.simulate": None},
        "10%": {"data.simulate": {"fraction": 0.1}},
        "1%": {"data.simulate": {"fraction": 0.01}},
        "clicks": {"data.simulate": {"sampler": "points", "n": 2}},
    }
    given = recipe(grid={"labels": labels}, seeds=[0])
    jobs = jobs_of(given)
    rows = summarize(given, jobs, {job.name: outcome(job) for job in jobs})
    assert usual_sampler(rows) == "pixels"
    assert usual_sampler([row for row in rows if row.name in ("clicks", "1%")]) == "pixels"  # as frequent as points
    lines = {sampler: [row.name for row in group] for sampler, group in by_sampler(rows, "pixels").items()}
    assert lines == {"": ["100%", "10%", "1%"], "points": ["clicks"]}
    assert study_plots(given, rows)[0].draw("light", "png")


def test_recipes_are_found_by_name_and_by_file(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(VALUES))
    assert find_recipe(tmp_path / "own.yaml") == tmp_path / "own.yaml"
    for name, path in shelved_recipes().items():
        assert find_recipe(name) == path
        assert jobs_of(Recipe.from_yaml(path)), name
        assert jobs_of(Recipe.from_yaml(path).adapted(quick=True)), name
    with pytest.raises(ConfigError, match="There is no recipe 'nowhere'"):
        find_recipe("nowhere")


def test_a_training_configuration_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("model: {name: unet}\n")
    with pytest.raises(ConfigError, match="sparsecover train --config"):
        Recipe.from_yaml(tmp_path / "run.yaml")


def test_the_recipe_that_the_docs_show_is_one() -> None:
    text = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")
    shown = Recipe.from_dict(yaml.safe_load(text.split("```yaml\n")[1].split("```")[0]))
    jobs = jobs_of(shown)
    assert len(jobs) == (2 * 3 + 1) * 3 * 3
    assert {job.fold for job in jobs} == {"fold 1", "fold 2", "fold 3"}
