from __future__ import annotations

import subprocess
import sys

import pytest

from embeddings.errors import InvalidInputError
from embeddings.types import FoldScope
from encoders.registry import build_encoder, encoder_names
from encoders.weights import tensors_of
from tests.encoders.making import encoder_of, module_of


def test_an_unknown_name_suggests_the_nearest_and_lists_all():
    with pytest.raises(InvalidInputError, match=r"did you mean densenet3d\?") as caught:
        build_encoder("densnet3d")
    assert all(name in str(caught.value) for name in encoder_names())


def test_weights_are_asked_for_where_needed_and_refused_where_not():
    with pytest.raises(InvalidInputError, match="given no weights"):
        build_encoder("densenet3d", config={})
    with pytest.raises(InvalidInputError, match="has no weights"):
        build_encoder("texture", tensors={})
    with pytest.raises(InvalidInputError, match="has no weights"):
        build_encoder("first_order", trained_on=FoldScope.of("c", "s", 0))
    with pytest.raises(InvalidInputError, match="does not take these parameters"):
        build_encoder("texture", tile=3)


def test_the_digest_covers_weights_scope_and_preprocessing():
    module = module_of("attention_pooling")
    tensors, config = tensors_of(module), module.config
    variants = [
        {},
        {"weights_sha256": "ab"},
        {"trained_on": FoldScope.of("c", "s", 1)},
        {"preprocessing": {"patch_encoder": "texture"}},
    ]
    digests = {
        build_encoder("attention_pooling", tensors=tensors, config=config, **variant).spec.digest
        for variant in variants
    }
    assert len(digests) == len(variants)


@pytest.mark.parametrize("name", ["densenet3d", "attention_pooling"])
def test_weights_that_do_not_fit_the_config_are_refused(name):
    module = module_of(name)
    tensors = tensors_of(module)
    tensors.pop(next(iter(tensors)))
    with pytest.raises(InvalidInputError, match="weights do not fit"):
        build_encoder(name, tensors=tensors, config=module.config)
    with pytest.raises(InvalidInputError, match="no config of"):
        build_encoder(name, tensors=tensors, config={"colour": 1})


def test_a_bag_without_tiles_is_refused():
    import numpy as np

    from embeddings.types import Bag

    with pytest.raises(InvalidInputError, match="no tiles"):
        encoder_of("attention_pooling").encode([Bag(np.zeros((0, 6), np.float32), np.zeros((0, 2), np.int32))])


def test_the_protocol_and_the_registry_import_nothing_heavy():
    code = "import sys, encoders.registry; print([m for m in ('torch', 'monai', 'skimage') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
