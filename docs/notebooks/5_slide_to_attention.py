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
# # A pathology slide, from tiles to attention
#
# A slide has too many pixels for one network. So it is cut into tiles, a *patch encoder* makes a code of each
# (together a **bag**), and an attention network learns which tiles of the bag tell the class. This notebook goes that
# way on nine generated slides, real pyramidal TIFF files, and looks at where the network looked. The pixels are read
# once; everything after that reads stored codes.

# %%
import matplotlib.pyplot as plt
import numpy as np

import guidestore as gs

store = gs.open("notebook-store", create=True)
store.add_cohort("phantom", "phantom", images="phantom-images", cases=9)
store.add_split("phantom", folds=3, val=0.34)
store.sql("SELECT modality, count(*) AS files FROM images WHERE cohort = 'phantom' GROUP BY ALL ORDER BY ALL").df()

# %% [markdown]
# Of each case there are an MRI of four sequences and a slide. In these phantoms the class is in the texture of the
# tissue: nuclei lie denser, or in strands.
#
# ## Tiles to a bag
#
# `texture` needs no weights: colour and texture of a tile as numbers. With a GPU and the weights it would be
# `uni2_h`, `virchow2` or another of `guidestore encoders`; the rest of this notebook would stay as it is. `mpp=1.0`
# is one um a pixel, so `tile_px=64` makes tiles of 64 um.

# %%
store.encode("phantom", "histology", "texture", tile_px=64, mpp=1.0).df()

# %%
bags = store.bags("phantom/histology/texture")
bag = bags[0]
places_n2 = np.asarray(bag.coords_n2)
bags, bag.features_nd.shape, bag.features_nd.dtype, places_n2[:2].tolist()

# %% [markdown]
# A bag is one row of numbers a tile, with the tile's place in pixels of the finest level. Drawn at those places, the
# first number is already a picture:

# %%
figure, panel = plt.subplots(figsize=(4.4, 4), layout="constrained")
x, y = places_n2.T
drawn = panel.scatter(x, y, c=bag.features_nd[:, 0].astype(float), marker="s", s=110, cmap="viridis")
panel.set(aspect="equal", xlabel="x, pixels of level 0", ylabel="y", title=bags.case_ids[0])
panel.invert_yaxis()
_ = figure.colorbar(drawn, label="first number of the tile's code")

# %% [markdown]
# ## Bags to one code a slide
#
# `attention_pooling` weighs the tiles of a bag and sums them up to one code z_S, and is trained to tell the class.
# Being trained, it belongs to **one fold**: its codes may be used with that fold alone, which `trained_on` says and
# `store.pair` enforces. No image file is read here.

# %%
store.encode("phantom", "histology", "attention_pooling", split="cv3", folds=[0]).df()

# %%
store.code_sets("phantom").df()[["name", "kind", "d", "cases", "trained_on"]]

# %% [markdown]
# ## Where did it look?
#
# Of a case that the fold tests, so that the network has not seen it. `guidestore attention` draws it; a line with `!`
# is a command of the terminal.

# %%
case = store.sql(
    "SELECT min(case_id) AS first FROM splits WHERE cohort = 'phantom' AND fold = 0 AND part = 'test'"
).rows()[0]["first"]

# %%
# !guidestore attention {case} --cohort phantom --encoder attention_pooling --out attention --store notebook-store

# %%
from pathlib import Path

picture = plt.imread(next(Path("attention").glob(f"{case}_*.png")))
figure, panel = plt.subplots(figsize=(9, 5.2), layout="constrained")
panel.imshow(picture)
panel.set_axis_off()

# %% [markdown]
# Yellow tiles weigh most: the colour is a tile's rank in its slide, so there is yellow even where all weigh nearly
# alike. The weights themselves are rows (`attention`, one a tile). If the network looked everywhere alike, a tile of
# a slide of n tiles would weigh 1/n; how many times that does the heaviest weigh?

# %%
store.sql("""
    SELECT case_id, len(attention) AS tiles, round(list_max(attention) * len(attention), 2) AS heaviest_to_even
    FROM attention WHERE code_set LIKE 'phantom/histology/attention_pooling%' ORDER BY case_id
""").df()

# %% [markdown]
# **What to conclude, and what not.** The way is the same for nine phantoms and a thousand slides: tiles once, then
# everything from stored bags. Attention shows what the network *weighed*, not why a patient is ill; and with six
# train cases it has learnt next to nothing, so its map is a demonstration, not evidence. Hold a map against cases
# that the fold tested, as here, and look at the score first. [How slides are read](../inputs.md), [features you have
# already](../peers.md).
