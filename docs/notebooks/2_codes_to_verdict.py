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
# You have codes of two modalities and labels. Does it help to guide the cheap modality by the strong one? This
# notebook asks that twice of the same cases, and gets two answers, each with the reason.
#
# The cohort is made of random numbers, so that we know the truth: 800 lesions, an MRI code of 100 numbers, a slide
# code of 4. The slide follows the MRI (a linear map, and something of its own). There are two things to foretell:
#
# - `grade` is **decided** by the slide: it is a formula of the slide's code;
# - `growth` in mm a year **follows** from the same, but as much of it again is chance.

# %%
import numpy as np

import guidestore as gs

rng = np.random.default_rng(0)
ids = [f"lesion-{number:03d}" for number in range(800)]
mri = rng.normal(size=(800, 100))
slide = mri @ rng.normal(size=(100, 4)) / 10 + 0.3 * rng.normal(size=(800, 4))
severity = slide @ rng.normal(size=4)
severity /= severity.std()
labels = {"case_id": ids, "grade": severity, "growth": 10 + 3 * (severity + rng.normal(size=800))}

# %% [markdown]
# ## Codes, labels and folds come in
#
# `add_codes` takes arrays, tensors, or tables of pandas, polars and Arrow. Codes of the same name and values are
# no-op, others are refused unless you say `replace=True`. `trained_on="none"`: the encoder never saw these cases.

# %%
store = gs.open("notebook-store", create=True)
store.add_codes("lesions", "mri", "radiomics", mri, ids, trained_on="none")
store.add_codes("lesions", "slide", "grading", slide, ids, trained_on="none")
store.add_labels(
    "lesions",
    labels,
    kinds={"grade": "value", "growth": "value"},
    units={"grade": "sd", "growth": "mm"},
)
store.add_split("lesions", folds=2, target="grade")
store.targets("lesions").df()[["target", "kind", "unit", "labelled"]]

# %% [markdown]
# ## The study
#
# One call trains every input row, six references for the plain row, and the controls; it scores test once, and the
# store counts that look. One fold and one G keep it to seconds here.

# %%
study = store.guide(
    "lesions",
    inferior="mri/radiomics",
    superior="slide/grading",
    targets=["grade", "growth"],
    guidance="ridge",
    decoder="ridge",
    folds=[0],
    permutations=2,
)
study

# %% [markdown]
# `G(I)` is the decoder of the slide, applied to what G foretells of the slide from the MRI; `G(I)+I` reads the MRI
# code as well. R² is that of test cases against the mean of train.
#
# ## Why these verdicts?
#
# A head may gain for reasons that have nothing to do with the slide, so it must beat more than row `I`:

# %%
table = study.table().df()
table[table["target"] == "growth"][["label", "r2_mean"]].round(3)

# %% [markdown]
# - `S+I` and `S` are ceilings: they read the slide.
# - `R(I)` are other decoders of the MRI alone, tuned as hard as can be. A gain over a weak `I` would be no gain.
# - **shuffled pairs**: G saw slides of other cases. Whoever gains as much has capacity, not guidance.
# - **shuffled within class**: slides of cases with a like outcome. Whoever gains as much has learnt the label again.
# - **S made of I**: a "slide" that was computed from the MRI. Whoever gains as much has re-expressed the MRI.
#
# `guidance helps` is said only where the 95 % intervals of the gains over *all* of these lie above 0.

# %%
study.plot.gains()

# %% [markdown]
# ## What to conclude
#
# **Grade.** The slide decides it, the MRI foretells the slide, and still guidance adds nothing. With the grade known
# for every train case, a decoder learns from the MRI straight away what G would learn by way of the slide. That is
# the usual case where every pair is cleanly labelled; the verdict says `no effect` because the interval lies within
# ±.02, not merely because it includes 0.
#
# **Growth.** Each outcome is half chance, so 320 of them teach a decoder of 100 numbers badly. The slide code is 4
# numbers and hardly noisy: G learns them well from the same 320 cases, and the decoder has only 4 weights left to
# learn. The detour over the slide takes the noise out. `G(I)` gains most, since `G(I)+I` may fit the noise by way of
# z_I again.
#
# So: try guidance where labels are few or noisy and the strong modality mediates the outcome, and expect nothing
# where every pair is cleanly labelled. [When it helps](../guidance.md) has the other rows, and
# [verdicts](../verdicts.md) all the words.

# %%
study.verdicts
