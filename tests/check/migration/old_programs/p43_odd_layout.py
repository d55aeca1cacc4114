# -*- coding: utf-8 -*-
"""2024: tabs, semicolons, comments in odd places, ümläuts and emoji before what changes."""
import os; import modal

grüße = "héllo 🚀"; app = modal.App("odd-layout")  # 🚀 rocket
if True:
	GPU = modal.gpu.L4(); name = "größe"


@app.function(  # 🚀 decorator
	gpu = GPU,	keep_warm = 0,  # ümläut
	# a comment of its own 🚀

	concurrency_limit = 1	,
)  # the end
def f(x): return f"{grüße} {x}"


@app.function(concurrency_limit=1, gpu=(
	modal.gpu.T4()  # small
),)
def g(x): return x


@app.local_entrypoint()
def main():
	assert f.remote(1) == "héllo 🚀 1"; assert g.remote(2) == 2
	print("done")
