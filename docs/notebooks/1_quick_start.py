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
# # Quick start
#
# A store, codes of two modalities, a training set, one head, a prediction: the nouns of guidestore in five minutes.
# Nothing is downloaded. The cohort is 1,797 handwritten digits in two views: a blurred 4 x 4 image with noise stands
# for the cheap modality (an MRI, say), the sharp 8 x 8 image for the strong one (the slide, which needs surgery).
#
# A notebook is a plain file here, `docs/notebooks/1_quick_start.py`: with `pip install jupytext`, Jupyter opens it.
# All of them share the folder `notebook-store` in the working directory, so what one has trained the next one finds.

# %%
import guidestore as gs

store = gs.open("notebook-store", create=True)
gs.datasets.digits(store)
store

# %% [markdown]
# A **code set** holds all codes that one encoder made of one modality of a cohort. Here the encoder is `pixels`: a
# code is the image itself. `d` is how many numbers a code has; `trained_on` says which cases the encoder was fitted
# to (these saw none), because codes of an encoder that has seen the test cases would be worth nothing.

# %%
store.code_sets("digits").df()[["name", "d", "cases", "trained_on"]]

# %% [markdown]
# ## A training set
#
# `pair` joins both code sets, the labels and one fold of a split by case. It is the only door to training data, and
# it refuses codes that the fold must not see.

# %%
data = store.pair("digits", inferior="blurred/pixels", superior="full/pixels", target="digit", split="cv5", fold=0)
data

# %% [markdown]
# For any library that takes arrays: `X` has a row per case, `y` the place of its class in `data.classes`, `ids` the
# case ids. Row `I` reads the cheap code z_I, `S` the strong one z_S, `S+I` both.

# %%
X, y, ids = data.xy("train", row="I")
X.shape, X.dtype, y[:5], ids[:2]

# %% [markdown]
# What that looks like, of four cases:

# %%
import matplotlib.pyplot as plt

strong, _, _ = data.xy("train", row="S")
figure, panels = plt.subplots(2, 4, figsize=(6, 3.2), layout="constrained")
for column in range(4):
    panels[0, column].imshow(X[column].reshape(4, 4), cmap="gray_r")
    panels[1, column].imshow(strong[column].reshape(8, 8), cmap="gray_r")
    panels[0, column].set_title(f"digit {data.classes[y[column]]}")
for panel, name in ((panels[0, 0], "cheap: z_I"), (panels[1, 0], "strong: z_S")):
    panel.set_ylabel(name)
for panel in panels.flat:
    panel.set(xticks=[], yticks=[])

# %% [markdown]
# ## A head
#
# A guided head has two parts. The guidance model **G** learns, on train cases that have both views, to foretell the
# strong code from the cheap one. The decoder **D_c** classifies [G(z_I), z_I]. At test time the cheap view is enough.
# `plain` is the decoder without G, `both` the one that may see the strong view too: the ceiling.

# %%
plain = gs.fit(data, decoder="least_squares", row="I")
guided = gs.fit(data, guidance="ridge", decoder="least_squares", row="G(I)+I")
both = gs.fit(data, decoder="least_squares", row="S+I")
{head.row: round(head.score("val")["auroc"], 3) for head in (plain, guided, both)}

# %% [markdown]
# The strong view is worth much (`S+I`), and yet the guided head scores as the plain one does. One number on val
# proves nothing either way; [the next notebook](2_codes_to_verdict.py) asks the question with controls and intervals.
#
# ## Predict, keep, load

# %%
test, truth, _ = data.xy("test", row="I")
probabilities = guided.predict_proba(test)
probabilities.shape, [guided.classes[k] for k in guided.predict(test)[:5]], [data.classes[k] for k in truth[:5]]

# %%
from pathlib import Path

if not Path("my-head").exists():
    guided.save("my-head")
again = gs.load("my-head")
assert (again.predict_proba(test) == probabilities).all()
sorted(file.name for file in Path("my-head").iterdir())

# %% [markdown]
# **To conclude.** Codes are kept once and named; a training set comes from one call that watches the folds; a head is
# fitted, asked and saved in a line each, and nothing is ever unpickled. Whether guidance *helps* is another question:
# [from codes to a verdict](2_codes_to_verdict.py).
