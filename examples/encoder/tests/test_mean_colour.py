"""The contract of guidestore."""

from guidestore_mean_colour import MeanColour

from guidestore.testing import EncoderContract


class TestMeanColour(EncoderContract):
    encoder_class = MeanColour
