"""The contract of guidestore."""

from guidestore.testing import GuidanceContract


class TestPrincipal(GuidanceContract):
    model = "guidestore_principal:PrincipalRegression"
