"""What the peers do, in their own environment: `python -m bench.peer_work NAME ARGUMENT`."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from bench.measure import in_process


def _rfm(frame):
    import pandas as pd

    frame = frame.dropna()
    frame = frame.assign(total_price=frame["quantity"] * frame["price"])
    grouped = frame.groupby("customer_id")
    return pd.DataFrame(
        {
            "recency": (pd.Timestamp("2011-12-09") - grouped["invoice_date"].max().dt.normalize()).dt.days,
            "frequency": grouped["invoice"].nunique(),
            "monetary": grouped["total_price"].sum(),
        }
    )


def pandas_rfm(path: str) -> None:
    import pandas as pd
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import MinMaxScaler

    frame = pd.read_parquet(path)
    frame["invoice_date"] = frame["invoice_date"].dt.tz_localize(None)
    rfm = _rfm(frame)
    r = pd.qcut(rfm["recency"], 5, labels=[5, 4, 3, 2, 1]).astype(int)
    f = pd.qcut(rfm["frequency"].rank(method="first"), 5, labels=[1, 2, 3, 4, 5]).astype(int)
    pd.qcut(rfm["monetary"].astype(int), 5, labels=[1, 2, 3, 4, 5])
    code = r.astype(str) + f.astype(str)
    names = {
        r"[1-2][1-2]": "Hibernating",
        r"[1-2][3-4]": "At Risk",
        r"[1-2]5": "Can't Lose",
        r"3[1-2]": "About to Sleep",
        r"33": "Need Attention",
        r"[3-4][4-5]": "Loyal Customers",
        r"41": "Promising",
        r"51": "New Customers",
        r"[4-5][2-3]": "Potential Loyalists",
        r"5[4-5]": "Champions",
    }
    code.replace(names, regex=True)
    scaled = MinMaxScaler().fit_transform(rfm)
    KMeans(n_clusters=6, n_init=1, random_state=7).fit(scaled)


def pandas_features(path: str) -> None:
    import pandas as pd

    columns = [
        "invoice", "stock_code", "description", "quantity", "invoice_date", "price", "customer_id", "country"
    ]  # fmt: skip
    frame = pd.read_parquet(path, columns=columns)
    frame["invoice_date"] = frame["invoice_date"].dt.tz_localize(None)
    assert len(_rfm(frame)) == 4372


def duckdb_rfm(path: str) -> None:
    import duckdb

    connection = duckdb.connect(config={"threads": 2})
    rows = connection.execute(
        """SELECT count(*), sum(m), sum(f), max(r) FROM (
             SELECT customer_id, max(invoice_date) AS r, count(DISTINCT invoice) AS f,
                    sum(cast(round_even(quantity * price * 1000, 0) AS BIGINT)) AS m
             FROM read_parquet($1)
             WHERE invoice IS NOT NULL AND stock_code IS NOT NULL AND description IS NOT NULL AND quantity IS NOT NULL
               AND invoice_date IS NOT NULL AND price IS NOT NULL AND customer_id IS NOT NULL AND country IS NOT NULL
               AND customer_id <> ''
             GROUP BY customer_id)""",
        [f"{path}/*.parquet"],
    ).fetchone()
    assert rows[0] == 4372
    connection.close()


_LOCAL = {"region_name": "us-east-1", "aws_access_key_id": "local", "aws_secret_access_key": "local"}


def batch_writer(endpoint: str, count: str) -> None:
    import boto3

    from bench.publishing_items import OUTPUTS, STATE

    table = boto3.resource(
        "dynamodb",
        endpoint_url=endpoint,
        **_LOCAL,
    ).Table("headrace")
    with table.batch_writer() as batch:
        for n in range(int(count)):
            batch.put_item(Item={"pk": f"peer#c{n:07d}", "sk": "batch", "v00000001": {"s": STATE, "o": OUTPUTS}})


def conditional_update(endpoint: str, count: str) -> None:
    """One UpdateItem an item, each over the version before: the guarded write as boto3 users write it."""
    import boto3

    from bench.publishing_items import OUTPUTS, STATE

    client = boto3.client(
        "dynamodb",
        endpoint_url=endpoint,
        **_LOCAL,
    )
    before = _ROUND[0]
    _ROUND[0] += 1
    guard = "n = :m" if before else "attribute_not_exists(pk)"
    for n in range(int(count)):
        values = {":s": {"B": STATE}, ":o": {"S": OUTPUTS}, ":w": {"S": "[]"}, ":n": {"N": str(before + 1)}}
        client.update_item(
            TableName="headrace",
            Key={"pk": {"S": f"peer#c{n:07d}"}, "sk": {"S": "speed#00000001"}},
            UpdateExpression="SET s = :s, o = :o, w = :w, n = :n",
            ConditionExpression=guard,
            ExpressionAttributeValues=values | ({":m": {"N": str(before)}} if before else {}),
        )


def batch_get(endpoint: str, table: str, keys: str, count: str) -> None:
    """Look-ups of two items each, as boto3's users write them."""
    import boto3

    client = boto3.client("dynamodb", endpoint_url=endpoint, **_LOCAL)
    for n in range(int(count)):
        pk = {"S": f"customers#c{n % int(keys):07d}"}
        asked = [{"pk": pk, "sk": {"S": sk}} for sk in ("batch", "speed#00000001")]
        found = client.batch_get_item(RequestItems={table: {"Keys": asked, "ConsistentRead": True}})
        assert found["Responses"][table]


