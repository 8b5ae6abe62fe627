"""Sizes and internals of the two networks, against slow and plain spellings of the same."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from guidestore.encoders.attention_pooling import AttentionPooling, AttentionPoolingConfig, abmil
from guidestore.encoders.augmentation import light, paper
from guidestore.encoders.clam import ClamMB, ClamSB, clam_small
from guidestore.encoders.densenet3d import DenseNet3d, densenet121
from tests.encoders.making import bags, module_of, volumes


def test_codes_are_as_wide_as_documented():
    # densenet121 gives 1,024; building it takes 12 s, so it is built on the meta device.
    with torch.device("meta"):
        assert DenseNet3d(densenet121(4)).code_dim == 1024
    assert AttentionPooling(abmil(1024)).code_dim == 512
    assert ClamSB(clam_small(1024, 3)).code_dim == 512
    assert ClamMB(clam_small(1024, 3)).code_dim == 3 * 512
    assert DenseNet3d().code_dim == 32


def test_attention_over_many_bags_equals_one_softmax_per_bag():
    module, items = module_of("attention_pooling"), bags(7, seed=3)
    assert isinstance(module, AttentionPooling)
    with torch.no_grad():
        together = module(module.batch(items, range(7)))
        for bag, code in zip(items, together, strict=True):
            tiles_nd = (torch.from_numpy(bag.features_nd.astype(np.float32)) - module.mean_d) / module.sd_d
            hidden_nh = torch.relu(module.project(tiles_nd))
            gated = torch.tanh(module.attend(hidden_nh)) * torch.sigmoid(module.gate(hidden_nh))
            weight_n = torch.softmax(module.score(gated), dim=0)
            assert torch.allclose(code, (weight_n * hidden_nh).sum(dim=0), atol=1e-5)


def test_components_without_spread_are_centred_only():
    items = bags(4)
    for bag in items:
        bag.features_nd[:, 2] = 5
    module = AttentionPooling(AttentionPoolingConfig(6))
    module.reset(items, torch.Generator().manual_seed(0))
    assert module.mean_d[2] == 5
    assert module.sd_d[2] == 1


def test_augmentation_keeps_the_background_and_every_bag():
    generator = torch.Generator().manual_seed(0)
    network = module_of("densenet3d")
    batch = network.batch(volumes(4), range(4))
    changed = network.augment(batch, generator)
    assert not torch.equal(changed, batch)
    assert ((changed == 0).sum(dim=-1) == (batch == 0).sum(dim=-1)).all()
    pooling = module_of("attention_pooling")
    bag_batch = pooling.batch(bags(20), range(20))
    for _ in range(5):
        assert pooling.augment(bag_batch, generator).bag_n.unique().tolist() == list(range(20))


def test_the_instance_loss_is_that_of_one_bag_after_the_other():
    """Against a plain spelling: the k tiles of highest attention are of the bag's class, the k lowest are not."""
    for name, branches in (("clam_sb", 1), ("clam_mb", 3)):
        module, items, labels = module_of(name), bags(6, seed=4), torch.tensor([0, 1, 2, 0, 1, 2])
        decode = torch.nn.Linear(module.code_dim, 3)
        batch = module.batch(items, range(6))
        loss = module.training_loss(batch, labels, decode)
        bag_loss, instance = cross_entropy(decode(module(batch)), labels), []
        for row, label in enumerate(labels.tolist()):
            pooled = module.pool(module.batch(items, [row]))
            assert pooled.attention_nj.shape == (len(items[row]), branches)
            assert torch.allclose(pooled.attention_nj.sum(dim=0), torch.ones(branches), atol=1e-5)
            k = min(2, len(items[row]) // 2)
            if not k:
                continue
            order = pooled.attention_nj[:, label % branches].argsort(descending=True)
            logits = module.instance(pooled.hidden_nh)[:, [2 * label, 2 * label + 1]]
            high, low = logits[order[:k]], logits[order[len(order) - k :]]
            rows = [cross_entropy(high, torch.ones(k, dtype=int)), cross_entropy(low, torch.zeros(k, dtype=int))]
            instance.append((rows[0] + rows[1]) / 2)
        assert torch.allclose(loss, 0.7 * bag_loss + 0.3 * torch.stack(instance).mean(), atol=1e-5)


def test_a_class_of_clam_mb_sees_its_own_branch_alone():
    module = module_of("clam_mb")
    mask = module.decoder_mask(3)
    assert mask.shape == (3, module.code_dim)
    assert mask.sum(dim=1).tolist() == [8, 8, 8]
    assert mask[1].nonzero()[:, 0].tolist() == list(range(8, 16))


def test_the_papers_augmentation_moves_and_scales_as_its_seed_says():
    batch = torch.from_numpy(volumes(4))
    first, again = (paper(batch, torch.Generator().manual_seed(3)) for _ in range(2))
    other = paper(batch, torch.Generator().manual_seed(4))
    assert first.shape == batch.shape
    assert first.dtype == torch.float32
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, batch)
    assert not torch.equal(light(batch, torch.Generator().manual_seed(3)), batch)
