from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from guidestore.embeddings.canonical import canonical_json
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import Bag
from guidestore.encoders import bags, densenet3d
from guidestore.encoders.clam import ClamConfig, ClamSB
from guidestore.encoders.registry import build_encoder
from guidestore.encoders.training import train_classifier
from guidestore.encoders.training_settings import TrainingSettings
from tests.encoders.making import PATCH_DIM, module_of, volumes

SHORT = TrainingSettings(epochs=3, patience=3, batch_size=8, learning_rate=1e-3)


def labelled_bags(count: int, seed: int) -> tuple[list[Bag], np.ndarray]:
    """Bags in which one tile in three carries the class, as a shift of one component far from unit scale."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    bags_of = []
    for label in labels:
        features_nd = rng.normal(50, 10, (9, PATCH_DIM))
        features_nd[:3, label] += 40
        bags_of.append(Bag(features_nd.astype(np.float32), np.zeros((9, 2), np.int32)))
    return bags_of, labels


def labelled_volumes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Volumes with a bright block in the channel of their class."""
    labels = np.arange(count) % 3
    data = volumes(count, seed, shape=(12, 12, 12))
    for row, label in enumerate(labels):
        data[row, label, 3:8, 3:8, 5:10] += 2
    return data, labels


MAKERS = {
    "attention_pooling": labelled_bags,
    "clam_sb": labelled_bags,
    "clam_mb": labelled_bags,
    "mean_pooling": labelled_bags,
    "densenet3d": labelled_volumes,
}


def what_was_seen(history) -> list[dict[str, float]]:
    """Without the times that it took."""
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in history]


def train(name: str, *, seed: int = 0, settings: TrainingSettings = SHORT, module=None, **changes):
    data, labels = MAKERS[name](24, 0)
    val_data, val_labels = MAKERS[name](9, 1)
    given = {"data": data, "labels": labels, "val_data": val_data, "val_labels": val_labels} | changes
    for part in ("labels", "val_labels"):
        given[part] = {"class": given[part]}
    return train_classifier(module or module_of(name), **given, n_classes={"class": 3}, settings=settings, seed=seed)


@pytest.mark.parametrize("name", MAKERS)
def test_the_same_seed_gives_the_same_weights_whatever_the_global_state(name):
    module = module_of(name)
    state = torch.random.get_rng_state()
    first = train(name, module=module)
    assert torch.equal(state, torch.random.get_rng_state())
    torch.manual_seed(2)  # Another module of the same architecture, with other weights.
    again, other = train(name), train(name, seed=5)
    assert what_was_seen(first.history) == what_was_seen(again.history)
    for key, value in first.tensors.items():
        assert np.array_equal(value, again.tensors[key])
    assert np.array_equal(first.decoders["class"]["weight"], again.decoders["class"]["weight"])
    assert not np.array_equal(first.decoders["class"]["weight"], other.decoders["class"]["weight"])


@pytest.mark.parametrize("name", MAKERS)
def test_classes_that_the_data_show_are_learnt(name):
    settings = replace(bags.DEMO_TRAINING, epochs=40, learning_rate=5e-3)
    trained = train(name, settings=settings)
    test_data, test_labels = MAKERS[name](30, 2)
    encoder = build_encoder(name, config=trained.config, tensors=trained.tensors)
    codes_bd = encoder.encode(test_data)
    assert (codes_bd >= 0).all()
    probabilities = trained.probabilities(codes_bd, "class")
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities.argmax(axis=1) == test_labels).mean() > 0.8
    assert trained.decoders["class"]["weight"].shape == (3, encoder.spec.code_dim)
    assert all(value.dtype == np.float32 for value in trained.decoders["class"].values())
    canonical_json(trained.config)


@pytest.mark.parametrize("name", MAKERS)
def test_the_kept_decoder_and_encoder_are_those_of_the_best_epoch(name):
    trained = train(name, settings=replace(SHORT, epochs=8))
    val_data, val_labels = MAKERS[name](9, 1)
    encoder = build_encoder(name, config=trained.config, tensors=trained.tensors)
    probabilities = trained.probabilities(encoder.encode(val_data), "class")
    loss = -np.log(probabilities[np.arange(9), val_labels]).mean()
    losses = [row["val_loss"] for row in trained.history]
    assert trained.best_epoch == int(np.argmin(losses))
    assert loss == pytest.approx(min(losses), rel=1e-4)


