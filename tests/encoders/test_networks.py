"""Sizes and internals of the two networks, against slow and plain spellings of the same."""

from __future__ import annotations

import numpy as np
import torch

from encoders.attention_pooling import AttentionPooling, AttentionPoolingConfig, clam_small
from encoders.densenet3d import DENSENET121, DenseNet3d
from tests.encoders.making import bags, module_of, volumes


def test_codes_are_as_wide_as_documented():
    # DENSENET121 gives 1,024; building it takes 12 s, so it is not built here.
    assert DENSENET121.block_config == (6, 12, 24, 16)
    assert AttentionPooling(clam_small()).code_dim == 512
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
