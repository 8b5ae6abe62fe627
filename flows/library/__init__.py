"""What `import guidestore as gs` gives: stores, training sets, heads and studies in Python, one idea per file.

It holds no logic of its own: what a name does is done by the rooms below, which the commands call too.
"""