def test_only_train_rows_are_fitted():
    trained = train("attention_pooling")
    data, _ = labelled_bags(24, 0)
    tiles_nd = np.concatenate([bag.features_nd for bag in data])
    assert np.allclose(trained.tensors["mean_d"], tiles_nd.mean(axis=0), rtol=1e-4)
    assert np.allclose(trained.tensors["sd_d"], tiles_nd.std(axis=0), rtol=1e-3)
    one_epoch = replace(SHORT, epochs=1)
    val_data, _ = labelled_bags(9, 1)
    moved = [Bag(bag.features_nd * 3 + 7, bag.coords_n2) for bag in val_data]
    same = train("attention_pooling", settings=one_epoch)
    other = train("attention_pooling", settings=one_epoch, val_data=moved)
    assert all(np.array_equal(same.tensors[name], other.tensors[name]) for name in same.tensors)


def test_training_stops_without_progress_on_val():
    _, val_labels = labelled_bags(9, 1)
    trained = train(
        "attention_pooling",
        settings=TrainingSettings(epochs=200, patience=4, batch_size=8, learning_rate=1e-2),
        val_labels=(val_labels + 1) % 3,
    )
    assert len(trained.history) == trained.best_epoch + 5 < 200


def test_the_module_given_is_left_as_it_was_and_progress_is_told():
    module, rows = module_of("attention_pooling"), []
    before = {name: value.clone() for name, value in module.state_dict().items()}
    data, labels = labelled_bags(6, 0)
    trained = train_classifier(
        module,
        data,
        {"class": labels},
        data,
        {"class": labels},
        n_classes={"class": 3},
        settings=SHORT,
        seed=0,
        progress=rows.append,
    )
    assert tuple(rows) == trained.history
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"labels": np.zeros(24, int)}, "class 1 of 3 of target class has no train case"),
        ({"labels": np.arange(23) % 3}, "give each case one"),
        ({"labels": np.full(24, -1)}, "no train case has a label of target class; leave the target out"),
        ({"labels": np.arange(24) % 4 - 1}, "a train case has no label of class; leave unlabelled cases out"),
        ({"labels": np.arange(24) % 4}, "from 0 to 2, or -1"),
        ({"labels": np.full(24, 0.5)}, "whole numbers"),
        ({"val_data": [], "val_labels": []}, "0 val cases"),
        ({"data": [np.zeros(3)] * 24}, "takes bags"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        train("attention_pooling", **changes)


def test_divergence_is_said():
    with pytest.raises(InvalidInputError, match="diverged in epoch"):
        train("attention_pooling", settings=TrainingSettings(epochs=50, patience=50, batch_size=8, learning_rate=1e30))


def test_presets_are_the_papers():
    of_volumes, of_bags = densenet3d.PAPER_TRAINING, bags.PAPER_TRAINING
    assert (of_volumes.epochs, of_volumes.patience, of_volumes.batch_size) == (600, 50, 10)
    assert (of_bags.epochs, of_bags.patience, of_bags.batch_size) == (200, 20, 1)
    assert (of_volumes.learning_rate, of_bags.learning_rate) == (2e-4, 1e-4)
    assert TrainingSettings(**of_bags.as_dict()) == of_bags
    with pytest.raises(InvalidInputError):
        TrainingSettings(0, 1, 1, 1e-3)


class Killed(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize("name", ["clam_sb", "densenet3d"])
def test_a_training_that_was_cut_off_goes_on_to_the_same_weights(name, tmp_path):
    """With dropout, which draws from the global state."""
    module = ClamSB(ClamConfig(PATCH_DIM, 8, 4, 0.25, n_classes=3)) if name == "clam_sb" else module_of(name)
    settings, file = replace(SHORT, epochs=6), tmp_path / "made" / "checkpoint.pt"
    whole = train(name, module=module, settings=settings)

    def killed_after_two(row):
        if row["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        train(name, module=module, settings=settings, checkpoint=file, progress=killed_after_two)
    torch.manual_seed(11)
    seen = []
    resumed = train(name, module=module, settings=settings, checkpoint=file, progress=seen.append)
    assert [row["epoch"] for row in seen] == [3, 4, 5]
    assert what_was_seen(resumed.history) == what_was_seen(whole.history)
    for key, value in whole.tensors.items():
        assert np.array_equal(value, resumed.tensors[key])
    assert np.array_equal(whole.decoders["class"]["weight"], resumed.decoders["class"]["weight"])
    # Finished already: nothing is left to train, and a damaged checkpoint counts as none.
    assert train(name, module=module, settings=settings, checkpoint=file, progress=seen.append).best_epoch == (
        whole.best_epoch
    )
    assert len(seen) == 3
    file.write_bytes(file.read_bytes()[:-100])
    again = train(name, module=module, settings=settings, checkpoint=file)
    assert np.array_equal(whole.decoders["class"]["weight"], again.decoders["class"]["weight"])


def test_items_are_read_when_they_are_asked_for():
    data, labels = labelled_bags(24, 0)

    class OneByOne:
        """Opens an item at a time, as bags in a store are opened."""

        def __len__(self):
            return len(data)

        def __getitem__(self, row):
            return data[row]

    eager, lazy = train("clam_sb"), train("clam_sb", data=OneByOne(), labels=labels)
    assert np.array_equal(eager.decoders["class"]["weight"], lazy.decoders["class"]["weight"])
    assert all(0 <= row["wait_seconds"] <= row["seconds"] for row in lazy.history)


def test_a_decoder_of_clam_mb_is_stored_as_it_acts():
    trained = train("clam_mb")
    weight = trained.decoders["class"]["weight"]
    assert (weight.reshape(3, 3, 8)[~np.eye(3, dtype=bool)] == 0).all()
    assert (weight != 0).sum() == 3 * 8


TWO = {"channel": 3, "bright": 2}


def two_targets(count: int, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Volumes that show two things; every third has no label of the second."""
    data, channel = labelled_volumes(count, seed)
    bright = np.arange(count) // 3 % 2
    data[bright == 1, :, :, :3] += 1.5
    return data, {"channel": channel, "bright": np.where(np.arange(count) % 3 == 2, -1, bright)}


def train_two(**settings):
    data, labels = two_targets(24, 0)
    val_data, val_labels = two_targets(12, 1)
    given = replace(SHORT, **settings)
    return train_classifier(
        module_of("densenet3d"), data, labels, val_data, val_labels, n_classes=TWO, settings=given, seed=0
    )


def test_one_encoder_learns_several_targets_and_keeps_those_of_the_best_epoch():
    trained = train_two(epochs=25, patience=25, learning_rate=5e-3)
    assert {target: decoder["weight"].shape[0] for target, decoder in trained.decoders.items()} == TWO
    encoder = build_encoder("densenet3d", config=trained.config, tensors=trained.tensors)
    data, labels = two_targets(30, 2)
    codes_bd = encoder.encode(data)
    for target, y in labels.items():
        correct = trained.probabilities(codes_bd, target).argmax(axis=1) == y
        assert correct[y >= 0].mean() > 0.8, target
    # The val loss is the sum over the targets of the mean over the cases with a label.
    val_data, val_labels = two_targets(12, 1)
    codes_bd, loss = encoder.encode(val_data), 0.0
    for target, y in val_labels.items():
        probabilities = trained.probabilities(codes_bd, target)
        loss -= np.log(probabilities[y >= 0, y[y >= 0]]).mean()
    losses = [row["val_loss"] for row in trained.history]
    assert trained.best_epoch == int(np.argmin(losses))
    assert loss == pytest.approx(min(losses), rel=1e-4)


def test_several_targets_are_drawn_by_the_mean_of_their_class_weights(monkeypatch):
    seen, multinomial = [], torch.multinomial

    def watched(weights, *args, **kwargs):
        seen.append(weights)
        return multinomial(weights, *args, **kwargs)

    monkeypatch.setattr(torch, "multinomial", watched)
    first, again = train_two(), train_two()
    assert np.array_equal(first.decoders["bright"]["weight"], again.decoders["bright"]["weight"])
    _, labels = two_targets(24, 0)
    expected = np.zeros(24)
    for y in labels.values():
        expected += np.array([0.0 if label < 0 else 0.5 / (y == label).sum() for label in y])
    assert np.allclose(seen[0].numpy(), expected)


def test_bags_are_pooled_for_one_target_alone():
    data, labels = labelled_bags(12, 0)
    given = {"a": labels, "b": labels}
    with pytest.raises(InvalidInputError, match=r"clam_sb pools bags for one target, not for a, b at once; name one"):
        train_classifier(
            module_of("clam_sb"), data, given, data, given, n_classes={"a": 3, "b": 3}, settings=SHORT, seed=0
        )
    with pytest.raises(InvalidInputError, match="the train labels are of targets a, b, the classes of a; give both"):
        train_classifier(module_of("clam_sb"), data, given, data, given, n_classes={"a": 3}, settings=SHORT, seed=0)


def test_an_encoder_without_published_weights_starts_from_none(tmp_path):
    with pytest.raises(InvalidInputError, match=r"densenet3d is trained from weights of its own, .* --weights out"):
        module_of("densenet3d").start_from(tmp_path / "w.pth", "none")
