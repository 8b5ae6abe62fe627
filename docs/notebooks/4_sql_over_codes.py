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
# # SQL over codes
#
# Every code, label, split, run and prediction of a store is a row that SQL can ask, at any snapshot, read-only. The
# engine is DuckDB, so vectors are columns too. This notebook asks of 1,797 digits in two views, without training
# anything: **does the strong view know more?**

# %%
import guidestore as gs

store = gs.open("notebook-store", create=True)
gs.datasets.digits(store)
print(store.sql("SHOW TABLES"))

# %% [markdown]
# `DESCRIBE` says what a view has; [the reference](../reference/sql.md) says what it means. `unit` is the code at
# length 1, so that the inner product of two of them is the cosine of the angle between them.

# %%
print(store.sql("SELECT column_name, column_type FROM (DESCRIBE codes)"))

# %%
store.sql("SELECT name, modality, d, cases, trained_on FROM code_sets WHERE cohort = 'digits'").df()

# %% [markdown]
# ## The cases most like one
#
# `neighbours` is a table function: a case, a code set, how many.

# %%
print(store.sql("SELECT rank, case_id, similarity, labels FROM neighbours('digit-0003', 'digits/full/pixels', k := 5)"))

# %%
print(
    store.sql("SELECT rank, case_id, similarity, labels FROM neighbours('digit-0003', 'digits/blurred/pixels', k := 5)")
)

# %% [markdown]
# All five neighbours of this 3 are threes in the strong view; not so in the cheap one. One case is an anecdote. The
# same for 200 cases, in one query: how often has the nearest *other* case the same label?

# %%
told = store.sql("""
    WITH labelled AS (
        SELECT c.modality, c.case_id, c.unit, l.class
        FROM codes c JOIN labels l USING (cohort, case_id)
        WHERE c.cohort = 'digits' AND l.target = 'digit'
    ),
    nearest AS (
        SELECT a.modality, a.class, arg_max(b.class, list_inner_product(a.unit, b.unit)) AS said
        FROM labelled a JOIN labelled b ON a.modality = b.modality AND a.case_id <> b.case_id
        WHERE a.case_id < 'digit-0200'
        GROUP BY a.modality, a.case_id, a.class
    )
    SELECT class, round(avg((said = class)::INT) FILTER (modality = 'blurred'), 2) AS blurred,
           round(avg((said = class)::INT) FILTER (modality = 'full'), 2) AS "full"
    FROM nearest GROUP BY class ORDER BY class
""").df()
told

# %%
import matplotlib.pyplot as plt

axes = told.plot.bar(x="class", y=["blurred", "full"], figsize=(7, 3), color=["#b8860b", "#1f4e79"], rot=0)
axes.set_ylabel("nearest case has the label")
axes.legend(loc="lower right")
plt.tight_layout()

# %% [markdown]
# The strong view knows nearly every digit by its nearest neighbour, the cheap one about half of them. So there *is*
# something to be guided by. (Whether a guided head can use it is another matter: [the verdict](2_codes_to_verdict.py)
# needs controls.)
#
# ## Any snapshot
#
# `at` takes the number of a snapshot or a tag. Every change of the store is a row of `snapshots`, and a question at
# snapshot 1 is answered as it would have been then.

# %%
first = store.sql("SELECT min(version) AS first FROM snapshots").rows()[0]["first"]
[(at, len(store.sql("FROM code_sets WHERE cohort = 'digits'", at=at))) for at in (first, store.head)]

# %% [markdown]
# ## Where a code came from
#
# `lineage` has an edge for every input of every artifact, `splits` who was tested when. Are the folds of a class
# even?

# %%
store.sql("""
    SELECT l.class AS digit, count(*) FILTER (part = 'train') AS train, count(*) FILTER (part = 'val') AS val,
           count(*) FILTER (part = 'test') AS test
    FROM splits s JOIN labels l USING (cohort, case_id)
    WHERE s.cohort = 'digits' AND s.split = 'cv5' AND s.fold = 0 GROUP BY ALL ORDER BY ALL
""").df()

# %% [markdown]
# ## And out
#
# An answer is a table of Arrow: `.df()` for pandas, `.pl()` for polars, `.arrow()`, or anything that takes Arrow's
# stream; nothing is copied. In the terminal it is `guidestore sql "…" --format csv|json|parquet`. What does more than
# read is refused:

# %%
try:
    store.sql("DROP TABLE runs")
except gs.InvalidInputError as error:
    print(error)

# %% [markdown]
# **To conclude.** Questions about codes need no export and no script: nearest cases, agreement of views, balance of
# folds are a query each, and the same query at an old snapshot gives the old answer.
