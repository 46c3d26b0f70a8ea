from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from covidct import ArchitectureInfo, CTClassifier, Recipe, Trainer, create_model
from covidct.devices import resolve_device, resolve_precision
from covidct.errors import InvalidFileError, TrainingDivergedError
from covidct.training import trainer as trainer_module
from covidct.training.profile import Profile
from covidct.training.recipe import Augmentation

RECIPE = Recipe.demo().replace(batch_size=4, optimizer="lamb", learning_rate=1e-2).scaled(3)


def slices(count: int = 10) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    targets = np.arange(count) % 2
    canvases = rng.integers(0, 80, (count, 40, 56), dtype=np.uint8)
    canvases[targets == 1, 10:20, 10:30] += 150
    return canvases, targets


def fit(tiny, recipe=RECIPE, device="cpu", **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create_model(tiny, weights=None)
    trainer = Trainer(model, recipe, device=device, precision="float32", **options)
    return model, trainer


def stub(trainer, *, monitor=False):
    """Replace the epochs of a trainer, and the scores of monitored slices, by fixed numbers."""
    trainer._run_epoch = lambda *_: (0.1, 1.0, 0.5)
    if monitor:
        trainer._score = lambda *given: (len(given[0]), 0.25)
    return trainer


def state(model) -> torch.Tensor:
    return torch.cat([t.flatten().double() for t in model.state_dict().values()])


@pytest.mark.parametrize("optimizer", ["lamb", "adamw", "sgd"])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_learns_a_bright_square(tiny, optimizer, device):
    recipe = Recipe(
        epochs=12,
        batch_size=5,
        learning_rate=2e-2 if optimizer != "adamw" else 3e-3,
        milestones=(),
        weight_decay=0.0,
        optimizer=optimizer,
        augmentation=Augmentation.none(),
    )
    _, trainer = fit(tiny, recipe, device=device)
    history = trainer.fit(*slices())
    assert history[-1].loss < 0.5 * history[0].loss
    assert history[-1].accuracy > 0.85


def test_same_seed_same_bits_and_other_seed_others(tiny):
    models = []
    for seed in (0, 0, 1):
        model, trainer = fit(tiny, seed=seed)
        trainer.fit(*slices())
        models.append(state(model))
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])


@pytest.mark.parametrize("stop", [0, 1])
def test_resuming_gives_the_same_bits(tiny, tmp_path, stop):
    straight, trainer = fit(tiny)
    expected = trainer.fit(*slices())

    class Killed(Exception):
        pass

    _, trainer = fit(tiny, checkpoint_dir=tmp_path, checkpoint_every=0)
    run_epoch = trainer._run_epoch

    def dies(epoch, *rest):
        if epoch > stop:
            raise Killed
        return run_epoch(epoch, *rest)

    trainer._run_epoch = dies
    with pytest.raises(Killed):
        trainer.fit(*slices())

    resumed, trainer = fit(tiny, checkpoint_dir=tmp_path)
    history = trainer.fit(*slices())
    assert torch.equal(state(resumed), state(straight))
    assert [r[:4] for r in history] == [r[:4] for r in expected]


@pytest.mark.parametrize(
    "change",
    [
        lambda canvases, targets: (canvases, targets, {"seed": 7}),
        lambda canvases, targets: (canvases, targets, {"recipe": RECIPE.replace(pos_weight=2.0)}),
        lambda canvases, targets: (canvases, 1 - targets, {}),
        lambda canvases, targets: (canvases[::-1].copy(), targets, {}),
    ],
)
def test_checkpoints_of_another_training_are_refused(tiny, tmp_path, change):
    _, trainer = fit(tiny, checkpoint_dir=tmp_path)
    trainer.fit(*slices())
    canvases, targets, options = change(*slices())
    _, other = fit(tiny, **({"checkpoint_dir": tmp_path} | options))
    with pytest.raises(InvalidFileError, match=r"checkpoint\.pt.*differ.*remove the checkpoints"):
        other.fit(canvases, targets)


