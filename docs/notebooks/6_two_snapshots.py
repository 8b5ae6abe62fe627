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
# # What changed between two snapshots
#
# Codes get corrected, labels come late, patients are added, and then a figure is not what it was in the draft. A
# store keeps every state: this notebook makes a mistake, finds it, mends it, and says exactly what that changed in
# codes, in heads and in the answer.
#
# Six blood serum values are the strong view of 442 patients (scikit-learn's diabetes data). For 60 of them a lab
# reported one value in other units.

# %%
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from sklearn.datasets import load_diabetes

import guidestore as gs

values, progression = map(np.asarray, load_diabetes(scaled=False, return_X_y=True))
ids = [f"patient-{number:03d}" for number in range(len(values))]
clinical, serum = values[:, :4], values[:, 4:]
wrong = serum.copy()
wrong[:60] *= 38.67  # mg/dl for mmol/l

# %% [markdown]
# ## The first state
#
# A new store, so that the numbers of its snapshots are small.

# %%
store = gs.open(Path(mkdtemp(prefix="snapshots-")) / "store", create=True)
store.add_codes("ward", "clinical", "table", clinical, ids, trained_on="none")
store.add_codes("ward", "serum", "table", wrong, ids, trained_on="none")
store.add_labels("ward", {"case_id": ids, "progression": progression}, kinds={"progression": "value"})
store.add_split("ward", folds=3)
asked = {"inferior": "clinical/table", "superior": "serum/table", "guidance": "ridge", "decoder": "ridge", "folds": [0]}
draft = store.guide("ward", **asked, permutations=1)
store.tag("draft")
draft

# %% [markdown]
# `draft` is now a fixed name of this state. Something is odd, though: the ceiling hardly exceeds row I.

# %%
rows = draft.table().df().set_index("label")["r2_mean"].round(3)
rows[["S+I", "S", "I"]]

# %% [markdown]
# A look at the codes of the strong view by SQL, the first number of every code:

# %%
store.sql("""
    SELECT CASE WHEN code[1] > 1000 THEN 'above 1,000' ELSE 'else' END AS first_value, count(*) AS patients,
           round(avg(code[1])) AS mean
    FROM codes WHERE modality = 'serum' GROUP BY ALL ORDER BY ALL
""").df()

# %% [markdown]
# ## Mend it
#
# Other values under the same name are refused, unless you say that they replace the old ones:

# %%
try:
    store.add_codes("ward", "serum", "table", serum, ids, trained_on="none")
except gs.InvalidInputError as error:
    print(error)

# %%
store.add_codes("ward", "serum", "table", serum, ids, trained_on="none", replace=True).df()

# %%
final = store.guide("ward", **asked, permutations=1)
store.tag("final")
final

# %% [markdown]
# ## What changed, counted

# %%
store.diff("draft", "final").df()

# %% [markdown]
# Sixty codes were replaced, the others stand. Every head that learned from them was trained anew, with new weights;
# heads of the clinical view alone (row I, the references) were not, for nothing that they read has changed. `looks`
# counts who looked at test, and at which runs.
#
# ## What that changed in the answer
#
# `compare` pairs the heads of both states case by case, from stored predictions: `a` is the draft, `b` the final state,
# the gain in R² has its 95 % interval. Here are the rows; controls and references follow them.

# %%
changed = store.compare("draft", "final").table().df()
changed[["row", "a", "b", "gain", "low", "high"]].head(5).round(3)

# %%
import matplotlib.pyplot as plt

after = final.table().df().set_index("label")["r2_mean"].round(3)
labels = ["S+I", "S", "I", "G(I)", "G(I)+I"]
figure, panel = plt.subplots(figsize=(6, 3), layout="constrained")
places = np.arange(len(labels))
panel.bar(places - 0.2, rows[labels], 0.4, label="draft", color="#b8b8b8")
panel.bar(places + 0.2, after[labels], 0.4, label="final", color="#1f4e79")
panel.set_xticks(places, labels)
panel.set_ylabel("R² on test")
_ = panel.legend()

# %% [markdown]
# The old state still answers, with the old numbers. A figure of the draft can be made again by its tag, whatever came
# since:

# %%
question = "SELECT count(*) AS patients FROM codes WHERE modality = 'serum' AND code[1] > 1000"
{at: store.sql(question, at=at).rows()[0]["patients"] for at in ("draft", "final")}

# %% [markdown]
# **To conclude.** Tag what you show to others. `diff` says what a correction touched, `compare` what it did to every
# head, and `at` gives the old answer again. Only `guidestore purge` takes something out of old states, because a
# patient who withdraws must be gone from all of them. In the terminal: `guidestore tag`, `guidestore diff`,
# `guidestore compare draft final`, `guidestore sql --at draft`.
