"""The forest against scikit-learn's own probabilities, and its features against SciPy and scikit-image."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from scipy import ndimage
from skimage.feature import hessian_matrix, hessian_matrix_eigvals
from sklearn.ensemble import RandomForestClassifier

from sparsecover.classes import ClassScheme
from sparsecover.config import Config
from sparsecover.errors import ModelError
from sparsecover.grid import Window
from sparsecover.inference import predict_strips
from sparsecover.labels import LabelRaster
from sparsecover.models import create_model
from sparsecover.models.features import MultiScaleFeatures, PixelFeatures
from sparsecover.models.forest import RandomForest, create_feature_forest, create_forest, fit_forest
from sparsecover.pipeline.scoring import score_checkpoint
from sparsecover.progress import Silent
from sparsecover.raster import Scene
from sparsecover.training.fitting import fit
from sparsecover.training.fitting_pixels import _surroundings
from sparsecover.training.run import Run

PER_SCALE = 7


def samples(n=600, bands=5, classes=4, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, bands)).astype(dtype)
    labels = (features[:, 0] > 0) + 2 * (features[:, 1] * features[:, 2] > 0.1) * (rng.random(n) > 0.1)
    return features, labels % classes


def sklearn_forest(features, labels, trees=12, **options):
    return RandomForestClassifier(trees, random_state=3, **options).fit(features, labels)


@pytest.mark.parametrize("min_leaf", [1, 7])
@pytest.mark.parametrize("balanced", [False, True])
def test_probabilities_are_scikit_learns(min_leaf, balanced):
    features, labels = samples()
    unseen = np.random.default_rng(1).normal(size=(2000, 5)).astype(np.float32)
    weight = "balanced_subsample" if balanced else None
    expected = sklearn_forest(features, labels, min_samples_leaf=min_leaf, class_weight=weight).predict_proba(unseen)
    trees = fit_forest(features, labels, 4, trees=12, seed=3, min_leaf=min_leaf, balanced=balanced)
    np.testing.assert_allclose(trees(torch.from_numpy(unseen)).numpy(), expected, atol=1e-6)


def test_a_pixel_gets_the_same_to_the_bit_whichever_pixels_walk_with_it():
    features, labels = samples()
    trees = fit_forest(features, labels, 4, trees=45, seed=3, min_leaf=3)
    many = torch.randn(9001, 5, generator=torch.Generator().manual_seed(0))
    whole = trees(many)
    for size in (1, 7, 1013, 4096, 5000):
        parts = torch.split(many[: 5 * size], size)
        assert torch.equal(torch.cat([trees(part) for part in parts]), whole[: 5 * size])
    assert trees(many[:0]).shape == (0, 4)


def test_a_value_on_a_threshold_goes_the_same_way_as_in_scikit_learn():
    # Thresholds lie halfway between values in double precision, so many of them round up to the value itself.
    rng = np.random.default_rng(2)
    features = (1 + rng.integers(0, 60, (400, 2)) * np.float32(2.0**-23)).astype(np.float32)
    labels = rng.integers(0, 3, 400)
    forest = sklearn_forest(features, labels)
    thresholds = np.concatenate([e.tree_.threshold[e.tree_.feature >= 0] for e in forest.estimators_])
    assert (thresholds.astype(np.float32) > thresholds).any()
    ours = fit_forest(features, labels, 3, trees=12, seed=3)(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(ours, forest.predict_proba(features), atol=1e-6)


def test_classes_without_labels_get_no_votes_and_finite_logits():
    features, labels = samples(classes=2)
    forest = create_forest(5, 6, trees=5).grow(features, np.where(labels == 0, 1, 4))
    with torch.inference_mode():
        logits = forest(torch.randn(2, 5, 8, 9))
    assert torch.isfinite(logits).all()
    assert set(logits.argmax(1).unique().tolist()) <= {1, 4}
    np.testing.assert_allclose(logits.exp().sum(1).numpy(), 1.0, atol=1e-5)


def test_a_single_class_is_predicted_everywhere():
    features, _ = samples()
    forest = create_forest(5, 3, trees=2).grow(features, np.full(len(features), 2))
    assert (forest(torch.randn(1, 5, 4, 4)).argmax(1) == 2).all()


@pytest.mark.parametrize("name", ["random-forest", "random-forest-features"])
def test_saved_as_safetensors_and_loaded_into_a_forest_of_its_size(name):
    rng = np.random.default_rng(0)
    forest = create_model(name, 2, 3, trees=4)
    count = forest.features.out_channels
    forest.grow(rng.normal(size=(200, count)).astype(np.float32), rng.integers(0, 3, 200), seed=1)
    again = create_model(name, 2, 3, **forest.size)
    again.load_state_dict(load(save(forest.state_dict())))
    images = torch.randn(1, 2, 20, 30)
    assert torch.equal(forest(images), again(images))
    assert forest(images).std() > 0.1


@pytest.mark.parametrize("name", ["random-forest", "random-forest-features"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (33, 2), (50, 41)])
def test_any_size(name, shape):
    forest = create_model(name, 3, 4, trees=3)
    rng = np.random.default_rng(0)
    forest.grow(rng.normal(size=(90, forest.features.out_channels)), rng.integers(0, 4, 90))
    logits = forest(torch.randn(2, 3, *shape))
    assert logits.shape == (2, 4, *shape)
    assert torch.isfinite(logits).all()


def test_an_ungrown_forest_finds_all_classes_equally_likely():
    np.testing.assert_allclose(create_feature_forest(3, 4)(torch.randn(1, 3, 9, 9)).exp().numpy(), 0.25, rtol=1e-5)


def test_the_same_seed_gives_the_same_trees_and_another_seed_others():
    features, labels = samples()
    first, same, other = (fit_forest(features, labels, 4, trees=3, seed=s).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(first[k], same[k]) for k in first)
    assert first["child"].shape != other["child"].shape or not torch.equal(first["threshold"], other["threshold"])


def test_balancing_raises_the_rare_class():
    rng = np.random.default_rng(0)
    labels = (rng.random(2000) < 0.03).astype(int)
    features = (rng.normal(size=(2000, 2)) + 0.8 * labels[:, None]).astype(np.float32)
    rare = [
        fit_forest(features, labels, 2, trees=20, min_leaf=20, balanced=b)(torch.zeros(1, 2))[0, 1].item()
        for b in (False, True)
    ]
    assert rare[1] > 3 * rare[0]


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.zeros((0, 5), np.float32), np.zeros(0, int), "n from 1"),
        (np.zeros((4, 5), np.float32), np.zeros(3, int), "n from 1"),
        (np.zeros((4, 5), np.float32), np.array([0, 1, 2, 255]), "expected 0 to 3"),
        (np.full((4, 5), np.nan, np.float32), np.zeros(4, int), "NaN"),
    ],
)
def test_what_cannot_be_learnt_is_refused(features, labels, message):
    with pytest.raises(ModelError, match=message):
        fit_forest(features, labels, 4)


def test_features_of_another_width_are_refused():
    with pytest.raises(ModelError, match="expected \\[n, 5\\]"):
        create_forest(5, 2).grow(np.zeros((4, 3), np.float32), np.zeros(4, int))


@pytest.mark.parametrize("options", [{"trees": 0}, {"min_leaf": 0}])
def test_options_that_grow_nothing_are_refused(options):
    with pytest.raises(ModelError, match="at least 1"):
        create_forest(3, 2, **options)


def test_large_images_go_through_in_strips_without_a_seam(monkeypatch):
    images = torch.randn(1, 2, 300, 40)
    forest = create_feature_forest(2, 3, trees=4)
    pixels = forest.features(images)[0].flatten(1).T.numpy()
    forest.grow(pixels[::40], np.random.default_rng(0).integers(0, 3, len(pixels[::40])))
    whole = forest(images)
    monkeypatch.setattr("sparsecover.models.forest._STRIP", 40 * 17)
    assert torch.equal(forest(images), whole)


@pytest.mark.parametrize("name", ["random-forest", "random-forest-features"])
@pytest.mark.parametrize("patch_size", [None, 200, 30])
def test_prediction_in_windows_gives_what_the_whole_scene_gives(name, patch_size):
    values = np.random.default_rng(3).normal(size=(2, 230, 317)).astype(np.float32)
    forest = create_model(name, 2, 3, trees=4)
    rows = forest.features(torch.from_numpy(values)[None])[0].flatten(1).T[::50].numpy()
    forest.grow(rows, np.random.default_rng(0).integers(0, 3, len(rows)))
    whole = forest(torch.from_numpy(values)[None])[0].softmax(0).numpy()
    seen = np.zeros((230, 317), int)
    for window, probabilities, _ in predict_strips(Scene.from_array(values), forest, patch_size=patch_size):
        seen[window.slices] += 1
        np.testing.assert_array_equal(probabilities, whole[:, *window.slices])
    assert (seen == 1).all()


def test_scattered_places_are_computed_in_small_windows_and_get_what_the_whole_gives():
    values = np.random.default_rng(3).normal(size=(1, 600, 700)).astype(np.float32)
    forest = create_feature_forest(1, 2, trees=2)
    whole = forest.features(torch.from_numpy(values)[None])[0]
    forest.grow(whole.flatten(1).T[::500].numpy(), np.arange(840) % 2)
    seen = []
    forest.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape))
    area = (Window(10, 20, 30, 5), Window(300, 420, 8, 60))
    strips = list(predict_strips(Scene.from_array(values), forest, area=area))
    assert max(shape[-1] for shape in seen) <= 2 * forest.halo_px + 128
    expected = forest(torch.from_numpy(values)[None])[0].softmax(0).numpy()
    valid = np.zeros((600, 700), bool)
    for strip in strips:
        valid[strip.window.slices] = strip.valid
        found = strip.probabilities[:, strip.valid]
        np.testing.assert_array_equal(found, expected[:, *strip.window.slices][:, strip.valid])
    assert valid.sum() == 30 * 5 + 8 * 60
    seen.clear()
    everywhere = tuple(Window(row, col, 100, 100) for row in range(0, 600, 100) for col in range(0, 700, 100))
    list(predict_strips(Scene.from_array(values), forest, area=everywhere))
    assert seen[-1] == (1, 1, 600, 700)  # at once, where the margins of small windows would cost more


def test_training_scores_held_out_labels_as_evaluate_does(tmp_path):
    rng = np.random.default_rng(1)
    scene = Scene.from_array(ndimage.gaussian_filter(rng.normal(size=(1, 300, 400)), (0, 9, 9)).astype(np.float32))
    truth = (scene.read()[0][0] > 0).astype(np.uint8)
    drawn = rng.random(truth.shape)
    scheme = ClassScheme.from_names(["low", "high"])
    train, held = (
        LabelRaster(np.where(chosen, truth, 255).astype(np.uint8), scene.grid, scheme=scheme)
        for chosen in (drawn < 0.002, drawn > 0.995)
    )
    config = Config.from_dict({"model": {"name": "random-forest-features", "trees": 5}, "patches": {"size_px": 32}})
    checkpoint = fit([(scene, train)], config, tmp_path / "run", validation=[(scene, held)], reporter=Silent())
    told = json.loads((tmp_path / "run/metrics.json").read_text())
    again = score_checkpoint(checkpoint, [(scene, held)])
    assert again.miou < 1
    assert np.asarray(told["confusion"]).tolist() == again.confusion.tolist()


@pytest.mark.parametrize("labelled", [1e-2, 1e-5])
def test_fitting_gives_each_label_once_with_its_surroundings_and_reads_near_tiles_together(labelled):
    rng = np.random.default_rng(0)
    scene = Scene.from_array(rng.integers(0, 255, (1, 700, 900)).astype(np.uint8))
    values = np.where(rng.random((700, 900)) < labelled, rng.integers(0, 2, (700, 900)), 255).astype(np.uint8)
    labels = LabelRaster(values, scene.grid, scheme=ClassScheme.from_names(["a", "b"]))
    config = Config.from_dict({"model": {"name": "random-forest-features"}, "patches": {"size_px": 96}})
    run = Run.prepare([(scene, labels)], [], config, None, "cpu", Silent())
    given = np.zeros(values.shape, int)
    for patch in _surroundings(run, run.plan):
        given[patch.own.intersect(scene.grid.window).slices] += 1
        assert patch.window == patch.own.expand(run.model.halo_px).intersect(scene.grid.window)
    assert (given[values != 255] == 1).all()
    assert given.max() == 1
    read = sum(patch.window.size for patch in _surroundings(run, run.plan))
    assert read < 2 * values.size
    assert len(_surroundings(run, run.plan)) <= (4 if labelled > 1e-3 else len(run.plan.tiling()))


def test_more_samples_than_the_limit_are_thinned(monkeypatch):
    monkeypatch.setattr("sparsecover.models.forest.MAX_SAMPLES", 50)
    features, labels = samples(5000)
    assert len(fit_forest(features, labels, 4, trees=1).child) < 100


class TestFeatures:
    """Columns: the bands, then for each sigma 7 features of each band."""

    @staticmethod
    def of(image, sigma):
        """The seven features of a single band [H, W] at a sigma."""
        module = MultiScaleFeatures(1)
        features = module(torch.from_numpy(image)[None, None])[0].numpy()
        start = 1 + PER_SCALE * module.sigmas.index(sigma)
        return features[start : start + PER_SCALE]

    @pytest.fixture
    def image(self):
        return ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(120, 130)), 1.0) * 10

    @pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0, 8.0, 16.0])
    def test_brightness_is_a_gaussian_with_mirrored_borders(self, image, sigma):
        expected = ndimage.gaussian_filter(image, sigma, mode="mirror", truncate=6)
        assert np.abs(self.of(image, sigma)[0] - expected).max() < 0.06 * expected.std()

    @pytest.mark.parametrize("sigma", [2.0, 4.0, 8.0])
    def test_edges_follow_the_gradient_magnitude(self, image, sigma):
        expected = sigma * ndimage.gaussian_gradient_magnitude(image, sigma, mode="mirror")
        assert np.corrcoef(self.of(image, sigma)[1].ravel(), expected.ravel())[0, 1] > 0.95

    @pytest.mark.parametrize("sigma", [2.0, 4.0])
    def test_ridges_follow_the_hessians_eigenvalues(self, image, sigma):
        hessian = hessian_matrix(image, sigma, mode="mirror", use_gaussian_derivatives=True)
        for ours, expected in zip(self.of(image, sigma)[2:4], hessian_matrix_eigvals(hessian), strict=True):
            assert np.corrcoef(ours.ravel(), expected.ravel())[0, 1] > 0.93

    def test_local_deviation_is_that_of_a_weighted_window(self, image):
        mean = ndimage.gaussian_filter(image, 4.0, mode="mirror", truncate=6)
        square = ndimage.gaussian_filter(image**2, 4.0, mode="mirror", truncate=6)
        expected = np.sqrt(square - mean**2)
        np.testing.assert_allclose(self.of(image, 4.0)[6], expected, rtol=0.05)

    def test_texture_tells_stripes_from_speckle(self):
        stripes = np.tile(np.sin(np.arange(96) * 1.2), (96, 1))
        speckle = np.random.default_rng(0).normal(size=(96, 96))
        (strong, weak), (more, less) = (
            (f[4].mean(), f[5].mean()) for f in (self.of(stripes, 8.0), self.of(speckle, 8.0))
        )
        assert weak < 0.05 * strong
        assert less > 0.6 * more

    def test_constant_images_have_neither_edges_nor_texture(self):
        features = MultiScaleFeatures(2)(torch.full((1, 2, 30, 40), 3.0))[0]
        brightness = {2 + scale * 14 + band for scale in range(6) for band in range(2)} | {0, 1}
        for index, values in enumerate(features):
            np.testing.assert_allclose(values.numpy(), 3.0 if index in brightness else 0.0, atol=5e-3)

    def test_a_window_with_its_halo_gives_what_the_whole_gives(self):
        module = MultiScaleFeatures(1)
        image = torch.randn(1, 1, 2 * module.halo_px + 40, 2 * module.halo_px + 30)
        whole = module(image)
        h = module.halo_px
        windowed = module(image[:, :, 3 : 3 + 2 * h + 20, 5 : 5 + 2 * h + 12])
        assert torch.equal(windowed[..., h : h + 20, h : h + 12], whole[..., 3 + h : 23 + h, 5 + h : 17 + h])

    @pytest.mark.parametrize("shape", [(50, 61), (7, 3), (1, 40)])
    def test_a_margin_mirrored_at_the_border_gives_what_the_border_gives(self, shape):
        module = MultiScaleFeatures(2)
        image = np.random.default_rng(1).normal(size=(1, 2, *shape)).astype(np.float32)
        around = np.pad(image, ((0, 0), (0, 0), (110, 103), (97, 120)), mode="reflect")
        inside = module(torch.from_numpy(around))[..., 110 : 110 + shape[0], 97 : 97 + shape[1]]
        assert torch.equal(inside, module(torch.from_numpy(image)))

    def test_the_halo_is_no_wider_than_needed(self):
        module = MultiScaleFeatures(1)
        size = 2 * module.halo_px + 1
        image = torch.zeros(1, 1, size, size, dtype=torch.float64)
        image[..., 0, module.halo_px] = 1e6
        assert (module(image)[0, 1:, module.halo_px, module.halo_px] != 0).any()

    def test_many_bands_are_filtered_in_groups(self):
        module = MultiScaleFeatures(224)
        features = module(torch.randn(1, 224, 12, 12))
        assert features.shape == (1, module.out_channels, 12, 12)
        assert module.out_channels == 224 + 8 * PER_SCALE * 6

    def test_turning_the_image_turns_the_features(self):
        image = torch.randn(1, 2, 40, 52)
        module = MultiScaleFeatures(2)
        turned = module(torch.rot90(image, 1, (2, 3)))
        np.testing.assert_allclose(turned.numpy(), torch.rot90(module(image), 1, (2, 3)).numpy(), atol=2e-3)


def test_pixel_features_are_the_bands():
    forest = RandomForest(PixelFeatures(3), 2)
    images = torch.randn(1, 3, 4, 4)
    assert torch.equal(forest.features(images), images)
    assert forest.features.halo_px == 0