@pytest.mark.parametrize(
    ("canvases", "targets", "message"),
    [
        (np.zeros((2, 40, 56), np.float32), [0, 1], r"\(N, H, W\) uint8.*float32.*make_canvases"),
        (np.zeros((2, 1, 40, 56), np.uint8), [0, 1], r"\(2, 1, 40, 56\)"),
        (np.zeros((2, 40, 56), np.uint8), [0], "got 2 canvases and 1 targets"),
        (np.zeros((0, 40, 56), np.uint8), [], "got 0 canvases and 0 targets"),
        (np.zeros((2, 40, 56), np.uint8), [1, 2], r"0 or 1, got \[1, 2\]"),
    ],
)
def test_what_is_no_training_set_is_refused(tiny, canvases, targets, message):
    _, trainer = fit(tiny)
    with pytest.raises(ValueError, match=message):
        trainer.fit(canvases, np.array(targets))


def test_an_interval_of_no_epochs_is_refused(tiny):
    _, trainer = fit(tiny)
    with pytest.raises(ValueError, match="monitor_every must be an integer of at least 1, got 0"):
        trainer.fit(*slices(), monitor=slices(), monitor_every=0)


def test_global_randomness_is_untouched(tiny):
    _, trainer = fit(tiny)
    before = torch.random.get_rng_state()
    trainer.fit(*slices())
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_diverging_says_where(tiny, value):
    model, trainer = fit(tiny)
    with torch.no_grad():
        next(model.head.parameters()).fill_(value)
    with pytest.raises(TrainingDivergedError, match=r"(nan|inf) in epoch 0, batch 0.*rate 0.01"):
        trainer.fit(*slices())


