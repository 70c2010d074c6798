# ruff: noqa: E402
"""The cells of a notebook with one plot of each library. Each plot has areas of two colours or more."""

# %% before
from IPython import get_ipython
from IPython.display import display

colours, heights = ["crimson", "steelblue", "seagreen"], [3, 5, 4]

# %% matplotlib
import matplotlib.pyplot as plt

plt.bar(colours, heights, color=colours)
plt.show()

# %% pandas
import pandas as pd

table = pd.DataFrame({"colour": colours, "height": heights})
table.T.loc[["height"]].plot.bar(color=colours)
plt.show()

# %% seaborn
import seaborn as sns

sns.set_theme()
sns.barplot(table, x="colour", y="height", hue="colour")
plt.show()

# %% ipympl
get_ipython().run_line_magic("matplotlib", "widget")
figure, axes = plt.subplots(figsize=(5, 3))
axes.bar(colours, heights, color=colours)
display(figure.canvas)
get_ipython().run_line_magic("matplotlib", "inline")

# %% ipywidgets
from ipywidgets import IntProgress, VBox

display(VBox([IntProgress(8, max=10, bar_style=style) for style in ("success", "danger")]))

# %% anywidget
import anywidget


class Flag(anywidget.AnyWidget):
    _esm = """export default {render({el}) {
        el.innerHTML = '<div style="background: crimson">&nbsp;</div><div style="background: seagreen">&nbsp;</div>'
    }}"""


display(Flag())

# %% tqdm
from tqdm.notebook import tqdm

for _ in tqdm(range(10)):
    pass
with tqdm(total=10) as stopped:
    stopped.update(8)

# %% plotly
import plotly.express as px

px.bar(table, x="colour", y="height", color="colour", height=300).show()

# %% altair
import altair as alt

display(alt.Chart(table).mark_bar().encode(x="colour", y="height", color="colour"))

# %% altair-again
display(alt.layer(alt.Chart(table).mark_arc().encode(theta="height", color="colour"), alt.Chart(table).mark_text()))

# %% bokeh
from bokeh.io import output_notebook, show
from bokeh.plotting import figure as bokeh_figure

output_notebook(hide_banner=True)
plot = bokeh_figure(x_range=colours, height=250)
plot.vbar(x=colours, top=heights, width=0.8, color=colours)
show(plot)

# %% holoviews
import holoviews as hv

hv.extension("bokeh", logo=False)
display(hv.Bars(table, "colour", "height").opts(color="colour", cmap=colours))

# %% hvplot
import hvplot.pandas  # noqa: F401

display(table.hvplot.bar(x="colour", y="height", color=colours))

# %% panel
import panel as pn

pn.extension()
display(pn.Column(*(pn.indicators.Progress(value=80, bar_color=colour) for colour in ("success", "danger"))))
