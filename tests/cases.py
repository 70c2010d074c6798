"""The answers that tests render. CASES has every choice of every question: template/test_questions.py checks it."""

from typing import Any

Answers = dict[str, Any]

CASES: dict[str, Answers] = {
    "default": {},
    "python-3.12": {"python_version": "3.12", "license": "Apache-2.0"},
    "python-3.14": {"python_version": "3.14", "license": "BSD-3-Clause"},
    "plain": {"use_github_actions": False, "license": "none", "author_name": "Ada Lovelace"},
    "unicode": {
        "project_slug": "groesse-2",
        "project_name": "Größe & Maß: Ñandú",
        "description": "Maße, gemessen — 'ja'",
        "author_name": "Å. Öberg",
    },
    "minimal": {"environment": "minimal"},
    "science-full": {"environment": "science-full"},
    "tensorflow": {"environment": "tensorflow"},
    "tensorflow-nvidia": {"environment": "tensorflow", "gpu": "nvidia", "python_version": "3.12"},
    "pytorch": {"environment": "pytorch"},
    "pytorch-nvidia": {"environment": "pytorch", "gpu": "nvidia", "python_version": "3.14"},
    "spark": {"environment": "spark"},
    "r": {"environment": "r"},
    "allowlist": {"network": "allowlist"},
    "sealed": {"network": "sealed"},
    "self-signed": {"tls": "self-signed"},
    "certificates": {"tls": "files"},
    "dask": {"scale_out": "dask"},
    "dask-allowlist": {"scale_out": "dask", "network": "allowlist", "tls": "self-signed"},
    "dask-sealed": {"scale_out": "dask", "network": "sealed", "environment": "science-full"},
    "dask-pytorch": {"scale_out": "dask", "environment": "pytorch"},
    "dask-tensorflow": {"scale_out": "dask", "environment": "tensorflow", "gpu": "nvidia"},
}

# The fixture `case` uses these in `make test-full` only. Tests that render all cases themselves always use them.
RARER_CASES = [
    *("sealed", "certificates", "science-full", "tensorflow", "tensorflow-nvidia", "pytorch", "pytorch-nvidia"),
    *("spark", "r", "dask-allowlist", "dask-sealed", "dask-pytorch", "dask-tensorflow"),
]

# Cases whose images differ. All other cases have the image of `default`.
IMAGE_CASES = ["default", "dask", "python-3.12", "python-3.14", "minimal", "science-full", "spark", "r"]
LARGE_CASES = ["tensorflow", "pytorch"]  # gigabytes: nightly

# By environment: its example notebook.
EXAMPLES = {
    "minimal": "birthdays",
    "science": "iris",
    "science-full": "diabetes",
    "tensorflow": "digits",
    "pytorch": "digits",
    "spark": "journeys",
    "r": "cars",
}

# Answers that are refused, each with a word that the error message must contain.
REJECTED: dict[str, tuple[Answers, str]] = {
    "empty name": ({"project_name": "  "}, "empty"),
    "long name": ({"project_name": "x" * 61}, "60 characters"),
    "name with quotation mark": ({"project_name": 'the "lab"'}, "no space"),
    "name that ends with a space": ({"project_name": "Iris "}, "at either end"),
    "name with a tab": ({"project_name": "the\tlab"}, "one line"),
    "slug with a line end": ({"project_slug": "lab\n"}, "single hyphens"),
    "slug with capitals": ({"project_slug": "Iris"}, "'Iris'"),
    "slug with a space": ({"project_slug": "my lab"}, "'my lab'"),
    "slug with underscores": ({"project_slug": "my_lab"}, "'my_lab'"),
    "slug that starts with a hyphen": ({"project_slug": "-lab"}, "'-lab'"),
    "slug that ends with a hyphen": ({"project_slug": "lab-"}, "'lab-'"),
    "slug with two hyphens": ({"project_slug": "my--lab"}, "'my--lab'"),
    "long slug": ({"project_slug": "x" * 41}, "40"),
    "empty slug": ({"project_slug": ""}, "iris-study"),
    "slug that Windows keeps": ({"project_slug": "con"}, "Windows"),
    "description of two lines": ({"description": "one\ntwo"}, "one line"),
    "long description": ({"description": "x" * 201}, "200"),
    "author with a backslash": ({"author_name": "a\\b"}, "without"),
    "long author": ({"author_name": "x" * 101}, "100"),
    "unknown Python": ({"python_version": "3.11"}, "3.11"),
    "TensorFlow without wheels": ({"environment": "tensorflow", "python_version": "3.14"}, "no wheels for Python 3.14"),
    "unknown environment": ({"environment": "julia"}, "julia"),
    "unknown GPU": ({"gpu": "voodoo"}, "voodoo"),
    "unknown network": ({"network": "closed"}, "closed"),
    "unknown TLS": ({"tls": "letsencrypt"}, "letsencrypt"),
    "unknown scale_out": ({"scale_out": "ray"}, "ray"),
    "Dask without pandas": ({"scale_out": "dask", "environment": "minimal"}, "Choose environment science"),
    "Dask and Spark": ({"scale_out": "dask", "environment": "spark"}, "computes with Spark"),
    "Dask and R": ({"scale_out": "dask", "environment": "r"}, "Dask is for Python"),
    "unknown licence": ({"license": "GPL"}, "GPL"),
}
