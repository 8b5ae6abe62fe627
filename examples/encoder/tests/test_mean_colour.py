"""The contract of guidestore."""

from guidestore_mean_colour import MeanColour  # pyright: ignore[reportMissingImports]

from guidestore.testing import EncoderContract


class TestMeanColour(EncoderContract):
    encoder_class = MeanColour
