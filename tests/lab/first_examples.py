"""The first use of each package: what its own documentation shows first, on data that need no internet.

One function for each package of each environment, with the package's name (`_` for `-`). A notebook kernel runs them.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from IPython import get_ipython
from IPython.display import display


# --- the notebook -----------------------------------------------------------------------------------
def ipykernel() -> None:
    assert get_ipython().kernel.implementation == "ipython"


def nbformat() -> None:
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")])
    nbformat.validate(notebook)
    assert nbformat.reads(nbformat.writes(notebook), as_version=4) == notebook


def ipywidgets() -> None:
    from ipywidgets import IntSlider, interact

    seen = []
    interact(lambda x: seen.append(x), x=IntSlider(3))
    slider = IntSlider(value=7)
    display(slider)
    assert (seen, slider.value) == ([3], 7)


def anywidget() -> None:
    import anywidget
    import traitlets

    class Counter(anywidget.AnyWidget):
        _esm = "export default {render({model, el}) {el.innerText = model.get('value')}}"
        value = traitlets.Int(0).tag(sync=True)

    counter = Counter(value=3)
    display(counter)
    assert counter.value == 3


def tqdm() -> None:
    from tqdm.auto import tqdm
    from tqdm.notebook import tqdm as in_notebooks

    assert issubclass(tqdm, in_notebooks)
    assert sum(tqdm(range(10))) == 45


# --- numbers and tables -----------------------------------------------------------------------------
def numpy() -> None:
    import numpy as np

    a = np.arange(15).reshape(3, 5)
    assert (a.shape, a.ndim, a.sum()) == ((3, 5), 2, 105)
    assert np.allclose(np.linalg.inv(np.diag([2.0, 4.0])), np.diag([0.5, 0.25]))


def pandas() -> None:
    import io

    import pandas as pd

    table = pd.read_csv(io.StringIO("kind,size\na,1\na,3\nb,5\n"), parse_dates=False)
    assert table.groupby("kind")["size"].mean().to_dict() == {"a": 2, "b": 5}
    dates = pd.date_range("2026-01-01", periods=3, tz="Europe/Berlin")
    assert str(dates[0]) == "2026-01-01 00:00:00+01:00"
    table.plot()


def scipy() -> None:
    from scipy import integrate, linalg, optimize

    assert abs(integrate.quad(lambda x: x**2, 0, 3)[0] - 9) < 1e-9
    assert abs(optimize.minimize(lambda x: (x[0] - 2) ** 2, [0]).x[0] - 2) < 1e-3
    assert linalg.det([[1, 2], [3, 4]]) < 0


def numexpr() -> None:
    import numexpr as ne
    import numpy as np

    a = np.arange(1_000_000)
    assert (ne.evaluate("2 * a + 1", {"a": a}) == 2 * a + 1).all()


def bottleneck() -> None:
    import bottleneck as bn
    import numpy as np

    assert bn.nanmean(np.array([1, np.nan, 3])) == 2


def numba() -> None:
    import numpy as np
    from numba import njit, prange

    @njit(parallel=True)
    def total(a):
        found = 0.0
        for i in prange(a.shape[0]):
            found += a[i]
        return found

    assert total(np.ones(1000)) == 1000


def sympy() -> None:
    from sympy import Symbol, diff, limit, sin

    x = Symbol("x")
    assert limit(sin(x) / x, x, 0) == 1
    display(diff(sin(x) * x, x))


def pyarrow() -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with TemporaryDirectory() as folder:
        pq.write_table(pa.table({"n": [1, 2, 3]}), f"{folder}/n.parquet")
        assert pq.read_table(f"{folder}/n.parquet")["n"].to_pylist() == [1, 2, 3]


def pytz() -> None:
    from datetime import datetime

    import pytz

    assert pytz.timezone("US/Eastern").localize(datetime(2026, 1, 1)).strftime("%Z") == "EST"


def dask() -> None:
    import dask.array as da
    import dask.dataframe as dd
    import pandas as pd
    from dask.distributed import Client, LocalCluster

    table = pd.DataFrame({"kind": ["a", "b"] * 50, "n": range(100)})
    # In a project with scale_out dask, Client() finds that cluster.
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as local, Client(local) as client:
        assert client.submit(sum, [1, 2]).result() == 3
        assert da.ones((1000, 1000), chunks=(100, 1000)).sum().compute() == 1_000_000
        assert dd.from_pandas(table, npartitions=2).groupby("kind").n.mean().compute().to_dict() == {"a": 49, "b": 50}
        display(client)


# --- models -----------------------------------------------------------------------------------------
def scikit_learn() -> None:
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import cross_val_score

    X, y = load_iris(return_X_y=True)
    assert cross_val_score(RandomForestClassifier(n_estimators=10), X, y).mean() > 0.9


def statsmodels() -> None:
    import numpy as np
    import pandas as pd
    import statsmodels.formula.api as smf

    table = pd.DataFrame({"x": np.arange(20.0)})
    table["y"] = 3 * table.x + np.sin(table.x)
    fitted = smf.ols("y ~ x", data=table).fit()
    assert abs(fitted.params["x"] - 3) < 0.1
    display(fitted.summary())


def patsy() -> None:
    from patsy import demo_data, dmatrices

    outcome, predictors = dmatrices("y ~ a + x1", demo_data("a", "x1", "y"))
    assert len(outcome) == len(predictors)


def scikit_image() -> None:
    from skimage import data, filters, io

    edges = filters.sobel(data.coins())
    with TemporaryDirectory() as folder:
        io.imsave(f"{folder}/coins.png", (edges * 255).astype("uint8"))
        assert io.imread(f"{folder}/coins.png").shape == edges.shape


def tensorflow() -> None:
    import numpy as np
    import tensorflow as tf

    x = np.linspace(0, 1, 64).reshape(-1, 1)
    model = tf.keras.Sequential([tf.keras.Input((1,)), tf.keras.layers.Dense(8, "relu"), tf.keras.layers.Dense(1)])
    model.compile(optimizer="adam", loss="mse")
    assert len(model.fit(x, 2 * x, epochs=3, verbose=0).history["loss"]) == 3
    with TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        assert np.allclose(tf.keras.models.load_model(f"{folder}/model.keras")(x), model(x))


def torch() -> None:
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    x = torch.linspace(0, 1, 64).reshape(-1, 1)
    model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for inputs, wanted in DataLoader(TensorDataset(x, 2 * x), batch_size=16, num_workers=2):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(inputs), wanted).backward()
        optimizer.step()
    assert model(x).shape == (64, 1)


def torchvision() -> None:
    import torch
    from torchvision import models, ops, transforms

    picture = transforms.ToPILImage()(torch.rand(3, 80, 80))
    network = models.resnet18(weights=None).eval()
    assert network(transforms.ToTensor()(picture).unsqueeze(0)).shape == (1, 1000)
    assert ops.nms(torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8]]), torch.tensor([0.9, 0.8]), 0.5).tolist() == [0]


# --- plots ------------------------------------------------------------------------------------------
def matplotlib() -> None:
    import matplotlib.pyplot as plt

    _, axes = plt.subplots()
    axes.plot([1, 2, 3, 4], [1, 4, 2, 3])
    plt.show()


def seaborn() -> None:
    import pandas as pd
    import seaborn as sns

    sns.set_theme()
    table = pd.DataFrame({"x": [1, 2, 3, 4], "y": [1, 4, 2, 3], "kind": ["a", "b", "a", "b"]})
    assert sns.relplot(data=table, x="x", y="y", hue="kind", col="kind").axes.shape == (1, 2)


def ipympl() -> None:
    import matplotlib.pyplot as plt

    get_ipython().run_line_magic("matplotlib", "widget")
    try:
        figure, axes = plt.subplots()
        axes.plot([1, 3, 2])
        assert type(figure.canvas).__module__ == "ipympl.backend_nbagg"
        plt.close(figure)
    finally:
        get_ipython().run_line_magic("matplotlib", "inline")


def altair() -> None:
    import altair as alt
    import pandas as pd

    chart = alt.Chart(pd.DataFrame({"a": ["x", "y"], "b": [2, 7]})).mark_bar().encode(x="a", y="b")
    display(chart)
    data, _ = alt.renderers.get()(chart.to_dict())
    assert "application/vnd.jupyter.widget-view+json" in data


def vl_convert_python() -> None:
    import vl_convert

    values = [{"a": "x", "b": 2}, {"a": "y", "b": 7}]
    encoding = {"x": {"field": "a", "type": "nominal"}, "y": {"field": "b", "type": "quantitative"}}
    spec = {"data": {"values": values}, "mark": "bar", "encoding": encoding}
    assert vl_convert.vegalite_to_png(spec).startswith(b"\x89PNG")


def bokeh() -> None:
    from bokeh.io import output_notebook
    from bokeh.plotting import figure, show

    output_notebook()
    plot = figure(title="A line", width=300, height=200)
    plot.line([1, 2, 3], [3, 1, 2])
    show(plot)


# --- files and data formats -------------------------------------------------------------------------
def openpyxl() -> None:
    import pandas as pd
    from openpyxl import Workbook, load_workbook

    with TemporaryDirectory() as folder:
        book = Workbook()
        book.active["A1"] = 42
        book.save(f"{folder}/book.xlsx")
        assert load_workbook(f"{folder}/book.xlsx").active["A1"].value == 42
        assert pd.read_excel(f"{folder}/book.xlsx", header=None).iloc[0, 0] == 42


def xlrd() -> None:
    import struct

    import xlrd

    # No package here writes .xls files. This is the smallest: its beginning, the number 42 in the first cell, its end.
    records = [(0x0009, struct.pack("<HH", 2, 0x10)), (0x0003, struct.pack("<HH3xd", 0, 0, 42)), (0x000A, b"")]
    content = b"".join(struct.pack("<HH", kind, len(body)) + body for kind, body in records)
    assert xlrd.open_workbook(file_contents=content).sheet_by_index(0).cell_value(0, 0) == 42


def h5py() -> None:
    import h5py

    with TemporaryDirectory() as folder:
        with h5py.File(f"{folder}/data.hdf5", "w") as file:
            file.create_dataset("numbers", data=range(100), compression="gzip")
        with h5py.File(f"{folder}/data.hdf5") as file:
            assert file["numbers"][:].sum() == 4950


def tables() -> None:
    import tables as tb

    class Particle(tb.IsDescription):
        name = tb.StringCol(16)
        energy = tb.Float64Col()

    with TemporaryDirectory() as folder, tb.open_file(f"{folder}/particles.h5", "w") as file:
        made = file.create_table("/", "particles", Particle)
        for made.row["name"], made.row["energy"] in (("electron", 1.5), ("muon", 2.5)):
            made.row.append()
        made.flush()
        assert [row["name"] for row in made.where("energy > 2")] == [b"muon"]


def lxml() -> None:
    from lxml import etree

    root = etree.fromstring("<root><child name='a'/><child name='b'/></root>")
    assert root.xpath("//child/@name") == ["a", "b"]


def beautifulsoup4() -> None:
    from bs4 import BeautifulSoup

    for parser in ("html.parser", "lxml"):
        assert BeautifulSoup("<p>See <a href='/lab'>the lab</a></p>", parser).a["href"] == "/lab"


def requests() -> None:
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    import requests

    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        Thread(target=server.serve_forever).start()
        answer = requests.get(f"http://127.0.0.1:{server.server_port}/", timeout=30)
        server.shutdown()
    assert answer.status_code == 200


def sqlalchemy() -> None:
    from sqlalchemy import create_engine, text

    with create_engine("sqlite://").connect() as connection:
        connection.execute(text("CREATE TABLE points (x int)"))
        connection.execute(text("INSERT INTO points VALUES (:x)"), [{"x": 1}, {"x": 2}])
        assert connection.scalar(text("SELECT sum(x) FROM points")) == 3


def protobuf() -> None:
    from google.protobuf.timestamp_pb2 import Timestamp

    moment, read = Timestamp(), Timestamp()
    moment.FromJsonString("2026-01-01T00:00:00Z")
    read.ParseFromString(moment.SerializeToString())
    assert read.ToJsonString() == "2026-01-01T00:00:00Z"


def cloudpickle() -> None:
    import pickle

    import cloudpickle

    assert pickle.loads(cloudpickle.dumps(lambda x: x + 1))(1) == 2


def dill() -> None:
    import dill

    assert dill.loads(dill.dumps(lambda x: x + 1))(1) == 2


# --- Spark, Java and R ------------------------------------------------------------------------------
def pyspark() -> None:
    import pandas as pd
    from pyspark.sql import SparkSession
    from pyspark.sql.functions import pandas_udf

    spark = SparkSession.builder.getOrCreate()
    table = spark.createDataFrame(pd.DataFrame({"kind": ["a", "a", "b"], "n": [1, 3, 5]}))
    plus_one = pandas_udf(lambda column: column + 1, "long")
    found = table.select("kind", plus_one("n").alias("n")).groupBy("kind").avg("n").toPandas()
    assert dict(zip(found["kind"], found["avg(n)"], strict=True)) == {"a": 3, "b": 6}
    spark.stop()


def openjdk_21_jre_headless() -> None:
    import subprocess

    assert "21." in subprocess.run(("java", "-version"), check=True, text=True, capture_output=True).stderr


def r_base_core() -> None:
    assert ran_in_r("cat(coef(lm(c(2, 4, 6) ~ c(1, 2, 3)))[2])") == "2"


def r_cran_irkernel() -> None:
    assert ran_in_r("library(IRkernel); cat(is.function(IRkernel::main))") == "TRUE"


def ran_in_r(code: str) -> str:
    import subprocess

    return subprocess.run(("Rscript", "-e", code), check=True, text=True, capture_output=True).stdout


def run(names: list[str]) -> None:
    """Run the first example of each package in an empty folder. Then print the names that work."""
    import os
    import traceback

    before, worked, errors = Path.cwd(), [], []
    for name in names:
        with TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                globals()[name]()
            except Exception:
                errors.append(traceback.format_exc())
            else:
                worked.append(name)
            finally:
                os.chdir(before)
    # A widget can clear what was printed before. Spark's progress bar does not end its line.
    print("", *errors, *(f"works: {name}" for name in worked), sep="\n")
