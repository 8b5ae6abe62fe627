# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A guidance model of your own
#
# G maps the cheap code to the strong one. This notebook writes a G of a few lines, puts it beside guidestore's ridge
# under the same controls, predicts with it in another process, changes its code, and sees that a changed model is
# another model.
#
# The cohort is scikit-learn's diabetes data: of 442 patients age, sex, body mass index and blood pressure as the
# cheap view, six blood serum values as the strong one, and the progression of the disease a year later as what is to
# be foretold.

# %%
import guidestore as gs

store = gs.open("notebook-store", create=True)
gs.datasets.diabetes(store)
data = store.pair("diabetes", inferior="clinical/table", superior="serum/table", target="progression", fold=0)
data

# %% [markdown]
# ## Write it
#
# Whatever has `fit` and `predict` of many outputs will do: a class like this one, a scikit-learn regressor, a torch
# module. It lives in a module, not in a cell, because its **source is part of its identity**: a run says of which
# code it is, and a G typed into a session has no source to go by.

# %%
from pathlib import Path

code = '''
import numpy as np


class Neighbours:
    """The mean strong code of the k train cases that are nearest by their cheap codes."""

    def __init__(self, k: int = 15) -> None:
        self.k = k

    def fit(self, z_inferior_nd: np.ndarray, z_superior_nd: np.ndarray) -> None:
        self.scale = z_inferior_nd.std(axis=0)
        self.known_nd, self.answers_nd = z_inferior_nd / self.scale, z_superior_nd

    def predict(self, z_inferior_nd: np.ndarray) -> np.ndarray:
        apart = z_inferior_nd[:, None] / self.scale - self.known_nd
        nearest = np.argsort((apart**2).sum(axis=2), axis=1)[:, : self.k]
        return self.answers_nd[nearest].mean(axis=1)
'''
_ = Path("my_models.py").write_text(code)

# %% [markdown]
# ## Try it
#
# `module:Class` names it, in Python, on the command line (`--guidance my_models:Neighbours`) and in sweep files.

# %%
head = gs.fit(data, guidance="my_models:Neighbours", decoder="ridge", row="G(I)+I")
head, round(head.score("val")["r2"], 3)

# %% [markdown]
# ## Judge it
#
# A study holds it to what every G is held to: plain rows, references, controls that cannot know anything of the
# strong view.

# %%
asked = {"inferior": "clinical/table", "superior": "serum/table", "decoder": "ridge", "folds": [0], "permutations": 2}
study = store.guide("diabetes", guidance=["ridge", "my_models:Neighbours"], **asked)
study.effects().df()[["row", "guidance", "gain_over_i", "gain_over_i_low", "gain_over_i_high", "verdict"]].round(3)

# %%
study.plot.gains()

# %% [markdown]
# Read the row `G(I)+I` of each. Ridge: `no effect`, its gain lies within ±.02 for sure. Neighbours: `cannot tell`,
# for 89 test patients leave an interval that reaches beyond; all five folds (leave out `folds`) tell more. `G(I)`
# alone `hurts`: what these serum values say of the disease cannot be foretold from four clinical numbers, so a
# decoder that reads the foretold values alone has lost something. A G of your own is not favoured, and not put at a
# disadvantage.
#
# ## Predict with it, in another process
#
# The weights of the run are in the store, and nothing in it is pickled. The module is imported again only if its
# source is the one that the run was trained with. (A store's own modules are never run from the working directory:
# `PYTHONPATH` says where yours lie.)

# %%
runs = study.runs.df()
own = runs[runs["guidance"].str.startswith("my_models") & (runs["row"] == "G(I)+I") & (runs["control"] == "")]
run = own["run"].tolist()[0]

# %%
# !PYTHONPATH=. guidestore predict --store notebook-store --run {run} --case patient-000 --case patient-441

# %% [markdown]
# ## Change it
#
# Now near neighbours shall count more. The name stays, the source is another, so it is trained anew, and the run
# before stays as it was.

# %%
import importlib
import sys

nearer = code.replace(
    "return self.answers_nd[nearest].mean(axis=1)",
    "weights = 1 / (1 + np.arange(nearest.shape[1]))\n"
    "        return np.average(self.answers_nd[nearest], axis=1, weights=weights)",
)
Path("my_models.py").write_text(nearer)
importlib.reload(sys.modules["my_models"])
changed = store.guide("diabetes", guidance="my_models:Neighbours", **asked)
changed

# %%
store.sql("SELECT guidance, count(*) AS runs FROM runs WHERE guidance LIKE 'my_models%' GROUP BY ALL ORDER BY ALL")

# %% [markdown]
# Two digests behind `@`, two models. Without that, the second study would have been answered with the runs of the
# first: the wrong numbers, without an error.
#
# **To conclude.** A G is a class of two methods. It gets the paper's rows, controls, intervals and a verdict for
# nothing, and an honest name. `guidestore.testing.GuidanceContract` is the test that our own models are held to;
# subclass it in a test file of yours. An [example package](../guidance.md) makes yours installable, and [own
# models](../decisions/own-models.md) says what is kept of them.