def river_loop(path: str) -> None:
    """Three aggregates a user, event by event, as River's users write it."""
    from collections import defaultdict

    from river import stats

    users = defaultdict(lambda: (stats.Count(), stats.Sum(), stats.Max()))
    with Path(path).open("rb") as lines:
        for line in lines:
            event = json.loads(line)
            count, total, most = users[event["who"]]
            x = event["x"]
            count.update(x)
            total.update(x)
            most.update(x)


def duckdb_logistic(rows: str, model: str, target: str) -> None:
    """The formula of a logistic regression over rows of Parquet, to Parquet; null where an input is not finite."""
    import duckdb

    fitted = json.loads(Path(model).read_text())
    # As texts that are cast: DuckDB takes a literal with a point for a decimal.
    weights = zip(fitted["features"], fitted["mean"], fitted["scale"], fitted["coefficients"][0], strict=True)
    terms = [f"({x} - '{mean!r}'::DOUBLE) * '{weight / scale!r}'::DOUBLE" for x, mean, scale, weight in weights]
    score = " + ".join([f"'{fitted['intercepts'][0]!r}'::DOUBLE", *terms])
    finite = " AND ".join(f"abs({x}) < 'Infinity'::DOUBLE" for x in fitted["features"])
    connection = duckdb.connect(config={"threads": 2})
    connection.execute(
        f"""COPY (SELECT id, 1 - p AS probability_0, p AS probability_1, CAST(score > 0 AS INT) AS prediction
              FROM (SELECT id, score, 1 / (1 + exp(-score)) AS p
                    FROM (SELECT id, CASE WHEN {finite} THEN {score} END AS score
                          FROM read_parquet('{rows}/*.parquet'))))
            TO '{target}' (FORMAT parquet, COMPRESSION snappy, PER_THREAD_OUTPUT true, OVERWRITE_OR_IGNORE true)"""
    )
    connection.close()


_ROUND = [0]  # how often `conditional_update` has written every item


def main() -> None:
    peers = {
        f.__name__: f
        for f in (
            batch_get,
            pandas_rfm,
            pandas_features,
            duckdb_rfm,
            duckdb_logistic,
            batch_writer,
            conditional_update,
            river_loop,
        )
    }
    work = peers[sys.argv[1]]
    for _ in sys.stdin:
        cost = in_process(lambda: work(*sys.argv[2:]))
        sys.stdout.write(json.dumps(dataclasses.asdict(cost)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
