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
# # From codes to a verdict
#
# Two views of 1,797 handwritten digits: a blurred 4 x 4 image with noise is the cheap modality, the 8 x 8 image the
# strong one. Can a head that sees the cheap view alone learn from the strong one? Nothing is downloaded.
#
# `pip install jupytext` lets Jupyter open this file as a notebook.

# %%
from pathlib import Path
from tempfile import mkdtemp

import guidestore as gs

folder = Path(mkdtemp(prefix="quick-start-"))
store = gs.open(folder / "store", create=True)
gs.datasets.digits(store)
store

# %%
store.code_sets("digits")

# %% [markdown]
# ## A training set for any library
#
# `X` is z_I, the codes of the cheap view; `y` the index of the class; `ids` name the cases. All parts of a fold are
# apart by case, and codes of an encoder that saw the test cases are refused.

# %%
data = store.pair("digits", "blurred/pixels", "full/pixels", target="digit", split="cv5", fold=0)
X, y, ids = data.xy("train", row="I")
X.shape, y.shape, data.classes

# %% [markdown]
# ## One head
#
# A guidance model G foretells the strong code from the cheap one; the decoder D_c reads both. Val says how good it
# is; test is left alone until the choice is made.

# %%
plain = gs.fit(data, decoder="least_squares", row="I")
guided = gs.fit(data, guidance="ridge", decoder="least_squares", row="G(I)+I")
{head.row: round(head.score("val")["balanced_accuracy"], 3) for head in (plain, guided)}

# %% [markdown]
# ## Is it guidance?
#
# A head of more parameters may gain without guidance. So every row stands beside controls that cannot know anything
# of the strong view (G trained on shuffled pairs, on pairs shuffled within the class, on a code made of the cheap
# view alone) and beside references that are tuned as well. Here are two of five folds, to be quick.

# %%
study = store.guide(
    "digits",
    inferior="blurred/pixels",
    superior="full/pixels",
    guidance="ridge",
    decoder="least_squares",
    folds=[0, 1],
    permutations=2,
)
study

# %%
study.table().df()[["label", "balanced_accuracy_mean", "auroc_mean", "verdict"]].head(12)

# %%
figure = study.plot.gains()
figure

# %% [markdown]
# With all labels there, reconstructing the strong view adds nothing beyond the head's own capacity, and the verdict
# says so. Where few labels are there, label transfer helps: `guidestore example digits` writes that sweep.
#
# ## Ask, predict, pass on

# %%
store.sql(
    """SELECT row, control, round(avg(value), 3) AS auroc FROM metrics
       WHERE metric = 'auroc' AND part = 'test' GROUP BY ALL ORDER BY auroc DESC"""
)

# %%
run = study.runs.df().query("row == 'G(I)+I' and control == ''")["run"].iloc[0]
store.predict(run, cases=["digit-0003", "digit-1796"])

# %%
study.report(folder / "report.html")
guided.save(folder / "head")
assert (gs.load(folder / "head").predict(X) == guided.predict(X)).all()