def test_feature_extraction_moves_the_head_alone(tiny):
    model, trainer = fit(tiny, RECIPE.replace(strategy="feature-extraction"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trainer.fit(*slices())
    moved = {n for n, tensor in model.state_dict().items() if not torch.equal(tensor, before[n])}
    assert moved
    assert all(name.startswith("head") for name in moved)


def test_monitoring_changes_nothing(tiny):
    canvases, targets = slices()
    watched, trainer = fit(tiny)
    history = trainer.fit(canvases, targets, monitor=(canvases, targets), monitor_every=2)
    plain, trainer = fit(tiny)
    trainer.fit(canvases, targets)
    assert torch.equal(state(watched), state(plain))
    assert [np.isnan(r.monitor_accuracy) for r in history] == [True, False, False]


def test_pos_weight_pulls_towards_covid(tiny):
    means = []
    for weight in (0.05, 20.0):
        model, trainer = fit(tiny, RECIPE.replace(pos_weight=weight))
        trainer.fit(*slices())
        canvases = torch.from_numpy(slices()[0]).unsqueeze(1)
        means.append(float(model.eval()(canvases).mean().detach()))
    assert means[0] < means[1]


def test_profile_names_every_part(tiny, tmp_path):
    profile = Profile(torch.device("cpu"))
    _, trainer = fit(tiny, profile=profile, checkpoint_dir=tmp_path)
    trainer.fit(*slices(), monitor=slices())
    parts = ["data", "augment", "forward", "backward", "optimizer", "evaluation", "checkpoint"]
    assert sorted(profile.seconds) == sorted(parts)
    assert "optimizer" in str(profile)


def test_defaults(tiny):
    model = create_model(tiny, weights=None)
    trainer = Trainer(model)
    assert (trainer.recipe, trainer.seed) == (Recipe(), (0,))
    assert trainer.device == resolve_device("auto")
    assert trainer.dtype == resolve_precision("auto", trainer.device)
    trainer = stub(Trainer(model, RECIPE.scaled(21), device="cpu"), monitor=True)
    history = trainer.fit(*slices(4), monitor=slices(4))
    assert [r.epoch for r in history if not np.isnan(r.monitor_loss)] == [9, 19, 20]


def test_the_progress_bar_goes_on_where_the_training_was_stopped(tiny, tmp_path, monkeypatch):
    shown = []
    tqdm = trainer_module.tqdm

    def watched(steps, desc, **options):
        shown.append({"desc": desc, **options})
        return tqdm(steps, desc, **options)

    monkeypatch.setattr(trainer_module, "tqdm", watched)
    hashing = {"desc": "hash", "disable": None, "leave": False}
    bar = {"desc": "train", "unit": "epoch", "disable": None, "leave": False}
    for epochs, initial in ((2, 0), (2, 2)):
        _, trainer = fit(tiny, RECIPE.scaled(epochs), checkpoint_dir=tmp_path)
        canvases, targets = slices(4)
        # The type of the targets has no effect on the training.
        stub(trainer).fit(canvases, targets.astype(np.uint8 if initial else np.int64))
        assert shown == [hashing, {**bar, "initial": initial, "total": epochs}]
        shown.clear()
    stub(fit(tiny, checkpoint_dir=tmp_path / "b")[1]).fit(*slices(4), progress=False)
    assert [options["disable"] for options in shown] == [True, True]


def test_the_network_is_compiled_on_request(tiny, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda module: ("compiled", module))
    model, plain = fit(tiny)
    assert plain._forward is plain.model is model
    model, compiled = fit(tiny, compile_model=True)
    assert compiled._forward == ("compiled", model)


def test_passes_are_prepared_for_the_sizes_and_the_precision_of_the_batches(tiny, monkeypatch):
    given = {}
    for name in ("recorded_passes", "float32_depthwise"):

        def watched(*args, name=name):
            given[name] = args
            return nullcontext()

        monkeypatch.setattr(trainer_module, name, watched)
    model = create_model(tiny, weights=None)
    trainer = stub(Trainer(model, RECIPE, device="cpu", precision="bfloat16"))
    trainer.fit(*slices(10))
    assert given["float32_depthwise"] == (model, torch.device("cpu"), torch.bfloat16)
    recorded, batches, dtype = given["recorded_passes"]
    assert (recorded, dtype) == (model, torch.bfloat16)
    assert [tuple(batch.shape) for batch in batches] == [(3, 1, 40, 56), (4, 1, 40, 56)]
    given.clear()
    trainer._forward = nn.Identity()  # compiled
    trainer.fit(*slices(10))
    assert "recorded_passes" not in given


def test_a_probability_of_one_half_is_called_covid_as_in_the_metrics(tiny):
    model, trainer = fit(tiny, RECIPE.scaled(1))
    for tensor in model.head.parameters():
        nn.init.zeros_(tensor)
    targets = np.array([0, 1, 1, 1])
    canvases, _ = slices(4)
    assert trainer._score(canvases, targets) == (pytest.approx(np.log(2)), 0.75)
    assert trainer.fit(canvases, targets)[0].accuracy == 0.75


def test_compiled_network_gives_the_same_loss(tiny):
    _, plain = fit(tiny, RECIPE.scaled(1))
    _, compiled = fit(tiny, RECIPE.scaled(1))
    compiled._forward = torch.compile(compiled.model, backend="eager")
    losses = [trainer.fit(*slices())[0].loss for trainer in (plain, compiled)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("count", [0, 3])
def test_counts_must_agree(tiny, count):
    canvases, targets = slices()
    _, trainer = fit(tiny)
    with pytest.raises(ValueError, match="the same length, at least 1"):
        trainer.fit(canvases[:count], targets if count else targets[:0])


@pytest.mark.parametrize(
    ("n_slices", "sizes"),
    [
        (1, [1]),
        (32, [32]),
        (33, [17, 16]),
        (597, [32] * 8 + [31] * 11),
        (1985, [32] * 32 + [31] * 31),
    ],
)
def test_batches_differ_by_at_most_one_slice(n_slices, sizes):
    assert trainer_module._batch_sizes(n_slices, 32) == sizes


def test_every_slice_is_used_once_an_epoch(tiny):
    _, trainer = fit(tiny, RECIPE.scaled(1))
    step, used = trainer._step, []

    def counted(canvases, truth, augment):
        used.append(canvases[:, 0, 0].tolist())
        return step(canvases, truth, augment)

    trainer._step = counted
    canvases, targets = slices(9)
    canvases[:, 0, 0] = range(9)
    trainer.fit(canvases, targets)
    assert [len(batch) for batch in used] == [3, 3, 3]
    assert sorted(index for batch in used for index in batch) == list(range(9))


@pytest.fixture
def mapped(tmp_path):
    """Canvases in a memory-mapped file, of which the training takes a part."""
    canvases, targets = slices(23)
    np.save(tmp_path / "canvases.npy", canvases)
    return np.load(tmp_path / "canvases.npy", mmap_mode="r"), targets


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("device", DEVICES)
def test_an_index_gives_the_weights_of_a_copy(tiny, mapped, tmp_path, device, share):
    canvases, targets = mapped
    train, test = np.arange(23)[::-2], np.arange(1, 23, 2)
    copied, trainer = fit(tiny, device=device, checkpoint_dir=tmp_path, checkpoint_every=0)
    monitor = canvases[test].copy(), targets[test]
    expected = trainer.fit(np.array(canvases[train]), targets[train], monitor=monitor)
    streamed, trainer = fit(tiny, device=device, resident_share=share)
    history = trainer.fit(canvases, targets, index=train, monitor=(canvases, targets, test))
    if device == "cpu":
        assert torch.equal(state(copied), state(streamed))
        assert [r[:4] for r in history] == [r[:4] for r in expected]
        assert history[-1][4:6] == expected[-1][4:6]
    assert [r.loss for r in history] == pytest.approx([r.loss for r in expected], rel=2e-2)
    _, resumed = fit(tiny, device=device, checkpoint_dir=tmp_path)
    assert len(resumed.fit(canvases, targets, index=train)) == 3  # the same training


def test_canvases_that_are_not_contiguous_are_not_copied_whole(tiny, mapped):
    canvases, targets = mapped
    models = []
    for given in (canvases[::-1], canvases[::-1].copy()):
        model, trainer = fit(tiny)
        trainer.fit(given, targets)
        models.append(state(model))
    assert torch.equal(*models)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([], "at least one, got shape"),
        (np.empty(0, np.int64), "at least one, got shape"),
        ([0.5], "float64"),
        (np.ones(23, bool), "bool"),
        ([[0, 1]], r"shape \(1, 2\)"),
        ([0, 23], "positions from 0 to 22, got 23"),
        ([-1, 2], "positions from 0 to 22, got -1"),
    ],
)
def test_an_index_that_is_none_is_refused(tiny, mapped, index, message):
    _, trainer = fit(tiny)
    with pytest.raises(ValueError, match=message):
        trainer.fit(*mapped, index=index)


def test_targets_outside_of_the_index_are_not_looked_at(tiny, mapped):
    canvases, targets = mapped
    _, trainer = fit(tiny, RECIPE.scaled(1))
    trainer.fit(canvases, np.where(np.arange(23) < 8, targets, -1), index=np.arange(8))
    with pytest.raises(ValueError, match="targets must be 0 or 1, got"):
        trainer.fit(canvases, np.where(np.arange(23) < 8, targets, -1), index=np.arange(9))


def test_a_file_that_cannot_be_read_ends_the_training(tiny, monkeypatch):
    def fails(*_):
        raise OSError("input/output error")

    monkeypatch.setattr("covidct.training._slices._gather", fails)
    _, trainer = fit(tiny)
    with pytest.raises(OSError, match="input/output error"):
        trainer.fit(*slices())


@pytest.mark.parametrize("share", [-0.1, 1.5, "much"])
def test_share_of_the_device_out_of_range_is_refused(tiny, monkeypatch, share):
    with pytest.raises(ValueError, match=r"resident_share must be .*got"):
        fit(tiny, resident_share=share)
    monkeypatch.setenv("COVIDCT_RESIDENT_SHARE", str(share))
    with pytest.raises(ValueError, match=r"COVIDCT_RESIDENT_SHARE must be .*got"):
        fit(tiny)
    monkeypatch.setenv("COVIDCT_RESIDENT_SHARE", "0.5")
    assert fit(tiny)[1].resident_share == 0.5


class PooledNorm(nn.Module):
    """Normalize one value per channel, as attention over pooled feature maps does."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, stride=8)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        maps = self.convolution(x)
        return maps * self.norm(maps.mean((2, 3), keepdim=True)).sigmoid()


@pytest.mark.parametrize(
    ("count", "batch_size", "fix"),
    [
        (5, 2, "choose batch_size=3 or larger"),
        (2, 1, "choose batch_size=3 or larger"),
        (1, 8, "give two slices or more"),
    ],
)
def test_a_network_that_needs_two_slices_is_refused_before_training(count, batch_size, fix):
    model = CTClassifier(ArchitectureInfo(name="pooled-norm", builder=PooledNorm))
    before = state(model)
    trainer = Trainer(model, RECIPE.replace(batch_size=batch_size), device="cpu")
    with pytest.raises(ValueError, match=f"'pooled-norm' cannot be trained.*batch_size=.*: {fix}$"):
        trainer.fit(*slices(count))
    assert torch.equal(state(model), before)
    other = Trainer(model, RECIPE.replace(batch_size=3).scaled(1), device="cpu")
    assert len(other.fit(*slices(5))) == 1


@pytest.mark.parametrize(("count", "batch_size", "checked"), [(1, 8, 1), (5, 2, 1), (5, 3, 0)])
def test_a_batch_of_one_slice_is_tried_before_training(tiny, count, batch_size, checked):
    trainer, tried = stub(fit(tiny, RECIPE.replace(batch_size=batch_size))[1]), []
    trainer._check_single_slice = lambda *given: tried.append(given)
    trainer.fit(*slices(count))
    assert tried == [(count, (40, 56))] * checked


def test_balanced_classes_have_weights_in_the_loss(tiny):
    canvases, _ = slices(4)
    recipe = RECIPE.replace(class_weight="balanced", augmentation=Augmentation.none()).scaled(1)
    model, trainer = fit(tiny, recipe)
    with torch.no_grad():
        logits = model.train()(torch.from_numpy(canvases).unsqueeze(1))
    targets = torch.tensor([0, 0, 0, 1])
    three_to_one = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0))
    expected = float(three_to_one(logits, targets.float()))
    _, trainer = fit(tiny, recipe)
    loss = trainer.fit(canvases, targets.numpy())[0].loss
    assert loss == pytest.approx(expected, rel=1e-5)


def test_a_single_slice_changes_nothing_before_training(tiny):
    model, trainer = fit(tiny)
    before = state(model)
    trainer._check_single_slice(3, (40, 56))
    assert torch.equal(state(model), before)


def groups(tiny, **options):
    _, trainer = fit(tiny, RECIPE.replace(**options))
    return trainer._optimizer.param_groups


def test_options_of_the_recipe_reach_the_optimizer(tiny):
    (plain,) = groups(tiny)
    defaults = {"clamp_value": 10, "debias": False, "adam": False, "betas": (0.9, 0.999)}
    assert {option: plain[option] for option in defaults} == defaults
    options = {"clamp_value": 2.0, "debias": True, "adam": True, "betas": (0.8, 0.9)}
    (changed,) = groups(tiny, **options)
    assert {option: changed[option] for option in options} == options
    assert groups(tiny, optimizer="adamw", betas=(0.8, 0.9))[0]["betas"] == (0.8, 0.9)


@pytest.mark.parametrize("optimizer", ["lamb", "adamw", "sgd"])
def test_biases_and_normalization_may_be_exempt_from_decay(tiny, optimizer):
    weights, rest = groups(tiny, optimizer=optimizer, decay_norm_and_bias=False, weight_decay=0.5)
    assert (weights["weight_decay"], rest["weight_decay"]) == (0.5, 0)
    assert {p.ndim for p in rest["params"]} == {1}
    assert min(p.ndim for p in weights["params"]) > 1


def watched_steps(trainer, *, canvases, targets):
    """Fit, and return the learning rates of each step and the canvases of each batch."""
    rates, batches = [], []
    step, run = trainer._optimizer.step, trainer._step

    def watched_step(*args):
        rates.append([group["lr"] for group in trainer._optimizer.param_groups])
        return step(*args)

    def watched_run(batch, *args):
        batches.append(batch.numpy().copy())
        return run(batch, *args)

    trainer._optimizer.step, trainer._step = watched_step, watched_run
    trainer.fit(canvases, targets)
    return rates, batches


def test_each_step_uses_the_learning_rate_of_its_epoch(tiny):
    recipe = RECIPE.replace(milestones=((1, 2e-3), (2, 5e-4)))
    canvases, targets = slices()
    _, trainer = fit(tiny, recipe)
    rates, _ = watched_steps(trainer, canvases=canvases, targets=targets)
    assert rates == [[1e-2]] * 3 + [[2e-3]] * 3 + [[5e-4]] * 3


@pytest.mark.parametrize("decays", [True, False])
def test_training_is_that_of_plain_pytorch(tiny, decays):
    """SGD with momentum on batches of unequal size: weights, losses, accuracies and scores."""
    canvases, targets = slices(11)
    recipe = RECIPE.replace(
        optimizer="sgd",
        learning_rate=0.05,
        milestones=((1, 0.02),),
        weight_decay=0.1,
        decay_norm_and_bias=decays,
        pos_weight=3.0,
        augmentation=Augmentation.none(),
    ).scaled(2)
    model, trainer = fit(tiny, recipe)
    run, batches = trainer._step, []

    def watched_run(batch, truth, augment):
        batches.append((batch.clone(), truth.clone()))
        return run(batch, truth, augment)

    trainer._step = watched_run
    history = trainer.fit(canvases, targets, monitor=(canvases, targets, np.arange(1, 8)))
    assert [len(truth) for _, truth in batches] == [4, 4, 3] * 2

    plain, _ = fit(tiny, recipe)
    moments = {name: torch.zeros_like(tensor) for name, tensor in plain.named_parameters()}
    loss_of = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0))
    for epoch, rate in enumerate([0.05, 0.02]):
        losses, right = [], []
        plain.train()
        for batch, truth in batches[3 * epoch : 3 * epoch + 3]:
            plain.zero_grad()
            logits = plain(batch[:, None] / 255)
            loss = loss_of(logits, truth.float())
            loss.backward()
            losses += [loss.item()] * len(truth)
            right += ((logits > 0) == (truth == 1)).tolist()
            with torch.no_grad():
                for name, tensor in plain.named_parameters():
                    decay = 0.1 if decays or tensor.ndim > 1 else 0.0
                    moments[name].mul_(0.9).add_(tensor.grad + decay * tensor)
                    tensor -= rate * moments[name]
        record = history[epoch]
        assert (record.epoch, record.learning_rate) == (epoch, rate)
        assert record.loss == pytest.approx(np.mean(losses), rel=1e-4)
        assert record.accuracy == pytest.approx(np.mean(right))
        assert 0 < record.seconds < 60
    torch.testing.assert_close(state(model), state(plain), rtol=1e-3, atol=1e-5)
    with torch.no_grad():
        logits = plain.eval()(torch.from_numpy(canvases[1:8])[:, None])
    truth = torch.from_numpy(targets[1:8])
    expected = nn.BCEWithLogitsLoss()(logits, truth.float())
    assert np.isnan(history[0][4:6]).all()
    assert history[1].monitor_loss == pytest.approx(float(expected), rel=1e-3)
    found = ((logits > 0) == (truth == 1)).float().mean()
    assert history[1].monitor_accuracy == pytest.approx(float(found))


@pytest.mark.parametrize(
    ("every", "scored"),
    [(1, [0, 1, 2, 3, 4]), (2, [1, 3, 4]), (3, [2, 4]), (10, [4])],
)
def test_monitored_slices_are_scored_every_few_epochs_and_at_the_end(tiny, every, scored):
    canvases, targets = slices(4)
    trainer = stub(fit(tiny, RECIPE.scaled(5))[1], monitor=True)
    history = trainer.fit(canvases, targets, monitor=(canvases, targets), monitor_every=every)
    assert [r.epoch for r in history if not np.isnan(r.monitor_loss)] == scored
    assert history[-1][:6] == (4, 0.1, 1.0, 0.5, 4, 0.25)


@pytest.mark.parametrize(("elapsed", "saves"), [(0, 1), (7, 1), (15, 3), (29, 3), (30, 5)])
def test_checkpoints_are_written_at_most_every_thirty_seconds(
    tiny, tmp_path, monkeypatch, elapsed, saves
):
    canvases, targets = slices(4)
    _, trainer = fit(tiny, RECIPE.scaled(5), checkpoint_dir=tmp_path)
    now, written, save = [100.0], [], trainer._save

    def run(epoch, *_):
        now[0] += elapsed
        return 0.1, 1.0, 0.5

    def counted(history, training):
        written.append(len(history))
        save(history, training)

    trainer._run_epoch, trainer._save = run, counted
    monkeypatch.setattr(trainer_module.time, "monotonic", lambda: now[0])
    trainer.fit(canvases, targets)
    assert len(written) == saves
    assert written[-1] == 5
    _, resumed = fit(tiny, RECIPE.scaled(5), checkpoint_dir=tmp_path)
    assert [r[:4] for r in resumed.fit(canvases, targets)] == [(k, 0.1, 1.0, 0.5) for k in range(5)]


class Layers(nn.Module):
    """Five modules with tensors, the second of which is frozen."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(5)])
        self.layers[1].requires_grad_(False)


def test_depths_run_from_the_first_module_to_the_head():
    model = Layers()
    groups = trainer_module._parameter_groups(model, Recipe(first_layer_rate=0.01))
    factors = {id(t): group["rate_factor"] for group in groups for t in group["params"]}
    for k, layer in enumerate(model.layers):
        for tensor in layer.parameters():
            if k == 1:
                assert id(tensor) not in factors
            else:
                assert factors[id(tensor)] == pytest.approx(0.01 ** (1 - k / 4))
    assert len(groups) == 4
    many = nn.ModuleList([nn.Linear(1, 1) for _ in range(33)])
    groups = trainer_module._parameter_groups(many, Recipe(first_layer_rate=0.5))
    assert len(groups) == 9  # depths in eighths
    assert sorted(group["rate_factor"] for group in groups) == pytest.approx(
        sorted(0.5 ** (k / 8) for k in range(9))
    )
    two = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    groups = trainer_module._parameter_groups(two, Recipe(first_layer_rate=0.5))
    assert [group["rate_factor"] for group in groups] == [0.5, 1.0]
    (alone,) = trainer_module._parameter_groups(nn.Linear(2, 2), Recipe(first_layer_rate=0.5))
    assert alone["rate_factor"] == 0.5


def test_first_layer_rate_lowers_the_rate_of_early_layers(tiny):
    recipe = RECIPE.replace(milestones=(), first_layer_rate=0.01)
    canvases, targets = slices()
    model, trainer = fit(tiny, recipe)
    rates, _ = watched_steps(trainer, canvases=canvases, targets=targets)
    of_tensor = {
        id(tensor): group["lr"]
        for group in trainer._optimizer.param_groups
        for tensor in group["params"]
    }
    ordered = [of_tensor[id(tensor)] for tensor in model.parameters()]
    assert len(ordered) == len(of_tensor)
    assert ordered == sorted(ordered)
    assert ordered[0] == pytest.approx(1e-4)
    assert ordered[-1] == pytest.approx(1e-2)
    assert all(row == rates[0] for row in rates)


def test_order_of_slices_differs_between_epochs_and_seeds_and_covers_each_once(tiny):
    canvases = np.arange(24, dtype=np.uint8)[:, None, None] * np.ones((24, 16, 16), np.uint8)
    targets = np.arange(24) % 2
    orders = []
    for seed in (0, 1):
        _, trainer = fit(tiny, RECIPE.scaled(2), seed=seed)
        _, batches = watched_steps(trainer, canvases=canvases, targets=targets)
        order = np.concatenate([batch.reshape(len(batch), -1)[:, 0] for batch in batches])
        orders += [tuple(order[:24]), tuple(order[24:])]
    assert all(sorted(order) == list(range(24)) for order in orders)
    assert len({*orders, tuple(range(24))}) == 5


def test_label_smoothing_against_pytorch(tiny):
    canvases, targets = slices(4)
    recipe = RECIPE.replace(label_smoothing=0.2, augmentation=Augmentation.none()).scaled(1)
    model, trainer = fit(tiny, recipe)
    with torch.no_grad():
        batch = torch.from_numpy(canvases).unsqueeze(1)
        logits = model.train()(batch).double()
    pairs = torch.stack([torch.zeros_like(logits), logits], dim=1)
    loss = nn.CrossEntropyLoss(label_smoothing=0.2)(pairs, torch.from_numpy(targets))
    model, trainer = fit(tiny, recipe)
    assert trainer.fit(canvases, targets)[0].loss == pytest.approx(float(loss), rel=1e-5)


def test_average_of_weights_follows_its_definition(tiny):
    canvases, targets = slices()
    plain, trainer = fit(tiny, RECIPE)
    initial = {n: t.clone() for n, t in plain.state_dict().items() if t.is_floating_point()}
    seen = []
    run = trainer._step

    def watched_run(*args):
        result = run(*args)
        seen.append({name: plain.state_dict()[name].clone() for name in initial})
        return result

    trainer._step = watched_run
    trainer.fit(canvases, targets)
    averaged, trainer = fit(tiny, RECIPE.replace(average_decay=0.4))
    trainer.fit(canvases, targets)
    assert len(seen) == 9
    for name, expected in initial.items():
        for step, weights in enumerate(seen, start=1):
            decay = min(0.4, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * weights[name]
        torch.testing.assert_close(averaged.state_dict()[name], expected, rtol=1e-4, atol=1e-6)


def test_average_survives_an_interruption(tiny, tmp_path):
    canvases, targets = slices()
    recipe = RECIPE.replace(average_decay=0.6, milestones="cosine", warmup=1)
    whole, trainer = fit(tiny, recipe)
    history = trainer.fit(canvases, targets, monitor=(canvases, targets), monitor_every=1)
    assert trainer._score(canvases, targets) == history[-1][4:6]  # of the average
    model, trainer = fit(tiny, recipe, checkpoint_dir=tmp_path, checkpoint_every=0)
    run_epoch = trainer._run_epoch

    def interrupted(epoch, *args):
        if epoch == 2:
            raise KeyboardInterrupt
        return run_epoch(epoch, *args)

    trainer._run_epoch = interrupted
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(canvases, targets)
    model, trainer = fit(tiny, recipe, checkpoint_dir=tmp_path)
    trainer.fit(canvases, targets)
    assert torch.equal(state(model), state(whole))
